/* One keeper, asked by a test; the other end is the test's as well. */
#include "fake-keeper.h"

#include "daemon/base/util.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 20

struct bench {
	struct ev_loop *loop;
	struct keeper *keeper;
	int n_fds_before;
	unsigned n_ready, n_runs, n_done, n_gone;
	uint64_t runs_offset;
	frame_run last_run;
	struct wire_done done;
	bool has_info;
	int fd, status;
	char text[256];
	/* Of the other end. */
	struct wire_request request;
	size_t n_request_fds;
	void (*says)(struct fake_keeper *keeper);
};
static struct bench bench;

static void on_ready(struct keeper *keeper, void *userdata)
{
	assert_true(userdata == &bench && keeper == bench.keeper);
	bench.n_ready++;
	ev_break(bench.loop, EVBREAK_ALL);
}

static void on_runs(
	struct keeper *keeper, const struct wire_runs *runs, size_t n_runs, void *userdata)
{
	(void)keeper;
	(void)userdata;
	bench.n_runs += (unsigned)n_runs;
	bench.runs_offset = runs->book_offset;
	bench.last_run = runs->runs[n_runs - 1];
}

static void on_done(struct keeper *keeper, const struct wire_done *done,
	const struct wire_info *info, int fd, void *userdata)
{
	(void)keeper;
	(void)userdata;
	bench.n_done++;
	bench.done = *done;
	bench.has_info = info;
	if (bench.fd >= 0)
		close(bench.fd);
	bench.fd = fd;
	ev_break(bench.loop, EVBREAK_ALL);
}

static void on_gone(struct keeper *keeper, int status, const char *text, void *userdata)
{
	(void)userdata;
	bench.n_gone++;
	bench.status = status;
	snprintf(bench.text, sizeof(bench.text), "%s", text);
	bench.keeper = keeper_free(keeper);
	ev_break(bench.loop, EVBREAK_ALL);
}

static const struct keeper_listener listener = { on_ready, on_runs, on_done, on_gone };

static void on_request(struct fake_keeper *keeper, const struct wire_request *request,
	const int *fds, size_t n_fds)
{
	(void)fds;
	bench.request = *request;
	bench.n_request_fds = n_fds;
	if (request->header.type == WIRE_START)
		fake_done(keeper, &(struct wire_done){ 0 }, -1);
	else if (bench.says)
		bench.says(keeper);
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	*(bool *)timer->data = true;
	ev_break(loop, EVBREAK_ALL);
}

static void wait_for_news(void)
{
	bool is_over = false;
	ev_timer patience;

	ev_now_update(bench.loop);
	ev_timer_init(&patience, give_up, PATIENCE_SECONDS, 0);
	patience.data = &is_over;
	ev_timer_start(bench.loop, &patience);
	ev_run(bench.loop, 0);
	ev_timer_stop(bench.loop, &patience);
	assert_false(is_over);
}

static int set_up(void **state)
{
	(void)state;
	bench = (struct bench){ .loop = ev_default_loop(0), .fd = -1 };
	ev_run(bench.loop, EVRUN_NOWAIT);
	fake_host_init(bench.loop, on_request);
	bench.n_fds_before = count_fds();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (bench.fd >= 0)
		close(bench.fd);
	keeper_free(bench.keeper);
	fake_host_clear();
	ev_run(bench.loop, EVRUN_NOWAIT);
	assert_int_equal(count_fds(), bench.n_fds_before);
	return 0;
}

static void start(enum keeper_role role)
{
	static const struct subject client = { .pid = 1 };
	int book = role == KEEPER_SPACE || role == KEEPER_BOOK ? open("/dev/null", O_RDWR) : -1;

	assert_int_equal(keeper_new(bench.loop, &fake_ops, "keeper", role, &client, book, &listener,
				 &bench, &bench.keeper),
		0);
	if (book >= 0)
		close(book);
}

static void start_ready(enum keeper_role role)
{
	start(role);
	wait_for_news();
	assert_int_equal(bench.n_ready, 1);
}

static void ask(uint32_t type, double seconds)
{
	struct wire_request request = { .header.type = type, .mapping = 7 };
	assert_int_equal(keeper_ask(bench.keeper, &request, NULL, 0, seconds), 0);
}

static void test_begins_with_the_book(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	assert_int_equal(bench.request.header.type, WIRE_START);
	assert_int_equal(bench.n_request_fds, 1);
	assert_int_equal(keeper_pid(bench.keeper), fake_host.keepers[0].pid);
}

static void test_a_helper_has_no_book(void **state)
{
	(void)state;
	start_ready(KEEPER_PUNCH);
	assert_int_equal(bench.request.header.type, 0);
}

