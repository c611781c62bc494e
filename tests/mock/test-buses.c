/*
 * Devices of buses other than PCI, on the kernel of kernel.h: each is taken to its bus's driver,
 * and returned. What their true drivers do is not shown by that.
 */
#include "tests/mock/lending.h"

#include "daemon/base/util.h"
#include "daemon/bind/reset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct odd {
	const char *bus, *name, *driver;
	bool is_reset; /* by that driver, between two users */
};
static const struct odd platform = { "platform", "b1900000.dma-controller", "vfio-platform", true };
static const struct odd amba = { "amba", "2b600000.dma", "vfio-amba", false };
static const struct odd fsl_mc = { "fsl-mc", "dprc.2", "vfio-fsl-mc", true };
static const struct odd cdx = { "cdx", "cdx-00:00", "vfio-cdx", true };
static const struct odd ap = { "ap", "00.0004", "vfio_ap", true };
static const struct odd unknown = { "spi", "spi0.0", "", false };

/* A rule by its bus and its name there. */
static int set_up(void **state)
{
	const struct odd *odd = *state;
	char rules[256];

	snprintf(rules, sizeof(rules),
		"[daemon]\nadmin = user:1000\ntake-timeout = 1\n"
		"[rule odd]\nmatch = bus:%s=%s\nallow = user:1000\n",
		odd->bus, odd->name);
	return lending_set_up_bus(state, rules, odd->bus, odd->name);
}

static const struct odd *odd_of(const struct lending *lending)
{
	static const struct odd *const all[] = { &platform, &amba, &fsl_mc, &cdx, &ap, &unknown };
	const struct device *device = TAILQ_FIRST(&inventory_group(lending->inventory, 1)->devices);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (strcmp(all[i]->bus, device->bus) == 0)
			return all[i];
	fail();
	return NULL;
}

/* In sysfs: of the driver's link the last part, or the override. */
static const char *in_sysfs(const struct lending *lending, const char *name)
{
	const struct sysfs_ops *ops = mock_kernel_ops(lending->kernel);
	static char text[64];
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", lending->syspath, name);
	int r = strcmp(name, "driver") == 0
			? ops->read_link(ops->userdata, path, text, sizeof(text))
			: ops->read(ops->userdata, path, text, sizeof(text));
	assert_true(r >= 0);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void test_lent_and_returned(void **state)
{
	struct lending *lending = *state;
	const struct odd *odd = odd_of(lending);
	const struct group *group = lend(lending, getpid(), false);
	const struct device *device = TAILQ_FIRST(&group->devices);
	const struct rule *rule = policy_rule_for(lending->broker->config, NULL, device);
	const char *why;

	assert_string_equal(in_sysfs(lending, "driver"), odd->driver);
	assert_string_equal(in_sysfs(lending, "driver_override"), odd->driver);
	assert_int_equal(group->binding, BINDING_TAKEN);
	assert_string_equal(rule->name, "odd");
	assert_int_equal(
		device_is_reset(inventory_groups(lending->inventory), device, &why), odd->is_reset);
	broker_end(lending->broker, lending->lease, "the test ends it");
	wait_for(lending, group->binding == BINDING_HOST && group->owner == OWNER_NONE);
	assert_string_equal(in_sysfs(lending, "driver"), "e1000");
	assert_string_equal(in_sysfs(lending, "driver_override"), "(null)");
}

/* An older kernel's AP queues have none: who may have them, the bus's masks say. */
static void test_without_override(void **state)
{
	struct lending *lending = *state;

	testbed_remove_attribute(lending->bed, lending->syspath, "driver_override");
	const struct group *group = lend_begin(lending, getpid(), false);
	wait_for(lending, lending->is_refused);
	assert_non_null(strstr(lending->text, "driver_override"));
	assert_string_equal(in_sysfs(lending, "driver"), "e1000");
	assert_int_equal(group->binding, BINDING_HOST);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), 0);
}

static void test_no_driver_of_vfio(void **state)
{
	struct lending *lending = *state;
	const struct group *group = lend_begin(lending, getpid(), false);

	wait_for(lending, lending->is_refused);
	assert_non_null(strstr(lending->text, "a VFIO driver for the bus of spi0.0, bus spi"));
	assert_int_equal(group->binding, BINDING_HOST);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), 0);
}

#define TEST(function, odd)                                                                        \
	{                                                                                          \
#function " of " #odd, function, set_up, lending_tear_down, (void *)&(odd)         \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lent_and_returned, platform),
		TEST(test_lent_and_returned, amba),
		TEST(test_lent_and_returned, fsl_mc),
		TEST(test_lent_and_returned, cdx),
		TEST(test_lent_and_returned, ap),
		TEST(test_without_override, ap),
		TEST(test_no_driver_of_vfio, unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
