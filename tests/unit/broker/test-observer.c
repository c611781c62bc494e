/* What children bring of page maps: what moves, hangs, is hidden, or too much. */
#include "tests/unit/broker/observing-bench.h"

#include <unistd.h>

static void run_once(struct observing_bench *bench)
{
	ev_run(bench->broker.loop, EVRUN_ONCE);
}

static uint64_t distinct(struct observing_bench *bench, const struct lease *lease)
{
	struct observing_figures figures;

	observing_figures_of_lease(&bench->broker, lease, &figures);
	return figures.distinct_pages;
}

static void test_absent(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");

	for (size_t i = 0; i < FAKE_PAGES; i += 2)
		fake_frames[0][i] = FRAME_ABSENT;
	fake_frames[0][1] = bench->broker.observing->n_frames; /* no host has that */
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 4), 0);
	assert_int_equal(bench_map(bench, 0, NULL, 1, 4, 2 * PIECE_PAGES + 6), 0);
	/* Half of it is behind all that the process has. */
	assert_int_equal(bench_map(bench, 0, NULL, 1, FAKE_PAGES - 2, 4), 0);
	bench_settle(bench);
	assert_lease(bench, lease, 2 * PIECE_PAGES + 14, PIECE_PAGES + 3, PIECE_PAGES + 11);
}

/* In one part, or not: pages that have moved are found the next time. */
static void test_moves(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *one = bench_lease(bench, 0, "uid:1000"), *two = bench_lease(bench, 1, "b");

	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, FAKE_PAGES), 0);
	assert_int_equal(bench_map(bench, 0, NULL, 2, 0, 10), 0);
	bench_settle(bench);
	assert_lease(bench, one, FAKE_PAGES + 10, FAKE_PAGES, 0);
	/* All becomes what the other has mapped. */
	memcpy(fake_frames[0], fake_frames[1], sizeof(fake_frames[0]));
	assert_int_equal(bench_map(bench, 1, NULL, 1, 0, FAKE_PAGES), 0);
	bench_settle(bench);
	const struct account *host = ledger_host(observing_ledger(&bench->broker));
	assert_int_equal(account_owed(host), 2 * FAKE_PAGES);
	bench->pace.again_seconds = 0;
	/* Something new wakes it up. */
	assert_int_equal(bench_map(bench, 1, NULL, 2, 0, 1), 0);
	while (account_owed(host) != FAKE_PAGES)
		run_once(bench);
	bench->pace.again_seconds = 600;
	bench_settle(bench);
	assert_lease(bench, one, FAKE_PAGES + 10, FAKE_PAGES, 0);
	assert_lease(bench, two, FAKE_PAGES + 1, FAKE_PAGES, 0);
}

/* One that hangs holds up nobody else, and is asked again. */
static void test_hangs(void **state)
{
	struct observing_bench *bench = *state;
	struct observing *observing = bench->broker.observing;
	struct lease *hanging = bench_lease(bench, 0, "uid:1000"),
		     *other = bench_lease(bench, 1, "uid:1000");

	fake_open[0] = HANGS;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 10), 0);
	while (observing->n_children == 0)
		run_once(bench);
	assert_int_equal(bench_map(bench, 1, NULL, 1, 0, 10), 0);
	assert_int_equal(bench_map(bench, 0, NULL, 1, 10, 10), 0);
	while (distinct(bench, other) == 0)
		run_once(bench);
	assert_int_equal(observing->n_children, 1);
	assert_lease(bench, hanging, 20, 0, 20);
	/* Its connection is closed meanwhile: the child goes, and nothing is left. */
	bench->reporters[0] = reporter_free(bench->reporters[0]);
	assert_int_equal(observing->n_children, 0);
	assert_lease(bench, hanging, 0, 0, 0);

	/* The deadline ends it, and after a pause the next one finds it awake. */
	bench_lease(bench, 2, "c");
	bench->pace.deadline_seconds = 0.02;
	bench->pace.failed_first_seconds = bench->pace.failed_last_seconds = 0.01;
	fake_open[2] = HANGS;
	assert_int_equal(bench_map(bench, 2, NULL, 1, 0, 10), 0);
	const struct observed_process *process = bench->reporters[2]->process;
	while (process->not_before == 0)
		run_once(bench);
	assert_account(bench, "c", 10, 0, 10);
	fake_open[2] = 0;
	bench->pace.deadline_seconds = 600;
	while (process->pause_seconds > 0)
		run_once(bench);
	assert_account(bench, "c", 10, 10, 0);
}

