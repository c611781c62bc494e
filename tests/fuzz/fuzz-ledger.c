/*
 * Charges that are covered, billed and refunded → a ledger, and beside it a naive model: for each
 * of two payers, four spaces and the host an array of counts, one for each frame. The input is
 * operations of a few bytes each (do_one()).
 *
 * Each result is the model's: what is covered, or refused by which limit and with which figures;
 * what is refused changes nothing. Wrong refunds take from their own space at most. All that was
 * charged is refunded at the end, and nothing is owed then.
 */
#include "daemon/memory/coverage.h"
#include "daemon/memory/ledger.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	FRAMES = 3 * 512 + 100,
	N_PAYERS = 2,
	N_SPACES = 4, /* two for each payer */
	HOST = N_PAYERS + N_SPACES,
	N_ACCOUNTS,
	N_CHARGES = 6,
	MAX_RUNS = 256,
	MAX_AT_ONCE = 8,
	MAX_OPERATIONS = 300,
};

struct book {
	const struct account *account;
	uint32_t counts[FRAMES];
	uint64_t owed, bill;
};

struct payment {
	struct charge charge;
	struct book *payer, *space;
	frame_run runs[MAX_RUNS];
	size_t n_runs;
	uint64_t new_to_payer, new_to_host, bill;
};

static struct {
	struct ledger *ledger;
	struct book books[N_ACCOUNTS];
	struct payment payments[N_CHARGES];
	uint64_t host_limit;
	bool is_wrong; /* a refund was taken that was another's */
} now;

/* --- the model ------------------------------------------------------------------------------- */

fuzz_not_watched static uint64_t book_add(struct book *book, frame_run run)
{
	uint64_t n_new = 0;
	for (uint64_t i = run_first(run); i < run_first(run) + run_length(run); i++)
		n_new += book->counts[i]++ == 0;
	book->owed += n_new;
	return n_new;
}

fuzz_not_watched static void book_remove(struct book *book, frame_run run)
{
	for (uint64_t i = run_first(run); i < run_first(run) + run_length(run); i++) {
		must(book->counts[i] > 0, "%s has nothing to give", book->account->name);
		book->owed -= --book->counts[i] == 0;
	}
}

static void model_remove(struct payment *payment, frame_run run)
{
	book_remove(payment->space, run);
	book_remove(payment->payer, run);
	book_remove(&now.books[HOST], run);
}

fuzz_not_watched static bool model_knows(const struct payment *payment, frame_run run)
{
	if (run_first(run) + run_length(run) > FRAMES)
		return false;
	for (uint64_t i = run_first(run); i < run_first(run) + run_length(run); i++)
		if (payment->space->counts[i] == 0)
			return false;
	return true;
}

/* What a refusal is to say; account NULL: none is expected. */
struct expected {
	int result;
	const char *account, *limit;
	uint64_t limit_pages, state_pages, requested;
};

static uint64_t less(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

static void model_cover_one(struct payment *payment, frame_run run, const struct limits *limits,
	struct expected *expected)
{
	const struct book *payer = payment->payer, *host = &now.books[HOST];

	if (run_first(run) + run_length(run) > FRAMES) {
		expected->result = -ERANGE;
		return;
	}
	book_add(payment->space, run);
	uint64_t to_payer = book_add(payment->payer, run);
	uint64_t to_host = book_add(&now.books[HOST], run);
	payment->new_to_payer += to_payer;
	payment->new_to_host += to_host;
	if (to_payer > 0 && payer->owed > limits->owed)
		*expected = (struct expected){ REFUSED, payer->account->name, "owed-limit",
			limits->owed, less(payer->owed, payment->new_to_payer), 0 };
	else if (to_host > 0 && host->owed > now.host_limit)
		*expected = (struct expected){ REFUSED, "host", "host-limit", now.host_limit,
			less(host->owed, payment->new_to_host), 0 };
	if (expected->result != 0)
		model_remove(payment, run);
}

static struct expected model_cover(
	struct payment *payment, const frame_run *runs, size_t n_runs, const struct limits *limits)
{
	struct expected expected = { 0 };
	uint64_t to_payer = payment->new_to_payer, to_host = payment->new_to_host;
	size_t i;

	for (i = 0; i < n_runs && expected.result == 0; i++)
		model_cover_one(payment, runs[i], limits, &expected);
	if (expected.result == 0)
		return expected;
	/* The last one is gone already. */
	for (i--; i-- > 0;)
		model_remove(payment, runs[i]);
	payment->new_to_payer = to_payer;
	payment->new_to_host = to_host;
	return expected;
}

/* --- what must be the same -------------------------------------------------------------------- */

static uint64_t to_bytes(uint64_t pages)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	return pages > INT64_MAX / page ? INT64_MAX : pages * page;
}

