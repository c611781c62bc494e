/* Real children on a real loop. */
#include "daemon/base/errand.h"

#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 20

struct bench {
	struct ev_loop *loop;
	struct errand *errand;
	int n_fds_before;
	unsigned n_done;
	int result;
	size_t length;
	char answer[64]; /* its beginning */
};

static void on_done(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct bench *bench = userdata;
	bench->n_done++;
	bench->result = result;
	bench->length = length;
	assert_int_equal(answer[length], '\0');
	snprintf(bench->answer, sizeof(bench->answer), "%s", answer);
	bench->errand = errand_free(errand);
	ev_break(bench->loop, EVBREAK_ONE);
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(loop, EVBREAK_ONE);
}

static void run(struct bench *bench, errand_work work, void *userdata, double deadline)
{
	ev_timer patience;

	assert_int_equal(errand_new(bench->loop, "errand", work, userdata, deadline, on_done, bench,
				 &bench->errand),
		0);
	ev_timer_init(&patience, give_up, PATIENCE_SECONDS, 0);
	ev_timer_start(bench->loop, &patience);
	ev_run(bench->loop, 0);
	ev_timer_stop(bench->loop, &patience);
	assert_int_equal(bench->n_done, 1);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	bench->loop = ev_default_loop(EVFLAG_AUTO);
	/* The loop has descriptors of its own, from its first turn on. */
	ev_run(bench->loop, EVRUN_NOWAIT);
	bench->n_fds_before = count_fds();
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	errand_free(bench->errand);
	assert_int_equal(count_fds(), bench->n_fds_before);
	free(bench);
	return 0;
}

static int say(FILE *answer, void *userdata)
{
	fputs(userdata, answer);
	return 7;
}

static void test_answer_and_result_come_back(void **state)
{
	struct bench *bench = *state;
	char text[] = "so it is";
	run(bench, say, text, PATIENCE_SECONDS);
	assert_int_equal(bench->result, 7);
	assert_string_equal(bench->answer, "so it is");
	assert_int_equal(bench->length, strlen("so it is"));
}

static int refuse_it(FILE *answer, void *userdata)
{
	(void)answer;
	(void)userdata;
	return -EACCES;
}

static void test_error_comes_back(void **state)
{
	struct bench *bench = *state;
	run(bench, refuse_it, NULL, PATIENCE_SECONDS);
	assert_int_equal(bench->result, -EACCES);
	assert_string_equal(bench->answer, "");
}

static int list_fds(FILE *answer, void *userdata)
{
	(void)userdata;
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			fprintf(answer, "%d ", fd);
	return 0;
}

static void test_child_has_no_descriptor_of_the_daemon(void **state)
{
	struct bench *bench = *state;
	run(bench, list_fds, NULL, PATIENCE_SECONDS);
	assert_string_equal(bench->answer, "0 1 2 3 ");
}

static int say_much(FILE *answer, void *userdata)
{
	const size_t *length = userdata;
	for (size_t i = 0; i < *length; i++)
		fputc('x', answer);
	return 0;
}

static void test_as_much_as_fits(void **state)
{
	struct bench *bench = *state;
	size_t length = ERRAND_ANSWER_MAX;
	run(bench, say_much, &length, PATIENCE_SECONDS);
	assert_int_equal(bench->result, 0);
	assert_int_equal(bench->length, length);
}

static void test_more_than_fits(void **state)
{
	struct bench *bench = *state;
	size_t length = ERRAND_ANSWER_MAX + 1;
	run(bench, say_much, &length, PATIENCE_SECONDS);
	assert_int_equal(bench->result, -EFBIG);
}

static int die(FILE *answer, void *userdata)
{
	(void)userdata;
	fputs("never said", answer);
	raise(SIGKILL);
	return 0;
}

static void test_killed_child(void **state)
{
	struct bench *bench = *state;
	run(bench, die, NULL, PATIENCE_SECONDS);
	assert_int_equal(bench->result, -ECHILD);
}

/* Writes half of a result to the pipe, as a child does that is killed while it writes. */
static int die_in_the_middle(FILE *answer, void *userdata)
{
	(void)answer;
	(void)userdata;
	assert_int_equal(write(CHILD_FD, "ab", 2), 2);
	raise(SIGKILL);
	return 0;
}

static void test_half_an_answer(void **state)
{
	struct bench *bench = *state;
	run(bench, die_in_the_middle, NULL, PATIENCE_SECONDS);
	assert_int_equal(bench->result, -ECHILD);
}

static int hang(FILE *answer, void *userdata)
{
	(void)answer;
	(void)userdata;
	while (true)
		pause();
	return 0;
}

static void test_late(void **state)
{
	struct bench *bench = *state;
	run(bench, hang, NULL, 0.05);
	assert_int_equal(bench->result, -ETIMEDOUT);
	/* Killed: it is there to be reaped, by us or by the loop. */
	pid_t pid = waitpid(-1, NULL, 0);
	assert_true(pid > 0 || errno == ECHILD);
}

static void test_freed_before_the_end(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(errand_new(bench->loop, "errand", hang, NULL, PATIENCE_SECONDS, on_done,
				 bench, &bench->errand),
		0);
	bench->errand = errand_free(bench->errand);
	pid_t pid = waitpid(-1, NULL, 0);
	assert_true(pid > 0 || errno == ECHILD);
	assert_int_equal(bench->n_done, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answer_and_result_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_child_has_no_descriptor_of_the_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_as_much_as_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_child, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_an_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_before_the_end, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