/* So many children at a time; the one that is free again goes on. */
static void test_all_hang(void **state)
{
	struct observing_bench *bench = *state;
	struct observing *observing = bench->broker.observing;

	for (unsigned i = 0; i < FAKE_PROCESSES; i++) {
		bench_lease(bench, i, "uid:1000");
		fake_open[i] = i < FAKE_PROCESSES - 1 ? HANGS : 0;
		assert_int_equal(bench_map(bench, i, NULL, 1, 0, 1), 0);
	}
	while (observing->n_children < 4)
		run_once(bench);
	assert_false(ev_is_active(&observing->next));
	for (unsigned i = 0; i < FAKE_PROCESSES - 1; i++)
		bench->reporters[i] = reporter_free(bench->reporters[i]);
	bench_settle(bench);
	assert_account(bench, "uid:1000", 1, 1, 0);
}

static void test_gone(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");

	/* More than is forgotten in one go. */
	for (size_t i = 0; i < FAKE_PAGES; i++)
		fake_frames[0][i] = 2 * i;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, FAKE_PAGES), 0);
	bench_settle(bench);
	assert_lease(bench, lease, FAKE_PAGES, FAKE_PAGES, 0);
	/* What it showed may be anybody's now. It is not asked again. */
	fake_open[0] = -ESRCH;
	assert_int_equal(bench_map(bench, 0, NULL, 2, 0, 1), 0);
	while (ev_is_active(&bench->broker.observing->next) || bench->reporters[0]->process->batch)
		run_once(bench);
	assert_lease(bench, lease, FAKE_PAGES + 1, 0, FAKE_PAGES + 1);
	assert_int_equal(bench_map(bench, 0, NULL, 3, 0, 1), 0);
	assert_false(ev_is_active(&bench->broker.observing->next));
	assert_lease(bench, lease, FAKE_PAGES + 2, 0, FAKE_PAGES + 2);
}

static void test_hidden(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");

	fake_read = -EPERM;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 10), 0);
	bench_settle(bench);
	assert_lease(bench, lease, 10, 0, 10);
	assert_true(bench->reporters[0]->process->not_before > 0);
	fake_read = 0;
}

/* Scattered pages: a child brings so many runs at most, and the next one the rest. */
static void test_scattered(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");

	for (size_t i = 0; i < FAKE_PAGES; i++)
		fake_frames[0][i] = 2 * i;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, FAKE_PAGES), 0);
	bench_settle(bench);
	assert_lease(bench, lease, FAKE_PAGES, FAKE_PAGES, 0);
	/* More than are uncovered in one go: the figures of the lease are right at once. */
	assert_int_equal(bench_unmap(bench, 0, NULL, 1, 0, FAKE_PAGES), 0);
	assert_lease(bench, lease, 0, 0, 0);
	const struct account *host = ledger_host(observing_ledger(&bench->broker));
	assert_in_range(account_owed(host), 1, FAKE_PAGES - 1);
	bench_settle(bench);
	assert_int_equal(account_owed(host), 0);
}

/* The daemon remembers so many runs of a user, and no more. */
static void test_too_many_runs(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");
	uint64_t n = USER_RUNS_MAX / PIECE_PAGES + 2;

	for (size_t i = 0; i < FAKE_PAGES; i++)
		fake_frames[0][i] = 2 * i;
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(bench_map(bench, 0, NULL, i, 0, PIECE_PAGES), 0);
	bench_settle(bench);
	assert_lease(bench, lease, n * PIECE_PAGES, PIECE_PAGES, 2 * PIECE_PAGES);
	assert_int_equal(bench->reporters[0]->user->n_runs, USER_RUNS_MAX);
}