static void check_result(int r, const struct expected *expected, const struct refusal *refusal)
{
	must(r == expected->result, "%d, not %d", r, expected->result);
	if (r != REFUSED)
		return;
	must(refusal->kind == REFUSAL_LIMIT_EXCEEDED, "%d", (int)refusal->kind);
	must(strcmp(refusal->account, expected->account) == 0, "%s", refusal->account);
	must(strcmp(refusal->limit, expected->limit) == 0, "%s", refusal->limit);
	must(refusal->limit_bytes == to_bytes(expected->limit_pages), "%lu", refusal->limit_bytes);
	must(refusal->state_bytes == to_bytes(expected->state_pages), "%lu", refusal->state_bytes);
	must(refusal->requested_bytes == to_bytes(expected->requested), "%lu",
		refusal->requested_bytes);
}

static void check_figures(void)
{
	for (size_t i = 0; i < N_ACCOUNTS; i++) {
		const struct book *book = &now.books[i];
		uint64_t owed = account_owed(book->account);
		uint64_t bill = account_kernel_bill(book->account);
		must(owed == book->owed, "%s owes %lu, not %lu", book->account->name, owed,
			book->owed);
		must(bill == book->bill, "%s is billed %lu, not %lu", book->account->name, bill,
			book->bill);
		must(account_saved(book->account) == less(bill, owed), "%s", book->account->name);
	}
}

/* Frame by frame: totals could be right by chance. */
fuzz_not_watched static void check_frames(const struct book *book)
{
	for (unsigned first = 0, end; first < FRAMES; first = end) {
		bool is_covered = book->counts[first] > 0;
		for (end = first + 1; end < FRAMES && (book->counts[end] > 0) == is_covered;)
			end++;
		must(coverage_missing(book->account->coverage, first, end - first) ==
				(is_covered ? 0 : end - first),
			"%s, frames %u to %u", book->account->name, first, end - 1);
	}
}

/* --- operations --------------------------------------------------------------------------------
 */

struct input {
	const uint8_t *data;
	size_t size;
};

