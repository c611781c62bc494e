/* Which member is bound, parked, left, or already there; to which driver; and what cannot be
 * planned. */
#include "daemon/bind/plan.h"

#include "daemon/base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A group of up to four devices, on the stack. */
struct bench {
	struct group group;
	struct device devices[4];
	char syspaths[4][64];
	struct plan_wish wish;
	unsigned n_asked;
};

static void bench_init(struct bench *bench)
{
	memset(bench, 0, sizeof(*bench));
	bench->group.number = 7;
	TAILQ_INIT(&bench->group.devices);
}

static struct device *add(struct bench *bench, const char *bus, const char *driver)
{
	size_t index = bench->group.n_devices++;
	struct device *device = &bench->devices[index];

	snprintf(
		bench->syspaths[index], sizeof(bench->syspaths[index]), "/sys/devices/d%zu", index);
	device->syspath = bench->syspaths[index];
	snprintf(device->name, sizeof(device->name), "d%zu", index);
	snprintf(device->bus, sizeof(device->bus), "%s", bus);
	snprintf(device->driver, sizeof(device->driver), "%s", driver);
	device->is_pci = strcmp(bus, "pci") == 0;
	TAILQ_INSERT_TAIL(&bench->group.devices, device, of_group);
	return device;
}

static struct plan_wish wish(const struct device *device, void *userdata)
{
	struct bench *bench = userdata;
	assert_true(plan_action_for(device) == PLAN_BIND || plan_action_for(device) == PLAN_PARK);
	bench->n_asked++;
	return bench->wish;
}

