/* Real children on a real loop, with a kernel in shared memory. */
#include "fake-kernel.h"

#include "daemon/base/util.h"
#include "daemon/bind/job-wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 20

/* Operations of a take of one device: guard, group, driver, override; module; override … */
#define AT_GUARD 1
#define AT_OVERRIDE 6

struct bench {
	struct ev_loop *loop;
	struct fake_kernel *kernel; /* shared with the children */
	struct sysfs_ops ops;
	struct plan *plan;
	struct job *job;
	int n_fds_before;

	bool keeps_waiting; /* no job_go() after job_new() where no "ready" comes */
	bool goes;          /* what the listener does when it hears "ready": job_go() */
	bool frees_ready;   /* or job_free() */
	bool releases;      /* when it is late: lets the kernel go on */
	unsigned n_ready, n_done, n_late;
	int result;
	int group_fd;
	struct refusal refusal;
	enum bind_step late_step;
	char late_device[DEVICE_NAME_SIZE];
};

static int count_fds(void)
{
	int n = 0;
	DIR *directory = opendir("/proc/self/fd");
	assert_non_null(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static void on_ready(struct job *job, void *userdata)
{
	struct bench *bench = userdata;

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
	struct bench *bench = userdata;

	bench->n_done++;
	bench->job = job_free(job);
	bench->result = result;
	if (*group_fd >= 0)
		bench->group_fd = steal_fd(group_fd);
	bench->refusal = *refusal;
	ev_break(bench->loop, EVBREAK_ALL);
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	struct bench *bench = userdata;
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

static void bench_init(struct bench *bench, struct ev_loop *loop, size_t n_devices)
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
}

static void start(struct bench *bench, enum job_kind kind, double deadline_seconds)
{
	assert_int_equal(job_new(bench->loop, kind, bench->plan, &bench->ops, deadline_seconds,
				 &listener, bench, &bench->job),
		0);
	assert_true(job_pid(bench->job) > 0);
	if (kind != JOB_TAKE && kind != JOB_JOIN && !bench->keeps_waiting)
		job_go(bench->job);
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

/* Runs the loop until the listener was called once more. */
static void wait_for_news(struct bench *bench)
{
	unsigned before = bench->n_ready + bench->n_done + bench->n_late;
	bool is_over = false;
	ev_timer patience;

	ev_now_update(bench->loop);
	ev_timer_init(&patience, give_up, PATIENCE_SECONDS, 0);
	patience.data = &is_over;
	ev_timer_start(bench->loop, &patience);
	while (!is_over && bench->n_ready + bench->n_done + bench->n_late == before)
		ev_run(bench->loop, EVRUN_ONCE);
	ev_timer_stop(bench->loop, &patience);
	assert_false(is_over);
}

/* Runs the loop, for SIGCHLD, until no child is left, not even a dead one. */
static void wait_for_no_child(struct bench *bench)
{
	for (int i = 0; i < PATIENCE_SECONDS * 1000; i++) {
		siginfo_t info = { .si_pid = 0 };
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
			assert_int_equal(errno, ECHILD);
			return;
		}
		ev_run(bench->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	fail_msg("a child was not reaped");
}

/* Until the child waits in the operation that hangs. */
static void wait_for_hang(struct bench *bench)
{
	for (int i = 0; bench->kernel->n_ops < bench->kernel->hangs_at; i++) {
		assert_true(i < PATIENCE_SECONDS * 1000);
		usleep(1000);
	}
}

static void close_group(struct bench *bench)
{
	if (bench->group_fd >= 0)
		bench->ops.close_group(bench->ops.userdata, steal_fd(&bench->group_fd));
}

static void bench_end(struct bench *bench)
{
	close_group(bench);
	wait_for_no_child(bench);
	assert_null(bench->job);
	assert_int_equal(count_fds(), bench->n_fds_before);
	plan_free(bench->plan);
	munmap(bench->kernel, sizeof(*bench->kernel));
}

/* The child finds a driver for the second device, which the parent has to write down. */
static void add_variant(struct bench *bench)
{
	struct fake_driver *driver = &bench->kernel->drivers[bench->kernel->n_drivers++];

	*driver = (struct fake_driver){ .is_loaded = true };
	snprintf(driver->name, sizeof(driver->name), "nic_vfio_pci");
	snprintf(bench->kernel->devices[1].variant, DRIVER_NAME_SIZE, "nic_vfio_pci");
	bench->plan->members[1].may_vary = true;
}

static void take_and_return(struct ev_loop *loop)
{
	struct bench bench;

	bench_init(&bench, loop, 2);
	add_variant(&bench);
	bench.goes = true;
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.n_ready, 1);
	assert_string_equal(bench.plan->members[1].host_driver, "e1000");
	assert_string_equal(bench.plan->members[0].target, "vfio-pci");
	assert_string_equal(bench.plan->members[1].target, "nic_vfio_pci");
	assert_string_equal(bench.plan->members[1].module, "nic_vfio_pci");
	assert_true(bench.plan->members[1].is_variant);
	wait_for_news(&bench);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.result, 0);
	assert_true(bench.group_fd >= 0);
	assert_true(fcntl(bench.group_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fake_kernel_is_taken(bench.kernel));

	/* Busy while we have it open. */
	start(&bench, JOB_OPEN, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	close_group(&bench);
	start(&bench, JOB_OPEN, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_true(bench.group_fd >= 0);
	close_group(&bench);

	start(&bench, JOB_CHECK, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.group_fd, -1);

	start(&bench, JOB_RETURN, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.group_fd, -1);
	assert_string_equal(bench.kernel->devices[1].driver, "e1000");
	assert_string_equal(bench.kernel->devices[1].override, "");
	assert_int_equal(bench.n_ready, 1);
	assert_int_equal(bench.n_done, 5);
	assert_int_equal(bench.n_late, 0);
	bench_end(&bench);
}

static void test_take(void **state)
{
	(void)state;
	take_and_return(ev_default_loop(0));
}

/* Nobody but the job reaps there. */
static void test_take_on_another_loop(void **state)
{
	(void)state;
	struct ev_loop *loop = ev_loop_new(0);
	assert_non_null(loop);
	take_and_return(loop);
	ev_loop_destroy(loop);
}

/* Two joined members of a taken group, one of which the host had: that crosses the wire, too. */
static void test_join(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 3);
	for (size_t i = 0; i < 3; i++) {
		bench.plan->members[i].joins = i > 0;
		bench.plan->members[i].known = i == 0;
	}
	bench.kernel->devices[2].driver[0] = '\0';
	snprintf(bench.kernel->devices[2].override, DRIVER_NAME_SIZE, "mine");
	snprintf(bench.plan->members[2].claim, DRIVER_NAME_SIZE, "mine");
	snprintf(bench.plan->members[1].claim, DRIVER_NAME_SIZE, "lost");
	bench.goes = true;
	start(&bench, JOB_JOIN, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.n_ready, 1);
	assert_string_equal(bench.plan->members[1].host_driver, "e1000");
	assert_string_equal(bench.plan->members[1].claim, "");
	assert_false(bench.plan->members[1].host_probes);
	assert_string_equal(bench.plan->members[2].claim, "mine");
	assert_true(bench.plan->members[2].host_probes);
	wait_for_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.group_fd, -1);
	assert_string_equal(bench.kernel->devices[0].driver, "e1000");
	assert_string_equal(bench.kernel->devices[1].driver, "vfio-pci");
	assert_string_equal(bench.kernel->devices[2].driver, "vfio-pci");
	bench_end(&bench);
}

static void test_refused(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 2);
	bench.kernel->devices[1].is_in_use = true;
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	assert_int_equal(bench.n_ready, 0);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_string_equal(bench.refusal.text, "interface eth0 is up with address 10.0.0.2");
	assert_int_equal(bench.kernel->n_writes, 0);
	bench_end(&bench);
}

static void test_rolled_back(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 2);
	bench.goes = true;
	snprintf(bench.kernel->devices[1].refuses, DRIVER_NAME_SIZE, "vfio-pci");
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	wait_for_news(&bench);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_int_equal(bench.refusal.errnum, EIO);
	assert_true(bench.refusal.rolled_back);
	assert_int_equal(bench.group_fd, -1);
	assert_string_equal(bench.kernel->devices[0].driver, "e1000");
	bench_end(&bench);
}

/* --- freed early ---------------------------------------------------------------------- */

static void test_freed_before_go(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	bench.job = job_free(bench.job);
	wait_for_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	assert_int_equal(bench.n_done, 0);
	bench_end(&bench);

	bench_init(&bench, ev_default_loop(0), 1);
	bench.frees_ready = true;
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	wait_for_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	assert_int_equal(bench.n_done, 0);
	bench_end(&bench);
}

/* The other kinds wait for job_go() as well: the journal is written first. */
static void test_return_waits(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	bench.keeps_waiting = true;
	start(&bench, JOB_RETURN, 10);
	usleep(50000);
	ev_run(bench.loop, EVRUN_NOWAIT);
	assert_int_equal(bench.kernel->n_ops, 0);
	bench.job = job_free(bench.job);
	wait_for_no_child(&bench);
	assert_int_equal(bench.kernel->n_ops, 0);
	assert_int_equal(bench.n_ready + bench.n_done, 0);
	bench_end(&bench);
}

static void test_freed_before_ready(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	start(&bench, JOB_TAKE, 10);
	bench.job = job_free(bench.job);
	wait_for_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	assert_int_equal(bench.n_ready, 0);
	bench_end(&bench);
	assert_null(job_free(NULL));
}

/* So it is when the daemon dies, too: its end of the socket closes. */
static void test_freed_after_go(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	wait_for_hang(&bench);
	bench.job = job_free(bench.job);
	bench.kernel->hangs_at = 0;
	wait_for_no_child(&bench);
	assert_true(fake_kernel_is_taken(bench.kernel));
	assert_int_equal(bench.n_done, 0);
	/* Its copy of the group went with it. */
	bench.kernel->n_open = 0;
	bench_end(&bench);
}

/* --- late ------------------------------------------------------------------------------- */

static void test_late_then_done(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.releases = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	start(&bench, JOB_TAKE, 0.2);
	wait_for_news(&bench);
	wait_for_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.n_done, 0);
	assert_int_equal(bench.late_step, STEP_OVERRIDE);
	assert_string_equal(bench.late_device, "0000:01:00.0");
	wait_for_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.result, 0);
	assert_true(fake_kernel_is_taken(bench.kernel));
	bench_end(&bench);
}