static void test_not_started(void **state)
{
	(void)state;
	static const struct subject client = { .pid = 1 };

	fake_host.spawn_fails = -EAGAIN;
	assert_int_equal(keeper_new(bench.loop, &fake_ops, "keeper", KEEPER_PUNCH, &client, -1,
				 &listener, &bench, &bench.keeper),
		-EAGAIN);
	assert_null(bench.keeper);
}

/* Both have to come, in any order: that it is isolated, and which process it is. */
static void test_started_elsewhere(void **state)
{
	(void)state;
	fake_host.is_elsewhere = true;
	start(KEEPER_PUNCH);
	assert_int_equal(keeper_pid(bench.keeper), 0);
	for (int i = 0; i < 5; i++)
		ev_run(bench.loop, EVRUN_NOWAIT);
	assert_int_equal(bench.n_ready, 0);
	fake_report_started();
	wait_for_news();
	assert_int_equal(bench.n_ready, 1);
	assert_int_equal(keeper_pid(bench.keeper), fake_host.keepers[0].pid);
	keeper_kill(bench.keeper, "no reason");
	fake_report_ended(SIGKILL);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_string_equal(bench.text, "its keeper was killed: no reason");
}

static void test_its_end_is_reported(void **state)
{
	(void)state;
	fake_host.is_elsewhere = fake_host.is_silent = true;
	start(KEEPER_POPULATE);
	fake_report_started();
	fake_report_ended(3 << 8);
	fake_report_close();
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_int_equal(bench.status, 3 << 8);
	assert_string_equal(bench.text, "its keeper has ended with status 3");
}

/* One message each time that the loop goes round: the news of its end are older than its last
 * words. */
static void say_all_and_die(struct fake_keeper *keeper)
{
	const frame_run run = run_make(12, 34);

	for (int i = 0; i < 8; i++)
		fake_runs(keeper, 0, &run, 1);
	fake_done(keeper, &(struct wire_done){ .result = 0 }, -1);
	fake_report_ended(SIGKILL);
	fake_report_close();
	fake_die(keeper);
}

static void test_last_words_elsewhere(void **state)
{
	(void)state;
	fake_host.is_elsewhere = true;
	start(KEEPER_SPACE);
	fake_report_started();
	wait_for_news();
	bench.says = say_all_and_die;
	ask(WIRE_READ, PATIENCE_SECONDS);
	while (bench.n_gone == 0)
		wait_for_news();
	assert_int_equal(bench.n_runs, 8);
	assert_int_equal(bench.n_done, 1);
	assert_int_equal(bench.status, SIGKILL);
}

/* Who has started it tells no more of it: then the kernel does. */
static void test_nobody_reports(void **state)
{
	(void)state;
	fake_host.is_elsewhere = true;
	start(KEEPER_SPACE);
	fake_report_started();
	fake_report_close();
	wait_for_news();
	assert_int_equal(bench.n_ready, 1);
	fake_die(&fake_host.keepers[0]);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_int_equal(bench.status, -1);
	assert_string_equal(bench.text, "its keeper has ended");
}

static void test_not_started_elsewhere(void **state)
{
	(void)state;
	fake_host.is_elsewhere = fake_host.is_silent = true;
	start(KEEPER_PUNCH);
	fake_report_failed(-EAGAIN);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_int_equal(bench.status, -1);
	assert_string_equal(
		bench.text, "its keeper could not be started: Resource temporarily unavailable");
	fake_report_close();
	start(KEEPER_PUNCH);
	fake_report_close();
	wait_for_news();
	assert_int_equal(bench.n_gone, 2);
	assert_string_equal(
		bench.text, "its keeper could not be started: Connection reset by peer");
}

static void say_runs_and_done(struct fake_keeper *keeper)
{
	static frame_run runs[WIRE_RUNS_MAX];

	runs[WIRE_RUNS_MAX - 1] = run_make(12, 34);
	fake_runs(keeper, 80, runs, WIRE_RUNS_MAX);
	fake_runs(keeper, 160, &runs[WIRE_RUNS_MAX - 1], 1);
	fake_done(keeper, &(struct wire_done){ .result = -ENOMEM, .size = 5, .text = "why" }, -1);
}

static void say_device(struct fake_keeper *keeper)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	fake_done(keeper, &(struct wire_done){ 0 }, fd);
	close(fd);
}

static void test_a_device_comes(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	bench.says = say_device;
	ask(WIRE_GET_DEVICE, PATIENCE_SECONDS);
	wait_for_news();
	assert_true(bench.fd >= 0);
}

