/* What is reported, by whom and for what, and the figures that come of it. */
#include "tests/unit/broker/observing-bench.h"

static void test_two_containers(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");

	assert_lease(bench, lease, 0, 0, 0);
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 100), 0);
	assert_int_equal(bench_map(bench, 0, lease, 2, 0, 100), 0);
	assert_account(bench, "uid:1000", 200, 0, 200);
	bench_settle(bench);
	assert_account(bench, "uid:1000", 200, 100, 0);
	assert_lease(bench, lease, 200, 100, 0);
	assert_int_equal(bench_unmap(bench, 0, NULL, 1, 0, 100), 0);
	assert_lease(bench, lease, 100, 100, 0);
	assert_int_equal(bench_unmap(bench, 0, NULL, 2, 0, 100), 0);
	assert_lease(bench, lease, 0, 0, 0);
	assert_account(bench, "uid:1000", 0, 0, 0);
}

/* Two processes of one account, with the same memory; two accounts with the same. */
static void test_two_processes(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *one = bench_lease(bench, 0, "uid:1000"),
		     *two = bench_lease(bench, 1, "uid:1000");
	bench_lease(bench, 2, "other");

	memcpy(fake_frames[1], fake_frames[0], sizeof(fake_frames[0]));
	memcpy(fake_frames[2], fake_frames[0], sizeof(fake_frames[0]));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bench_map(bench, i, NULL, 1, 0, PIECE_PAGES + 5), 0);
	bench_settle(bench);
	assert_lease(bench, one, PIECE_PAGES + 5, PIECE_PAGES + 5, 0);
	assert_lease(bench, two, PIECE_PAGES + 5, PIECE_PAGES + 5, 0);
	assert_account(bench, "uid:1000", 2 * (PIECE_PAGES + 5), PIECE_PAGES + 5, 0);
	assert_account(bench, "other", PIECE_PAGES + 5, PIECE_PAGES + 5, 0);
	const struct account *host = ledger_host(observing_ledger(&bench->broker));
	assert_int_equal(account_owed(host), PIECE_PAGES + 5);

	/* A lease that ends takes its reports along, and no others. */
	observing_end_lease(&bench->broker, one);
	one->state = LEASE_ENDED;
	assert_lease(bench, one, 0, 0, 0);
	assert_account(bench, "uid:1000", PIECE_PAGES + 5, PIECE_PAGES + 5, 0);
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 1), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_LEASE);
	/* So does a connection. */
	bench->reporters[1] = reporter_free(bench->reporters[1]);
	assert_account(bench, "uid:1000", 0, 0, 0);
	assert_account(bench, "other", PIECE_PAGES + 5, PIECE_PAGES + 5, 0);
}

static void test_who_may(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease = bench_lease(bench, 0, "uid:1000");

	/* Another user's token; another user who has it all the same; an administrator. */
	bench->subjects[1].uid = 1001;
	assert_int_equal(bench_map(bench, 1, lease, 1, 0, 1), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_LEASE);
	bench->subjects[1].uid = 0;
	assert_int_equal(bench_map(bench, 1, lease, 1, 0, 1), 0);
	assert_int_equal(bench_unmap(bench, 1, lease, 1, 0, 1), 0);
	/* Of the same user, by its token; the process has none. */
	assert_int_equal(bench_map(bench, 2, lease, 1, 0, 1), 0);
	assert_int_equal(bench_map(bench, 2, NULL, 1, 0, 1), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_LEASE);
	/* Another process with the same number; one of which nothing is known. */
	lease->subject.start_ticks++;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 1), REFUSED);
	lease->subject.start_ticks = bench->subjects[0].start_ticks = 0;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 1), REFUSED);
	lease->subject.start_ticks = bench->subjects[0].start_ticks = TICKS;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 1), 0);

	lease->is_trusted = false;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 1), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_ACCESS_DENIED);
	lease->is_trusted = true;
	lease->brokered = true;
	assert_int_equal(bench_map(bench, 0, lease, 1, 0, 1), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NOT_SUPPORTED);
	lease->brokered = false;
	lease->state = LEASE_ACQUIRING;
	assert_int_equal(bench_map(bench, 0, lease, 1, 0, 1), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_LEASE);
	lease->state = LEASE_GRANTED;
	/* The first of several. */
	struct lease *second = bench_lease(bench, 0, "uid:1000");
	assert_int_equal(bench_map(bench, 0, NULL, 7, 0, 1), 0);
	assert_lease(bench, second, 0, 0, 0);
	assert_int_equal(bench_map(bench, 0, second, 8, 0, 1), 0);
	assert_lease(bench, second, 1, 0, 1);
}

