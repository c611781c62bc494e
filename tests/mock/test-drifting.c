/*
 * A group that a rule has taken loses its VFIO driver to somebody else: it is given back as it was,
 * and taken anew; not while it is lent, and not for ever. One that could not be given back is well
 * when its device has found home.
 */
#include "tests/mock/lending.h"

#include "daemon/base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
	return lending_set_up(state,
		"[daemon]\nadmin = user:1000\n[rule all]\nmatch = pci:address=0000:*\n"
		"take = appear\nallow = user:1000\n");
}

static bool is_on(const struct lending *lending, const char *driver)
{
	char path[128], target[128];

	snprintf(path, sizeof(path), "%s/driver", lending->syspath);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return !*driver;
	target[n] = '\0';
	return strcmp(strrchr(target, '/') + 1, driver) == 0;
}

static const char *override_of(const struct lending *lending)
{
	static char text[64];
	char path[128];

	snprintf(path, sizeof(path), "%s/driver_override", lending->syspath);
	assert_true(file_read(path, text, sizeof(text)) >= 0);
	return text;
}

static bool is_at_rest(struct lending *lending, const struct group *group)
{
	const struct holding *holding = holding_find(lending->broker, group);

	return holding && holding->state == HOLDING_IDLE && group->binding == BINDING_TAKEN;
}

static void take_driver_away(struct lending *lending)
{
	const struct sysfs_ops *ops = mock_kernel_ops(lending->kernel);
	char path[256];

	snprintf(path, sizeof(path), "%s/driver/unbind", lending->syspath);
	assert_int_equal(ops->write(ops->userdata, path, LENT_DEVICE), 0);
	assert_true(is_on(lending, ""));
	testbed_send(lending->bed, lending->syspath, "unbind");
}

static struct group *await_taken(struct lending *lending)
{
	struct group *group = inventory_group(lending->inventory, 1);

	wait_for(lending, is_at_rest(lending, group));
	assert_true(is_on(lending, "vfio-pci"));
	return group;
}

static void test_it_is_taken_anew(void **state)
{
	struct lending *lending = *state;
	const struct group *group = await_taken(lending);

	take_driver_away(lending);
	wait_for(lending, group->binding == BINDING_HOST);
	wait_for(lending, group->binding == BINDING_TAKING);
	/* As it was before the first time: that is what this take has found. */
	assert_string_equal(
		holding_find(lending->broker, group)->plan->members[0].host_driver, "e1000");
	await_taken(lending);
}

/* It stays with the host, and that is said. */
static void test_not_for_ever(void **state)
{
	struct lending *lending = *state;
	struct group *group = await_taken(lending);

	for (int i = 0; i < 8; i++)
		appearing_note_loss(lending->broker, group);
	assert_null(broker_problem(lending->broker, group));
	take_driver_away(lending);
	wait_for(lending, broker_problem(lending->broker, group));
	assert_non_null(strstr(broker_problem(lending->broker, group), "again"));
	assert_int_equal(group->binding, BINDING_HOST);
	assert_true(is_on(lending, "e1000"));
	assert_string_equal(override_of(lending), "(null)");
	assert_true(TAILQ_EMPTY(&lending->broker->holdings));
	appearing_look_at_all(lending->broker);
	await_taken(lending);
}

/* Its lease first. */
static void test_while_it_is_lent(void **state)
{
	struct lending *lending = *state;
	struct group *group = await_taken(lending);

	lend(lending, getpid(), false);
	take_driver_away(lending);
	double until = ev_now(lending->loop) + 1.5;
	wait_for(lending, ev_now(lending->loop) > until);
	assert_int_equal(holding_find(lending->broker, group)->state, HOLDING_USED);
	assert_true(is_on(lending, ""));
	broker_end(lending->broker, lending->lease, "it was enough");
	wait_for(lending, group->binding == BINDING_TAKING);
	await_taken(lending);
}

#define HOST_BIND "/sys/bus/pci/drivers/e1000/bind"

static void on_settled(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	(void)lingering;
	(void)n_lingering;
	(void)userdata;
	assert_int_equal(refusal->kind, REFUSAL_RETURN_FAILED);
}

static struct group *fail_to_return(struct lending *lending)
{
	struct group *group = await_taken(lending);
	struct settling *settling;
	struct refusal refusal;

	mock_kernel_break(lending->kernel, HOST_BIND);
	assert_int_equal(
		broker_return(lending->broker, group, on_settled, NULL, &settling, &refusal), 0);
	wait_for(lending, group->binding == BINDING_FAILED);
	mock_kernel_break(lending->kernel, "");
	return group;
}

static void find_home(struct lending *lending)
{
	const struct sysfs_ops *ops = mock_kernel_ops(lending->kernel);

	assert_int_equal(ops->write(ops->userdata, HOST_BIND, LENT_DEVICE), 0);
	testbed_send(lending->bed, lending->syspath, "bind");
}

static void test_it_has_found_home(void **state)
{
	struct lending *lending = *state;
	const struct group *group = fail_to_return(lending);

	find_home(lending);
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_int_equal(group->binding, BINDING_HOST);
	assert_string_equal(override_of(lending), "(null)");
	assert_true(is_on(lending, "e1000"));
}

/* Its override cannot be written: tried once, and again at the next change of its driver. */
static void test_it_is_not_all_of_home(void **state)
{
	struct lending *lending = *state;
	const struct sysfs_ops *ops = mock_kernel_ops(lending->kernel);
	const struct group *group = fail_to_return(lending);
	char path[256], by_hand[] = "vfio-pci";

	find_home(lending);
	snprintf(path, sizeof(path), "%s/driver_override", lending->syspath);
	assert_int_equal(ops->write(ops->userdata, path, by_hand), 0);
	mock_kernel_break(lending->kernel, path);
	wait_for(lending, holding_find(lending->broker, group)->has_come_home);
	wait_for(lending, group->binding == BINDING_RETURNING);
	wait_for(lending, group->binding == BINDING_FAILED);
	unsigned n_writes = mock_kernel_n_writes(lending->kernel);
	double until = ev_now(lending->loop) + 2.5;
	wait_for(lending, ev_now(lending->loop) > until);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes);

	mock_kernel_break(lending->kernel, "");
	take_driver_away(lending);
	wait_for(lending, !*TAILQ_FIRST(&group->devices)->driver);
	assert_int_equal(ops->write(ops->userdata, path, "\n"), 0);
	find_home(lending);
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_string_equal(override_of(lending), "(null)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_it_is_taken_anew, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_not_for_ever, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_while_it_is_lent, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_it_has_found_home, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(
			test_it_is_not_all_of_home, set_up, lending_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
