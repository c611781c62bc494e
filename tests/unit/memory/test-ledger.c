/* What is owed, billed, refused and refunded. At the end of each test all accounts are at zero. */
#include "daemon/memory/ledger.h"

#include "daemon/memory/coverage.h"
#include "tests/unit/memory/failing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST_FRAMES (UINT64_C(1) << 28)

static const struct limits no_limits = { LIMIT_NONE, LIMIT_NONE };

static uint64_t bytes(uint64_t pages)
{
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- a ledger, two accounts, three spaces, and charges of theirs -------------------------------
 */

enum { N_CHARGES = 4 };

struct world {
	struct ledger *ledger;
	struct account *alice, *bob;
	struct account *s1, *s2, *s3; /* alice's, alice's, bob's */
	struct charge charges[N_CHARGES];
	struct refusal refusal;
};

static int begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->ledger = ledger_new(HOST_FRAMES);
	world->alice = ledger_account(world->ledger, "uid:1000");
	world->bob = ledger_account(world->ledger, "uid:1001");
	world->s1 = ledger_space_account(world->ledger, "S1");
	world->s2 = ledger_space_account(world->ledger, "S2");
	world->s3 = ledger_space_account(world->ledger, "S3");
	*state = world;
	return 0;
}

static void assert_figures(const struct account *account, uint64_t owed, uint64_t bill)
{
	assert_int_equal(account_owed(account), owed);
	assert_int_equal(account_kernel_bill(account), bill);
	assert_int_equal(account_saved(account), bill > owed ? bill - owed : 0);
}

static int end(void **state)
{
	struct world *world = *state;
	struct account *all[] = { world->alice, world->bob, world->s1, world->s2, world->s3 };

	for (size_t i = 0; i < N_CHARGES; i++)
		charge_close(&world->charges[i]);
	assert_figures(ledger_host(world->ledger), 0, 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		assert_figures(all[i], 0, 0);
		account_release(all[i]);
	}
	assert_true(TAILQ_EMPTY(ledger_accounts(world->ledger)));
	ledger_free(world->ledger);
	free(world);
	return 0;
}

static int cover(struct world *world, unsigned charge, const struct limits *limits, uint64_t first,
	uint64_t n)
{
	frame_run run = run_make(first, n);
	return charge_cover(&world->charges[charge], &run, 1, limits, n, &world->refusal);
}

static int uncover(struct world *world, unsigned charge, uint64_t first, uint64_t n)
{
	frame_run run = run_make(first, n);
	return charge_uncover(&world->charges[charge], &run, 1);
}

static void assert_refusal(const struct world *world, const char *account, const char *limit,
	uint64_t limit_pages, uint64_t state_pages, uint64_t requested_pages)
{
	assert_int_equal(world->refusal.kind, REFUSAL_LIMIT_EXCEEDED);
	assert_string_equal(world->refusal.account, account);
	assert_string_equal(world->refusal.limit, limit);
	assert_int_equal(world->refusal.limit_bytes, bytes(limit_pages));
	assert_int_equal(world->refusal.state_bytes, bytes(state_pages));
	assert_int_equal(world->refusal.requested_bytes, bytes(requested_pages));
}

/* --- accounts -------------------------------------------------------------------------------- */

static void test_accounts_by_name(void **state)
{
	struct world *world = *state;

	assert_ptr_equal(ledger_account(world->ledger, "uid:1000"), world->alice);
	account_release(world->alice);
	struct account *first = TAILQ_FIRST(ledger_accounts(world->ledger));
	assert_ptr_equal(first, world->alice);
	assert_ptr_equal(TAILQ_NEXT(first, of_ledger), world->bob);
	assert_null(TAILQ_NEXT(world->bob, of_ledger));
	/* A space may be called as an account is: it is another. */
	struct account *space = ledger_space_account(world->ledger, "uid:1000");
	assert_ptr_not_equal(space, world->alice);
	account_release(space);
	account_release(NULL);
	ledger_free(NULL);
}

static void test_an_account_lives_as_long_as_its_charges(void **state)
{
	struct world *world = *state;
	struct account *carol = ledger_account(world->ledger, "uid:1002");

	charge_open(&world->charges[0], carol, world->s1);
	account_release(carol);
	assert_int_equal(cover(world, 0, &no_limits, 5, 1), 0);
	assert_ptr_equal(world->charges[0].payer, carol);
	assert_int_equal(uncover(world, 0, 5, 1), 0);
	charge_close(&world->charges[0]);
	assert_null(world->charges[0].payer);
	assert_null(TAILQ_NEXT(world->bob, of_ledger));
}

