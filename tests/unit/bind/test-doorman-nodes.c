/* Doormen who open devices' own nodes, and what becomes of those when something fails on the way.
 */
#include "job-bench.h"

#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { N_DEVICES = 3 };

/* A group of a bridge and two devices, which is taken. */
static void set_up(struct job_bench *bench)
{
	job_bench_init(bench, ev_default_loop(0), N_DEVICES);
	plan_free(bench->plan);
	bench->kernel->devices[0].is_bridge = true;
	for (size_t i = 1; i < N_DEVICES; i++) {
		snprintf(bench->kernel->devices[i].driver, DRIVER_NAME_SIZE, "vfio-pci");
		snprintf(bench->kernel->devices[i].override, DRIVER_NAME_SIZE, "vfio-pci");
	}
	snprintf(bench->kernel->devices[0].driver, DRIVER_NAME_SIZE, "pcieport");
	bench->plan = fake_kernel_plan(bench->kernel);
}

static void assert_nodes(const struct job_bench *bench, bool are_open)
{
	assert_non_null(bench->nodes);
	assert_int_equal(bench->nodes->n, N_DEVICES);
	assert_int_equal(nodes_are_whole(bench->nodes, bench->plan), are_open);
	for (size_t i = 0; i < N_DEVICES; i++) {
		int fd = bench->nodes->all[i].fd;
		assert_int_equal(fd >= 0, are_open && i > 0);
		assert_string_equal(bench->nodes->all[i].device, bench->plan->members[i].name);
		assert_true(fd < 0 || fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	assert_int_equal(bench->group_fd, -1);
	assert_int_equal(bench->kernel->n_open, 0);
}

/* The job's pid while it runs: whoever does it then. The nodes that it brings are closed. */
static pid_t ask(struct job_bench *bench, enum job_kind kind, int result)
{
	fake_kernel_calm(bench->kernel);
	bench->kernel->is_lent = kind == JOB_REOPEN_NODES;
	job_bench_start(bench, kind, 10);
	pid_t pid = job_pid(bench->job);
	job_bench_news(bench);
	assert_int_equal(bench->result, result);
	assert_nodes(bench, result == 0);
	job_bench_close(bench);
	return pid;
}

static void test_one_for_all(void **state)
{
	(void)state;
	struct job_bench bench;
	char path[64];

	set_up(&bench);
	pid_t doorman = ask(&bench, JOB_OPEN_NODES, 0);
	/* The group, is it viable, and two nodes. */
	assert_int_equal(bench.kernel->n_ops, 4);
	assert_int_equal(ask(&bench, JOB_REOPEN_NODES, 0), doorman);
	assert_int_equal(bench.kernel->n_ops, 2);
	assert_int_equal(ask(&bench, JOB_OPEN_NODES, 0), doorman);
	/* Nobody's copy: he waits with nothing but his socket. */
	for (int fd = 4; fd < 20; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)doorman, fd);
		assert_int_equal(access(path, F_OK), -1);
	}
	job_bench_end(&bench);
}

