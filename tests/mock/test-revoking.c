/* A revocation with its stages: how far it goes, and where it stops. */
#include "tests/mock/lending.h"

#include "daemon/broker/revoking.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define RULES                                                                                      \
	"[daemon]\nadmin = user:1000\n"                                                            \
	"[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n"

static int set_up(void **state)
{
	return lending_set_up(state, RULES "revoke = end\nrevoke-timeout = 0\n");
}

static int set_up_slow(void **state)
{
	return lending_set_up(state, RULES "revoke = end\nrevoke-timeout = 600\n");
}

static int set_up_asking(void **state)
{
	return lending_set_up(state, RULES);
}

/* It waits to be ended. */
static pid_t new_holder(bool obeys)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	signal(SIGTERM, obeys ? SIG_DFL : SIG_IGN);
	/* What the test leaves behind ends as well. */
	alarm(100);
	for (;;)
		pause();
}

static bool has_stage(const struct lending *lending, const char *part)
{
	return strstr(lending->stages, part);
}

/* The default loop waits for all children itself. */
static void on_child(struct ev_loop *loop, ev_child *child, int revents)
{
	(void)revents;
	ev_child_stop(loop, child);
	*(int *)child->data = child->rstatus;
}

static void end_holder(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void close_group(struct lending *lending)
{
	close(lending->group_fd);
	lending->group_fd = -1;
}

/* As a program does that is asked. */
static void test_given_back(void **state)
{
	struct lending *lending = *state;
	pid_t holder = new_holder(true);

	lend(lending, holder, false);
	assert_int_equal(lease_revoke_seconds(lending->broker, lending->lease), 600);
	assert_true(lease_revoke_left(lending->broker, lending->lease) < 0);
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "at six", false), 0);
	assert_int_equal(lending->n_asked, 1);
	assert_string_equal(lending->text, "at six");
	assert_string_equal(lending->stages, "it ends in 600 s if it is not given back before\n");
	double left = lease_revoke_left(lending->broker, lending->lease);
	/* libev adds the time of its clock, and takes it away again: that rounds. */
	assert_true(left > 500 && left < 600.001);
	/* Asked for once more, he has no more time. */
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "now", false), 0);
	assert_int_equal(lending->n_asked, 2);
	assert_null(strstr(strchr(lending->stages, '\n'), "it ends in"));
	assert_true(lease_revoke_left(lending->broker, lending->lease) <= left);
	broker_end(lending->broker, lending->lease, "it was released");
	wait_for(lending, has_stage(lending, "all of its groups are back"));
	assert_false(has_stage(lending, "SIG"));
	assert_int_equal(kill(holder, 0), 0);
	assert_true(LIST_EMPTY(&lending->broker->revocations));
	end_holder(holder);
}

static void assert_ended_by(struct lending *lending, bool obeys, bool now, int signal)
{
	pid_t holder = new_holder(obeys);
	int status = -1;
	ev_child child;

	ev_child_init(&child, on_child, holder, 0);
	child.data = &status;
	ev_child_start(lending->loop, &child);
	lending->keeps = true;
	lend(lending, holder, false);
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "at six", now), 0);
	wait_for(lending, !lending->lease);
	wait_for(lending, status != -1);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signal);
	assert_true(has_stage(lending, "SIGTERM was sent"));
	close_group(lending);
	wait_for(lending, has_stage(lending, "all of its groups are back"));
	assert_true(LIST_EMPTY(&lending->broker->revocations));
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
}

static void test_terminated(void **state)
{
	assert_ended_by(*state, true, false, SIGTERM);
}

static void test_killed(void **state)
{
	struct lending *lending = *state;
	assert_ended_by(lending, false, true, SIGKILL);
	assert_true(has_stage(lending, "SIGKILL was sent"));
}

/* He has closed it, but another process has it, that had no lease. */
static void test_somebody_else(void **state)
{
	struct lending *lending = *state;
	pid_t holder = new_holder(true);

	lending->keeps = true;
	lend(lending, holder, false);
	end_holder(holder);
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "at six", false), 0);
	wait_for(lending, has_stage(lending, "the process that had the lease has ended"));
	assert_false(has_stage(lending, "was sent"));
	assert_true(LIST_EMPTY(&lending->broker->revocations));
	close_group(lending);
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
}

/* Nobody's process is ended for that; and not our own, whatever it has. */
static void test_only_asked(void **state)
{
	struct lending *lending = *state;
	pid_t holder = new_holder(true);

	lending->keeps = true;
	lend(lending, holder, false);
	assert_int_equal(lease_revoke_seconds(lending->broker, lending->lease), -1);
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "at six", false), 0);
	assert_int_equal(lending->n_asked, 1);
	assert_true(LIST_EMPTY(&lending->broker->revocations));
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "at six", true), 0);
	assert_null(lending->lease);
	close_group(lending);
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_string_equal(lending->stages, "");
	assert_int_equal(kill(holder, 0), 0);
	end_holder(holder);
}

/* The daemon ends in the middle of it. */
static void test_left(void **state)
{
	struct lending *lending = *state;
	pid_t holder = new_holder(true);

	lend(lending, holder, false);
	assert_int_equal(broker_revoke(lending->broker, lending->lease, "at six", false), 0);
	end_holder(holder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_given_back, set_up_slow, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_terminated, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_killed, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_somebody_else, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_only_asked, set_up_asking, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_left, set_up_slow, lending_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