/* --- the same frames ---------------------------------------------------------------------------
 */

static void test_two_containers_are_owed_once(void **state)
{
	struct world *world = *state;

	charge_open(&world->charges[0], world->alice, world->s1);
	assert_int_equal(cover(world, 0, &no_limits, 1000, 8192), 0);
	for (uint64_t container = 1; container <= 2; container++) {
		assert_int_equal(
			charge_bill(&world->charges[0], 8192, &no_limits, 8192, &world->refusal),
			0);
		assert_figures(world->alice, 8192, container * 8192);
		assert_figures(world->s1, 8192, container * 8192);
		assert_figures(ledger_host(world->ledger), 8192, container * 8192);
	}
	charge_unbill(&world->charges[0], 8192);
	assert_figures(world->alice, 8192, 8192);
	charge_unbill(&world->charges[0], 8192);
	assert_int_equal(uncover(world, 0, 1000, 8192), 0);
}

/* Charge 0 in S1 and 1 in S2 are alice's, 2 in S3 is bob's: the same frames, and 3 half of them. */
static void open_all(struct world *world)
{
	charge_open(&world->charges[0], world->alice, world->s1);
	charge_open(&world->charges[1], world->alice, world->s2);
	charge_open(&world->charges[2], world->bob, world->s3);
	charge_open(&world->charges[3], world->alice, world->s1);
}

static const struct {
	uint64_t first, n;
} spans[N_CHARGES] = { { 1000, 8192 }, { 1000, 8192 }, { 1000, 8192 }, { 1000, 4096 } };

static void assert_owed_by_those(struct world *world, const bool *is_covered)
{
	uint64_t s1 = is_covered[0] ? 8192 : is_covered[3] ? 4096 : 0;
	uint64_t s2 = is_covered[1] ? 8192 : 0, s3 = is_covered[2] ? 8192 : 0;
	uint64_t alice = s1 > s2 ? s1 : s2;

	assert_int_equal(account_owed(world->s1), s1);
	assert_int_equal(account_owed(world->s2), s2);
	assert_int_equal(account_owed(world->s3), s3);
	assert_int_equal(account_owed(world->alice), alice);
	assert_int_equal(account_owed(world->bob), s3);
	assert_int_equal(account_owed(ledger_host(world->ledger)), alice > s3 ? alice : s3);
}

static void refund_in_order(struct world *world, const unsigned *order)
{
	bool is_covered[N_CHARGES] = { false };

	for (unsigned i = 0; i < N_CHARGES; i++) {
		assert_int_equal(cover(world, i, &no_limits, spans[i].first, spans[i].n), 0);
		is_covered[i] = true;
		assert_owed_by_those(world, is_covered);
	}
	for (unsigned i = 0; i < N_CHARGES; i++) {
		unsigned charge = order[i];
		assert_int_equal(uncover(world, charge, spans[charge].first, spans[charge].n), 0);
		is_covered[charge] = false;
		assert_owed_by_those(world, is_covered);
	}
}

static void test_spaces_and_accounts_in_every_order(void **state)
{
	struct world *world = *state;
	unsigned n_orders = 0;

	open_all(world);
	for (unsigned code = 0; code < 256; code++) {
		unsigned order[N_CHARGES] = { code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 };
		unsigned seen = 1U << order[0] | 1U << order[1] | 1U << order[2] | 1U << order[3];
		if (seen != 15)
			continue;
		refund_in_order(world, order);
		n_orders++;
	}
	assert_int_equal(n_orders, 24);
}

/* --- limits --------------------------------------------------------------------------------------
 */

static void test_the_limit_passes_and_a_page_more_does_not(void **state)
{
	struct world *world = *state;
	const struct limits limits = { 1000, LIMIT_NONE };

	open_all(world);
	assert_int_equal(cover(world, 0, &limits, 0, 1000), 0);
	assert_int_equal(cover(world, 1, &limits, 1000, 1), REFUSED);
	assert_refusal(world, "uid:1000", "owed-limit", 1000, 1000, 1);
	/* What is paid for costs nothing, at the limit and beyond one that was lowered. */
	assert_int_equal(cover(world, 1, &limits, 0, 1000), 0);
	assert_int_equal(cover(world, 3, &(struct limits){ 10, 0 }, 999, 1), 0);
	assert_int_equal(cover(world, 3, &(struct limits){ 10, 0 }, 999, 2), REFUSED);
	assert_refusal(world, "uid:1000", "owed-limit", 10, 1000, 2);
	/* It is an account's own. */
	assert_int_equal(cover(world, 2, &limits, 1000, 1000), 0);
	assert_figures(world->alice, 1000, 0);
	assert_figures(world->bob, 1000, 0);
	assert_figures(ledger_host(world->ledger), 2000, 0);

	assert_int_equal(uncover(world, 0, 0, 1000), 0);
	assert_int_equal(uncover(world, 1, 0, 1000), 0);
	assert_int_equal(uncover(world, 2, 1000, 1000), 0);
	assert_int_equal(uncover(world, 3, 999, 1), 0);
}

