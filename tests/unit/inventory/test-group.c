/* A group's states, its files, its life. */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct heard {
	int n;
	enum inventory_event event;
	struct group *group;
	char before[32];
};

static void listen(const struct inventory_change *change, void *userdata)
{
	struct heard *heard = userdata;
	heard->n++;
	heard->event = change->event;
	heard->group = change->group;
	assert_null(change->device);
	snprintf(heard->before, sizeof(heard->before), "%s", change->before);
}

static void test_observed(void **state)
{
	struct device a = { .bus = "pci" }, b = { .bus = "pci" };
	struct group group = { 0 };

	(void)state;
	TAILQ_INIT(&group.devices);
	assert_int_equal(group_observed_binding(&group), BINDING_HOST);
	TAILQ_INSERT_TAIL(&group.devices, &a, of_group);
	TAILQ_INSERT_TAIL(&group.devices, &b, of_group);
	const struct {
		const char *a, *b;
		enum binding binding;
	} cases[] = {
		{ "", "", BINDING_HOST },
		{ "pcieport", "pci-stub", BINDING_HOST },
		{ "vfio-pci", "", BINDING_TAKEN },
		{ "", "vfio-pci", BINDING_TAKEN },
		{ "pcieport", "mlx5_vfio_pci", BINDING_TAKEN },
		{ "vfio-pci", "vfio-pci", BINDING_TAKEN },
		{ "vfio-pci", "e1000", BINDING_HOST },
		{ "e1000", "vfio-pci", BINDING_HOST },
		{ "e1000", "", BINDING_HOST },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(a.driver, cases[i].a);
		strcpy(b.driver, cases[i].b);
		assert_int_equal(group_observed_binding(&group), cases[i].binding);
	}
}

static void test_set_binding(void **state)
{
	struct heard heard = { 0 };
	struct inventory inventory = { .listener = listen, .userdata = &heard };
	struct group group = { .number = 7 };

	(void)state;
	group_set_binding(&inventory, &group, BINDING_HOST, NULL);
	assert_int_equal(heard.n, 0);
	group_set_binding(&inventory, &group, BINDING_TAKING, "not kept");
	assert_int_equal(heard.n, 1);
	assert_int_equal(heard.event, GROUP_BINDING);
	assert_ptr_equal(heard.group, &group);
	assert_string_equal(heard.before, "host");
	assert_string_equal(group.failure, "");

	group_set_binding(&inventory, &group, BINDING_FAILED, "left on vfio-pci");
	assert_string_equal(heard.before, "taking");
	assert_string_equal(group.failure, "left on vfio-pci");
	group_set_binding(&inventory, &group, BINDING_FAILED, "left on vfio-pci");
	assert_int_equal(heard.n, 2);
	group_set_binding(&inventory, &group, BINDING_FAILED, "another");
	assert_int_equal(heard.n, 3);
	assert_string_equal(heard.before, "failed");

	char longest[REFUSAL_TEXT_SIZE + 1];
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	group_set_binding(&inventory, &group, BINDING_STUCK, longest);
	assert_int_equal(strlen(group.failure), REFUSAL_TEXT_SIZE - 1);
	group_set_binding(&inventory, &group, BINDING_STUCK, longest);
	assert_int_equal(heard.n, 4);

	group_set_binding(&inventory, &group, BINDING_GONE, NULL);
	assert_int_equal(heard.n, 5);
	assert_string_equal(group.failure, "");
	group_set_binding(&inventory, &group, BINDING_HOST, NULL);
	assert_int_equal(group.binding, BINDING_GONE);
	assert_int_equal(heard.n, 5);

	inventory.listener = NULL;
	group.binding = BINDING_HOST;
	group_set_binding(&inventory, &group, BINDING_TAKEN, NULL);
	assert_int_equal(group.binding, BINDING_TAKEN);
}

static void test_set_owner(void **state)
{
	struct heard heard = { 0 };
	struct inventory inventory = { .listener = listen, .userdata = &heard };
	struct group group = { .number = 7, .binding = BINDING_GONE };

	(void)state;
	group_set_owner(&inventory, &group, OWNER_NONE);
	assert_int_equal(heard.n, 0);
	group_set_owner(&inventory, &group, OWNER_LEASED);
	assert_int_equal(heard.event, GROUP_OWNER);
	assert_string_equal(heard.before, "none");
	group_set_owner(&inventory, &group, OWNER_LINGERING);
	assert_string_equal(heard.before, "leased");
	group_set_owner(&inventory, &group, OWNER_NONE);
	assert_string_equal(heard.before, "lingering");
	assert_int_equal(heard.n, 3);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(binding_name(BINDING_HOST), "host");
	assert_string_equal(binding_name(BINDING_TAKING), "taking");
	assert_string_equal(binding_name(BINDING_TAKEN), "taken");
	assert_string_equal(binding_name(BINDING_RETURNING), "returning");
	assert_string_equal(binding_name(BINDING_FAILED), "failed");
	assert_string_equal(binding_name(BINDING_STUCK), "stuck");
	assert_string_equal(binding_name(BINDING_GONE), "gone");
	assert_string_equal(owner_name(OWNER_LINGERING), "lingering");
	assert_string_equal(inventory_event_name(DEVICE_DRIVER), "driverChanged");
	assert_string_equal(inventory_event_name(DEVICE_FACTS), "factsChanged");
	assert_string_equal(inventory_event_name(GROUP_REMOVED), "groupRemoved");
}

static void test_numbers(void **state)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x1", "2147483648",
		"99999999999999999999", "noiommu-0", ".." };

	(void)state;
	assert_int_equal(group_number_parse("0"), 0);
	assert_int_equal(group_number_parse("2147483647"), 2147483647);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(group_number_parse(bad[i]), -EINVAL);
}

static void test_regions(void **state)
{
	struct reserved_region region;
	static const char *const bad[] = { "", "\n", "0x1", "0x1 0x2", "0x1 0x2 ", "1 0x2 msi",
		"0x1 2 msi", "0x3 0x2 msi", "0x1  0x2 msi", "0x1 0x2 msi x",
		"0x1 0x10000000000000000 msi", "0x1 0x2 abcdefghijklmnopqrstuvwx" };

	(void)state;
	assert_true(reserved_region_parse("0x00000000fee00000 0x00000000feefffff msi\n", &region));
	assert_true(region.first == 0xfee00000 && region.last == 0xfeefffff);
	assert_string_equal(region.type, "msi");
	assert_true(reserved_region_parse(
		"0x0000000000000000 0xffffffffffffffff direct-relaxable", &region));
	assert_true(region.first == 0 && region.last == UINT64_MAX);
	assert_string_equal(region.type, "direct-relaxable");
	assert_true(reserved_region_parse("0x5 0x5 abcdefghijklmnopqrstuvw", &region)); /* 23 */
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (reserved_region_parse(bad[i], &region))
			fail_msg("\"%s\" is no region", bad[i]);
}

static void test_holds(void **state)
{
	struct group *group = group_new(3);

	(void)state;
	assert_non_null(group);
	assert_ptr_equal(group_hold(group), group);
	assert_null(group_release(group));
	assert_int_equal(group->number, 3); /* still there: the sanitizer would say */
	assert_int_equal(group->n_holds, 1);
	assert_null(group_release(group));
	assert_null(group_release(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_observed),
		cmocka_unit_test(test_set_binding),
		cmocka_unit_test(test_set_owner),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_holds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
