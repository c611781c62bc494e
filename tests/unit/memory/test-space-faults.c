/* Every request that a space makes fails, and its keeper dies before, in and after each of them. */
#include "space-bench.h"

#include "daemon/base/util.h"
#include "tests/unit/memory/failing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static int attach_10(void)
{
	return bench_attach(10);
}
static int attach_11(void)
{
	return bench_attach(11);
}
static int attach_20(void)
{
	return bench_attach(20);
}
static int add(void)
{
	return bench_add_memory();
}
static int map_a(void)
{
	return bench_map(1, 0, 16, 0x100000);
}
static int map_b(void)
{
	return bench_map(1, 16, 16, 0x200000);
}
/* The same frames as of A's, and some of B's. */
static int map_c(void)
{
	return bench_map(1, 8, 16, 0x300000);
}
static int map_d(void)
{
	bench.n_changes = 1;
	int r = bench_map(1, 40, 5, 0x400000);
	bench.n_changes = 0;
	return r;
}
static int map_over_limit(void)
{
	struct limits before = bench.limits;

	bench.limits.owed = bench_owed() + 3;
	int r = bench_map(1, 48, 16, 0x500000);
	bench.limits = before;
	return r;
}
static int map_impossible(void)
{
	bench.map_error = -EFAULT;
	int r = bench_map(1, 0, 4, 0x600000);
	bench.map_error = 0;
	return r;
}
static int attach_impossible(void)
{
	bench.new_error = -ENODEV;
	int r = bench_attach(30);
	bench.new_error = 0;
	return r;
}
static int attach_changed(void)
{
	bench.n_changes = 1;
	int r = bench_attach(10);
	bench.n_changes = 0;
	return r;
}
static int unmap_b_and_c(void)
{
	return bench_unmap(0x200000, 0x200000 / BENCH_PAGE);
}
static int device(void)
{
	return bench_get_device(10);
}
static int reset(void)
{
	return bench_reset_device(10, true);
}
static int reset_that_reaches_further(void)
{
	bench.n_wanted = 1;
	int r = bench_reset_device(10, true);
	bench.n_wanted = 0;
	return r;
}
static int detach_10(void)
{
	return bench_detach(10, false);
}
static int detach_11(void)
{
	return bench_detach(11, false);
}
static int detach_20_in_use(void)
{
	bench.has_device_open[20] = true;
	int r = bench_detach(20, true);
	return r;
}
static int device_closed(void)
{
	bench_close_devices();
	/* In the queue behind it. */
	return bench_audit();
}
static int remove_memory(void)
{
	return bench_remove_memory(1);
}
static int unmap_all(void)
{
	return bench_unmap(0, UINT64_C(1) << 40);
}

static const struct {
	int (*run)(void);
	bool fails; /* also where nothing goes wrong */
} steps[] = {
	{ add },
	{ map_a },
	{ attach_10 },
	{ map_b },
	{ map_c },
	{ attach_20 },
	{ attach_11 },
	{ map_d },
	{ map_over_limit, true },
	{ map_impossible, true },
	{ attach_impossible, true },
	{ unmap_b_and_c },
	{ device },
	{ reset },
	{ reset_that_reaches_further, true },
	{ detach_11 },
	{ detach_20_in_use },
	{ device_closed },
	{ detach_10 },
	{ attach_changed },
	{ unmap_all },
	{ remove_memory },
};

static void run_steps(bool is_faultless)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i].run();
		if (is_faultless)
			assert_int_equal(r != 0, steps[i].fails);
		/* Whatever has failed was undone: the books say what is pinned. */
		bench_check();
	}
}

static void test_without_a_fault(void **state)
{
	(void)state;
	bench_start();
	run_steps(true);
	bench_destroy();
}

static unsigned requests_without_a_fault(void)
{
	bench_start();
	run_steps(true);
	bench_destroy();
	return bench.n_requests;
}

static void test_each_fault(void **state)
{
	unsigned n_requests = requests_without_a_fault();

	for (unsigned fault = FAULT_NONE + 1; fault < FAULTS; fault++) {
		for (unsigned at = 1; at <= n_requests; at++) {
			bench_tear_down(state);
			bench_set_up(state);
			bench.fault = (enum fault)fault;
			bench.fault_at = at;
			bench_start();
			run_steps(false);
			bench_destroy();
			assert_true(bench.n_requests >= at);
		}
	}
}

/*
 * The daemon is killed at each request, and another one takes the space over; that one, too. What
 * was under way was done or not, wholly, and the story goes on.
 */