static void test_the_hosts_limit_after_the_payers(void **state)
{
	struct world *world = *state;

	assert_int_equal(ledger_host_limit(world->ledger), LIMIT_NONE);
	ledger_set_host_limit(world->ledger, 1500);
	open_all(world);
	assert_int_equal(cover(world, 0, &no_limits, 0, 1000), 0);
	assert_int_equal(cover(world, 2, &no_limits, 1000, 501), REFUSED);
	assert_refusal(world, "host", "host-limit", 1500, 1000, 501);
	assert_figures(world->bob, 0, 0);
	assert_figures(world->s3, 0, 0);
	assert_int_equal(cover(world, 2, &no_limits, 1000, 500), 0);
	/* New to bob, and not to the host. */
	ledger_set_host_limit(world->ledger, 100);
	assert_int_equal(cover(world, 2, &no_limits, 0, 1000), 0);
	assert_figures(world->bob, 1500, 0);

	assert_int_equal(uncover(world, 0, 0, 1000), 0);
	assert_int_equal(uncover(world, 2, 0, 1000), 0);
	assert_int_equal(uncover(world, 2, 1000, 500), 0);
}

/* A mapping whose runs come in several messages: what the refusal says to be used is without it. */
static void test_a_limit_reached_in_pieces(void **state)
{
	struct world *world = *state;
	const struct limits limits = { 100, LIMIT_NONE };
	const frame_run first[] = { run_make(500, 20), run_make(600, 20) };
	const frame_run second[] = { run_make(500, 30), run_make(700, 20), run_make(800, 1) };

	open_all(world);
	assert_int_equal(cover(world, 0, &no_limits, 0, 30), 0);
	struct charge *charge = &world->charges[1];
	assert_int_equal(charge_cover(charge, first, 2, &limits, 111, &world->refusal), 0);
	assert_int_equal(account_owed(world->alice), 70);
	assert_int_equal(charge_cover(charge, second, 3, &limits, 111, &world->refusal), REFUSED);
	assert_refusal(world, "uid:1000", "owed-limit", 100, 30, 111);
	assert_int_equal(account_owed(world->alice), 70);
	assert_int_equal(account_owed(world->s2), 40);
	assert_int_equal(charge_cover(charge, second, 2, &limits, 111, &world->refusal), 0);
	assert_int_equal(account_owed(world->alice), 100);

	assert_int_equal(charge_uncover(charge, &second[1], 1), 0);
	assert_int_equal(charge_uncover(charge, first, 2), 0);
	assert_int_equal(charge_uncover(charge, second, 1), 0);
	assert_int_equal(uncover(world, 0, 0, 30), 0);
}

static void test_the_kernel_bill_has_a_limit(void **state)
{
	struct world *world = *state;
	const struct limits limits = { 0, 100 };
	struct charge *charge = &world->charges[0];

	open_all(world);
	assert_int_equal(charge_bill(charge, 60, &limits, 60, &world->refusal), 0);
	assert_int_equal(charge_bill(charge, 41, &limits, 82, &world->refusal), REFUSED);
	assert_refusal(world, "uid:1000", "kernel-bill-limit", 100, 60, 82);
	assert_figures(world->alice, 0, 60);
	assert_int_equal(charge_bill(charge, 40, &limits, 40, &world->refusal), 0);
	assert_figures(world->alice, 0, 100);
	assert_figures(world->s1, 0, 100);
	assert_int_equal(charge_bill(charge, 0, &(struct limits){ 0, 0 }, 0, &world->refusal), 0);
	assert_int_equal(charge_bill(&world->charges[2], 100, &limits, 0, &world->refusal), 0);
	charge_unbill(&world->charges[2], 100);
	charge_unbill(charge, 100);
}

