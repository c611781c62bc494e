/* Doormen, and the jobs that ask them. */
#include "job-bench.h"

#include "daemon/base/util.h"
#include "daemon/bind/doorman-wire.h"
#include "daemon/bind/job-wire.h"
#include "daemon/bind/nodes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

/* A group of two that is taken. */
static void set_up(struct job_bench *bench)
{
	job_bench_init(bench, ev_default_loop(0), 2);
	for (size_t i = 0; i < bench->kernel->n_devices; i++) {
		snprintf(bench->kernel->devices[i].driver, DRIVER_NAME_SIZE, "vfio-pci");
		snprintf(bench->kernel->devices[i].override, DRIVER_NAME_SIZE, "vfio-pci");
	}
}

/* The job's pid while it runs: whoever does it then. */
static pid_t ask(struct job_bench *bench, enum job_kind kind)
{
	job_bench_start(bench, kind, 10);
	pid_t pid = job_pid(bench->job);
	job_bench_news(bench);
	return pid;
}

static bool is_command(pid_t pid, const char *command)
{
	char path[64], text[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	return file_read(path, text, sizeof(text)) > 0 && strcmp(text, command) == 0;
}

/* One that was just forked has no name of its own yet. */
static void assert_command(pid_t pid, const char *command)
{
	for (int i = 0; !is_command(pid, command); i++) {
		assert_true(i < 20000);
		usleep(1000);
	}
}

/* The highest descriptor that a process has open. */
static long highest_fd(pid_t pid)
{
	char path[64];
	const struct dirent *entry;
	long highest = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) > highest)
			highest = strtol(entry->d_name, NULL, 10);
	closedir(directory);
	return highest;
}

static void test_one_for_all(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	pid_t doorman = ask(&bench, JOB_OPEN);
	assert_int_equal(bench.result, 0);
	assert_true(bench.group_fd >= 0);
	assert_true(fcntl(bench.group_fd, F_GETFD) & FD_CLOEXEC);
	assert_command(doorman, "vfiod-doorman");
	job_bench_close(&bench);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(&bench, JOB_CHECK), doorman);
		assert_int_equal(bench.result, 0);
		assert_int_equal(bench.group_fd, -1);
		assert_int_equal(ask(&bench, JOB_OPEN), doorman);
		assert_int_equal(bench.result, 0);
		job_bench_close(&bench);
		assert_int_equal(ask(&bench, JOB_KEEP), doorman);
		assert_int_equal(bench.result, 0);
		assert_true(bench.group_fd >= 0);
		job_bench_close(&bench);
	}
	/* Whatever he has done, he waits with nothing but his socket. */
	ask(&bench, JOB_CHECK);
	assert_int_equal(highest_fd(doorman), 3);
	assert_int_equal(bench.kernel->n_open, 0);
	job_bench_end(&bench);
}

/* What does not go well at once is told as a bind child tells it. */
static void test_reasons(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->is_open_elsewhere = true;
	bench.kernel->opener_pid = 902;
	ask(&bench, JOB_OPEN);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	ask(&bench, JOB_CHECK);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	bench.kernel->is_open_elsewhere = false;

	/* The group can be opened, but a device has a node, which somebody has. */
	bench.kernel->is_node_open = true;
	ask(&bench, JOB_CHECK);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	ask(&bench, JOB_KEEP);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.group_fd, -1);
	assert_int_equal(bench.kernel->n_open, 0);
	ask(&bench, JOB_OPEN);
	assert_int_equal(bench.result, 0);
	job_bench_close(&bench);
	bench.kernel->is_node_open = false;

	snprintf(bench.kernel->devices[1].driver, DRIVER_NAME_SIZE, "e1000");
	ask(&bench, JOB_OPEN);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_NOT_VIABLE);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_int_equal(bench.group_fd, -1);
	assert_int_equal(bench.kernel->n_open, 0);
	job_bench_end(&bench);
}

