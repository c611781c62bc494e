/* Real children on a real loop, with a kernel in shared memory. */
#include "job-bench.h"

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

/* Operations of a take of one device: guard, group, driver, override; module; override … */
#define AT_GUARD 1
#define AT_OVERRIDE 6

/* The child finds a driver for the second device, which the parent has to write down. */
static void add_variant(struct job_bench *bench)
{
	struct fake_driver *driver = &bench->kernel->drivers[bench->kernel->n_drivers++];

	*driver = (struct fake_driver){ .is_loaded = true };
	snprintf(driver->name, sizeof(driver->name), "nic_vfio_pci");
	snprintf(bench->kernel->devices[1].variant, DRIVER_NAME_SIZE, "nic_vfio_pci");
	bench->plan->members[1].may_vary = true;
}

static void take_and_return(struct ev_loop *loop)
{
	struct job_bench bench;

	job_bench_init(&bench, loop, 2);
	add_variant(&bench);
	bench.goes = true;
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.n_ready, 1);
	assert_string_equal(bench.plan->members[1].host_driver, "e1000");
	assert_string_equal(bench.plan->members[0].target, "vfio-pci");
	assert_string_equal(bench.plan->members[1].target, "nic_vfio_pci");
	assert_string_equal(bench.plan->members[1].module, "nic_vfio_pci");
	assert_true(bench.plan->members[1].is_variant);
	job_bench_news(&bench);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.result, 0);
	assert_true(bench.group_fd >= 0);
	assert_true(fcntl(bench.group_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fake_kernel_is_taken(bench.kernel));

	/* Busy while we have it open. */
	job_bench_start(&bench, JOB_OPEN, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	job_bench_close(&bench);
	job_bench_start(&bench, JOB_OPEN, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_true(bench.group_fd >= 0);
	job_bench_close(&bench);

	job_bench_start(&bench, JOB_CHECK, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.group_fd, -1);

	job_bench_start(&bench, JOB_RETURN, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.group_fd, -1);
	assert_string_equal(bench.kernel->devices[1].driver, "e1000");
	assert_string_equal(bench.kernel->devices[1].override, "");
	assert_int_equal(bench.n_ready, 1);
	assert_int_equal(bench.n_done, 5);
	assert_int_equal(bench.n_late, 0);
	job_bench_end(&bench);
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
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 3);
	for (size_t i = 0; i < 3; i++) {
		bench.plan->members[i].joins = i > 0;
		bench.plan->members[i].known = i == 0;
	}
	bench.kernel->devices[2].driver[0] = '\0';
	snprintf(bench.kernel->devices[2].override, DRIVER_NAME_SIZE, "mine");
	snprintf(bench.plan->members[2].claim, DRIVER_NAME_SIZE, "mine");
	snprintf(bench.plan->members[1].claim, DRIVER_NAME_SIZE, "lost");
	bench.goes = true;
	job_bench_start(&bench, JOB_JOIN, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.n_ready, 1);
	assert_string_equal(bench.plan->members[1].host_driver, "e1000");
	assert_string_equal(bench.plan->members[1].claim, "");
	assert_false(bench.plan->members[1].host_probes);
	assert_string_equal(bench.plan->members[2].claim, "mine");
	assert_true(bench.plan->members[2].host_probes);
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	assert_int_equal(bench.group_fd, -1);
	assert_string_equal(bench.kernel->devices[0].driver, "e1000");
	assert_string_equal(bench.kernel->devices[1].driver, "vfio-pci");
	assert_string_equal(bench.kernel->devices[2].driver, "vfio-pci");
	job_bench_end(&bench);
}

static void test_refused(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 2);
	bench.kernel->devices[1].is_in_use = true;
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.n_ready, 0);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_string_equal(bench.refusal.text, "interface eth0 is up with address 10.0.0.2");
	assert_int_equal(bench.kernel->n_writes, 0);
	job_bench_end(&bench);
}

/* A dry run: what was not inspected for the refusal is read all the same. */
static void test_look(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 3);
	bench.kernel->devices[1].is_in_use = true;
	bench.kernel->devices[2].has_no_override_file = true;
	snprintf(bench.kernel->devices[1].override, DRIVER_NAME_SIZE, "e1000");
	job_bench_start(&bench, JOB_LOOK, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.n_ready, 0);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_true(bench.plan->members[0].known);
	assert_true(bench.plan->members[1].known);
	assert_string_equal(bench.plan->members[1].host_override, "e1000");
	assert_false(bench.plan->members[2].known);

	/* Nothing in the way, and nothing comes of it, even if it is told to go. */
	bench.kernel->devices[1].is_in_use = false;
	bench.kernel->devices[2].has_no_override_file = false;
	bench.goes = bench.frees_ready = true;
	job_bench_start(&bench, JOB_LOOK, 10);
	job_bench_news(&bench);
	assert_int_equal(bench.n_ready, 1);
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	job_bench_end(&bench);
}

static void test_rolled_back(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 2);
	bench.goes = true;
	snprintf(bench.kernel->devices[1].refuses, DRIVER_NAME_SIZE, "vfio-pci");
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	job_bench_news(&bench);
	assert_int_equal(bench.result, REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_int_equal(bench.refusal.errnum, EIO);
	assert_true(bench.refusal.rolled_back);
	assert_int_equal(bench.group_fd, -1);
	assert_string_equal(bench.kernel->devices[0].driver, "e1000");
	job_bench_end(&bench);
}

