/* Each allocation fails once: what was reported is in the books or not, and nothing is lost. */
#include "tests/unit/broker/observing-bench.h"
#include "tests/unit/memory/failing.h"

#define LONG_PAGES (PIECE_PAGES + 10)
#define SHORT_PAGES 3

/* A mapping of two pieces, then one that replaces it. */
static void report_two(struct observing_bench *bench, struct lease *lease)
{
	struct observing_figures figures;

	int first = bench_map(bench, 0, NULL, 1, 0, LONG_PAGES);
	assert_true(first == 0 || first == -ENOMEM);
	bench_settle(bench);
	observing_figures_of_lease(&bench->broker, lease, &figures);
	assert_int_equal(figures.bill_pages, first == 0 ? LONG_PAGES : 0);
	assert_int_equal(figures.distinct_pages + figures.unobserved_pages, figures.bill_pages);

	int second = bench_map(bench, 0, lease, 1, 5, SHORT_PAGES);
	assert_true(second == 0 || second == -ENOMEM);
	bench_settle(bench);
	observing_figures_of_lease(&bench->broker, lease, &figures);
	assert_int_equal(figures.bill_pages, second == 0  ? SHORT_PAGES
					     : first == 0 ? LONG_PAGES
							  : 0);
	assert_int_equal(figures.distinct_pages + figures.unobserved_pages, figures.bill_pages);
}

static void compare(struct observing_bench *bench, const struct lease *lease)
{
	struct comparison *comparison;

	int r = observing_compare(&bench->broker, lease, NULL, NULL, &comparison);
	assert_true(r == 0 || r == -ENOMEM);
	if (r == 0)
		comparison_free(comparison);
}

static void test_each_allocation(void **state)
{
	unsigned k = 1;
	bool has_come;

	(void)state;
	do {
		struct observing_bench *bench;
		assert_int_equal(observing_setup((void **)&bench), 0);
		struct lease *lease = bench_lease(bench, 0, "uid:1000");
		bench->reporters[0] = reporter_free(bench->reporters[0]);
		fail_allocation(k);
		bench->reporters[0] = reporter_new(&bench->broker, &bench->subjects[0]);
		if (bench->reporters[0])
			report_two(bench, lease);
		compare(bench, lease);
		has_come = has_failed();
		fail_allocation(0);
		/* Whatever was lost: what is reported now is observed, but for who has to wait. */
		if (bench->reporters[0] && bench->reporters[0]->process->not_before == 0) {
			assert_int_equal(bench_map(bench, 0, NULL, 2, 0, LONG_PAGES), 0);
			bench_settle(bench);
			assert_true(bench->reporters[0]->user->n_runs > 0);
		}
		observing_teardown((void **)&bench);
	} while (k++ < 200 && has_come);
	assert_in_range(k, 10, 199);
}

/* The ledger itself. */
static void test_first_report(void **state)
{
	struct observing_bench *bench = *state;

	for (unsigned i = 0; i < FAKE_PROCESSES; i++)
		bench->reporters[i] = reporter_free(bench->reporters[i]);
	bench->broker.observing = observing_free(bench->broker.observing);
	for (unsigned k = 1;; k++) {
		fail_allocation(k);
		struct reporter *reporter = reporter_new(&bench->broker, &bench->subjects[0]);
		assert_int_equal(reporter == NULL, has_failed());
		fail_allocation(0);
		reporter_free(reporter);
		if (reporter)
			return;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_allocation),
		cmocka_unit_test_setup_teardown(
			test_first_report, observing_setup, observing_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
