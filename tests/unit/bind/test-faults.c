/*
 * Every operation of a take and of a return fails once, and every pair of them, for every shape
 * of group: either all is as before, or the refusal tells the truth. And a child that dies
 * between any two operations leaves what a return puts right.
 */
#include "fake-kernel.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void one(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "e1000");
}

static void driverless(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "");
}

static void two(struct fake_kernel *kernel)
{
	one(kernel);
	one(kernel);
}

static void two_below_bridge(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "pcieport");
	two(kernel);
}

static void one_with_driverless(struct fake_kernel *kernel)
{
	one(kernel);
	driverless(kernel);
}

/* Left alone by driverctl: an override that keeps every driver away, and one that names its own. */
static void overridden(struct fake_kernel *kernel)
{
	snprintf(fake_kernel_add(kernel, "e1000")->override, DRIVER_NAME_SIZE, "e1000");
	struct fake_device *device = fake_kernel_add(kernel, "e1000");
	snprintf(device->override, DRIVER_NAME_SIZE, "none");
	device->driver[0] = '\0';
}

static void three(struct fake_kernel *kernel)
{
	two(kernel);
	fake_kernel_add(kernel, "snd");
}

static void one_already_there(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "vfio-pci");
	two(kernel);
}

static void all_already_there(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "vfio-pci");
}

static void one_with_chipset(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "lpc_ich");
	one(kernel);
}

static void one_with_driverless_chipset(struct fake_kernel *kernel)
{
	one(kernel);
	fake_kernel_add(kernel, "lpc_ich")->driver[0] = '\0';
}

/* Only the chipset is moved. */
static void chipset_and_already_there(struct fake_kernel *kernel)
{
	fake_kernel_add(kernel, "lpc_ich");
	fake_kernel_add(kernel, "vfio-pci");
}

static void one_with_variant(struct fake_kernel *kernel)
{
	struct fake_driver *variant = &kernel->drivers[kernel->n_drivers++];

	one(kernel);
	*variant = (struct fake_driver){ .is_loaded = false };
	snprintf(variant->name, sizeof(variant->name), "nic_vfio_pci");
	snprintf(fake_kernel_add(kernel, "e1000")->variant, DRIVER_NAME_SIZE, "nic_vfio_pci");
}

static void (*const shapes[])(struct fake_kernel *) = { one, driverless, two, two_below_bridge,
	one_with_driverless, overridden, three, one_already_there, all_already_there,
	one_with_chipset, one_with_driverless_chipset, chipset_and_already_there,
	one_with_variant };
static const int errors[] = { EIO, ENODEV, ENOENT, EBUSY };

/* A group with the host, and the plan for it. */
struct bench {
	struct fake_kernel kernel, before;
	struct sysfs_ops ops;
	struct transaction transaction;
	struct refusal refusal;
	int group_fd;
};

static void bench_init(struct bench *bench, void (*shape)(struct fake_kernel *))
{
	memset(bench, 0, sizeof(*bench));
	fake_kernel_init(&bench->kernel);
	shape(&bench->kernel);
	bench->before = bench->kernel;
	bench->ops = fake_kernel_ops(&bench->kernel);
	bench->transaction.ops = &bench->ops;
	bench->transaction.plan = fake_kernel_plan(&bench->kernel);
	bench->group_fd = -1;
}

static void bench_end(struct bench *bench)
{
	if (bench->group_fd >= 0)
		bench->ops.close_group(bench->ops.userdata, bench->group_fd);
	assert_int_equal(bench->kernel.n_open, 0);
	assert_int_equal(bench->kernel.n_blocked, 0);
	plan_free(bench->transaction.plan);
}

static int inspect_and_take(struct bench *bench)
{
	int r = transaction_inspect(&bench->transaction, &bench->refusal);
	if (r == 0)
		r = transaction_take(&bench->transaction, &bench->group_fd, &bench->refusal);
	return r;
}

/* As a lease ends: its fd is closed before the return starts. */
static int give_back(struct bench *bench)
{
	if (bench->group_fd >= 0)
		bench->ops.close_group(bench->ops.userdata, steal_fd(&bench->group_fd));
	return transaction_return(&bench->transaction, &bench->refusal);
}

