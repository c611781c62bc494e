/* Take, return and open, one situation at a time. Faults at every operation: test-faults.c. */
#include "fake-kernel.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct bench {
	struct fake_kernel kernel, before;
	struct sysfs_ops ops;
	struct transaction transaction;
	struct refusal refusal;
	int group_fd;
	char steps[1024]; /* "override:0 unbind:0 …" */
};

static void note_step(enum bind_step step, int member, void *userdata)
{
	struct bench *bench = userdata;
	size_t used = strlen(bench->steps);

	snprintf(bench->steps + used, sizeof(bench->steps) - used, "%s%s:%d", used ? " " : "",
		bind_step_name(step), member);
}

static void bench_init(struct bench *bench)
{
	memset(bench, 0, sizeof(*bench));
	fake_kernel_init(&bench->kernel);
	bench->group_fd = -1;
}

/* The devices are there: the host as it is now is what has to come back. */
static void bench_plan(struct bench *bench)
{
	bench->before = bench->kernel;
	bench->ops = fake_kernel_ops(&bench->kernel);
	bench->transaction = (struct transaction){
		.ops = &bench->ops,
		.plan = fake_kernel_plan(&bench->kernel),
		.on_step = note_step,
		.userdata = bench,
	};
}

static void bench_init_nics(struct bench *bench, size_t n)
{
	bench_init(bench);
	while (n-- > 0)
		fake_kernel_add(&bench->kernel, "e1000");
	bench_plan(bench);
}

static void close_group(struct bench *bench)
{
	if (bench->group_fd >= 0)
		bench->ops.close_group(bench->ops.userdata, steal_fd(&bench->group_fd));
}

static void bench_end(struct bench *bench)
{
	close_group(bench);
	assert_int_equal(bench->kernel.n_open, 0);
	assert_int_equal(bench->kernel.n_blocked, 0);
	plan_free(bench->transaction.plan);
}

static int inspect(struct bench *bench)
{
	return transaction_inspect(&bench->transaction, &bench->refusal);
}

static int take(struct bench *bench)
{
	return transaction_take(&bench->transaction, &bench->group_fd, &bench->refusal);
}

static int give_back(struct bench *bench)
{
	return transaction_return(&bench->transaction, &bench->refusal);
}

static void assert_as_before(struct bench *bench)
{
	assert_true(fake_kernel_same(&bench->kernel, &bench->before));
	assert_int_equal(bench->kernel.n_open, 0);
}