static void test_request_and_answer(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	bench.says = say_runs_and_done;
	for (unsigned i = 1; i <= 3; i++) {
		ask(WIRE_UNMAP, PATIENCE_SECONDS);
		wait_for_news();
		assert_int_equal(bench.n_done, i);
		assert_int_equal(bench.request.mapping, 7);
		assert_int_equal(bench.n_runs, i * (WIRE_RUNS_MAX + 1));
	}
	assert_int_equal(bench.runs_offset, 160);
	assert_true(bench.last_run == run_make(12, 34));
	assert_int_equal(bench.done.result, -ENOMEM);
	assert_int_equal(bench.done.size, 5);
	assert_string_equal(bench.done.text, "why");
	assert_int_equal(bench.n_gone, 0);
}

static void say_info(struct fake_keeper *keeper)
{
	struct wire_info info = { .n_ranges = 1 };
	fake_done(keeper, &(struct wire_done){ .container = 3 }, -1);
	fake_send(keeper, &info, WIRE_INFO, sizeof(info), -1);
}

static void say_no_info(struct fake_keeper *keeper)
{
	fake_done(keeper, &(struct wire_done){ .result = -EINVAL }, -1);
}

static void test_info_follows(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	bench.says = say_info;
	ask(WIRE_INFO, PATIENCE_SECONDS);
	wait_for_news();
	assert_true(bench.has_info);
	assert_int_equal(bench.done.container, 3);
	bench.says = say_no_info;
	ask(WIRE_INFO, PATIENCE_SECONDS);
	wait_for_news();
	assert_false(bench.has_info);
	assert_int_equal(bench.done.result, -EINVAL);
}

static void say_holes(struct fake_keeper *keeper)
{
	fake_done(keeper, &(struct wire_done){ .result = WIRE_HOLES, .n_runs = 2 }, -1);
	fake_done(keeper, &(struct wire_done){ .result = 0 }, -1);
}

static void test_populate_answers_twice(void **state)
{
	(void)state;
	start_ready(KEEPER_POPULATE);
	bench.says = say_holes;
	ask(WIRE_POPULATE, PATIENCE_SECONDS);
	wait_for_news();
	assert_int_equal(bench.done.result, WIRE_HOLES);
	assert_int_equal(bench.done.n_runs, 2);
	wait_for_news();
	assert_int_equal(bench.n_done, 2);
	assert_int_equal(bench.done.result, 0);
}

static void say_holes_and_die(struct fake_keeper *keeper)
{
	siginfo_t info;

	say_holes(keeper);
	fake_die(keeper);
	/* So that the loop sees both at once: that it has ended, and what it has said. */
	assert_int_equal(waitid(P_PID, (id_t)keeper->pid, &info, WEXITED | WNOWAIT), 0);
}

static void test_last_words(void **state)
{
	(void)state;
	start_ready(KEEPER_POPULATE);
	bench.says = say_holes_and_die;
	ask(WIRE_POPULATE, PATIENCE_SECONDS);
	for (unsigned n = 1; n <= 2; n++) {
		wait_for_news();
		assert_int_equal(bench.n_done, n);
		assert_int_equal(bench.n_gone, 0);
	}
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_true(WIFSIGNALED(bench.status) && WTERMSIG(bench.status) == SIGKILL);
}

static void test_late(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	ask(WIRE_MAP, 0.01);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_non_null(strstr(bench.text, "in time"));
	assert_int_equal(bench.status, -1);
}

static void test_dies(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	kill(keeper_pid(bench.keeper), SIGUSR1);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_non_null(strstr(bench.text, "signal 10"));
	assert_true(WIFSIGNALED(bench.status) && WTERMSIG(bench.status) == SIGUSR1);
}

static void test_asked_when_it_is_dead(void **state)
{
	(void)state;
	struct wire_request request = { .header.type = WIRE_MAP };

	start_ready(KEEPER_SPACE);
	keeper_kill(bench.keeper, "the test wants it");
	assert_int_equal(keeper_ask(bench.keeper, &request, NULL, 0, 1), -EPIPE);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_string_equal(bench.text, "its keeper was killed: the test wants it");
}

static void test_ends(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	keeper_end(bench.keeper);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
}