/* Where devices have no nodes nobody is looked for who has one open. */
static void test_no_nodes(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->makes_no_nodes = true;
	ask(&bench, JOB_CHECK);
	assert_int_equal(bench.kernel->n_ops, 2);
	assert_int_equal(bench.result, 0);
	/* He asks once. */
	bench.kernel->makes_no_nodes = false;
	ask(&bench, JOB_CHECK);
	assert_int_equal(bench.kernel->n_ops, 4);
	assert_int_equal(bench.kernel->n_open, 0);
	job_bench_end(&bench);
}

/* A node that comes late, an open that fails once: the child that is asked then is patient. */
static void test_second_try(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->n_lagging = 1;
	ask(&bench, JOB_OPEN);
	assert_int_equal(bench.result, 0);
	job_bench_close(&bench);
	/* Each operation of a visit fails: open, viable, and the search for a node's opener. */
	for (unsigned at = 1; at <= 2; at++)
		for (enum job_kind kind = JOB_OPEN; kind <= JOB_PEEK; kind++) {
			if (kind == JOB_JOIN)
				continue;
			fake_kernel_calm(bench.kernel);
			bench.kernel->faults[0].at = at;
			bench.kernel->faults[0].error = EIO;
			ask(&bench, kind);
			assert_int_equal(bench.result, 0);
			assert_int_equal(bench.group_fd >= 0, kind == JOB_OPEN || kind == JOB_KEEP);
			job_bench_close(&bench);
			assert_int_equal(bench.kernel->n_open, 0);
		}
	job_bench_end(&bench);
}