static bool is_device_same(const struct bench *bench, size_t i)
{
	const struct fake_device *now = &bench->kernel.devices[i];
	const struct fake_device *before = &bench->before.devices[i];
	return strcmp(now->driver, before->driver) == 0 &&
	       strcmp(now->override, before->override) == 0;
}

/* What is not as before is named with where it is, unless reading that was the second fault. */
static void assert_told(const struct bench *bench)
{
	char truth[3 * DRIVER_NAME_SIZE], unknown[3 * DRIVER_NAME_SIZE];

	for (size_t i = 0; i < bench->kernel.n_devices; i++) {
		const struct fake_device *device = &bench->kernel.devices[i];
		if (is_device_same(bench, i))
			continue;
		snprintf(truth, sizeof(truth), "%s is on %s", device->name,
			*device->driver ? device->driver : "no driver");
		snprintf(unknown, sizeof(unknown), "%s is on an unknown driver", device->name);
		if (!strstr(bench->refusal.text, truth) && !strstr(bench->refusal.text, unknown))
			fail_msg("\"%s\" is not in \"%s\"", truth, bench->refusal.text);
	}
}

static void assert_take_told(struct bench *bench, int r)
{
	if (r == 0) {
		assert_true(fake_kernel_is_taken(&bench->kernel));
		assert_true(bench->group_fd >= 0);
		return;
	}
	assert_int_equal(r, REFUSED);
	assert_int_equal(bench->group_fd, -1);
	assert_int_equal(bench->kernel.n_open, 0);
	assert_int_equal(bench->refusal.group, FAKE_GROUP);
	assert_true(bench->refusal.errnum > 0);
	assert_int_not_equal(bench->refusal.step, STEP_NONE);
	if (bench->refusal.rolled_back) {
		assert_true(fake_kernel_same(&bench->kernel, &bench->before));
	} else {
		assert_int_equal(bench->refusal.kind, REFUSAL_TAKE_FAILED);
		assert_true(strstr(bench->refusal.text, "Left behind: ") != NULL);
		assert_told(bench);
	}
}

static void assert_return_told(struct bench *bench, int r)
{
	assert_int_equal(bench->kernel.n_open, 0);
	if (r == 0) {
		assert_true(fake_kernel_same(&bench->kernel, &bench->before));
		return;
	}
	assert_int_equal(r, REFUSED);
	assert_int_equal(bench->refusal.group, FAKE_GROUP);
	assert_true(bench->refusal.errnum > 0);
	if (bench->refusal.step == STEP_OPEN) {
		assert_int_equal(bench->kernel.n_writes, 0);
		return;
	}
	assert_int_equal(bench->refusal.kind, REFUSAL_RETURN_FAILED);
	assert_told(bench);
}

/* Whatever it was: with a kernel that works again, a return puts all in its place. */
static void assert_recovers(struct bench *bench)
{
	fake_kernel_calm(&bench->kernel);
	assert_int_equal(give_back(bench), 0);
	assert_true(fake_kernel_same(&bench->kernel, &bench->before));
	/* And finds nothing more to do. */
	fake_kernel_calm(&bench->kernel);
	assert_int_equal(give_back(bench), 0);
	assert_int_equal(bench->kernel.n_writes, 0);
}

static void set_fault(struct bench *bench, size_t which, unsigned at, int error)
{
	bench->kernel.faults[which].at = at;
	bench->kernel.faults[which].error = error;
}

/* The number of operations that the take made before it succeeded, for the loops' ends. */
static bool take_with_fault(void (*shape)(struct fake_kernel *), unsigned k, int error)
{
	struct bench bench;

	bench_init(&bench, shape);
	set_fault(&bench, 0, k, error);
	int r = inspect_and_take(&bench);
	bool was_hit = bench.kernel.n_ops >= k;
	/* Nothing but the one operation fails, so there is always a way back. */
	assert_true(r == 0 || bench.refusal.rolled_back);
	if (r != 0 && error != EBUSY) {
		assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
		/* A link that is not there is an answer, and fails otherwise. */
		assert_true(bench.refusal.errnum == error ||
			    (error == ENOENT && bench.refusal.errnum == EIO));
	}
	if (!was_hit)
		assert_int_equal(r, 0);
	assert_take_told(&bench, r);
	assert_recovers(&bench);
	bench_end(&bench);
	return was_hit;
}