static void test_sums_do_not_wrap(void **state)
{
	struct world *world = *state;

	open_all(world);
	assert_int_equal(charge_bill(&world->charges[0], UINT64_MAX - 5, &no_limits, UINT64_MAX - 5,
				 &world->refusal),
		0);
	assert_int_equal(
		charge_bill(&world->charges[2], 6, &no_limits, 6, &world->refusal), -EOVERFLOW);
	assert_figures(world->bob, 0, 0);
	assert_int_equal(charge_bill(&world->charges[2], 5, &no_limits, 5, &world->refusal), 0);
	/* Nor do bytes: JSON has numbers up to here. */
	charge_unbill(&world->charges[2], 5);
	assert_int_equal(charge_bill(&world->charges[0], 1, &(struct limits){ 0, UINT64_MAX - 5 },
				 UINT64_MAX, &world->refusal),
		REFUSED);
	assert_int_equal(world->refusal.limit_bytes, INT64_MAX);
	assert_int_equal(world->refusal.state_bytes, INT64_MAX);
	assert_int_equal(world->refusal.requested_bytes, INT64_MAX);
	charge_unbill(&world->charges[0], UINT64_MAX - 5);
}

/* --- all or none ---------------------------------------------------------------------------------
 */

static void test_beyond_the_host_nothing_is_covered(void **state)
{
	struct world *world = *state;
	const frame_run runs[] = { run_make(7, 100), run_make(HOST_FRAMES - 10, 11) };

	open_all(world);
	assert_int_equal(
		charge_cover(&world->charges[0], runs, 2, &no_limits, 111, &world->refusal),
		-ERANGE);
	assert_int_equal(cover(world, 0, &no_limits, HOST_FRAMES - 10, 10), 0);
	assert_int_equal(uncover(world, 0, HOST_FRAMES - 10, 10), 0);
}

