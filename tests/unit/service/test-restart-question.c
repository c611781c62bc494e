/* What a job of systemd's means for who is asked to end; the asking itself is
 * tests/vm/systemd.sh's. */
#include "daemon/service/restart-question.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_jobs(void **state)
{
	(void)state;
	assert_true(restart_is_meant("restart", "always"));
	assert_true(restart_is_meant("restart", "no"));
	assert_false(restart_is_meant("stop", "always"));
	assert_false(restart_is_meant("nop", "always"));
	/* kill(1) */
	assert_true(restart_is_meant("", "always"));
	assert_false(restart_is_meant("", "on-failure"));
}

static void on_answer(bool is_restart, void *userdata)
{
	int *answers = userdata;
	assert_false(is_restart);
	++*answers;
}

static void test_nobody_to_ask(void **state)
{
	struct restart_question question = { 0 };
	int answers = 0;

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	restart_ask(&question, ev_default_loop(EVFLAG_NOENV), on_answer, &answers);
	assert_int_equal(answers, 1);
	restart_forget(&question);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jobs),
		cmocka_unit_test(test_nobody_to_ask),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