static void test_actions(void **state)
{
	(void)state;
	static const struct {
		const char *bus, *driver;
		uint32_t class;
		enum plan_action action;
	} cases[] = {
		{ "pci", "e1000", 0x020000, PLAN_BIND },
		{ "pci", "", 0x020000, PLAN_BIND },
		{ "pci", "vfio-pci", 0x020000, PLAN_ALREADY },
		{ "pci", "mlx5_vfio_pci", 0x020000, PLAN_ALREADY },
		{ "pci", "pcieport", 0x060400, PLAN_LEAVE },
		{ "pci", "", 0x060400, PLAN_LEAVE },
		{ "pci", "pci-stub", 0x020000, PLAN_LEAVE },
		{ "pci", "", 0x060000, PLAN_PARK },
		{ "pci", "lpc_ich", 0x060100, PLAN_PARK },
		{ "pci", "pci-stub", 0x060100, PLAN_LEAVE },
		{ "pci", "vfio-pci", 0x060100, PLAN_ALREADY },
		{ "platform", "", 0x060100, PLAN_BIND },
		{ "platform", "xgmac", 0, PLAN_BIND },
		{ "platform", "vfio-platform", 0, PLAN_ALREADY },
		{ "mdev", "mtty", 0, PLAN_ALREADY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench bench;
		bench_init(&bench);
		struct device *device = add(&bench, cases[i].bus, cases[i].driver);
		device->class = cases[i].class;
		assert_int_equal(plan_action_for(device), cases[i].action);
	}
}

/* On VFIO before vfiod came, but by vfiod's own udev rule: to be returned, so to be bound. */
static void test_claimed(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;
	char property[] = "VFIOD_CLAIM=vfio-pci", *properties[] = { property, NULL };

	bench_init(&bench);
	add(&bench, "pci", "vfio-pci")->properties = properties;
	add(&bench, "pci", "vfio-pci");
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_int_equal(plan->members[0].action, PLAN_BIND);
	assert_string_equal(plan->members[0].claim, "vfio-pci");
	assert_int_equal(plan->members[1].action, PLAN_ALREADY);
	assert_string_equal(plan->members[1].claim, "");
	plan_free(plan);
}

/* One that was never there, and one that left and has come back as another. */
static void test_extended(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan, *extended;

	bench_init(&bench);
	struct device *back = add(&bench, "pci", "e1000");
	add(&bench, "pci", "e1000");
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	plan->members[0].known = plan->members[1].known = true;
	struct device *devices[] = { back, add(&bench, "pci", "") };
	assert_int_equal(plan_extend(plan, devices, 2, wish, &bench, &extended, &refusal), 0);
	assert_int_equal(extended->n_members, 3);
	assert_string_equal(extended->members[0].name, "d1");
	assert_true(extended->members[0].known && !extended->members[0].joins);
	assert_string_equal(extended->members[1].name, "d0");
	assert_true(extended->members[1].joins && !extended->members[1].known);
	assert_string_equal(extended->members[2].name, "d2");
	assert_string_equal(extended->members[2].target, "vfio-pci");
	assert_ptr_equal(plan_find(extended, "d2", "pci"), &extended->members[2]);
	assert_null(plan_find(extended, "d2", "platform"));
	plan_forget_joined(plan, extended);
	assert_int_equal(plan->n_members, 1);
	assert_string_equal(plan->members[0].name, "d1");
	plan_free(plan);
	/* The next time it is one of those that were there. */
	plan = extended;
	assert_int_equal(plan_extend(plan, NULL, 0, wish, &bench, &extended, &refusal), 0);
	assert_false(extended->members[2].joins);
	plan_free(extended);

	devices[0] = add(&bench, "virtio", "virtio_net");
	assert_int_equal(plan_extend(plan, devices, 1, wish, &bench, &extended, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_null(extended);
	plan_free(plan);
}

/* Of a group of three, two that were to be moved are in another one now, with a bridge and a
 * stranger. */
static void test_part(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;

	bench_init(&bench);
	struct device *bridge = add(&bench, "pci", "pcieport");
	bridge->class = 0x060400;
	add(&bench, "pci", "e1000");
	add(&bench, "pci", "e1000");
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	snprintf(plan->members[2].host_driver, sizeof(plan->members[2].host_driver), "e1000");
	plan->members[2].known = plan->members[2].joins = true;
	TAILQ_REMOVE(&bench.group.devices, &bench.devices[1], of_group);
	bench.group.number = 8;
	add(&bench, "pci", "e1000")->bus[0] = 'x';
	struct plan *part = plan_part(plan, &bench.group);
	assert_int_equal(part->group, 8);
	assert_int_equal(part->n_members, 1);
	assert_string_equal(part->members[0].name, "d2");
	assert_string_equal(part->members[0].syspath, "/sys/devices/d2");
	assert_string_equal(part->members[0].host_driver, "e1000");
	assert_true(part->members[0].known && !part->members[0].joins);
	plan_free(part);
	plan_free(plan);
}

static void test_whole_group(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;

	bench_init(&bench);
	add(&bench, "pci", "pcieport")->class = 0x060400;
	add(&bench, "pci", "e1000");
	add(&bench, "platform", "");
	add(&bench, "pci", "vfio-pci");
	bench.wish.force = true;
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);

	assert_int_equal(bench.n_asked, 2);
	assert_int_equal(plan->group, 7);
	assert_int_equal(plan->n_members, 4);
	assert_int_equal(plan_n_moves(plan), 2);
	assert_int_equal(plan->members[0].action, PLAN_LEAVE);
	assert_false(plan->members[0].force);
	assert_int_equal(plan->members[1].action, PLAN_BIND);
	assert_string_equal(plan->members[1].name, "d1");
	assert_string_equal(plan->members[1].bus, "pci");
	assert_string_equal(plan->members[1].syspath, "/sys/devices/d1");
	assert_string_equal(plan->members[1].target, "vfio-pci");
	assert_string_equal(plan->members[1].module, "vfio-pci");
	assert_true(plan->members[1].may_vary);
	assert_true(plan->members[1].force);
	assert_false(plan->members[1].known);
	assert_string_equal(plan->members[2].target, "vfio-platform");
	assert_false(plan->members[2].may_vary);
	assert_int_equal(plan->members[3].action, PLAN_ALREADY);
	assert_null(plan_free(plan));
	assert_null(plan_free(NULL));
}

/* A wish for a driver is for those that are handed out; force is for all whose driver goes. */
static void test_parked(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;

	bench_init(&bench);
	add(&bench, "pci", "lpc_ich")->class = 0x060100;
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);

	add(&bench, "pci", "ahci");
	bench.wish = (struct plan_wish){ .driver = "x_vfio_pci", .force = true };
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_int_equal(plan_n_moves(plan), 2);
	assert_int_equal(plan->members[0].action, PLAN_PARK);
	assert_string_equal(plan->members[0].target, PLAN_PARKED);
	assert_string_equal(plan->members[0].module, "");
	assert_true(plan->members[0].force);
	assert_string_equal(plan->members[1].target, "x_vfio_pci");
	plan_free(plan);

	/* Where nothing has to be bound, it is kept away all the same. */
	snprintf(bench.devices[1].driver, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_int_equal(plan_n_moves(plan), 1);
	plan_free(plan);
}

static void test_wished_driver(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;
	char name[DRIVER_NAME_SIZE + 1];

	bench_init(&bench);
	add(&bench, "pci", "mlx5_core");
	bench.wish.driver = "mlx5_vfio_pci";
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_string_equal(plan->members[0].target, "mlx5_vfio_pci");
	assert_string_equal(plan->members[0].module, "mlx5_vfio_pci");
	assert_false(plan->members[0].may_vary);
	plan_free(plan);

	/* The longest name that fits, and one more. */
	memset(name, 'x', sizeof(name));
	name[DRIVER_NAME_SIZE - 1] = '\0';
	bench.wish.driver = name;
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_string_equal(plan->members[0].target, name);
	plan_free(plan);
	name[DRIVER_NAME_SIZE - 1] = 'x';
	name[DRIVER_NAME_SIZE] = '\0';
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_null(plan);
}

static void test_bus_without_driver(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;

	bench_init(&bench);
	add(&bench, "pci", "e1000");
	add(&bench, "virtio", "virtio_net");
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_int_equal(refusal.group, 7);
	assert_string_equal(refusal.device, "d1");
	assert_non_null(strstr(refusal.text, "virtio"));
	assert_null(plan);

	bench.wish.driver = "vfio-virtio";
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_string_equal(plan->members[1].module, "vfio-virtio");
	plan_free(plan);
}

static void test_nothing_to_hand_out(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	struct plan *plan;

	bench_init(&bench);
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), REFUSED);
	add(&bench, "pci", "pcieport")->class = 0x060400;
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_int_equal(refusal.group, 7);
	assert_string_equal(refusal.text,
		"group 7 has no device that can be handed out, only bridges and the like");
	assert_null(plan);
	/* One that is there already is enough. */
	add(&bench, "pci", "vfio-pci");
	assert_int_equal(plan_make(&bench.group, wish, &bench, &plan, &refusal), 0);
	assert_int_equal(plan_n_moves(plan), 0);
	plan_free(plan);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(plan_action_name(PLAN_BIND), "bind");
	assert_string_equal(plan_action_name(PLAN_PARK), "park");
	assert_string_equal(plan_action_name(PLAN_LEAVE), "leave");
	assert_string_equal(plan_action_name(PLAN_ALREADY), "already");
	assert_string_equal(plan_action_name((enum plan_action)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_claimed),
		cmocka_unit_test(test_extended),
		cmocka_unit_test(test_part),
		cmocka_unit_test(test_whole_group),
		cmocka_unit_test(test_parked),
		cmocka_unit_test(test_wished_driver),
		cmocka_unit_test(test_bus_without_driver),
		cmocka_unit_test(test_nothing_to_hand_out),
		cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