/* Dead, and the loop has not come round since. */
static void kill_now(pid_t pid)
{
	siginfo_t info;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void test_killed(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	/* At rest, and nobody has heard of it when he is wanted. */
	pid_t doorman = ask(&bench, JOB_CHECK);
	kill_now(doorman);
	ask(&bench, JOB_CHECK);
	assert_int_equal(bench.result, 0);

	/* Between being chosen and being asked. */
	bench.keeps_waiting = true;
	job_bench_start(&bench, JOB_OPEN, 10);
	doorman = job_pid(bench.job);
	assert_command(doorman, "vfiod-doorman");
	kill_now(doorman);
	ev_run(bench.loop, EVRUN_NOWAIT);
	assert_int_equal(bench.n_done, 2);
	job_go(bench.job);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	job_bench_close(&bench);
	bench.keeps_waiting = false;

	/* In mid-request: a child of the job's own tries again. */
	fake_kernel_calm(bench.kernel);
	bench.kernel->hangs_at = 1;
	job_bench_start(&bench, JOB_OPEN, 10);
	job_bench_hang(&bench);
	doorman = job_pid(bench.job);
	assert_command(doorman, "vfiod-doorman");
	kill(doorman, SIGKILL);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.n_late, 0);
	job_bench_close(&bench);

	/* And where that is killed, too, it is over. */
	fake_kernel_calm(bench.kernel);
	bench.kernel->hangs_at = 2;
	bench.kernel->faults[0].at = 1;
	bench.kernel->faults[0].error = EIO;
	job_bench_start(&bench, JOB_CHECK, 10);
	for (int i = 0; job_pid(bench.job) == 0 || bench.kernel->n_ops < 2; i++) {
		assert_true(i < 20000);
		ev_run(bench.loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	assert_command(job_pid(bench.job), "vfiod-bind");
	kill(job_pid(bench.job), SIGKILL);
	job_bench_news(&bench);
	assert_int_equal(bench.result, -ECHILD);
	assert_string_equal(
		bench.refusal.text, "the bind child of group 7 was killed at step open");
	job_bench_end(&bench);
}

/* He hangs, the job is late and freed: he is left alone, and another one serves the next. */
static void test_late(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->hangs_at = 1;
	job_bench_start(&bench, JOB_CHECK, 0.2);
	pid_t stuck = job_pid(bench.job);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.late_step, STEP_OPEN);
	assert_string_equal(bench.late_device, "");
	bench.job = job_free(bench.job);
	assert_int_not_equal(ask(&bench, JOB_OPEN), stuck);
	assert_int_equal(bench.result, 0);
	job_bench_close(&bench);
	assert_int_equal(kill(stuck, 0), 0);
	/* The kernel lets go: nobody hears of it, and he ends with nothing open. */
	unsigned n_done = bench.n_done;
	bench.kernel->hangs_at = 0;
	for (int i = 0; kill(stuck, 0) == 0; i++) {
		assert_true(i < 20000);
		ev_run(bench.loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	assert_int_equal(bench.n_done, n_done);
	assert_int_equal(bench.kernel->n_open, 0);
	job_bench_end(&bench);
}

/* It is late, waited for all the same, and the kernel lets go. */
static void test_late_then_done(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->hangs_at = 1;
	bench.releases = true;
	job_bench_start(&bench, JOB_OPEN, 0.2);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.result, 0);
	assert_true(bench.group_fd >= 0);
	job_bench_end(&bench);
}

/* The daemon ends, or a job is freed, while he is at work. */
static void test_end_at_work(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.kernel->hangs_at = 1;
	job_bench_start(&bench, JOB_OPEN, 10);
	job_bench_hang(&bench);
	bench.job = job_free(bench.job);
	bench.doormen = doormen_free(bench.doormen);
	bench.kernel->hangs_at = 0;
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_open, 0);
	assert_int_equal(bench.n_done, 0);
	job_bench_end(&bench);
}

/* One that was chosen and never asked is there for the next. */
static void test_not_asked(void **state)
{
	(void)state;
	struct job_bench bench;

	set_up(&bench);
	bench.keeps_waiting = true;
	job_bench_start(&bench, JOB_OPEN, 10);
	pid_t doorman = job_pid(bench.job);
	bench.job = job_free(bench.job);
	bench.keeps_waiting = false;
	assert_int_equal(ask(&bench, JOB_CHECK), doorman);
	assert_int_equal(bench.kernel->n_ops, 3);
	job_bench_end(&bench);
}

/* All are at work: who comes then has a child of his own, as without them. */
static void test_all_at_work(void **state)
{
	(void)state;
	struct job_bench bench;
	struct job *busy[DOORMEN_MAX];
	pid_t pids[DOORMEN_MAX];

	set_up(&bench);
	bench.keeps_waiting = true;
	for (size_t i = 0; i < DOORMEN_MAX; i++) {
		job_bench_start(&bench, JOB_CHECK, 10);
		busy[i] = bench.job;
		pids[i] = job_pid(busy[i]);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(pids[i], pids[j]);
	}
	bench.keeps_waiting = false;
	job_bench_start(&bench, JOB_CHECK, 10);
	for (size_t i = 0; i < DOORMEN_MAX; i++)
		assert_int_not_equal(job_pid(bench.job), pids[i]);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	for (size_t i = 0; i < DOORMEN_MAX; i++)
		job_free(busy[i]);
	pid_t next = ask(&bench, JOB_CHECK);
	bool is_known = false;
	for (size_t i = 0; i < DOORMEN_MAX; i++)
		is_known = is_known || pids[i] == next;
	assert_true(is_known);
	job_bench_end(&bench);
}

/* No descriptor for a socket: neither he nor a child can be had, and nothing is left. */
static void test_none_to_be_had(void **state)
{
	(void)state;
	struct job_bench bench;
	struct rlimit before, limit;

	set_up(&bench);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	struct job_listener listener = { .done = NULL };
	int r = job_new_open(
		bench.doormen, JOB_OPEN, bench.plan, 10, &listener, &bench, &bench.job);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(r, -EMFILE);
	assert_null(bench.job);

	/* And when a child would have to look after him. */
	bench.kernel->is_open_elsewhere = true;
	bench.keeps_waiting = true;
	job_bench_start(&bench, JOB_OPEN, 10);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	job_go(bench.job);
	job_bench_news(&bench);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(bench.result, -EMFILE);
	assert_int_equal(bench.refusal.kind, REFUSAL_SYSTEM);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	job_bench_end(&bench);
}

/* No room for the descriptor that he sends: neither for the child's. */
static void test_descriptor_lost(void **state)
{
	(void)state;
	struct job_bench bench;
	struct rlimit before, limit;

	set_up(&bench);
	bench.keeps_waiting = true;
	job_bench_start(&bench, JOB_OPEN, 10);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	job_go(bench.job);
	job_bench_news(&bench);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(bench.result, -EMFILE);
	assert_int_equal(bench.group_fd, -1);
	/* It was handed over, and nobody got it. */
	bench.kernel->n_open = 0;
	job_bench_end(&bench);
}

static void test_request(void **state)
{
	(void)state;
	struct job_bench bench;
	struct plan *heard;
	enum doorman_wish wish;
	int pair[2];

	set_up(&bench);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(doorman_request_send(pair[0], bench.plan, DOORMAN_KEEPS), 0);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), 0);
	assert_int_equal(wish, DOORMAN_KEEPS);
	assert_int_equal(heard->group, FAKE_GROUP);
	assert_int_equal(heard->n_members, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(heard->members[i].syspath, bench.plan->members[i].syspath);
		assert_true(plan_hands_out(heard->members[i].action));
	}
	plan_free(heard);
	bench.plan->members[0].action = PLAN_LEAVE;
	assert_int_equal(doorman_request_send(pair[0], bench.plan, DOORMAN_OPENS_NODES), 0);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), 0);
	assert_int_equal(wish, DOORMAN_OPENS_NODES);
	assert_int_equal(heard->n_members, 2);
	assert_false(plan_hands_out(heard->members[0].action));
	assert_true(plan_hands_out(heard->members[1].action));
	assert_false(nodes_may_be_kept(heard));
	assert_string_equal(heard->members[0].syspath, bench.plan->members[0].syspath);
	plan_free(heard);
	assert_int_equal(doorman_request_send(pair[0], bench.plan, DOORMAN_OPENS), 0);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), 0);
	assert_int_equal(wish, DOORMAN_OPENS);
	assert_int_equal(heard->n_members, 0);
	plan_free(heard);
	strcpy(bench.plan->members[1].bus, "mdev");
	assert_int_equal(doorman_request_send(pair[0], bench.plan, DOORMAN_OPENS_NODES), 0);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), 0);
	assert_true(plan_hands_out(heard->members[1].action));
	assert_true(nodes_may_be_kept(heard));
	plan_free(heard);
	/* No letter and no path. */
	assert_int_equal(send(pair[0], "12345678\0+\0", 11, 0), 11);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), 0);
	assert_int_equal(heard->n_members, 2);
	assert_string_equal(heard->members[0].syspath, "");
	assert_string_equal(heard->members[1].syspath, "");
	plan_free(heard);
	/* No request at all, and a text without its end. */
	assert_int_equal(send(pair[0], "x", 1, 0), 1);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), -EPROTO);
	assert_int_equal(send(pair[0], "12345678/sys", 12, 0), 12);
	assert_int_equal(doorman_request_receive(pair[1], &heard, &wish), -EPROTO);
	close(pair[0]);
	assert_true(doorman_request_receive(pair[1], &heard, &wish) < 0);
	assert_int_equal(doorman_request_send(pair[1], bench.plan, DOORMAN_OPENS), -EPIPE);
	close(pair[1]);

	/* Too large to be told to anybody: a child of the job's own has it by its birth. */
	struct plan *large = plan_new(FAKE_GROUP, 2);
	assert_non_null(large);
	for (size_t i = 0; i < 2; i++) {
		large->members[i].syspath = malloc(DOORMAN_REQUEST_MAX);
		assert_non_null(large->members[i].syspath);
		memset(large->members[i].syspath, 'x', DOORMAN_REQUEST_MAX - 1);
		large->members[i].syspath[DOORMAN_REQUEST_MAX - 1] = '\0';
	}
	plan_free(bench.plan);
	bench.plan = large;
	job_bench_start(&bench, JOB_CHECK, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
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
		cmocka_unit_test(test_no_nodes),
		cmocka_unit_test(test_second_try),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_late_then_done),
		cmocka_unit_test(test_end_at_work),
		cmocka_unit_test(test_not_asked),
		cmocka_unit_test(test_all_at_work),
		cmocka_unit_test(test_none_to_be_had),
		cmocka_unit_test(test_descriptor_lost),
		cmocka_unit_test(test_request),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