struct compared {
	int result;
	uint64_t different;
	bool is_done;
};

static void on_compared(int result, uint64_t different_pages, void *userdata)
{
	struct compared *compared = userdata;
	*compared = (struct compared){ result, different_pages, true };
}

static void assert_compared(
	struct observing_bench *bench, const struct lease *lease, int result, uint64_t different)
{
	struct compared compared = { 0 };
	struct comparison *comparison;

	assert_int_equal(
		observing_compare(&bench->broker, lease, on_compared, &compared, &comparison), 0);
	while (!compared.is_done)
		run_once(bench);
	assert_int_equal(compared.result, result);
	assert_int_equal(compared.different, different);
}

static void test_compare(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000"),
		     *other = bench_lease(bench, 0, "uid:1000");

	assert_compared(bench, lease, 0, 0);
	fake_frames[0][3] = FRAME_ABSENT;
	assert_int_equal(bench_map(bench, 0, lease, 1, 0, FAKE_PAGES), 0);
	assert_int_equal(bench_map(bench, 1, lease, 1, 0, 10), 0);
	assert_int_equal(bench_map(bench, 0, other, 2, 0, 100), 0);
	bench_settle(bench);
	assert_compared(bench, lease, 0, 0);
	/* A page that comes, one that goes, one in between, the last; of the other process, one. */
	fake_frames[0][3] = 5;
	fake_frames[0][0] = FRAME_ABSENT;
	fake_frames[0][PIECE_PAGES] = 6;
	fake_frames[0][FAKE_PAGES - 1] = 7;
	fake_frames[1][9]++;
	assert_compared(bench, lease, 0, 4);
	assert_compared(bench, other, 0, 1);
	fake_open[1] = -ESRCH;
	assert_compared(bench, lease, -ESRCH, 0);
	fake_open[1] = 0;
	fake_read = -EPERM;
	assert_compared(bench, lease, -EPERM, 0);
	/* What cannot be read any more has gone. */
	fake_read = -EIO;
	assert_compared(bench, other, 0, 99);
	fake_read = 0;

	struct comparison *comparison;
	fake_open[0] = HANGS;
	assert_int_equal(
		observing_compare(&bench->broker, lease, on_compared, NULL, &comparison), 0);
	assert_null(comparison_free(comparison));
}

/* The kernel's own page map, of this process: whoever may not see frames gets EPERM. */
static void test_kernel(void **state)
{
	(void)state;
	unsigned long long ticks;
	static struct part_runs runs;
	char *page = aligned_alloc(page_bytes(), page_bytes());
	const struct observer_part part = { (uint64_t)(uintptr_t)page, 1 };

	assert_non_null(page);
	*page = 1;
	assert_int_equal(process_start_time(getpid(), &ticks), 0);
	assert_int_equal(observer_kernel.open(getpid(), ticks + 1), -ESRCH);
	int pagemap = observer_kernel.open(getpid(), ticks);
	assert_true(pagemap >= 0);
	int r = observer_read_part(&observer_kernel, &pagemap, &part, &runs);
	if (r == 0) {
		assert_int_equal(runs.n, 1);
		assert_false(run_is_absent(runs.runs[0]));
	} else {
		assert_int_equal(r, -EPERM);
	}
	/* Where there is no memory at all. */
	const struct observer_part nowhere = { -(uint64_t)page_bytes(), 1 };
	assert_int_equal(observer_read_part(&observer_kernel, &pagemap, &nowhere, &runs), 0);
	assert_true(runs.n == 0 || run_is_absent(runs.runs[0]));
	close(pagemap);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, observing_setup, observing_teardown)
		TEST(test_absent),
		TEST(test_moves),
		TEST(test_hangs),
		TEST(test_all_hang),
		TEST(test_gone),
		TEST(test_hidden),
		TEST(test_scattered),
		TEST(test_too_many_runs),
		TEST(test_compare),
		cmocka_unit_test(test_kernel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