/* An inspection can hang as well, on a lock that an unbind holds. */
static void test_late_inspection(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	bench.releases = true;
	bench.kernel->hangs_at = AT_GUARD;
	start(&bench, JOB_TAKE, 1);
	wait_for_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.late_step, STEP_GUARD);
	wait_for_news(&bench);
	assert_int_equal(bench.n_ready, 1);

	/* And while the caller thinks it over, nobody is late. */
	ev_timer pause;
	bool is_over = false;
	ev_timer_init(&pause, give_up, 1.5, 0);
	pause.data = &is_over;
	ev_timer_start(bench.loop, &pause);
	while (!is_over)
		ev_run(bench.loop, EVRUN_ONCE);
	assert_int_equal(bench.n_late, 1);
	bench.job = job_free(bench.job);
	bench_end(&bench);
}

static void test_late_return(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	bench.releases = true;
	bench.kernel->hangs_at = 1;
	start(&bench, JOB_RETURN, 1);
	wait_for_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.late_step, STEP_OPEN);
	assert_string_equal(bench.late_device, "");
	wait_for_news(&bench);
	assert_int_equal(bench.result, 0);
	bench_end(&bench);
}

/* --- killed ------------------------------------------------------------------------------ */

static void test_killed_in_take(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	wait_for_hang(&bench);
	kill(job_pid(bench.job), SIGKILL);
	wait_for_news(&bench);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.result, -ECHILD);
	assert_int_equal(bench.group_fd, -1);
	assert_int_equal(bench.refusal.kind, REFUSAL_SYSTEM);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	assert_int_equal(bench.refusal.step, STEP_OVERRIDE);
	assert_string_equal(bench.refusal.device, "0000:01:00.0");
	assert_string_equal(bench.refusal.text,
		"the bind child of group 7 was killed at step override of 0000:01:00.0");
	bench_end(&bench);
}