/* All sizes, so that memory is asked for at all levels, in all forms. */
static size_t any_runs(frame_run *runs)
{
	static const uint64_t lengths[] = { 1, 3, 70, 200, 512, 700, 1 << 18, 1 << 20 };
	size_t n = 0;

	for (uint64_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
		runs[n++] = run_make((i << 21) + 77, lengths[i] - lengths[i] / 3);
	for (uint64_t i = 0; i < 120; i++)
		runs[n++] = run_make(20000000 + i * 2, 1);
	for (uint64_t i = 0; i < 70; i++)
		runs[n++] = run_make(30000000 + i * 60, 59);
	return n;
}

static void test_none_where_memory_is_short(void **state)
{
	struct world *world = *state;
	static frame_run runs[256];
	size_t n = any_runs(runs);
	unsigned k = 0;
	int r;

	open_all(world);
	assert_int_equal(cover(world, 2, &no_limits, 30000000, 1), 0);
	do {
		fail_allocation(++k);
		r = charge_cover(&world->charges[0], runs, n, &no_limits, n, &world->refusal);
		/* What only saves memory, or makes it smaller, may fail unnoticed. */
		assert_true(r == 0 || (r == -ENOMEM && has_failed()));
		if (r == 0 && has_failed()) {
			assert_int_equal(charge_uncover(&world->charges[0], runs, n), 0);
			r = -ENOMEM;
		}
		if (r < 0) {
			assert_figures(world->alice, 0, 0);
			assert_figures(world->s1, 0, 0);
			assert_figures(ledger_host(world->ledger), 1, 0);
			assert_int_equal(world->charges[0].n_runs, 0);
		}
	} while (r < 0);
	fail_allocation(0);
	print_message("%u allocations\n", k - 1);
	assert_true(k > 100);
	assert_int_equal(charge_uncover(&world->charges[0], runs, n), 0);
	assert_int_equal(uncover(world, 2, 30000000, 1), 0);
}

/* A refund needs none: where one fails, a form stays that needs more memory. */
static void test_a_refund_does_not_need_memory(void **state)
{
	struct world *world = *state;
	static frame_run runs[256];
	size_t n = any_runs(runs);

	open_all(world);
	for (unsigned k = 1; k < 200; k++) {
		assert_int_equal(
			charge_cover(&world->charges[0], runs, n, &no_limits, n, &world->refusal),
			0);
		fail_allocation(k);
		assert_int_equal(charge_uncover(&world->charges[0], runs, n), 0);
		fail_allocation(0);
		assert_figures(world->alice, 0, 0);
	}
}

static void test_accounts_without_memory(void **state)
{
	struct world *world = *state;

	/* The third of ledger_new(): its host has a coverage as well. strdup() is libc's own. */
	for (unsigned k = 1; k <= 3; k++) {
		fail_allocation(k);
		assert_null(ledger_new(HOST_FRAMES));
	}
	for (unsigned k = 1; k <= 2; k++) {
		fail_allocation(k);
		assert_null(ledger_space_account(world->ledger, "S4"));
		fail_allocation(k);
		assert_null(ledger_account(world->ledger, "uid:1002"));
	}
	fail_allocation(0);
	assert_null(ledger_new(UINT64_MAX));
}

/* A host that is smaller than the others' coverages: space and payer have accepted by then. */
static void test_none_where_the_host_refuses(void **state)
{
	struct world *world = *state;
	struct account *host = (struct account *)ledger_host(world->ledger);
	const frame_run runs[] = { run_make(10, 50), run_make(99, 1), run_make(99, 2) };

	coverage_free(host->coverage);
	host->coverage = coverage_new(100);
	open_all(world);
	assert_int_equal(charge_cover(&world->charges[0], runs, 3, &no_limits, 53, &world->refusal),
		-ERANGE);
	assert_figures(world->alice, 0, 0);
	assert_figures(world->s1, 0, 0);
	assert_figures(host, 0, 0);
	assert_int_equal(
		charge_cover(&world->charges[0], runs, 2, &no_limits, 51, &world->refusal), 0);
	assert_int_equal(charge_uncover(&world->charges[0], runs, 2), 0);
}

/* --- wrong refunds
 * --------------------------------------------------------------------------------- */

static void test_a_refund_of_others_is_not_taken(void **state)
{
	struct world *world = *state;
	const frame_run runs[] = { run_make(0, 10), run_make(100, 10), run_make(200, 10) };
	const frame_run shifted[] = { run_make(0, 10), run_make(100, 11), run_make(200, 9) };
	const frame_run thrice[] = { run_make(0, 10), run_make(0, 10), run_make(100, 1) };
	const frame_run four[] = { run_make(0, 1), run_make(1, 1), run_make(2, 1), run_make(3, 1) };
	struct charge *charge = &world->charges[0];

	open_all(world);
	/* All of these frames are alice's in another space. */
	assert_int_equal(cover(world, 1, &no_limits, 0, 1000), 0);
	assert_int_equal(charge_uncover(charge, runs, 1), -EBADMSG);
	assert_int_equal(charge_cover(charge, runs, 3, &no_limits, 30, &world->refusal), 0);

	assert_int_equal(charge_uncover(charge, shifted, 3), -EBADMSG); /* by the digest */
	assert_int_equal(charge_uncover(charge, four, 4), -EBADMSG);    /* too many */
	/* No page would be left for the other two; nor one for each. */
	assert_int_equal(charge_uncover(charge, &(frame_run){ run_make(0, 30) }, 1), -EBADMSG);
	assert_int_equal(charge_uncover(charge, &(frame_run){ run_make(0, 29) }, 1), -EBADMSG);
	assert_int_equal(charge_uncover(charge, &(frame_run){ run_make(50, 1) }, 1), -EBADMSG);
	assert_int_equal(charge_uncover(charge, &(frame_run){ UINT64_MAX }, 1), -EBADMSG);
	assert_int_equal(charge->n_runs, 3);
	assert_int_equal(account_owed(world->s1), 30);
	/* The same one twice: it was there once. */
	assert_int_equal(charge_uncover(charge, thrice, 2), -EBADMSG);
	assert_int_equal(charge->n_runs, 2);
	assert_int_equal(account_owed(world->s1), 20);
	assert_int_equal(charge_uncover(charge, &runs[1], 2), 0);
	assert_int_equal(charge->n_runs, 0);
	/* The other space has not noticed. */
	assert_int_equal(account_owed(world->s2), 1000);
	assert_int_equal(account_owed(world->alice), 1000);
	assert_int_equal(uncover(world, 1, 0, 1000), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_accounts_by_name),
		TEST(test_an_account_lives_as_long_as_its_charges),
		TEST(test_two_containers_are_owed_once),
		TEST(test_spaces_and_accounts_in_every_order),
		TEST(test_the_limit_passes_and_a_page_more_does_not),
		TEST(test_the_hosts_limit_after_the_payers),
		TEST(test_a_limit_reached_in_pieces),
		TEST(test_the_kernel_bill_has_a_limit),
		TEST(test_sums_do_not_wrap),
		TEST(test_beyond_the_host_nothing_is_covered),
		TEST(test_none_where_memory_is_short),
		TEST(test_a_refund_does_not_need_memory),
		TEST(test_accounts_without_memory),
		TEST(test_none_where_the_host_refuses),
		TEST(test_a_refund_of_others_is_not_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
