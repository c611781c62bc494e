/*
 * The kernel takes a device away from who has it, and waits for him: seen without an event, told to
 * him, and over when it has left, or is only nobody's any more.
 */
#include "tests/mock/lending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
	return lending_set_up(state, "[daemon]\nadmin = user:1000\n"
				     "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n");
}

/* What comes first, and without a word. */
static void take_link_away(struct lending *lending)
{
	const struct sysfs_ops *ops = mock_kernel_ops(lending->kernel);
	char path[256];

	snprintf(path, sizeof(path), "%s/driver/unbind", lending->syspath);
	assert_int_equal(ops->write(ops->userdata, path, LENT_DEVICE), 0);
}

static void assert_waits(struct lending *lending, const struct group *group)
{
	struct refusal refusal;

	wait_for(lending, group->binding == BINDING_STUCK);
	assert_non_null(strstr(group->failure, LENT_DEVICE));
	assert_int_equal(lending->n_asked, 1);
	assert_int_equal(lending->n_leaving, 1);
	assert_string_equal(lending->text, group->failure);
	assert_true(lending->lease->is_release_requested);
	assert_int_equal(group_is_usable(lending->broker, group, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_STUCK);
	assert_string_equal(refusal.device, LENT_DEVICE);
	assert_int_equal(refusal.step, STEP_UNBIND);
}

static void test_it_leaves(void **state)
{
	struct lending *lending = *state;
	struct group *group = lend(lending, getpid(), false);

	take_link_away(lending);
	assert_waits(lending, group);
	testbed_remove(lending->bed, lending->syspath);
	wait_for(lending, !lending->lease);
	assert_int_equal(lending->n_gone, 1);
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_null(inventory_group(lending->inventory, 1));
}

/* It was only unbound: the event says that the kernel waits no more. */
static void test_it_stays(void **state)
{
	struct lending *lending = *state;
	struct group *group = lend(lending, getpid(), false);

	take_link_away(lending);
	assert_waits(lending, group);
	testbed_send(lending->bed, lending->syspath, "unbind");
	wait_for(lending, group->binding != BINDING_STUCK);
	assert_int_equal(lending->n_asked, 1);
	assert_non_null(lending->lease);
	broker_end(lending->broker, lending->lease, "it was enough");
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
}

/* While the kernel waits, the lease ends: that does not make the group any better. */
static void test_its_lease_ends(void **state)
{
	struct lending *lending = *state;
	struct group *group = lend(lending, getpid(), false);
	const struct sysfs_ops *ops = mock_kernel_ops(lending->kernel);

	int fd = ops->open_group(ops->userdata, 1);
	assert_true(fd >= 0);
	take_link_away(lending);
	assert_waits(lending, group);
	broker_end(lending->broker, lending->lease, "it was enough");
	close(fd);
	testbed_remove(lending->bed, lending->syspath);
	wait_for(lending, TAILQ_EMPTY(&lending->broker->holdings));
	assert_null(inventory_group(lending->inventory, 1));
}

#define leaving_test(test) cmocka_unit_test_setup_teardown(test, set_up, lending_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		leaving_test(test_it_leaves),
		leaving_test(test_it_stays),
		leaving_test(test_its_lease_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
