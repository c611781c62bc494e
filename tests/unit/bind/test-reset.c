/* Which devices VFIO resets between two users: by themselves, with their bus, or not at all. */
#include "daemon/bind/reset.h"

#include "daemon/base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROOT "/sys/devices/pci0000:00/"
#define PORT ROOT "0000:00:1c.0/"
#define BRIDGE PORT "0000:01:00.0/"

/* Two groups: the first has the device that is asked about, as its first. */
struct bench {
	struct group_list all;
	struct group groups[2];
	struct device devices[6];
	size_t n_devices;
};

static void bench_init(struct bench *bench)
{
	memset(bench, 0, sizeof(*bench));
	TAILQ_INIT(&bench->all);
	for (size_t i = 0; i < ARRAY_SIZE(bench->groups); i++) {
		TAILQ_INIT(&bench->groups[i].devices);
		TAILQ_INSERT_TAIL(&bench->all, &bench->groups[i], of_inventory);
	}
}

static struct device *add(struct bench *bench, int group, const char *syspath, const char *methods)
{
	struct device *device = &bench->devices[bench->n_devices++];

	assert_true(bench->n_devices <= ARRAY_SIZE(bench->devices));
	*device = (struct device){
		.group = &bench->groups[group],
		.syspath = (char *)syspath,
		.reset_method = (char *)methods,
		.bus = "pci",
		.is_pci = true,
		.class = 0x020000,
	};
	TAILQ_INSERT_TAIL(&bench->groups[group].devices, device, of_group);
	return device;
}

static void assert_reset(const struct bench *bench, const char *expected)
{
	const char *why = "";
	bool is_reset = device_is_reset(&bench->all, &bench->devices[0], &why);

	assert_int_equal(is_reset, !expected);
	if (expected && !strstr(why, expected))
		fail_msg("'%s' is not in '%s'", expected, why);
}

static void test_own_methods(void **state)
{
	(void)state;
	static const struct {
		const char *methods;
		bool is_reset;
	} cases[] = { { "flr", true }, { "flr bus", true }, { "bus flr", true }, { "pm bus", true },
		{ "af_flr", true }, { "acpi", true }, { "device_specific bus", true },
		{ "bus", false }, { "cxl_bus", false }, { "bus cxl_bus", false }, { "", false } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench bench;
		bench_init(&bench);
		add(&bench, 0, ROOT "0000:00:04.0", cases[i].methods);
		assert_int_equal(device_resets_itself(&bench.devices[0]), cases[i].is_reset);
		/* A root bus cannot be reset, whatever it says. */
		assert_reset(&bench, cases[i].is_reset ? NULL : "no way of being reset");
	}
}

static void test_other_buses(void **state)
{
	(void)state;
	static const struct {
		const char *bus;
		bool is_reset;
	} cases[] = { { "platform", true }, { "amba", false }, { "fsl-mc", true }, { "cdx", true },
		{ "mdev", false } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench bench;
		bench_init(&bench);
		struct device *device = add(&bench, 0, "/sys/devices/platform/x", "");
		device->is_pci = false;
		snprintf(device->bus, sizeof(device->bus), "%s", cases[i].bus);
		assert_reset(&bench, cases[i].is_reset ? NULL : "nobody can tell");
	}
}

static void test_alone_on_its_bus(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	add(&bench, 0, PORT "0000:01:00.0", "bus");
	add(&bench, 1, ROOT "0000:00:04.0", "");
	/* The bridge above, and one whose name begins like it. */
	add(&bench, 1, ROOT "0000:00:1c.0", "")->class = 0x060400;
	add(&bench, 1, ROOT "0000:00:1c.01/0000:09:00.0", "");
	assert_reset(&bench, NULL);
	/* A quirk forbids it (PCI_DEV_FLAGS_NO_BUS_RESET). */
	bench.devices[0].reset_method = (char *)"";
	assert_reset(&bench, "no way of being reset");
}

static void test_shared_bus(void **state)
{
	(void)state;
	struct bench bench;

	/* Two cards behind a bridge, all in one group; only one says that the bus can be reset. */
	bench_init(&bench);
	add(&bench, 0, BRIDGE "0000:02:02.0", "");
	add(&bench, 0, BRIDGE "0000:02:01.0", "bus");
	add(&bench, 0, PORT "0000:01:00.0", "pm bus")->class = 0x060400;
	assert_reset(&bench, NULL);
	/* What VFIO already has is reset with the rest. */
	snprintf(bench.devices[1].driver, sizeof(bench.devices[1].driver), "vfio-pci");
	assert_reset(&bench, NULL);
	/* A third is not taken: left alone, parked, or in another group. */
	struct device *third = add(&bench, 0, BRIDGE "0000:02:03.0", "flr");
	assert_reset(&bench, NULL);
	snprintf(third->driver, sizeof(third->driver), "pci-stub");
	assert_reset(&bench, "there are other devices");
	third->driver[0] = '\0';
	third->class = 0x060100;
	assert_reset(&bench, "there are other devices");
	third->class = 0x020000;
	TAILQ_REMOVE(&bench.groups[0].devices, third, of_group);
	TAILQ_INSERT_TAIL(&bench.groups[1].devices, third, of_group);
	third->group = &bench.groups[1];
	assert_reset(&bench, "there are other devices");
}

static void test_below_the_bus(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	add(&bench, 0, BRIDGE "0000:02:01.0", "bus");
	add(&bench, 0, BRIDGE "0000:02:02.0", "")->class = 0x060400;
	assert_reset(&bench, "there are other devices");
	/* A device that is no PCI device lies on no PCI bus. */
	bench.devices[1].is_pci = false;
	assert_reset(&bench, NULL);
}

static void count(const struct device *other, void *userdata)
{
	unsigned *n = userdata;
	n[other->group->number]++;
}

static void test_who_is_on_the_bus(void **state)
{
	(void)state;
	struct bench bench;
	unsigned n[2] = { 0 };

	bench_init(&bench);
	bench.groups[1].number = 1;
	add(&bench, 0, BRIDGE "0000:02:01.0", "bus");
	add(&bench, 0, BRIDGE "0000:02:02.0", "");
	add(&bench, 1, BRIDGE "0000:02:03.0/0000:03:00.0", "flr");
	/* Above it, beside it, and one that is no PCI device. */
	add(&bench, 0, PORT "0000:01:00.0", "pm");
	add(&bench, 1, PORT "0000:01:00.1", "pm");
	add(&bench, 1, BRIDGE "0000:02:01.0/uuid", "")->is_pci = false;
	assert_true(device_each_on_bus(&bench.all, &bench.devices[0], count, n));
	assert_int_equal(n[0], 1);
	assert_int_equal(n[1], 1);
	/* From the bridge above, all of them are reached. */
	assert_true(device_each_on_bus(&bench.all, &bench.devices[3], count, n));
	assert_int_equal(n[0], 3);
	assert_int_equal(n[1], 3);
	bench.devices[0].syspath = (char *)ROOT "0000:00:04.0";
	assert_false(device_each_on_bus(&bench.all, &bench.devices[0], count, n));
	assert_false(device_each_on_bus(&bench.all, &bench.devices[5], count, n));
	assert_int_equal(n[0] + n[1], 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_methods),
		cmocka_unit_test(test_other_buses),
		cmocka_unit_test(test_alone_on_its_bus),
		cmocka_unit_test(test_shared_bus),
		cmocka_unit_test(test_below_the_bus),
		cmocka_unit_test(test_who_is_on_the_bus),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