static void test_killed_before_go(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench, ev_default_loop(0), 1);
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	kill(job_pid(bench.job), SIGKILL);
	usleep(20000);
	/* Nobody there to hear it, and no SIGPIPE. */
	job_go(bench.job);
	wait_for_news(&bench);
	assert_int_equal(bench.result, -ECHILD);
	assert_int_equal(bench.kernel->n_writes, 0);
	bench_end(&bench);
}

/* --- the child's world -------------------------------------------------------------------- */

static void test_isolation(void **state)
{
	(void)state;
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1 };
	char path[64], text[64];
	const struct dirent *entry;
	struct bench bench;

	/* Descriptors of a client, say; one of them not close-on-exec. */
	int client[2];
	assert_int_equal(pipe(client), 0);
	bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	start(&bench, JOB_TAKE, 10);
	wait_for_news(&bench);
	wait_for_hang(&bench);

	pid_t pid = job_pid(bench.job);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			assert_in_range(strtol(entry->d_name, NULL, 10), 0, 3);
	closedir(directory);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	assert_true(file_read(path, text, sizeof(text)) > 0);
	assert_string_equal(text, "vfiod-bind");
	assert_int_equal(getsid(pid), pid);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		assert_int_equal(kill(pid, signals[i]), 0);

	bench.kernel->hangs_at = 0;
	wait_for_news(&bench);
	assert_int_equal(bench.result, 0);
	bench_end(&bench);
	close(client[0]);
	close(client[1]);
}

