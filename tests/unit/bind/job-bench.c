#include "job-bench.h"

#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 20

static void on_ready(struct job *job, void *userdata)
{
	struct job_bench *bench = userdata;

	bench->n_ready++;
	assert_int_equal(bench->kernel->n_writes, 0);
	for (size_t i = 0; i < bench->plan->n_members; i++)
		assert_true(bench->plan->members[i].known);
	if (bench->goes)
		job_go(job);
	if (bench->frees_ready)
		bench->job = job_free(job);
	ev_break(bench->loop, EVBREAK_ALL);
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct job_bench *bench = userdata;

	bench->n_done++;
	nodes_free(bench->nodes);
	bench->nodes = job_take_nodes(job);
	bench->job = job_free(job);
	bench->result = result;
	if (*group_fd >= 0)
		bench->group_fd = steal_fd(group_fd);
	bench->refusal = *refusal;
	ev_break(bench->loop, EVBREAK_ALL);
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	struct job_bench *bench = userdata;
	const char *now;

	bench->n_late++;
	bench->late_step = step;
	snprintf(bench->late_device, sizeof(bench->late_device), "%s", device);
	assert_int_equal(job_step(job, &now), step);
	assert_string_equal(now, device);
	if (bench->releases)
		bench->kernel->hangs_at = 0;
	ev_break(bench->loop, EVBREAK_ALL);
}

static const struct job_listener listener = {
	.ready = on_ready,
	.done = on_done,
	.late = on_late,
};

void job_bench_init(struct job_bench *bench, struct ev_loop *loop, size_t n_devices)
{
	memset(bench, 0, sizeof(*bench));
	bench->loop = loop;
	bench->group_fd = -1;
	bench->kernel = mmap(NULL, sizeof(*bench->kernel), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(bench->kernel, MAP_FAILED);
	fake_kernel_init(bench->kernel);
	while (n_devices-- > 0)
		fake_kernel_add(bench->kernel, "e1000");
	bench->ops = fake_kernel_ops(bench->kernel);
	bench->plan = fake_kernel_plan(bench->kernel);
	bench->n_fds_before = count_fds();
	assert_int_equal(doormen_new(loop, &bench->ops, &bench->doormen), 0);
}

void job_bench_start(struct job_bench *bench, enum job_kind kind, double deadline_seconds)
{
	bool opens = kind == JOB_OPEN || kind == JOB_CHECK || kind == JOB_KEEP ||
		     kind == JOB_PEEK || kind == JOB_OPEN_NODES || kind == JOB_REOPEN_NODES;
	int r = opens ? job_new_open(bench->doormen, kind, bench->plan, deadline_seconds, &listener,
				bench, &bench->job)
		      : job_new(bench->loop, kind, bench->plan, &bench->ops, deadline_seconds,
				&listener, bench, &bench->job);
	assert_int_equal(r, 0);
	assert_true(job_pid(bench->job) > 0);
	if (kind != JOB_TAKE && kind != JOB_TAKE_NODES && kind != JOB_JOIN && kind != JOB_LOOK &&
		!bench->keeps_waiting)
		job_go(bench->job);
}

void job_bench_give_up(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

void job_bench_news(struct job_bench *bench)
{
	unsigned before = bench->n_ready + bench->n_done + bench->n_late;
	bool is_over = false;
	ev_timer patience;

	ev_now_update(bench->loop);
	ev_timer_init(&patience, job_bench_give_up, PATIENCE_SECONDS, 0);
	patience.data = &is_over;
	ev_timer_start(bench->loop, &patience);
	while (!is_over && bench->n_ready + bench->n_done + bench->n_late == before)
		ev_run(bench->loop, EVRUN_ONCE);
	ev_timer_stop(bench->loop, &patience);
	assert_false(is_over);
}

void job_bench_no_child(struct job_bench *bench)
{
	for (int i = 0; i < PATIENCE_SECONDS * 1000; i++) {
		siginfo_t info = { .si_pid = 0 };
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
			assert_int_equal(errno, ECHILD);
			return;
		}
		ev_run(bench->loop, EVRUN_NOWAIT);
		if (bench->loop != EV_DEFAULT)
			ev_run(EV_DEFAULT, EVRUN_NOWAIT);
		usleep(1000);
	}
	fail_msg("a child was not reaped");
}

void job_bench_hang(struct job_bench *bench)
{
	for (int i = 0; bench->kernel->n_ops < bench->kernel->hangs_at; i++) {
		assert_true(i < PATIENCE_SECONDS * 1000);
		usleep(1000);
	}
}

void job_bench_close(struct job_bench *bench)
{
	if (bench->group_fd >= 0)
		bench->ops.close_group(bench->ops.userdata, steal_fd(&bench->group_fd));
	bench->nodes = nodes_free(bench->nodes);
}

void job_bench_end(struct job_bench *bench)
{
	job_bench_close(bench);
	bench->doormen = doormen_free(bench->doormen);
	job_bench_no_child(bench);
	assert_null(bench->job);
	assert_int_equal(count_fds(), bench->n_fds_before);
	plan_free(bench->plan);
	munmap(bench->kernel, sizeof(*bench->kernel));
}