static void test_bad_ranges(void **state)
{
	struct observing_bench *bench = *state;
	bench_lease(bench, 0, "uid:1000");
	const struct {
		struct report report;
		enum refusal_kind kind;
		const char *text;
	} cases[] = {
		{ { 1, 0, BASE, 0 }, REFUSAL_INVALID_PARAMETER, "length" },
		{ { 1, PAGE / 2, BASE, PAGE }, REFUSAL_MISALIGNED, NULL },
		{ { 1, 0, BASE + 1, PAGE }, REFUSAL_MISALIGNED, NULL },
		{ { 1, 0, BASE, PAGE - 1 }, REFUSAL_MISALIGNED, NULL },
		{ { 1, -PAGE, BASE, 2 * PAGE }, REFUSAL_INVALID_PARAMETER, "iova" },
		{ { 1, 0, -PAGE, 2 * PAGE }, REFUSAL_INVALID_PARAMETER, "address" },
		{ { 1, UINT64_MAX, BASE, PAGE }, REFUSAL_INVALID_PARAMETER, "iova" },
		{ { 1, 0, UINT64_C(1) << 63, (UINT64_C(1) << 63) + PAGE },
			REFUSAL_INVALID_PARAMETER, "address" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
			report_map(bench->reporters[0], NULL, &cases[i].report, &bench->refusal),
			REFUSED);
		assert_int_equal(bench->refusal.kind, cases[i].kind);
		if (cases[i].text)
			assert_string_equal(bench->refusal.text, cases[i].text);
		else
			assert_int_equal(bench->refusal.number, PAGE);
	}
	assert_account(bench, "uid:1000", 0, 0, 0);
	/* The last page of all, and as much as there can be: nothing of it is read, or kept. */
	const struct report last = { 1, -PAGE, -PAGE, PAGE };
	assert_int_equal(report_map(bench->reporters[0], NULL, &last, &bench->refusal), 0);
	const uint64_t half = UINT64_C(1) << 63;
	for (uint64_t i = 0; i < 64; i++) {
		const struct report all = { 2 + i, 0, 0, half };
		assert_int_equal(report_map(bench->reporters[0], NULL, &all, &bench->refusal), 0);
	}
	bench_settle(bench);
	assert_account(bench, "uid:1000", 64 * (half / PAGE) + 1, 0, 64 * (half / PAGE) + 1);
}

static void test_bound(void **state)
{
	struct observing_bench *bench = *state;
	bench->config.bounds.reports_per_user = 3;
	bench_lease(bench, 0, "uid:1000");
	bench_lease(bench, 1, "uid:1000");

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bench_map(bench, i % 2, NULL, 1, i, 1), 0);
	/* Connections do not matter; but what is replaced is not one more. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(bench_map(bench, i, NULL, 1, 3, 1), REFUSED);
		assert_int_equal(bench->refusal.kind, REFUSAL_TOO_MANY);
		assert_int_equal(bench->refusal.max, 3);
		assert_string_equal(bench->refusal.text, "max-reports-per-user");
	}
	assert_int_equal(bench_map(bench, 0, NULL, 1, 0, 2), 0);
	assert_account(bench, "uid:1000", 4, 0, 4);
	/* An administrator's connections are bounded each by itself. */
	bench->subjects[0].uid = bench->subjects[1].uid = 0;
	assert_int_equal(bench_map(bench, 0, NULL, 1, 4, 1), 0);
	assert_int_equal(bench_map(bench, 1, NULL, 1, 4, 1), 0);
	assert_int_equal(bench_map(bench, 1, NULL, 1, 5, 1), 0);
	assert_int_equal(bench_map(bench, 1, NULL, 1, 6, 1), REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, observing_setup, observing_teardown)
		TEST(test_two_containers),
		TEST(test_two_processes),
		TEST(test_who_may),
		TEST(test_bad_ranges),
		TEST(test_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