/* --- the wire ------------------------------------------------------------------------------ */

static void test_wire(void **state)
{
	(void)state;
	struct record record, sent = { .kind = RECORD_DONE, .member = -1, .result = REFUSED };
	char bytes[sizeof(struct record) + 1] = { RECORD_STEP };
	int pair[2], fd = 99;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(record_receive(pair[1], &record, &fd, MSG_DONTWAIT), -EAGAIN);
	assert_int_equal(fd, -1);
	assert_int_equal(record_send(pair[0], &sent, pair[0], 0), 0);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), 1);
	assert_memory_equal(&record, &sent, sizeof(record));
	assert_true(fd >= 0);
	close(fd);

	/* One byte less, one more, none of the kinds, a step that is none, a text without end. */
	assert_int_equal(send(pair[0], bytes, sizeof(record) - 1, 0), sizeof(record) - 1);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), -EPROTO);
	assert_int_equal(send(pair[0], bytes, sizeof(record) + 1, 0), sizeof(record) + 1);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), -EPROTO);
	sent.kind = RECORD_MAX_;
	assert_int_equal(record_send(pair[0], &sent, pair[0], 0), 0);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), -EPROTO);
	assert_int_equal(fd, -1);
	sent.kind = RECORD_DONE;
	sent.step = STEP_MAX_;
	assert_int_equal(record_send(pair[0], &sent, -1, 0), 0);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), -EPROTO);
	sent.step = STEP_NONE;
	memset(sent.refusal.text, 'x', sizeof(sent.refusal.text));
	assert_int_equal(record_send(pair[0], &sent, -1, 0), 0);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), -EPROTO);

	close(pair[0]);
	assert_int_equal(record_receive(pair[1], &record, &fd, 0), 0);
	assert_int_equal(record_send(pair[1], &sent, -1, 0), -EPIPE);
	close(pair[1]);
}

int main(void)
{
	/* The loop that reaps, made before the first descriptor is counted. */
	if (!ev_default_loop(0))
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_take_on_another_loop),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_rolled_back),
		cmocka_unit_test(test_freed_before_go),
		cmocka_unit_test(test_return_waits),
		cmocka_unit_test(test_freed_before_ready),
		cmocka_unit_test(test_freed_after_go),
		cmocka_unit_test(test_late_then_done),
		cmocka_unit_test(test_late_inspection),
		cmocka_unit_test(test_late_return),
		cmocka_unit_test(test_killed_in_take),
		cmocka_unit_test(test_killed_before_go),
		cmocka_unit_test(test_isolation),
		cmocka_unit_test(test_wire),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