static void test_take_fails_at_each(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
		for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
			unsigned k = 1;
			while (take_with_fault(shapes[s], k, errors[e]))
				k++;
			assert_true(k > 2);
		}
}

static void test_take_fails_at_each_pair(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++) {
		size_t n_not_rolled_back = 0;
		bool first_hit = true;
		for (unsigned k = 1; first_hit; k++) {
			bool second_hit = true;
			for (unsigned j = k + 1; second_hit; j++) {
				struct bench bench;
				bench_init(&bench, shapes[s]);
				set_fault(&bench, 0, k, EIO);
				set_fault(&bench, 1, j, k % 2 ? ENODEV : EIO);
				int r = inspect_and_take(&bench);
				first_hit = bench.kernel.n_ops >= k;
				second_hit = bench.kernel.n_ops >= j;
				n_not_rolled_back += r == REFUSED && !bench.refusal.rolled_back;
				assert_take_told(&bench, r);
				assert_recovers(&bench);
				bench_end(&bench);
			}
		}
		/* The loops do get at the rollback. */
		assert_true(shapes[s] == all_already_there || n_not_rolled_back > 0);
	}
}

/* A return of a taken group with faults at k and j (0 = none): was the last of them hit? */
static bool return_with_faults(
	void (*shape)(struct fake_kernel *), unsigned k, unsigned j, int error)
{
	struct bench bench;

	bench_init(&bench, shape);
	assert_int_equal(inspect_and_take(&bench), 0);
	fake_kernel_calm(&bench.kernel);
	set_fault(&bench, 0, k, error);
	set_fault(&bench, 1, j, EIO);
	int r = give_back(&bench);
	bool was_hit = bench.kernel.n_ops >= (j ? j : k);
	assert_return_told(&bench, r);
	assert_recovers(&bench);
	bench_end(&bench);
	return was_hit;
}

static void test_return_fails_at_each(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
		for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
			unsigned k = 1;
			while (return_with_faults(shapes[s], k, 0, errors[e]))
				k++;
			assert_true(k > 1);
		}
}

static void test_return_fails_at_each_pair(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
		for (unsigned k = 1; return_with_faults(shapes[s], k, 0, EIO); k++)
			for (unsigned j = k + 1; return_with_faults(shapes[s], k, j, EIO); j++)
				;
}

/* From operation k on the child is no more: a return by the next finds what it left. */
static void test_child_dies_at_each(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++) {
		bool was_hit = true;
		for (unsigned k = 1; was_hit; k++) {
			struct bench bench;
			bench_init(&bench, shapes[s]);
			bench.kernel.dead_from = k;
			int r = inspect_and_take(&bench);
			was_hit = bench.kernel.n_ops >= k;
			assert_true(r == REFUSED || !was_hit);
			assert_recovers(&bench);
			bench_end(&bench);

			bench_init(&bench, shapes[s]);
			assert_int_equal(inspect_and_take(&bench), 0);
			fake_kernel_calm(&bench.kernel);
			bench.kernel.dead_from = k;
			give_back(&bench);
			was_hit = was_hit || bench.kernel.n_ops >= k;
			assert_recovers(&bench);
			bench_end(&bench);
		}
	}
}

/* --- a device joins a group that is taken --------------------------------------------- */

struct arrival {
	const char *driver, *override; /* as it is found */
	const char *claim;             /* what vfiod's udev rule says that it gave; NULL: nothing */
	const char *home_driver, *home_override;
};
static const struct arrival arrivals[] = {
	{ "e1000", "", NULL, "e1000", "" },                /* the host was faster */
	{ "", "", NULL, "e1000", "" },                     /* no driver yet: the kernel chooses */
	{ "", "none", NULL, "", "none" },                  /* kept from all by somebody else */
	{ "", "vfiod-joins", "vfiod-joins", "e1000", "" }, /* vfiod's rule was faster */
	{ "vfio-pci", "vfio-pci", "vfio-pci", "e1000", "" },
	{ "e1000", "e1000", "vfio-pci", "e1000", "e1000" }, /* and gave way since */
};

