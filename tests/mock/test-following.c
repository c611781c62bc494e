/*
 * A device leaves while a child moves it, and comes back with the host's driver, in another group
 * or in one of the same number. What the child writes then, by its name, reaches the one that has
 * come: it is given back there, or the group says why not, and can be returned later.
 */
#include "tests/mock/lending.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define UNBIND "/sys/devices/" LENT_DEVICE "/driver/unbind"
#define HOST_BIND "/sys/bus/pci/drivers/e1000/bind"
#define VFIO_BIND "/sys/bus/pci/drivers/vfio-pci/bind"

static int set_up(void **state)
{
	return lending_set_up(state, "[daemon]\nadmin = user:1000\n"
				     "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n");
}

static bool has_journal(const struct lending *lending, int number)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state/journal/%d.json", lending->directory, number);
	return access(path, F_OK) == 0;
}

static bool is_home(const struct lending *lending)
{
	char path[128], text[64];

	snprintf(path, sizeof(path), "%s/driver_override", lending->syspath);
	if (file_read(path, text, sizeof(text)) < 0 || strcmp(text, "(null)") != 0)
		return false;
	snprintf(path, sizeof(path), "%s/driver", lending->syspath);
	ssize_t n = readlink(path, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strcmp(strrchr(text, '/') + 1, "e1000") == 0;
}

/* A take is under way, and its child is about to write to this attribute of the device as it was.
 */
static void begin_take(struct lending *lending, const char *attribute)
{
	mock_kernel_gate(lending->kernel, attribute);
	lend_begin(lending, getpid(), false);
	wait_for(lending, mock_kernel_has_arrived(lending->kernel));
}

static void come_back(struct lending *lending, int number)
{
	free(lending->syspath);
	lending->syspath = testbed_add_pci(lending->bed, LENT_DEVICE, number, "e1000");
	testbed_set_attribute(lending->bed, lending->syspath, "driver_override", "(null)\n");
	testbed_send(lending->bed, lending->syspath, "bind");
	wait_for(lending, inventory_group(lending->inventory, number));
	assert_true(is_home(lending));
}

/* The daemon has seen that it left, and that it has come. */
static void replace(struct lending *lending, int number)
{
	testbed_remove(lending->bed, lending->syspath);
	wait_for(lending, !inventory_group(lending->inventory, 1));
	come_back(lending, number);
}

/* Nobody gets it while the child may write to it. */
static void assert_occupied(struct lending *lending, int number)
{
	struct group *group = inventory_group(lending->inventory, number);

	assert_int_equal(group->binding, BINDING_HOST);
	assert_false(group_is_free(lending->broker, group));
}

static void assert_is_home(struct lending *lending, int number)
{
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_true(is_home(lending));
	struct group *group = inventory_group(lending->inventory, number);
	assert_int_equal(group->binding, BINDING_HOST);
	assert_true(group_is_free(lending->broker, group));
	assert_false(has_journal(lending, 1));
	assert_false(has_journal(lending, number));
}

static void take_and_replace(struct lending *lending, int number)
{
	begin_take(lending, UNBIND);
	replace(lending, number);
	assert_occupied(lending, number);
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, lending->is_refused);
}

static void test_another_group(void **state)
{
	take_and_replace(*state, 3);
	assert_is_home(*state, 3);
}

static void test_the_same_number(void **state)
{
	take_and_replace(*state, 1);
	assert_is_home(*state, 1);
}

static void on_settled(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	(void)lingering;
	assert_int_equal(n_lingering, 0);
	assert_null(refusal);
	*(bool *)userdata = true;
}

/* The group that it is in now has failed, with its journal; and is returned when that can be. */
static void refuse_and_return(struct lending *lending, int number)
{
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];
	struct settling *settling;
	struct refusal refusal;
	bool has_settled = false;

	mock_kernel_break(lending->kernel, HOST_BIND);
	take_and_replace(lending, number);
	wait_for(lending,
		!TAILQ_EMPTY(&lending->broker->holdings) &&
			inventory_group(lending->inventory, number)->binding == BINDING_FAILED);
	struct group *group = inventory_group(lending->inventory, number);
	assert_non_null(strstr(group->failure, LENT_DEVICE " is on no driver, was on e1000"));
	assert_int_equal(group_is_usable(lending->broker, group, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_GROUP_FAILED);
	assert_true(number == 1 || !has_journal(lending, 1));
	assert_int_equal(
		journal_read(lending->broker->state_directory, number, &entry, text, sizeof(text)),
		0);
	assert_int_equal(entry.phase, JOURNAL_FAILED);
	journal_entry_clear(&entry);

	mock_kernel_break(lending->kernel, "");
	assert_int_equal(broker_return(lending->broker, group, on_settled, &has_settled, &settling,
				 &refusal),
		0);
	wait_for(lending, has_settled);
	assert_is_home(lending, number);
}