static void say_runs_to_a_map(struct fake_keeper *keeper)
{
	fake_runs(keeper, 0, &(frame_run){ 1 }, 1);
}
static void say_hello_again(struct fake_keeper *keeper)
{
	fake_hello(keeper, WIRE_VERSION);
}
static void say_info_unasked(struct fake_keeper *keeper)
{
	struct wire_info info = { 0 };
	fake_send(keeper, &info, WIRE_INFO, sizeof(info), -1);
}
static void say_done_twice(struct fake_keeper *keeper)
{
	fake_done(keeper, &(struct wire_done){ 0 }, -1);
	fake_done(keeper, &(struct wire_done){ 0 }, -1);
}
static void say_a_request(struct fake_keeper *keeper)
{
	struct wire_request request = { 0 };
	fake_send(keeper, &request, WIRE_MAP, sizeof(request), -1);
}
static void say_half(struct fake_keeper *keeper)
{
	struct wire_done done = { 0 };
	fake_send(keeper, &done, WIRE_DONE, sizeof(done) - 8, -1);
}
static void say_too_many_ranges(struct fake_keeper *keeper)
{
	struct wire_info info = { .n_ranges = WIRE_RANGES_MAX + 1 };
	fake_done(keeper, &(struct wire_done){ 0 }, -1);
	fake_send(keeper, &info, WIRE_INFO, sizeof(info), -1);
}

static void test_nonsense(void **state)
{
	(void)state;
	static const struct {
		void (*says)(struct fake_keeper *keeper);
		uint32_t type;
	} cases[] = {
		{ say_runs_to_a_map, WIRE_MAP },
		{ say_hello_again, WIRE_MAP },
		{ say_info_unasked, WIRE_MAP },
		{ say_info_unasked, WIRE_INFO },
		{ say_done_twice, WIRE_INFO },
		{ say_done_twice, WIRE_MAP },
		{ say_a_request, WIRE_MAP },
		{ say_half, WIRE_MAP },
		{ say_device, WIRE_MAP },
		{ say_too_many_ranges, WIRE_INFO },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bench.n_ready = 0;
		start_ready(KEEPER_SPACE);
		bench.says = cases[i].says;
		ask(cases[i].type, PATIENCE_SECONDS);
		while (bench.n_gone == i)
			wait_for_news();
		assert_non_null(strstr(bench.text, "protocol"));
	}
}

static void test_of_another_version(void **state)
{
	(void)state;
	fake_host.is_silent = true;
	start(KEEPER_SPACE);
	fake_hello(&fake_host.keepers[0], WIRE_VERSION + 1);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_int_equal(bench.n_ready, 0);
	assert_non_null(strstr(bench.text, "version"));
}

static void test_an_answer_before_a_question(void **state)
{
	(void)state;
	fake_host.is_silent = true;
	start(KEEPER_SPACE);
	fake_done(&fake_host.keepers[0], &(struct wire_done){ 0 }, -1);
	wait_for_news();
	assert_int_equal(bench.n_gone, 1);
	assert_int_equal(bench.n_ready, 0);
}

/* As it is freed: what it had sent is closed with it. */
static void test_freed_in_the_middle(void **state)
{
	(void)state;
	start_ready(KEEPER_SPACE);
	bench.says = say_device;
	ask(WIRE_GET_DEVICE, PATIENCE_SECONDS);
	ev_run(bench.loop, EVRUN_ONCE);
	bench.keeper = keeper_free(bench.keeper);
	assert_int_equal(bench.n_gone, 0);
}

/* The program itself: an exec that fails, and one that says nothing and ends. */
static void test_real_processes(void **state)
{
	(void)state;
	struct subject client = { .pid = getpid() };
	static const struct {
		const char *path;
		int status;
	} cases[] = { { "/nowhere/vfiod-keeper", 127 }, { "/bin/false", 1 } };

	assert_int_equal(process_start_time(getpid(), &client.start_ticks), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(keeper_new(bench.loop, &keeper_ops, cases[i].path, KEEPER_POPULATE,
					 &client, -1, &listener, &bench, &bench.keeper),
			0);
		wait_for_news();
		assert_int_equal(bench.n_gone, i + 1);
		assert_true(WIFEXITED(bench.status));
		assert_int_equal(WEXITSTATUS(bench.status), cases[i].status);
	}
	assert_int_equal(keeper_ops.locked(getpid()), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_begins_with_the_book),
		TEST(test_a_helper_has_no_book),
		TEST(test_not_started),
		TEST(test_started_elsewhere),
		TEST(test_its_end_is_reported),
		TEST(test_last_words_elsewhere),
		TEST(test_nobody_reports),
		TEST(test_not_started_elsewhere),
		TEST(test_request_and_answer),
		TEST(test_a_device_comes),
		TEST(test_info_follows),
		TEST(test_populate_answers_twice),
		TEST(test_last_words),
		TEST(test_late),
		TEST(test_dies),
		TEST(test_asked_when_it_is_dead),
		TEST(test_ends),
		TEST(test_nonsense),
		TEST(test_of_another_version),
		TEST(test_an_answer_before_a_question),
		TEST(test_freed_in_the_middle),
		TEST(test_real_processes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
