/* Takes and opens that bring the devices' own nodes, and each of their steps failing. */
#include "fake-kernel.h"

#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
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
	int n_fds_before;
};

static void bench_init(struct bench *bench)
{
	memset(bench, 0, sizeof(*bench));
	bench->n_fds_before = count_fds();
	fake_kernel_init(&bench->kernel);
	fake_kernel_add(&bench->kernel, "pcieport");
	fake_kernel_add(&bench->kernel, "e1000");
	fake_kernel_add(&bench->kernel, "lpc_ich");
	fake_kernel_add(&bench->kernel, "vfio-pci");
	bench->before = bench->kernel;
	bench->ops = fake_kernel_ops(&bench->kernel);
	bench->transaction = (struct transaction){
		.ops = &bench->ops,
		.plan = fake_kernel_plan(&bench->kernel),
	};
	bench->transaction.nodes = nodes_new(bench->transaction.plan);
	assert_non_null(bench->transaction.nodes);
}

static void bench_end(struct bench *bench)
{
	assert_int_equal(bench->kernel.n_open, 0);
	nodes_free(bench->transaction.nodes);
	plan_free(bench->transaction.plan);
	assert_int_equal(count_fds(), bench->n_fds_before);
}

static int take(struct bench *bench)
{
	int group_fd = 77;

	int r = transaction_inspect(&bench->transaction, &bench->refusal);
	if (r == 0) {
		r = transaction_take(&bench->transaction, &group_fd, &bench->refusal);
		assert_int_equal(group_fd, -1);
	}
	return r;
}

static int open_them(struct bench *bench)
{
	return transaction_open_nodes(&bench->transaction, &bench->refusal);
}

/* Of what clients find in the group, and of nothing else. */
static void assert_open(const struct bench *bench, bool are_open)
{
	const struct nodes *nodes = bench->transaction.nodes;

	assert_int_equal(nodes->n, 4);
	for (size_t i = 0; i < nodes->n; i++) {
		assert_string_equal(nodes->all[i].device, bench->kernel.devices[i].name);
		assert_int_equal(nodes->all[i].fd >= 0, are_open && (i == 1 || i == 3));
	}
	assert_int_equal(bench->kernel.n_open, 0);
}

static void test_take(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	bench.kernel.n_nodes_lagging = 2;
	assert_int_equal(take(&bench), 0);
	assert_true(fake_kernel_is_taken(&bench.kernel));
	assert_open(&bench, true);
	bench_end(&bench);
}

static void test_open(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	assert_int_equal(take(&bench), 0);
	nodes_free(bench.transaction.nodes);
	bench.transaction.nodes = nodes_new(bench.transaction.plan);
	assert_int_equal(open_them(&bench), 0);
	assert_open(&bench, true);
	/* A node of it, and the group, with somebody else. */
	nodes_free(bench.transaction.nodes);
	bench.transaction.nodes = nodes_new(bench.transaction.plan);
	bench.kernel.is_node_open = true;
	bench.kernel.opener_pid = 902;
	strcpy(bench.transaction.plan->members[3].bus, "mdev");
	assert_int_equal(open_them(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(bench.refusal.owner_pid, 902);
	assert_open(&bench, false);
	/* Of what is made anew after each lease, no former client has any. */
	strcpy(bench.transaction.plan->members[3].bus, "pci");
	assert_int_equal(open_them(&bench), 0);
	assert_open(&bench, true);
	nodes_close(bench.transaction.nodes);
	bench.kernel.is_node_open = false;
	bench.kernel.is_open_elsewhere = true;
	assert_int_equal(open_them(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_open(&bench, false);
	bench_end(&bench);
}

/* The kernel makes none: the refusal says what it is built without, and all is as before. */
static void test_none(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	bench.kernel.makes_no_nodes = true;
	assert_int_equal(take(&bench), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_true(bench.refusal.rolled_back);
	assert_non_null(strstr(bench.refusal.text, "CONFIG_VFIO_DEVICE_CDEV"));
	assert_true(fake_kernel_same(&bench.kernel, &bench.before));
	assert_open(&bench, false);
	bench_end(&bench);
}

/* Whatever fails, no node stays open, and the group is as it was or taken with all of them. */
static void test_faults(void **state)
{
	(void)state;
	static const int errors[] = { EIO, EMFILE };
	unsigned n_refused = 0;

	for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
		bool is_reached = true;

		for (unsigned at = 1; is_reached; at++) {
			struct bench bench;

			bench_init(&bench);
			bench.kernel.faults[0].at = at;
			bench.kernel.faults[0].error = errors[e];
			int r = take(&bench);
			is_reached = bench.kernel.n_ops >= at;
			assert_open(&bench, r == 0);
			if (r != 0) {
				n_refused++;
				assert_int_equal(r, REFUSED);
				assert_true(bench.refusal.rolled_back);
				assert_true(fake_kernel_same(&bench.kernel, &bench.before));
			} else {
				assert_true(fake_kernel_is_taken(&bench.kernel));
			}
			bench_end(&bench);
		}
	}
	assert_true(n_refused > 10);
}

static void test_faults_of_open(void **state)
{
	(void)state;
	/* The group, whether it is viable, and both nodes. */
	static const int results[] = { REFUSED, REFUSED, REFUSED, REFUSED, 0 };

	for (unsigned at = 1; at <= ARRAY_SIZE(results); at++) {
		struct bench bench;

		bench_init(&bench);
		assert_int_equal(take(&bench), 0);
		nodes_free(bench.transaction.nodes);
		bench.transaction.nodes = nodes_new(bench.transaction.plan);
		fake_kernel_calm(&bench.kernel);
		bench.kernel.faults[0].at = at;
		bench.kernel.faults[0].error = EIO;
		int r = open_them(&bench);
		assert_int_equal(r, results[at - 1]);
		assert_open(&bench, r == 0);
		bench_end(&bench);
	}
}

/* What another process sends is taken once, of a member that there is. */
static void test_note(void **state)
{
	(void)state;
	struct bench bench;

	bench_init(&bench);
	struct nodes *nodes = bench.transaction.nodes;
	const struct plan *plan = bench.transaction.plan;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(nodes_note(NULL, 1, &fd), -EPROTO);
	assert_int_equal(nodes_note(nodes, -1, &fd), -EPROTO);
	assert_int_equal(nodes_note(nodes, 4, &fd), -EPROTO);
	assert_true(fd >= 0);
	assert_int_equal(nodes_note(nodes, 1, &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(nodes_note(nodes, 3, &fd), -EPROTO);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(nodes_note(nodes, 1, &fd), -EPROTO);
	/* The two others are not for clients. */
	assert_false(nodes_are_whole(NULL, plan));
	assert_false(nodes_are_whole(nodes, plan));
	assert_int_equal(nodes_note(nodes, 3, &fd), 0);
	assert_true(nodes_are_whole(nodes, plan));
	nodes_close(nodes);
	nodes_close(NULL);
	assert_false(nodes_are_whole(nodes, plan));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_faults_of_open),
		cmocka_unit_test(test_note),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