static void test_another_group_refuses(void **state)
{
	refuse_and_return(*state, 3);
}

static void test_the_same_number_refuses(void **state)
{
	refuse_and_return(*state, 1);
}

/* It has unbound the one that came, and is killed before it writes once more. */
static void test_killed(void **state)
{
	struct lending *lending = *state;

	begin_take(lending, UNBIND);
	replace(lending, 3);
	mock_kernel_gate(lending->kernel, VFIO_BIND);
	wait_for(lending, mock_kernel_has_arrived(lending->kernel));
	assert_false(is_home(lending));
	const struct holding *holding = holding_find_number(lending->broker, 1);
	assert_int_equal(kill(job_pid(holding->job), SIGKILL), 0);
	wait_for(lending, lending->is_refused);
	assert_is_home(lending, 3);
	mock_kernel_gate(lending->kernel, "");
}

/* It leaves while it is returned. */
static void test_return(void **state)
{
	struct lending *lending = *state;

	lend(lending, getpid(), false);
	mock_kernel_gate(lending->kernel, UNBIND);
	broker_end(lending->broker, lending->lease, "it was enough");
	wait_for(lending, mock_kernel_has_arrived(lending->kernel));
	mock_kernel_break(lending->kernel, HOST_BIND);
	replace(lending, 3);
	assert_occupied(lending, 3);
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, inventory_group(lending->inventory, 3)->binding == BINDING_FAILED);
	assert_true(has_journal(lending, 3));
	assert_false(has_journal(lending, 1));
}

/* The daemon is killed first, its child is not, and the device leaves while there is no daemon. */
static void kill_and_replace(struct lending *lending, int number, bool again)
{
	begin_take(lending, UNBIND);
	lending_stop(lending);
	testbed_remove(lending->bed, lending->syspath);
	lending_start(lending);
	assert_true(has_journal(lending, 1));
	come_back(lending, number);
	assert_occupied(lending, number);
	if (again) {
		lending_stop(lending);
		lending_start(lending);
		assert_false(group_is_free(
			lending->broker, inventory_group(lending->inventory, number)));
	}
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending,
		group_is_free(lending->broker, inventory_group(lending->inventory, number)));
	assert_is_home(lending, number);
}

static void test_restart_another_group(void **state)
{
	kill_and_replace(*state, 3, false);
}

static void test_restart_the_same_number(void **state)
{
	kill_and_replace(*state, 1, false);
}

/* That daemon is killed, too. */
static void test_restarts_another_group(void **state)
{
	kill_and_replace(*state, 3, true);
}

static void test_restarts_the_same_number(void **state)
{
	kill_and_replace(*state, 1, true);
}

static void stopped(void *userdata)
{
	*(bool *)userdata = true;
}

/* It does not come back, and the child is neither waited for nor forgotten by who stops. */
static void test_restart_and_stop(void **state)
{
	struct lending *lending = *state;
	bool has_stopped = false;

	begin_take(lending, UNBIND);
	lending_stop(lending);
	testbed_remove(lending->bed, lending->syspath);
	lending_start(lending);
	broker_shutdown(lending->broker, stopped, &has_stopped);
	wait_for(lending, has_stopped);
	assert_true(has_journal(lending, 1));
	lending_stop(lending);
	lending_start(lending);
	assert_false(TAILQ_EMPTY(&lending->broker->holdings));
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_false(has_journal(lending, 1));
}

/* No child was at work: whoever came has nothing of ours, and nothing is written to him. */
static void test_idle(void **state)
{
	struct lending *lending = *state;

	lend(lending, getpid(), false);
	unsigned n_writes = mock_kernel_n_writes(lending->kernel);
	replace(lending, 3);
	wait_for(lending, !lending->lease);
	assert_is_home(lending, 3);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes);
}

#define following_test(test) cmocka_unit_test_setup_teardown(test, set_up, lending_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		following_test(test_another_group),
		following_test(test_the_same_number),
		following_test(test_another_group_refuses),
		following_test(test_the_same_number_refuses),
		following_test(test_killed),
		following_test(test_return),
		following_test(test_restart_another_group),
		following_test(test_restart_the_same_number),
		following_test(test_restarts_another_group),
		following_test(test_restarts_the_same_number),
		following_test(test_restart_and_stop),
		following_test(test_idle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