static void assert_text(const struct bench *bench, const char *part)
{
	if (!strstr(bench->refusal.text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, bench->refusal.text);
}

/* --- inspection ------------------------------------------------------------------ */

static void test_inspect(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	fake_kernel_add(&bench.kernel, "pcieport");
	snprintf(fake_kernel_add(&bench.kernel, "e1000")->override, DRIVER_NAME_SIZE, "e1000");
	fake_kernel_add(&bench.kernel, "");
	bench_plan(&bench);
	assert_int_equal(inspect(&bench), 0);

	const struct plan_member *members = bench.transaction.plan->members;
	assert_false(members[0].known);
	assert_true(members[1].known);
	assert_string_equal(members[1].host_driver, "e1000");
	assert_string_equal(members[1].host_override, "e1000");
	assert_true(members[2].known);
	assert_string_equal(members[2].host_driver, "");
	assert_string_equal(members[2].host_override, "");
	assert_int_equal(bench.kernel.n_writes, 0);
	assert_int_equal(bench.kernel.n_loads, 0);
	assert_string_equal(bench.steps, "guard:1 read:1 guard:2 read:2");
	bench_end(&bench);
}

static void test_guard(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	bench.kernel.devices[1].is_in_use = true;
	assert_int_equal(inspect(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_true(bench.refusal.rolled_back);
	assert_int_equal(bench.kernel.n_writes, 0);

	bench.transaction.plan->members[1].force = true;
	assert_int_equal(inspect(&bench), 0);
	bench_end(&bench);
}

static void test_inspect_refuses(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	bench.kernel.devices[1].has_no_override_file = true;
	assert_int_equal(inspect(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.step, STEP_OVERRIDE);
	assert_int_equal(bench.refusal.errnum, ENOENT);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_true(bench.refusal.rolled_back);
	bench.kernel.devices[1].has_no_override_file = false;

	/* It left, and came back with another group: another device. */
	bench.kernel.devices[1].group = FAKE_GROUP + 1;
	assert_int_equal(inspect(&bench), REFUSED);
	assert_int_equal(bench.refusal.errnum, ENODEV);
	assert_int_equal(bench.refusal.step, STEP_READ);
	assert_text(&bench, "has left the host");
	bench.kernel.devices[1].group = FAKE_GROUP;

	bench.kernel.devices[0].is_present = false;
	assert_int_equal(inspect(&bench), REFUSED);
	assert_int_equal(bench.refusal.errnum, ENODEV);
	assert_string_equal(bench.refusal.device, "0000:01:00.0");
	assert_text(&bench, "has left the host");
	assert_int_equal(bench.kernel.n_writes, 0);
	bench_end(&bench);
}

/* Its module is not there yet, and brings the driver when it comes. */
static void bench_init_variant(struct bench *bench)
{
	struct fake_driver *variant;

	bench_init(bench);
	snprintf(fake_kernel_add(&bench->kernel, "e1000")->variant, DRIVER_NAME_SIZE,
		"nic_vfio_pci");
	variant = &bench->kernel.drivers[bench->kernel.n_drivers++];
	*variant = (struct fake_driver){ .is_loaded = false };
	snprintf(variant->name, sizeof(variant->name), "nic_vfio_pci");
	bench_plan(bench);
}

static void test_variant(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_variant(&bench);
	assert_int_equal(inspect(&bench), 0);
	assert_string_equal(bench.steps, "guard:0 read:0 module:0");
	const struct plan_member *member = &bench.transaction.plan->members[0];
	assert_true(member->is_variant);
	assert_string_equal(member->target, "nic_vfio_pci");
	assert_string_equal(member->module, "nic_vfio_pci");
	assert_int_equal(bench.kernel.n_writes, 0);
	/* The device's own driver has it until the take. */
	assert_string_equal(bench.kernel.devices[0].driver, "e1000");
	assert_int_equal(take(&bench), 0);
	assert_string_equal(bench.kernel.devices[0].driver, "nic_vfio_pci");
	assert_string_equal(bench.kernel.devices[0].override, "nic_vfio_pci");
	close_group(&bench);
	assert_int_equal(give_back(&bench), 0);
	assert_as_before(&bench);
	bench_end(&bench);

	/* There is none. */
	bench_init_variant(&bench);
	bench.kernel.devices[0].variant[0] = '\0';
	assert_int_equal(inspect(&bench), 0);
	assert_false(bench.transaction.plan->members[0].is_variant);
	assert_string_equal(bench.transaction.plan->members[0].target, "vfio-pci");
	bench_end(&bench);

	/* The rule has named a driver. */
	bench_init_variant(&bench);
	bench.transaction.plan->members[0].may_vary = false;
	assert_int_equal(inspect(&bench), 0);
	assert_string_equal(bench.steps, "guard:0 read:0");
	assert_string_equal(bench.transaction.plan->members[0].target, "vfio-pci");
	bench_end(&bench);
}

/* No other driver is taken for it in silence. */
static void test_variant_fails(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_variant(&bench);
	struct fake_driver *variant = fake_kernel_driver(&bench.kernel, "nic_vfio_pci");
	variant->cannot_load = true;
	assert_int_equal(inspect(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.step, STEP_MODULE);
	assert_int_equal(bench.refusal.errnum, ENOENT);
	assert_true(bench.refusal.rolled_back);
	assert_text(&bench, "could not be loaded");
	assert_text(&bench, "module nic_vfio_pci");
	assert_text(&bench, "driver = vfio-pci in its rule");

	variant->cannot_load = false;
	variant->is_other = true;
	assert_int_equal(inspect(&bench), REFUSED);
	assert_int_equal(bench.refusal.step, STEP_MODULE);
	assert_text(&bench, "or has none");

	variant->is_other = false;
	snprintf(bench.kernel.devices[0].refuses, DRIVER_NAME_SIZE, "nic_vfio_pci");
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_text(&bench, "did not accept it");
	assert_text(&bench, "driver = vfio-pci in its rule");
	assert_true(bench.refusal.rolled_back);
	assert_as_before(&bench);
	bench_end(&bench);
}

/* --- take ------------------------------------------------------------------------- */

static void test_take_and_return(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	fake_kernel_add(&bench.kernel, "pcieport");
	fake_kernel_add(&bench.kernel, "e1000");
	fake_kernel_add(&bench.kernel, "");
	bench_plan(&bench);
	assert_int_equal(inspect(&bench), 0);
	bench.steps[0] = '\0';
	assert_int_equal(take(&bench), 0);
	assert_true(bench.group_fd >= 0);
	assert_string_equal(bench.steps,
		"module:1 module:2 override:1 read:1 unbind:1 bind:1 verify:1 "
		"override:2 read:2 bind:2 verify:2 verify:1 verify:2 open:-1 viable:-1");
	assert_string_equal(bench.kernel.devices[0].driver, "pcieport");
	assert_string_equal(bench.kernel.devices[1].driver, "vfio-pci");
	assert_string_equal(bench.kernel.devices[2].driver, "vfio-pci");
	assert_string_equal(bench.kernel.devices[0].override, "");

	close_group(&bench);
	bench.steps[0] = '\0';
	assert_int_equal(give_back(&bench), 0);
	assert_string_equal(bench.steps, "open:-1 read:2 override:2 read:2 unbind:2 verify:2 "
					 "read:1 override:1 read:1 unbind:1 bind:1 verify:1");
	assert_as_before(&bench);
	bench_end(&bench);
}

static void lpc_comes_back(struct fake_kernel *kernel)
{
	snprintf(kernel->devices[0].driver, DRIVER_NAME_SIZE, "lpc_ich");
}

/* Without a driver while the group is taken, and no module is loaded for it. */
static void test_parked(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	fake_kernel_add(&bench.kernel, "lpc_ich");
	fake_kernel_add(&bench.kernel, "e1000");
	bench_plan(&bench);
	assert_int_equal(inspect(&bench), 0);
	assert_string_equal(bench.steps, "guard:0 read:0 guard:1 read:1");
	bench.steps[0] = '\0';
	assert_int_equal(take(&bench), 0);
	assert_string_equal(bench.steps,
		"module:1 override:0 read:0 unbind:0 verify:0 override:1 read:1 unbind:1 bind:1 "
		"verify:1 verify:0 verify:1 open:-1 viable:-1");
	assert_string_equal(bench.kernel.devices[0].driver, "");
	assert_string_equal(bench.kernel.devices[0].override, PLAN_PARKED);

	close_group(&bench);
	bench.steps[0] = '\0';
	assert_int_equal(give_back(&bench), 0);
	assert_string_equal(bench.steps,
		"open:-1 read:1 override:1 read:1 unbind:1 bind:1 verify:1 "
		"read:0 override:0 read:0 bind:0 verify:0");
	assert_as_before(&bench);

	/* Its driver is bound by hand while the other one is moved. */
	fake_kernel_calm(&bench.kernel);
	assert_int_equal(inspect(&bench), 0);
	bench.kernel.event_at = bench.kernel.n_ops + 8;
	bench.kernel.event = lpc_comes_back;
	assert_int_equal(take(&bench), REFUSED);
	assert_string_equal(bench.refusal.device, bench.kernel.devices[0].name);
	assert_int_equal(bench.refusal.step, STEP_VERIFY);
	assert_int_equal(bench.refusal.errnum, EBUSY);
	assert_non_null(strstr(bench.refusal.text, "a driver came back"));
	assert_true(bench.refusal.rolled_back);
	assert_as_before(&bench);
	bench_end(&bench);
}

static void test_take_without_binds(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	fake_kernel_add(&bench.kernel, "vfio-pci");
	bench_plan(&bench);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	assert_true(bench.group_fd >= 0);
	assert_int_equal(give_back(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	close_group(&bench);
	assert_int_equal(give_back(&bench), 0);
	assert_int_equal(bench.kernel.n_writes, 0);
	assert_as_before(&bench);
	bench_end(&bench);
}

/* Somebody bound it after the plan was made: that is how the host had it. */
static void test_target_already(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 1);
	snprintf(bench.kernel.devices[0].driver, DRIVER_NAME_SIZE, "vfio-pci");
	snprintf(bench.kernel.devices[0].override, DRIVER_NAME_SIZE, "vfio-pci");
	bench.before = bench.kernel;
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	assert_int_equal(give_back(&bench), 0);
	assert_as_before(&bench);
	bench_end(&bench);
}

static void test_module_missing(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	fake_kernel_driver(&bench.kernel, "vfio-pci")->is_loaded = false;
	fake_kernel_driver(&bench.kernel, "vfio-pci")->cannot_load = true;
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.step, STEP_MODULE);
	assert_int_equal(bench.refusal.errnum, ENOENT);
	assert_true(bench.refusal.rolled_back);
	assert_int_equal(bench.kernel.n_writes, 0);
	bench_end(&bench);
}

static void test_second_member_refused(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	snprintf(bench.kernel.devices[1].refuses, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_int_equal(bench.refusal.errnum, EIO);
	assert_true(bench.refusal.rolled_back);
	assert_as_before(&bench);
	bench_end(&bench);
}

/* A probe that succeeds and binds nothing is found out. */
static void test_verify(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 1);
	assert_int_equal(inspect(&bench), 0);
	bench.kernel.binds_nothing = true;
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.step, STEP_VERIFY);
	assert_int_equal(bench.refusal.errnum, ENODEV);
	/* Nor does it bind the host's driver again. */
	assert_false(bench.refusal.rolled_back);
	assert_text(&bench, "0000:01:00.0 is on no driver, was on e1000 (verify: No such device)");
	bench_end(&bench);
}

/* The host's driver does not want it back: what is left where is told, the others are back. */
static void test_rollback_fails(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 3);
	snprintf(bench.kernel.devices[0].refuses, DRIVER_NAME_SIZE, "e1000");
	snprintf(bench.kernel.devices[2].refuses, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_string_equal(bench.refusal.device, "0000:01:00.2");
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_false(bench.refusal.rolled_back);
	assert_string_equal(bench.refusal.text,
		"0000:01:00.2: its VFIO driver did not accept it. Left behind: 0000:01:00.0 is on "
		"no driver, was on e1000 (bind: Input/output error)");
	assert_string_equal(bench.kernel.devices[0].driver, "");
	assert_string_equal(bench.kernel.devices[1].driver, "e1000");
	assert_string_equal(bench.kernel.devices[2].driver, "e1000");
	bench_end(&bench);
}

/* --- the group as a whole ------------------------------------------------------------ */

static void test_open_busy(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	bench.kernel.is_open_elsewhere = true;
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	assert_int_equal(bench.refusal.owner_pid, 0);
	assert_true(bench.refusal.rolled_back);
	assert_as_before(&bench);

	/* With a rollback that fails, that is what has to be told. */
	snprintf(bench.kernel.devices[0].refuses, DRIVER_NAME_SIZE, "e1000");
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(bench.refusal.step, STEP_OPEN);
	assert_int_equal(bench.refusal.errnum, EBUSY);
	assert_false(bench.refusal.rolled_back);
	assert_text(&bench, "0000:01:00.0 is on no driver");
	bench_end(&bench);
}

static void test_not_viable(void **state)
{
	(void)state;
	struct bench bench;

	/* A device that was there already, and has been given to the host behind our back. */
	bench_init(&bench);
	fake_kernel_add(&bench.kernel, "vfio-pci");
	fake_kernel_add(&bench.kernel, "e1000");
	bench_plan(&bench);
	snprintf(bench.kernel.devices[0].driver, DRIVER_NAME_SIZE, "snd");
	bench.before = bench.kernel;
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_NOT_VIABLE);
	assert_string_equal(bench.refusal.text, "group 7 is not viable: 0000:01:00.0 is on snd");
	assert_string_equal(bench.refusal.device, "0000:01:00.0");
	assert_true(bench.refusal.rolled_back);
	assert_as_before(&bench);
	bench_end(&bench);

	/* One that has joined since. */
	bench_init_nics(&bench, 1);
	fake_kernel_add(&bench.kernel, "snd");
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_NOT_VIABLE);
	assert_text(&bench, "has joined");
	assert_as_before(&bench);
	bench_end(&bench);
}

static void test_open(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	snprintf(bench.kernel.devices[0].driver, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(
		transaction_open(&bench.transaction, &bench.group_fd, &bench.refusal), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_NOT_VIABLE);
	assert_int_equal(bench.group_fd, -1);
	assert_int_equal(bench.kernel.n_open, 0);
	snprintf(bench.kernel.devices[1].driver, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(transaction_open(&bench.transaction, &bench.group_fd, &bench.refusal), 0);
	close_group(&bench);
	bench.kernel.is_open_elsewhere = true;
	assert_int_equal(
		transaction_open(&bench.transaction, &bench.group_fd, &bench.refusal), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 0);
	/* Somebody is found who has it. */
	bench.kernel.opener_pid = 902;
	assert_int_equal(
		transaction_open(&bench.transaction, &bench.group_fd, &bench.refusal), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	assert_int_equal(bench.refusal.owner_uid, 1001);
	assert_text(&bench, "testpmd (pid 902, uid 1001)");
	assert_int_equal(bench.kernel.n_writes, 0);
	bench_end(&bench);
}

/* The group can be opened, and an unbind would hang: the node of a device is open. */
static void test_device_node_open(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	bench.kernel.n_writes = 0;
	assert_int_equal(transaction_check(&bench.transaction, NULL, &bench.refusal), 0);
	assert_int_equal(bench.kernel.n_open, 0);

	bench.kernel.is_node_open = true;
	bench.kernel.opener_pid = 902;
	assert_int_equal(transaction_check(&bench.transaction, NULL, &bench.refusal), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	assert_int_equal(give_back(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.kernel.n_writes, 0);
	assert_int_equal(bench.kernel.n_open, 0);
	assert_true(fake_kernel_is_taken(&bench.kernel));
	bench.kernel.is_node_open = false;
	assert_int_equal(give_back(&bench), 0);
	assert_as_before(&bench);

	/* What cannot be opened is not looked at any further. */
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	bench.kernel.is_open_elsewhere = true;
	assert_int_equal(transaction_check(&bench.transaction, NULL, &bench.refusal), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 0);
	bench.kernel.is_open_elsewhere = false;
	assert_int_equal(give_back(&bench), 0);
	bench_end(&bench);
}

/* The node comes late, but comes; or it does not. */
static void test_node_lags(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 1);
	bench.kernel.n_lagging = 2;
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	/* A return that cannot ask whether a device is open makes no write. */
	bench.kernel.n_lagging = 1000;
	bench.kernel.n_writes = 0;
	assert_int_equal(give_back(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_RETURN_FAILED);
	assert_int_equal(bench.refusal.step, STEP_OPEN);
	assert_int_equal(bench.refusal.errnum, ENOENT);
	assert_int_equal(bench.kernel.n_writes, 0);
	bench.kernel.n_lagging = 1;
	assert_int_equal(give_back(&bench), 0);
	assert_as_before(&bench);
	bench_end(&bench);
}

/* --- return --------------------------------------------------------------------------- */

static void test_return_busy(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	bench.kernel.n_writes = 0;
	assert_int_equal(give_back(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.group, FAKE_GROUP);
	assert_int_equal(bench.kernel.n_writes, 0);
	assert_true(fake_kernel_is_taken(&bench.kernel));
	bench_end(&bench);
}

static void test_return_twice(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	/* Before it was inspected there is nothing to go back to. */
	assert_int_equal(give_back(&bench), 0);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	assert_int_equal(give_back(&bench), 0);
	bench.kernel.n_writes = 0;
	assert_int_equal(give_back(&bench), 0);
	assert_int_equal(bench.kernel.n_writes, 0);
	assert_as_before(&bench);
	bench_end(&bench);
}

static void other_driver_comes(struct fake_kernel *kernel)
{
	if (!*kernel->devices[0].driver)
		snprintf(kernel->devices[0].driver, DRIVER_NAME_SIZE, "snd");
}

/* Between any two operations of the return another driver takes what is free. */
static void test_other_driver_is_faster(void **state)
{
	(void)state;
	struct bench bench;
	bool came_between = false, was_hit = true;

	for (unsigned k = 1; was_hit; k++) {
		bench_init_nics(&bench, 1);
		assert_int_equal(inspect(&bench), 0);
		assert_int_equal(take(&bench), 0);
		close_group(&bench);
		fake_kernel_calm(&bench.kernel);
		bench.kernel.event_at = k;
		bench.kernel.event = other_driver_comes;
		bench.steps[0] = '\0';
		assert_int_equal(give_back(&bench), 0);
		assert_as_before(&bench);
		came_between = came_between || strstr(bench.steps, "bind:0 verify:0 unbind:0");
		was_hit = bench.kernel.n_ops >= k;
		bench_end(&bench);
	}
	assert_true(came_between);
}

static void test_host_module_unloaded(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	fake_kernel_driver(&bench.kernel, "e1000")->is_loaded = false;
	assert_int_equal(give_back(&bench), 0);
	assert_as_before(&bench);

	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	fake_kernel_driver(&bench.kernel, "e1000")->is_loaded = false;
	fake_kernel_driver(&bench.kernel, "e1000")->cannot_load = true;
	assert_int_equal(give_back(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_RETURN_FAILED);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_int_equal(bench.refusal.errnum, ENOENT);
	assert_text(&bench, "driver e1000 is not loaded: load its module, then write 0000:01:00.1 "
			    "to /sys/bus/pci/drivers/e1000/bind");
	assert_text(&bench, "0000:01:00.0 is on no driver, was on e1000");
	/* Then it was loaded by hand. */
	fake_kernel_driver(&bench.kernel, "e1000")->cannot_load = false;
	assert_int_equal(give_back(&bench), 0);
	assert_as_before(&bench);
	bench_end(&bench);
}

/* More than a text holds: the rest is counted. */
static void test_many_left(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 14);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	for (size_t i = 0; i < 14; i++)
		snprintf(bench.kernel.devices[i].refuses, DRIVER_NAME_SIZE, "e1000");
	assert_int_equal(give_back(&bench), REFUSED);
	assert_string_equal(bench.refusal.device, "0000:01:01.5");
	assert_text(&bench, "0000:01:01.0 is on no driver");
	assert_text(&bench, ", and 4 more");
	assert_true(strlen(bench.refusal.text) < sizeof(bench.refusal.text) - 1);
	bench_end(&bench);
}

/* --- a device that leaves --------------------------------------------------------------- */

static void first_leaves(struct fake_kernel *kernel)
{
	kernel->devices[0].is_present = false;
	kernel->devices[0].driver[0] = '\0';
}

static void second_leaves(struct fake_kernel *kernel)
{
	kernel->devices[1].is_present = false;
	kernel->devices[1].driver[0] = '\0';
}

static void vanish_in_take(void (*leaves)(struct fake_kernel *), const char *name)
{
	struct bench bench;
	bool was_hit = true;
	unsigned n_refused = 0;

	for (unsigned k = 1; was_hit; k++) {
		bench_init_nics(&bench, 2);
		bench.kernel.event_at = k;
		bench.kernel.event = leaves;
		int r = inspect(&bench);
		if (r == 0)
			r = take(&bench);
		was_hit = bench.kernel.n_ops >= k;
		if (r == REFUSED) {
			n_refused++;
			assert_int_equal(bench.refusal.kind, REFUSAL_TAKE_FAILED);
			assert_int_equal(bench.refusal.errnum, ENODEV);
			assert_string_equal(bench.refusal.device, name);
			assert_text(&bench, "has left the host");
			assert_true(bench.refusal.rolled_back);
			assert_as_before(&bench);
		} else {
			/* It left when nothing more was to be done with it. */
			assert_int_equal(r, 0);
			assert_true(fake_kernel_is_taken(&bench.kernel));
		}
		bench_end(&bench);
	}
	assert_true(n_refused > 5);
}

static void test_vanishes_in_take(void **state)
{
	(void)state;
	vanish_in_take(first_leaves, "0000:01:00.0");
	vanish_in_take(second_leaves, "0000:01:00.1");
}

static void vanish_in_return(void (*leaves)(struct fake_kernel *))
{
	struct bench bench;
	bool was_hit = true;

	for (unsigned k = 1; was_hit; k++) {
		bench_init_nics(&bench, 2);
		assert_int_equal(inspect(&bench), 0);
		assert_int_equal(take(&bench), 0);
		close_group(&bench);
		fake_kernel_calm(&bench.kernel);
		bench.kernel.event_at = k;
		bench.kernel.event = leaves;
		assert_int_equal(give_back(&bench), 0);
		was_hit = bench.kernel.n_ops >= k;
		assert_as_before(&bench);
		bench_end(&bench);
	}
}

static void test_vanishes_in_return(void **state)
{
	(void)state;
	vanish_in_return(first_leaves);
	vanish_in_return(second_leaves);
}

/* Removed and found again by a rescan while it was taken: it has another group, perhaps a lease. */
static void test_came_back_as_another(void **state)
{
	(void)state;
	struct bench bench;

	bench_init_nics(&bench, 2);
	assert_int_equal(inspect(&bench), 0);
	assert_int_equal(take(&bench), 0);
	close_group(&bench);
	bench.kernel.devices[0].group = FAKE_GROUP + 1;
	assert_int_equal(give_back(&bench), 0);
	assert_string_equal(bench.kernel.devices[0].driver, "vfio-pci");
	assert_string_equal(bench.kernel.devices[0].override, "vfio-pci");
	assert_string_equal(bench.kernel.devices[1].driver, "e1000");
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inspect),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_inspect_refuses),
		cmocka_unit_test(test_variant),
		cmocka_unit_test(test_variant_fails),
		cmocka_unit_test(test_take_and_return),
		cmocka_unit_test(test_parked),
		cmocka_unit_test(test_take_without_binds),
		cmocka_unit_test(test_target_already),
		cmocka_unit_test(test_module_missing),
		cmocka_unit_test(test_second_member_refused),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_rollback_fails),
		cmocka_unit_test(test_open_busy),
		cmocka_unit_test(test_not_viable),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_device_node_open),
		cmocka_unit_test(test_node_lags),
		cmocka_unit_test(test_return_busy),
		cmocka_unit_test(test_return_twice),
		cmocka_unit_test(test_other_driver_is_faster),
		cmocka_unit_test(test_host_module_unloaded),
		cmocka_unit_test(test_many_left),
		cmocka_unit_test(test_vanishes_in_take),
		cmocka_unit_test(test_vanishes_in_return),
		cmocka_unit_test(test_came_back_as_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