/* What he does not explain, a bind child does. */
static void test_reasons(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->is_open_elsewhere = true;
	bench.kernel->opener_pid = 902;
	ask(&bench, JOB_OPEN_NODES, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	bench.kernel->is_open_elsewhere = false;
	/* Who has a node, of what is made anew after each lease, is no former client. */
	bench.kernel->is_node_open = true;
	ask(&bench, JOB_OPEN_NODES, 0);
	strcpy(bench.plan->members[2].bus, "mdev");
	ask(&bench, JOB_OPEN_NODES, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	/* That one may be who asks. */
	ask(&bench, JOB_REOPEN_NODES, 0);
	bench.kernel->is_node_open = false;
	bench.kernel->makes_no_nodes = true;
	for (int i = 0; i < 2; i++) {
		ask(&bench, i == 0 ? JOB_OPEN_NODES : JOB_REOPEN_NODES, REFUSED);
		assert_int_equal(bench.refusal.kind, REFUSAL_NOT_SUPPORTED);
		assert_string_equal(bench.refusal.device, bench.plan->members[1].name);
	}
	job_bench_end(&bench);
}

/* Each operation fails once, a node comes late: the child that is asked then is patient. */
static void test_second_try(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	for (int reopens = 0; reopens < 2; reopens++)
		for (unsigned at = 1; at <= (reopens ? 2 : 4); at++) {
			fake_kernel_calm(bench.kernel);
			bench.kernel->is_lent = reopens;
			bench.kernel->faults[0].at = at;
			bench.kernel->faults[0].error = EIO;
			job_bench_start(&bench, reopens ? JOB_REOPEN_NODES : JOB_OPEN_NODES, 10);
			job_bench_news(&bench);
			assert_int_equal(bench.result, 0);
			assert_nodes(&bench, true);
			job_bench_close(&bench);
		}
	bench.kernel->n_nodes_lagging = 2;
	ask(&bench, JOB_OPEN_NODES, 0);
	job_bench_end(&bench);
}

/* At his first node and at his second one, the doorman is killed, and then the child that tries
 * again. */
static void test_killed(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	for (unsigned at = 3; at <= 4; at++) {
		fake_kernel_calm(bench.kernel);
		bench.kernel->is_lent = false;
		bench.kernel->hangs_at = at;
		job_bench_start(&bench, JOB_OPEN_NODES, 10);
		job_bench_hang(&bench);
		kill(job_pid(bench.job), SIGKILL);
		/* What he had open is closed with him, by the kernel. */
		bench.kernel->n_open = 0;
		job_bench_news(&bench);
		assert_int_equal(bench.result, 0);
		assert_nodes(&bench, true);
		job_bench_close(&bench);
	}
	fake_kernel_calm(bench.kernel);
	bench.kernel->is_lent = true;
	bench.kernel->faults[0].at = 1;
	bench.kernel->faults[0].error = EIO;
	bench.kernel->hangs_at = 3;
	job_bench_start(&bench, JOB_REOPEN_NODES, 10);
	pid_t doorman = job_pid(bench.job);
	for (int i = 0; bench.kernel->n_ops < 3 || job_pid(bench.job) == doorman; i++) {
		assert_true(i < 20000);
		ev_run(bench.loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	kill(job_pid(bench.job), SIGKILL);
	job_bench_news(&bench);
	assert_int_equal(bench.result, -ECHILD);
	assert_nodes(&bench, false);
	job_bench_end(&bench);
}

/* He hangs, and is late: another one serves the next, and what he opens when the kernel lets go is
 * nobody's. */
static void test_late(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->is_lent = true;
	bench.kernel->hangs_at = 1;
	job_bench_start(&bench, JOB_REOPEN_NODES, 0.2);
	pid_t stuck = job_pid(bench.job);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.late_step, STEP_OPEN);
	bench.job = job_free(bench.job);
	job_bench_start(&bench, JOB_REOPEN_NODES, 10);
	assert_int_not_equal(job_pid(bench.job), stuck);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_nodes(&bench, true);
	assert_int_equal(kill(stuck, 0), 0);
	bench.kernel->hangs_at = 0;
	for (int i = 0; kill(stuck, 0) == 0; i++) {
		assert_true(i < 20000);
		ev_run(bench.loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	assert_int_equal(bench.n_done, 1);
	job_bench_end(&bench);
}

/* It is late, waited for all the same, and the kernel lets go. */
static void test_late_then_done(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->hangs_at = 4;
	bench.releases = true;
	job_bench_start(&bench, JOB_OPEN_NODES, 0.2);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_nodes(&bench, true);
	job_bench_end(&bench);
}

/* There is room for so many of his descriptors, and then for none: nor can a child do any better.
 */
static void test_descriptors_lost(void **state)
{
	(void)state;

	for (unsigned n_fit = 0; n_fit < 2; n_fit++) {
		struct job_bench bench;
		struct rlimit before, limit;

		set_up(&bench);
		bench.keeps_waiting = true;
		job_bench_start(&bench, JOB_OPEN_NODES, 10);
		int next = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
		assert_true(next >= 0);
		close(next);
		assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
		limit = (struct rlimit){ .rlim_cur = (rlim_t)next + n_fit,
			.rlim_max = before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		job_go(bench.job);
		job_bench_news(&bench);
		setrlimit(RLIMIT_NOFILE, &before);
		/* There is none, or it has no room itself. */
		assert_int_equal(bench.result, n_fit == 0 ? -EMFILE : -ECHILD);
		assert_int_equal(bench.refusal.kind, REFUSAL_SYSTEM);
		assert_nodes(&bench, false);
		/* And when there is room again. */
		bench.keeps_waiting = false;
		ask(&bench, JOB_OPEN_NODES, 0);
		job_bench_end(&bench);
	}
}

/* Chosen and never asked; freed while he is at work: nothing stays open. */
static void test_not_wanted(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.keeps_waiting = true;
	job_bench_start(&bench, JOB_OPEN_NODES, 10);
	pid_t doorman = job_pid(bench.job);
	bench.job = job_free(bench.job);
	bench.keeps_waiting = false;
	assert_int_equal(ask(&bench, JOB_OPEN_NODES, 0), doorman);
	fake_kernel_calm(bench.kernel);
	bench.kernel->hangs_at = 4;
	job_bench_start(&bench, JOB_OPEN_NODES, 10);
	job_bench_hang(&bench);
	bench.job = job_free(bench.job);
	bench.doormen = doormen_free(bench.doormen);
	bench.kernel->hangs_at = 0;
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_open, 0);
	assert_int_equal(bench.n_done, 1);
	job_bench_end(&bench);
}

int main(void)
{
	/* The loop that reaps, made before the first descriptor is counted. */
	if (!ev_default_loop(0))
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_for_all),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_second_try),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_late_then_done),
		cmocka_unit_test(test_descriptors_lost),
		cmocka_unit_test(test_not_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