static unsigned take_byte(struct input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

static unsigned take_word(struct input *input)
{
	unsigned high = take_byte(input);
	return high << 8 | take_byte(input);
}

/* Short ones, whole chunks, and some that reach beyond the host. */
static frame_run take_run(struct input *input)
{
	uint64_t first = take_word(input) % FRAMES, length = take_byte(input);

	if (length >= 240)
		return run_make(first / 512 * 512, (length % 4 + 1) * 512);
	return run_make(first, length < 200 ? 1 + length / 8 : (length - 199) * 30);
}

static size_t take_runs(struct input *input, frame_run *runs)
{
	size_t n = 1 + take_byte(input) % MAX_AT_ONCE;
	for (size_t i = 0; i < n; i++)
		runs[i] = take_run(input);
	return n;
}

static uint64_t take_limit(struct input *input, uint64_t state)
{
	unsigned limit = take_byte(input);
	return limit < 64 ? LIMIT_NONE : limit < 96 ? limit : state + limit - 96;
}

static void open_payment(struct payment *payment, unsigned space)
{
	unsigned payer = space / 2;

	payment->payer = &now.books[payer];
	payment->space = &now.books[N_PAYERS + space];
	charge_open(&payment->charge, (struct account *)payment->payer->account,
		(struct account *)payment->space->account);
}

static void cover(struct payment *payment, struct input *input)
{
	struct limits limits = { .kernel_bill = 0 };
	struct refusal refusal = { 0 };
	frame_run runs[MAX_AT_ONCE];
	uint64_t requested = take_byte(input);
	limits.owed = take_limit(input, payment->payer->owed);
	size_t n_runs = take_runs(input, runs);

	if (payment->n_runs + n_runs > MAX_RUNS)
		return;
	struct expected expected = model_cover(payment, runs, n_runs, &limits);
	expected.requested = requested;
	int r = charge_cover(&payment->charge, runs, n_runs, &limits, requested, &refusal);
	check_result(r, &expected, &refusal);
	if (r != 0)
		return;
	memcpy(&payment->runs[payment->n_runs], runs, n_runs * sizeof(*runs));
	payment->n_runs += n_runs;
}

/* One that the model says is there, gone from its list. */
static bool forget_run(struct payment *payment, frame_run run)
{
	for (size_t i = 0; i < payment->n_runs; i++)
		if (payment->runs[i] == run) {
			payment->runs[i] = payment->runs[--payment->n_runs];
			return true;
		}
	return false;
}

static int uncover(struct payment *payment, const frame_run *runs, size_t n_runs)
{
	uint64_t before = payment->charge.n_runs;
	int r = charge_uncover(&payment->charge, runs, n_runs);
	uint64_t taken = before - payment->charge.n_runs;

	must(r == 0 ? taken == n_runs : r == -EBADMSG && taken < n_runs, "%d, %lu taken", r, taken);
	for (size_t i = 0; i < taken; i++) {
		must(model_knows(payment, runs[i]), "run %zu is not in the space", i);
		model_remove(payment, runs[i]);
		now.is_wrong |= !forget_run(payment, runs[i]);
	}
	must(payment->charge.n_pages >= payment->charge.n_runs, "%lu pages in %lu runs",
		payment->charge.n_pages, payment->charge.n_runs);
	if (payment->charge.n_runs == 0)
		payment->new_to_payer = payment->new_to_host = 0;
	return r;
}

static void uncover_some(struct payment *payment, unsigned at, size_t n)
{
	frame_run runs[MAX_AT_ONCE];

	n = n < payment->n_runs ? n : payment->n_runs;
	for (size_t i = 0; i < n; i++)
		runs[i] = payment->runs[(at + i) % payment->n_runs];
	int r = n > 0 ? uncover(payment, runs, n) : 0;
	must(r == 0 || now.is_wrong, "a right refund was not taken");
}

static void uncover_wrong(struct payment *payment, struct input *input)
{
	frame_run runs[MAX_AT_ONCE];
	size_t n_runs = take_runs(input, runs);

	if (input->size % 2)
		runs[0] |= (uint64_t)take_byte(input) << 56;
	uncover(payment, runs, n_runs);
}

static void bill(struct payment *payment, uint64_t pages, struct input *input)
{
	struct expected expected = { .requested = take_byte(input) };
	struct limits limits = { .owed = 0 };
	struct refusal refusal = { 0 };
	struct book *books[] = { payment->payer, payment->space, &now.books[HOST] };

	limits.kernel_bill = take_limit(input, payment->payer->bill);
	if (pages > UINT64_MAX - now.books[HOST].bill)
		expected.result = -EOVERFLOW;
	else if (pages > 0 && payment->payer->bill + pages > limits.kernel_bill)
		expected = (struct expected){ REFUSED, payment->payer->account->name,
			"kernel-bill-limit", limits.kernel_bill, payment->payer->bill,
			expected.requested };
	int r = charge_bill(&payment->charge, pages, &limits, expected.requested, &refusal);
	check_result(r, &expected, &refusal);
	for (size_t i = 0; r == 0 && i < 3; i++)
		books[i]->bill += pages;
	payment->bill += r == 0 ? pages : 0;
}

static void unbill(struct payment *payment, uint64_t pages)
{
	struct book *books[] = { payment->payer, payment->space, &now.books[HOST] };

	pages = pages < payment->bill ? pages : payment->bill;
	charge_unbill(&payment->charge, pages);
	for (size_t i = 0; i < 3; i++)
		books[i]->bill -= pages;
	payment->bill -= pages;
}

static void reopen(struct payment *payment, unsigned space)
{
	if (payment->charge.n_runs > 0 || payment->bill > 0 || now.is_wrong)
		return;
	charge_close(&payment->charge);
	must(!payment->charge.payer, "not empty");
	open_payment(payment, space % N_SPACES);
}

static void do_one(struct input *input)
{
	unsigned what = take_byte(input);
	struct payment *payment = &now.payments[(what >> 3) % N_CHARGES];
	unsigned at;

	switch (what & 7) {
	case 0:
	case 1:
		cover(payment, input);
		break;
	case 2:
		at = take_byte(input);
		uncover_some(payment, at, 1 + take_byte(input) % MAX_AT_ONCE);
		break;
	case 3:
		uncover_wrong(payment, input);
		break;
	case 4:
		at = take_word(input);
		bill(payment, at < 0xff00 ? at : UINT64_MAX << (at & 63), input);
		break;
	case 5:
		at = take_word(input);
		unbill(payment, at < 0xff00 ? at : UINT64_MAX);
		break;
	case 6:
		now.host_limit = take_limit(input, now.books[HOST].owed);
		ledger_set_host_limit(now.ledger, now.host_limit);
		break;
	default:
		reopen(payment, take_byte(input));
	}
	check_figures();
}

/* --- begin and end ------------------------------------------------------------------------------
 */

static void begin(void)
{
	char name[16];

	memset(&now, 0, sizeof(now));
	now.ledger = ledger_new(FRAMES);
	now.host_limit = LIMIT_NONE;
	for (int i = 0; i < N_PAYERS; i++) {
		snprintf(name, sizeof(name), "uid:%d", i);
		now.books[i].account = ledger_account(now.ledger, name);
	}
	for (int i = 0; i < N_SPACES; i++) {
		snprintf(name, sizeof(name), "S%d", i);
		now.books[N_PAYERS + i].account = ledger_space_account(now.ledger, name);
	}
	now.books[HOST].account = ledger_host(now.ledger);
	for (unsigned i = 0; i < N_CHARGES; i++)
		open_payment(&now.payments[i], i % N_SPACES);
}

static void finish(void)
{
	for (size_t i = 0; i < N_CHARGES; i++) {
		struct payment *payment = &now.payments[i];
		unbill(payment, UINT64_MAX);
		while (payment->n_runs > 0 && !now.is_wrong)
			uncover_some(payment, (unsigned)i, MAX_AT_ONCE);
		check_figures();
		if (now.is_wrong)
			charge_drop(&payment->charge);
		else
			charge_close(&payment->charge);
	}
	for (int i = 0; i < HOST; i++) {
		must(now.is_wrong || account_owed(now.books[i].account) == 0, "%s owes",
			now.books[i].account->name);
		account_release((struct account *)now.books[i].account);
	}
	ledger_free(now.ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	begin();
	for (int i = 0; i < MAX_OPERATIONS && input.size > 0; i++)
		do_one(&input);
	for (size_t i = 0; i < N_ACCOUNTS; i++)
		check_frames(&now.books[i]);
	finish();
	return 0;
}
