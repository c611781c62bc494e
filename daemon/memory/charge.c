#include "daemon/base/util.h"
#include "daemon/memory/coverage.h"
#include "daemon/memory/ledger-parts.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

void charge_open(struct charge *charge, struct account *payer, struct account *space)
{
	assert(!charge->payer && payer->ledger == space->ledger);
	*charge = (struct charge){ .payer = account_hold(payer), .space = account_hold(space) };
}

void charge_close(struct charge *charge)
{
	assert(charge->n_runs == 0 && charge->n_pages == 0 && charge->kernel_bill == 0);
	account_release(charge->payer);
	account_release(charge->space);
	*charge = (struct charge){ 0 };
}

void charge_drop(struct charge *charge)
{
	if (!charge->payer)
		return;
	charge->payer->ledger->is_over = true;
	account_release(charge->payer);
	account_release(charge->space);
	*charge = (struct charge){ 0 };
}

/*
 * Runs add up to a digest, so that their order does not matter; the finalizer of MurmurHash3 lets
 * each bit of a run change each of the sum. Against mistakes: a keeper that lies could find runs
 * with the same digest, and could as well have lied when the mapping was made.
 */
static uint64_t run_digest(frame_run run)
{
	run ^= run >> 33;
	run *= UINT64_C(0xff51afd7ed558ccd);
	run ^= run >> 33;
	run *= UINT64_C(0xc4ceb9fe1a85ec53);
	return run ^ run >> 33;
}

/* --- limits --------------------------------------------------------------------------------- */

/* Bytes go into JSON, where numbers end there. */
static uint64_t pages_to_bytes(uint64_t pages)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(pages, (uint64_t)sysconf(_SC_PAGESIZE), &bytes) ||
		bytes > INT64_MAX)
		return INT64_MAX;
	return bytes;
}

static int limit_exceeded(struct refusal *refusal, const char *account, const char *limit,
	uint64_t limit_pages, uint64_t state_pages, uint64_t requested_pages)
{
	refuse(refusal, REFUSAL_LIMIT_EXCEEDED, "%s of %s", limit, account);
	if (string_copy(refusal->account, sizeof(refusal->account), account) < 0 ||
		string_copy(refusal->limit, sizeof(refusal->limit), limit) < 0)
		return -ENAMETOOLONG;
	refusal->limit_bytes = pages_to_bytes(limit_pages);
	refusal->state_bytes = pages_to_bytes(state_pages);
	refusal->requested_bytes = pages_to_bytes(requested_pages);
	return REFUSED;
}