static struct plan_wish no_wish(const struct device *device, void *userdata)
{
	(void)device;
	(void)userdata;
	return (struct plan_wish){ .driver = NULL };
}

/* The group is taken and in use, and a device comes. */
static void bench_join(
	struct bench *bench, void (*shape)(struct fake_kernel *), const struct arrival *arrival)
{
	char property[80], *properties[] = { property, NULL };
	struct device device = { .driver = "", .bus = "pci", .is_pci = true }, *devices = &device;
	struct plan *extended;

	bench_init(bench, shape);
	assert_int_equal(inspect_and_take(bench), 0);
	fake_kernel_calm(&bench->kernel);
	size_t n = bench->kernel.n_devices;
	struct fake_device *fake = fake_kernel_add(&bench->kernel, "e1000");
	snprintf(fake->driver, sizeof(fake->driver), "%s", arrival->driver);
	snprintf(fake->override, sizeof(fake->override), "%s", arrival->override);

	snprintf(device.name, sizeof(device.name), "%s", fake->name);
	snprintf(device.driver, sizeof(device.driver), "%s", arrival->driver);
	snprintf(property, sizeof(property), "VFIOD_CLAIM=%s", arrival->claim);
	device.syspath = fake->syspath;
	device.properties = arrival->claim ? properties : NULL;
	assert_int_equal(plan_extend(bench->transaction.plan, &devices, 1, no_wish, NULL, &extended,
				 &bench->refusal),
		0);
	plan_free(bench->transaction.plan);
	bench->transaction.plan = extended;
	bench->transaction.joins = true;

	/* Where it all ends. */
	bench->before.devices[n] = *fake;
	snprintf(bench->before.devices[n].driver, DRIVER_NAME_SIZE, "%s", arrival->home_driver);
	snprintf(bench->before.devices[n].override, DRIVER_NAME_SIZE, "%s", arrival->home_override);
	bench->before.n_devices = n + 1;
}

static int inspect_and_join(struct bench *bench)
{
	int r = transaction_inspect(&bench->transaction, &bench->refusal);
	return r == 0 ? transaction_join(&bench->transaction, &bench->refusal) : r;
}

/* The others are where they were all the while; the newcomer is on VFIO, or as it came. */
static void assert_join_told(struct bench *bench, const struct fake_kernel *came, int r)
{
	size_t last = bench->kernel.n_devices - 1;

	for (size_t i = 0; i < last; i++)
		assert_string_equal(bench->kernel.devices[i].driver, came->devices[i].driver);
	if (r == 0) {
		assert_string_equal(bench->kernel.devices[last].driver, "vfio-pci");
		return;
	}
	assert_int_equal(r, REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_TAKE_FAILED);
	assert_true(bench->refusal.errnum > 0);
	if (bench->refusal.rolled_back)
		assert_true(fake_kernel_same(&bench->kernel, came));
	else
		assert_true(strstr(bench->refusal.text, "Left behind: ") != NULL);
}

/* Whatever became of it: the return of the whole group brings it home, or to where it chooses. */
static void assert_join_recovers(struct bench *bench)
{
	fake_kernel_calm(&bench->kernel);
	bench->kernel.is_claimed = false;
	bench->transaction.joins = false;
	assert_int_equal(give_back(bench), 0);
	for (size_t i = 0; i < bench->kernel.n_devices; i++) {
		const struct fake_device *now = &bench->kernel.devices[i];
		const struct fake_device *home = &bench->before.devices[i];
		/* Never inspected: it was left to the host as it came, but for vfiod's claim. */
		if (bench->transaction.plan->members[i].known ||
			!plan_member_moves(&bench->transaction.plan->members[i])) {
			assert_string_equal(now->driver, home->driver);
			assert_string_equal(now->override, home->override);
		}
	}
}

static bool join_with_faults(void (*shape)(struct fake_kernel *), const struct arrival *arrival,
	unsigned k, unsigned j, int error)
{
	struct bench bench;

	bench_join(&bench, shape, arrival);
	struct fake_kernel came = bench.kernel;
	set_fault(&bench, 0, k, error);
	set_fault(&bench, 1, j, EIO);
	int r = inspect_and_join(&bench);
	bool was_hit = bench.kernel.n_ops >= (j ? j : k);
	assert_true(r == 0 || k > 0);
	assert_true(r == 0 || j > 0 || bench.refusal.rolled_back);
	assert_join_told(&bench, &came, r);
	assert_join_recovers(&bench);
	bench_end(&bench);
	return was_hit;
}

