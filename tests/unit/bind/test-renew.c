/* Devices that are given to their VFIO drivers anew: what is moved, and each step of it failing. */
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
	char steps[1024]; /* "unbind:1 bind:1 …" */
};

static void note_step(enum bind_step step, int member, void *userdata)
{
	struct bench *bench = userdata;
	size_t used = strlen(bench->steps);

	if (step == STEP_UNBIND || step == STEP_BIND)
		snprintf(bench->steps + used, sizeof(bench->steps) - used, "%s%s:%d",
			used ? " " : "", bind_step_name(step), member);
}

/* A bridge, two devices that vfiod has taken, a part of the chipset, and one that was there
 * already. */
static void bench_init(struct bench *bench)
{
	int group_fd;

	memset(bench, 0, sizeof(*bench));
	fake_kernel_init(&bench->kernel);
	fake_kernel_add(&bench->kernel, "pcieport");
	fake_kernel_add(&bench->kernel, "e1000");
	fake_kernel_add(&bench->kernel, "snd");
	fake_kernel_add(&bench->kernel, "lpc_ich");
	fake_kernel_add(&bench->kernel, "vfio-pci");
	bench->ops = fake_kernel_ops(&bench->kernel);
	bench->transaction = (struct transaction){
		.ops = &bench->ops,
		.plan = fake_kernel_plan(&bench->kernel),
		.on_step = note_step,
		.userdata = bench,
	};
	string_copy(bench->transaction.plan->members[4].target, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(transaction_inspect(&bench->transaction, &bench->refusal), 0);
	assert_int_equal(transaction_take(&bench->transaction, &group_fd, &bench->refusal), 0);
	bench->ops.close_group(bench->ops.userdata, group_fd);
	fake_kernel_calm(&bench->kernel);
	bench->before = bench->kernel;
	bench->steps[0] = '\0';
}

static void bench_end(struct bench *bench)
{
	assert_int_equal(bench->kernel.n_open, 0);
	assert_int_equal(bench->kernel.n_blocked, 0);
	plan_free(bench->transaction.plan);
}

static int renew(struct bench *bench)
{
	bench->refusal = (struct refusal){ .kind = REFUSAL_NONE };
	return transaction_renew(&bench->transaction, &bench->refusal);
}

static void assert_renewed(struct bench *bench)
{
	assert_int_equal(renew(bench), 0);
	assert_true(fake_kernel_same(&bench->kernel, &bench->before));
}

static void test_renewed(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	assert_renewed(&bench);
	assert_string_equal(bench.steps, "unbind:1 bind:1 unbind:2 bind:2 unbind:4 bind:4");
	bench_end(&bench);
}

/* An mdev matches no driver: it would be lost. One that somebody else has meanwhile is his. */
static void test_left_alone(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	string_copy(bench.transaction.plan->members[4].bus, 32, "mdev");
	string_copy(bench.kernel.devices[2].driver, DRIVER_NAME_SIZE, "snd");
	bench.kernel.devices[1].is_present = false;
	assert_int_equal(renew(&bench), 0);
	/* Which finds that it is no more. */
	assert_string_equal(bench.steps, "bind:1");
	assert_string_equal(bench.kernel.devices[2].driver, "snd");
	bench_end(&bench);
}

static void assert_busy(struct bench *bench)
{
	assert_int_equal(renew(bench), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench->kernel.n_writes, 0);
}

static void test_busy(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	bench.kernel.is_open_elsewhere = true;
	assert_busy(&bench);
	bench.kernel.is_open_elsewhere = false;
	bench.kernel.is_node_open = true;
	bench.kernel.opener_pid = 902;
	assert_busy(&bench);
	assert_int_equal(bench.refusal.owner_pid, 902);
	bench_end(&bench);
}

/* The others are renewed, the refusal says which is not, and it can be done again. */
static void test_refused(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	string_copy(bench.kernel.devices[1].refuses, DRIVER_NAME_SIZE, "vfio-pci");
	assert_int_equal(renew(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_RETURN_FAILED);
	assert_int_equal(bench.refusal.step, STEP_BIND);
	assert_int_equal(bench.refusal.errnum, EIO);
	assert_string_equal(bench.refusal.device, "0000:01:00.1");
	assert_non_null(strstr(bench.refusal.text, "0000:01:00.1 could not be given to vfio-pci "
						   "anew (bind: Input/output error)"));
	assert_string_equal(bench.kernel.devices[1].driver, "");
	assert_string_equal(bench.kernel.devices[2].driver, "vfio-pci");
	bench.kernel.devices[1].refuses[0] = '\0';
	assert_renewed(&bench);
	/* And a return knows what to do with what it has left. */
	string_copy(bench.kernel.devices[1].driver, DRIVER_NAME_SIZE, "");
	assert_int_equal(transaction_return(&bench.transaction, &bench.refusal), 0);
	assert_string_equal(bench.kernel.devices[1].driver, "e1000");
	bench_end(&bench);
}

static void test_faults(void **state)
{
	(void)state;
	static const int errors[] = { EIO, EBUSY, ENOENT, ENODEV };
	unsigned n_refused = 0;

	for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
		bool is_reached = true;

		for (unsigned at = 1; is_reached; at++) {
			struct bench bench;

			bench_init(&bench);
			bench.kernel.faults[0].at = at;
			bench.kernel.faults[0].error = errors[e];
			int r = renew(&bench);
			is_reached = bench.kernel.n_ops >= at;
			n_refused += r == REFUSED;
			assert_true(r == 0 || r == REFUSED);
			if (r == 0)
				assert_true(fake_kernel_same(&bench.kernel, &bench.before));
			fake_kernel_calm(&bench.kernel);
			assert_renewed(&bench);
			bench_end(&bench);
		}
	}
	assert_true(n_refused > 10);
}

/* The child is killed between any two operations: the next one finds what is left. */
static void test_killed(void **state)
{
	(void)state;
	bool is_reached = true;

	for (unsigned at = 1; is_reached; at++) {
		struct bench bench;

		bench_init(&bench);
		bench.kernel.dead_from = at;
		renew(&bench);
		is_reached = bench.kernel.n_ops >= at;
		fake_kernel_calm(&bench.kernel);
		assert_renewed(&bench);
		bench_end(&bench);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renewed),
		cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