static void test_each_death_of_the_daemon(void **state)
{
	unsigned n_requests = requests_without_a_fault();

	for (unsigned fault = FAULT_DAEMON_BEFORE; fault < ALL_FAULTS; fault++)
		for (unsigned at = 1; at <= n_requests; at++)
			for (unsigned again = 0; again <= (fault == FAULT_DAEMON_AFTER ? 6 : 0);
				again += 2) {
				bench_tear_down(state);
				bench_set_up(state);
				bench.fault = (enum fault)fault;
				bench.fault_at = at;
				bench.again_after = again;
				bench_start();
				run_steps(false);
				bench_destroy();
				assert_true(bench.n_restarts >= 1);
			}
}

/* Devices stay open: the charge is there until they are closed, to the page. */
static void test_death_with_devices_open(void **state)
{
	unsigned n_requests = requests_without_a_fault();

	for (unsigned at = 1; at <= n_requests; at++) {
		bench_tear_down(state);
		bench_set_up(state);
		bench.fault = at % 2 ? FAULT_DIES_HALFWAY : FAULT_DIES_AFTER;
		bench.fault_at = at;
		bench_start();
		for (size_t i = 0; i < ARRAY_SIZE(steps) && bench.space &&
				   space_state(bench.space) == SPACE_LIVE;
			i++)
			steps[i].run();
		/* Until all that were attached are seen to be closed. */
		for (int i = 0; i < BENCH_NUMBERS; i++) {
			if (!bench.is_waiting[i])
				continue;
			assert_non_null(bench.space);
			assert_int_equal(space_state(bench.space), SPACE_ORPHANED);
			bench.is_waiting[i] = false;
			space_group_gone(bench.space, i);
		}
		if (bench.space && space_state(bench.space) == SPACE_LIVE)
			bench_destroy();
		bench_wait(bench_is_over);
		assert_int_equal(bench_owed(), 0);
		assert_true(TAILQ_EMPTY(ledger_accounts(bench.ledger)));
	}
}

/* Each allocation fails, of the space and of the ledger: what it was for is undone. */
static void test_each_allocation(void **state)
{
	for (unsigned k = 1;; k++) {
		bench_tear_down(state);
		bench_set_up(state);
		bench_start();
		fail_allocation(k);
		run_steps(false);
		bool is_last = !has_failed();
		fail_allocation(0);
		assert_int_equal(space_state(bench.space), SPACE_LIVE);
		bench_destroy();
		if (is_last)
			return;
	}
}

static unsigned allocation;
static void run_short(void)
{
	fail_allocation(allocation);
}

/* Of who takes the space over: then it is orphaned, and not a page stays charged for ever. */
static void test_each_allocation_of_a_take_over(void **state)
{
	for (allocation = 1;; allocation++) {
		bench_tear_down(state);
		bench_set_up(state);
		bench_start();
		assert_int_equal(add(), 0);
		assert_int_equal(map_a(), 0);
		assert_int_equal(attach_10(), 0);
		assert_int_equal(map_b(), 0);
		assert_int_equal(attach_20(), 0);
		bench_kill_daemon(run_short);
		bool is_last = !has_failed();
		fail_allocation(0);
		if (is_last)
			assert_int_equal(bench.state, SPACE_LIVE);
		bench_check();
		bench_destroy();
		if (is_last)
			return;
	}
}

/* The only memory that there is, is what a group brought along. */
static void test_a_group_leaves_without_memory(void **state)
{
	(void)state;
	bench_start();
	assert_int_equal(add(), 0);
	assert_int_equal(map_a(), 0);
	assert_int_equal(attach_20(), 0);
	fail_allocation(1);
	assert_int_equal(detach_20_in_use(), 0);
	assert_true(has_failed() && bench.is_waiting[20]);
	fail_allocation(1);
	bench_close_devices();
	assert_true(has_failed());
	assert_int_equal(bench_audit(), 0);
	assert_int_equal(bench_owed(), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_without_a_fault),
		TEST(test_each_fault),
		TEST(test_each_death_of_the_daemon),
		TEST(test_death_with_devices_open),
		TEST(test_each_allocation),
		TEST(test_each_allocation_of_a_take_over),
		TEST(test_a_group_leaves_without_memory),
	};
	int n_failed = cmocka_run_group_tests_name("type1", tests, NULL, NULL);
	bench_is_iommufd = true;
	return n_failed + cmocka_run_group_tests_name("iommufd", tests, NULL, NULL);
}