static void test_join_fails_at_each(void **state)
{
	(void)state;
	for (size_t a = 0; a < ARRAY_SIZE(arrivals); a++) {
		assert_true(join_with_faults(two, &arrivals[a], 0, 0, EIO));
		for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
			unsigned k = 1;
			while (join_with_faults(two_below_bridge, &arrivals[a], k, 0, errors[e]))
				k++;
			assert_true(k > 6);
		}
	}
}

static void test_join_fails_at_each_pair(void **state)
{
	(void)state;
	for (size_t a = 0; a < ARRAY_SIZE(arrivals); a++)
		for (unsigned k = 1; join_with_faults(two, &arrivals[a], k, 0, EIO); k++)
			for (unsigned j = k + 1; join_with_faults(two, &arrivals[a], k, j, EIO);
				j++)
				;
}

static void test_join_child_dies_at_each(void **state)
{
	(void)state;
	for (size_t a = 0; a < ARRAY_SIZE(arrivals); a++) {
		bool was_hit = true;
		for (unsigned k = 1; was_hit; k++) {
			struct bench bench;
			bench_join(&bench, one, &arrivals[a]);
			bench.kernel.dead_from = k;
			inspect_and_join(&bench);
			was_hit = bench.kernel.n_ops >= k;
			assert_join_recovers(&bench);
			bench_end(&bench);
		}
	}
}

/* The return of a group with such a member: each operation of it fails, and it is tried again. */
static void test_return_of_joined_fails_at_each(void **state)
{
	(void)state;
	for (size_t a = 0; a < ARRAY_SIZE(arrivals); a++) {
		bool was_hit = true;
		for (unsigned k = 1; was_hit; k++) {
			struct bench bench;
			bench_join(&bench, one, &arrivals[a]);
			assert_int_equal(inspect_and_join(&bench), 0);
			fake_kernel_calm(&bench.kernel);
			bench.transaction.joins = false;
			set_fault(&bench, 0, k, EIO);
			int r = give_back(&bench);
			was_hit = bench.kernel.n_ops >= k;
			if (r == 0)
				assert_true(fake_kernel_same(&bench.kernel, &bench.before));
			assert_join_recovers(&bench);
			bench_end(&bench);
		}
	}
}

/* A group whose DMA has an owner: the kernel keeps drivers of the host away, also from an undo. */
static void test_join_claimed_group(void **state)
{
	(void)state;
	struct bench bench;

	bench_join(&bench, one, &arrivals[1]);
	bench.kernel.is_claimed = true;
	assert_int_equal(inspect_and_join(&bench), 0);
	assert_true(bench.transaction.plan->members[1].host_probes);
	assert_join_recovers(&bench);
	bench_end(&bench);
}

/* What came too late to be joined: the return offers it to the host, and takes nothing else from
 * it. */
static void test_return_offers_uninspected(void **state)
{
	(void)state;
	for (size_t a = 0; a < ARRAY_SIZE(arrivals); a++) {
		struct bench bench;
		bench_join(&bench, one, &arrivals[a]);
		bench.transaction.joins = false;
		bench.transaction.plan->members[1].host_probes = true;
		assert_int_equal(give_back(&bench), 0);
		assert_true(fake_kernel_same(&bench.kernel, &bench.before));
		bench_end(&bench);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_fails_at_each),
		cmocka_unit_test(test_take_fails_at_each_pair),
		cmocka_unit_test(test_return_fails_at_each),
		cmocka_unit_test(test_return_fails_at_each_pair),
		cmocka_unit_test(test_child_dies_at_each),
		cmocka_unit_test(test_join_fails_at_each),
		cmocka_unit_test(test_join_fails_at_each_pair),
		cmocka_unit_test(test_join_child_dies_at_each),
		cmocka_unit_test(test_return_of_joined_fails_at_each),
		cmocka_unit_test(test_join_claimed_group),
		cmocka_unit_test(test_return_offers_uninspected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