/* --- freed early ---------------------------------------------------------------------- */

static void test_freed_before_go(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	bench.job = job_free(bench.job);
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	assert_int_equal(bench.n_done, 0);
	job_bench_end(&bench);

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.frees_ready = true;
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	assert_int_equal(bench.n_done, 0);
	job_bench_end(&bench);
}

/* The other kinds wait for job_go() as well: the journal is written first. */
static void test_return_waits(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.keeps_waiting = true;
	job_bench_start(&bench, JOB_RETURN, 10);
	usleep(50000);
	ev_run(bench.loop, EVRUN_NOWAIT);
	assert_int_equal(bench.kernel->n_ops, 0);
	bench.job = job_free(bench.job);
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_ops, 0);
	assert_int_equal(bench.n_ready + bench.n_done, 0);
	job_bench_end(&bench);
}

static void test_freed_before_ready(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	job_bench_start(&bench, JOB_TAKE, 10);
	bench.job = job_free(bench.job);
	job_bench_no_child(&bench);
	assert_int_equal(bench.kernel->n_writes, 0);
	assert_int_equal(bench.n_ready, 0);
	job_bench_end(&bench);
	assert_null(job_free(NULL));
}

/* So it is when the daemon dies, too: its end of the socket closes. */
static void test_freed_after_go(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	job_bench_hang(&bench);
	bench.job = job_free(bench.job);
	bench.kernel->hangs_at = 0;
	job_bench_no_child(&bench);
	assert_true(fake_kernel_is_taken(bench.kernel));
	assert_int_equal(bench.n_done, 0);
	/* Its copy of the group went with it. */
	bench.kernel->n_open = 0;
	job_bench_end(&bench);
}

/* --- late ------------------------------------------------------------------------------- */

static void test_late_then_done(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.releases = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	job_bench_start(&bench, JOB_TAKE, 0.2);
	job_bench_news(&bench);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.n_done, 0);
	assert_int_equal(bench.late_step, STEP_OVERRIDE);
	assert_string_equal(bench.late_device, "0000:01:00.0");
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.result, 0);
	assert_true(fake_kernel_is_taken(bench.kernel));
	job_bench_end(&bench);
}

/* An inspection can hang as well, on a lock that an unbind holds. */
static void test_late_inspection(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.releases = true;
	bench.kernel->hangs_at = AT_GUARD;
	job_bench_start(&bench, JOB_TAKE, 1);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.late_step, STEP_GUARD);
	job_bench_news(&bench);
	assert_int_equal(bench.n_ready, 1);

	/* And while the caller thinks it over, nobody is late. */
	ev_timer pause;
	bool is_over = false;
	ev_timer_init(&pause, job_bench_give_up, 1.5, 0);
	pause.data = &is_over;
	ev_timer_start(bench.loop, &pause);
	while (!is_over)
		ev_run(bench.loop, EVRUN_ONCE);
	assert_int_equal(bench.n_late, 1);
	bench.job = job_free(bench.job);
	job_bench_end(&bench);
}

static void test_late_return(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.releases = true;
	bench.kernel->hangs_at = 1;
	job_bench_start(&bench, JOB_RETURN, 1);
	job_bench_news(&bench);
	assert_int_equal(bench.n_late, 1);
	assert_int_equal(bench.late_step, STEP_OPEN);
	assert_string_equal(bench.late_device, "");
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	job_bench_end(&bench);
}

/* --- killed ------------------------------------------------------------------------------ */

static void test_killed_in_take(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	job_bench_hang(&bench);
	kill(job_pid(bench.job), SIGKILL);
	job_bench_news(&bench);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.result, -ECHILD);
	assert_int_equal(bench.group_fd, -1);
	assert_int_equal(bench.refusal.kind, REFUSAL_SYSTEM);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	assert_int_equal(bench.refusal.step, STEP_OVERRIDE);
	assert_string_equal(bench.refusal.device, "0000:01:00.0");
	assert_string_equal(bench.refusal.text,
		"the bind child of group 7 was killed at step override of 0000:01:00.0");
	job_bench_end(&bench);
}

static void test_killed_before_go(void **state)
{
	(void)state;
	struct job_bench bench;

	job_bench_init(&bench, ev_default_loop(0), 1);
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	kill(job_pid(bench.job), SIGKILL);
	usleep(20000);
	/* Nobody there to hear it, and no SIGPIPE. */
	job_go(bench.job);
	job_bench_news(&bench);
	assert_int_equal(bench.result, -ECHILD);
	assert_int_equal(bench.kernel->n_writes, 0);
	job_bench_end(&bench);
}

/* --- the child's world -------------------------------------------------------------------- */

static void test_isolation(void **state)
{
	(void)state;
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1 };
	char path[64], text[64];
	const struct dirent *entry;
	struct job_bench bench;

	/* Descriptors of a client, say; one of them not close-on-exec. */
	int client[2];
	assert_int_equal(pipe(client), 0);
	job_bench_init(&bench, ev_default_loop(0), 1);
	bench.goes = true;
	bench.kernel->hangs_at = AT_OVERRIDE;
	job_bench_start(&bench, JOB_TAKE, 10);
	job_bench_news(&bench);
	job_bench_hang(&bench);

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
	job_bench_news(&bench);
	assert_int_equal(bench.result, 0);
	job_bench_end(&bench);
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
	sent.refusal.kind = REFUSAL_SYSTEM;
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
		cmocka_unit_test(test_look),
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