static uint64_t less(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

/* --- what is owed --------------------------------------------------------------------------- */

/* What one run has brought: frames that nobody else in the account, or on the host, covered. */
struct fresh {
	uint64_t to_payer, to_host;
};

static int cover_run(struct charge *charge, frame_run run, struct fresh *fresh)
{
	uint64_t first = run_first(run), n = run_length(run), to_space;

	int r = coverage_add(charge->space->coverage, first, n, &to_space);
	if (r < 0)
		return r;
	r = coverage_add(charge->payer->coverage, first, n, &fresh->to_payer);
	if (r < 0)
		goto not_space;
	r = coverage_add(charge->payer->ledger->host->coverage, first, n, &fresh->to_host);
	if (r < 0)
		goto not_payer;
	return 0;
not_payer:
	coverage_remove(charge->payer->coverage, first, n);
not_space:
	coverage_remove(charge->space->coverage, first, n);
	return r;
}

static void uncover_run(struct charge *charge, frame_run run)
{
	uint64_t first = run_first(run), n = run_length(run);

	coverage_remove(charge->space->coverage, first, n);
	coverage_remove(charge->payer->coverage, first, n);
	coverage_remove(charge->payer->ledger->host->coverage, first, n);
}

/* Where a limit has been lowered below what is owed, what costs nothing is still had. */
static int within_limits(const struct charge *charge, const struct limits *limits,
	const struct fresh *before, const struct fresh *fresh, uint64_t requested,
	struct refusal *refusal)
{
	const struct ledger *ledger = charge->payer->ledger;
	uint64_t owed = account_owed(charge->payer), host = account_owed(ledger->host);

	if (fresh->to_payer > before->to_payer && owed > limits->owed)
		return limit_exceeded(refusal, charge->payer->name, "owed-limit", limits->owed,
			less(owed, fresh->to_payer), requested);
	if (fresh->to_host > before->to_host && host > ledger->host_limit)
		return limit_exceeded(refusal, ledger->host->name, "host-limit", ledger->host_limit,
			less(host, fresh->to_host), requested);
	return 0;
}

static int cover_within(struct charge *charge, frame_run run, const struct limits *limits,
	struct fresh *total, uint64_t requested, struct refusal *refusal)
{
	struct fresh fresh = { 0 };

	int r = cover_run(charge, run, &fresh);
	if (r < 0)
		return r;
	fresh.to_payer += total->to_payer;
	fresh.to_host += total->to_host;
	r = within_limits(charge, limits, total, &fresh, requested, refusal);
	if (r != 0)
		uncover_run(charge, run);
	else
		*total = fresh;
	return r;
}

int charge_cover(struct charge *charge, const frame_run *runs, size_t n_runs,
	const struct limits *limits, uint64_t requested, struct refusal *refusal)
{
	struct fresh total = { charge->new_to_payer, charge->new_to_host };
	uint64_t n_pages = charge->n_pages, digest = charge->digest;

	for (size_t i = 0; i < n_runs; i++) {
		int r = -EOVERFLOW;
		if (!__builtin_add_overflow(n_pages, run_length(runs[i]), &n_pages))
			r = cover_within(charge, runs[i], limits, &total, requested, refusal);
		if (r != 0) {
			while (i-- > 0)
				uncover_run(charge, runs[i]);
			return r;
		}
		digest += run_digest(runs[i]);
	}
	charge->new_to_payer = total.to_payer;
	charge->new_to_host = total.to_host;
	charge->n_runs += n_runs;
	charge->n_pages = n_pages;
	charge->digest = digest;
	return 0;
}

static bool is_covered(const struct charge *charge, frame_run run)
{
	uint64_t first = run_first(run), n = run_length(run);

	return coverage_has(charge->space->coverage, first, n) &&
	       coverage_has(charge->payer->coverage, first, n) &&
	       coverage_has(charge->payer->ledger->host->coverage, first, n);
}

/* Could they be among those that were covered, and if no others are left, are they those? */
static bool is_refund(const struct charge *charge, const frame_run *runs, size_t n_runs)
{
	uint64_t n_pages = 0, digest = 0;

	if (n_runs > charge->n_runs)
		return false;
	for (size_t i = 0; i < n_runs; i++) {
		if (__builtin_add_overflow(n_pages, run_length(runs[i]), &n_pages))
			return false;
		digest += run_digest(runs[i]);
	}
	if (n_runs == charge->n_runs)
		return n_pages == charge->n_pages && digest == charge->digest;
	/* Each of those that are left has a page. */
	return n_pages <= charge->n_pages && charge->n_pages - n_pages >= charge->n_runs - n_runs;
}

int charge_uncover(struct charge *charge, const frame_run *runs, size_t n_runs)
{
	if (!is_refund(charge, runs, n_runs))
		return -EBADMSG;
	for (size_t i = 0; i < n_runs; i++) {
		if (!is_covered(charge, runs[i]))
			return -EBADMSG;
		uncover_run(charge, runs[i]);
		charge->n_runs--;
		charge->n_pages -= run_length(runs[i]);
		charge->digest -= run_digest(runs[i]);
	}
	if (charge->n_runs == 0)
		charge->new_to_payer = charge->new_to_host = 0;
	return 0;
}

/* --- the kernel's bill ------------------------------------------------------------------------ */

int charge_bill(struct charge *charge, uint64_t pages, const struct limits *limits,
	uint64_t requested, struct refusal *refusal)
{
	struct account *payer = charge->payer, *host = payer->ledger->host;
	uint64_t sum;

	/* The host's is the greatest of all. */
	if (__builtin_add_overflow(host->kernel_bill, pages, &sum))
		return -EOVERFLOW;
	if (pages > 0 && payer->kernel_bill + pages > limits->kernel_bill)
		return limit_exceeded(refusal, payer->name, "kernel-bill-limit",
			limits->kernel_bill, payer->kernel_bill, requested);
	charge->kernel_bill += pages;
	charge->space->kernel_bill += pages;
	payer->kernel_bill += pages;
	host->kernel_bill += pages;
	return 0;
}

void charge_unbill(struct charge *charge, uint64_t pages)
{
	assert(pages <= charge->kernel_bill);
	charge->kernel_bill -= pages;
	charge->space->kernel_bill -= pages;
	charge->payer->kernel_bill -= pages;
	charge->payer->ledger->host->kernel_bill -= pages;
}
