/*
 * The ledger: the one book of pinned frames on the host. Pure: no I/O, no loop.
 *
 * An account owes the distinct frames that its mappings pin; a frame that is paid for costs nothing
 * when it is mapped again, in whichever container, space or process, and unmapping it from one of
 * two places frees nothing. Beside that it has a kernel bill: what the kernel charges for the same
 * mappings, a page once for each container.
 *
 * A charge is an object: it belongs to one mapping, and counts in three accounts at once: the
 * account that pays, the space (so that it can be said what one space owes by itself), and the
 * host. It knows how many runs it has, not which: who refunds it says them again, from the keeper's
 * book. All figures are in pages of the base size, as frames are.
 */
#pragma once

#include "daemon/base/refusal.h"
#include "daemon/base/wire.h"

#include <stdbool.h>
#include <sys/queue.h>

#define LIMIT_NONE UINT64_MAX

/* What an account may have; LIMIT_NONE: no limit. Pages. */
struct limits {
	uint64_t owed, kernel_bill;
};

struct ledger;

struct account {
	TAILQ_ENTRY(account) of_ledger; /* accounts that pay; not the host's, nor a space's */
	struct ledger *ledger;
	char *name; /* "uid:1000", "host", "S3" */
	struct coverage *coverage;
	uint64_t kernel_bill;
	size_t n_references;
	bool is_space;
};
TAILQ_HEAD(account_list, account);

/* Frames are numbered 0 to n_frames - 1. NULL: no memory. */
struct ledger *ledger_new(uint64_t n_frames);
/* All accounts are gone, which means that all charges are empty: asserted. NULL-safe. */
struct ledger *ledger_free(struct ledger *ledger);
/* The host has one limit, on what it owes. */
void ledger_set_host_limit(struct ledger *ledger, uint64_t pages);
uint64_t ledger_host_limit(const struct ledger *ledger);
const struct account *ledger_host(const struct ledger *ledger);
/* In the order of their coming. An account that nobody holds and that owes nothing is not there. */
const struct account_list *ledger_accounts(const struct ledger *ledger);

/* The account that has this name: found or made, and held. NULL: no memory. */
struct account *ledger_account(struct ledger *ledger, const char *name);
/* A space's: always made, not listed. NULL: no memory. */
struct account *ledger_space_account(struct ledger *ledger, const char *name);
struct account *account_hold(struct account *account);
/* NULL-safe. The last one frees it: it owes nothing then, as charges hold theirs. */
struct account *account_release(struct account *account);
uint64_t account_owed(const struct account *account);
uint64_t account_kernel_bill(const struct account *account);
/* How much less it owes than the kernel bills; 0 where the kernel bills less. */
uint64_t account_saved(const struct account *account);

/* All zero: empty. */
struct charge {
	struct account *payer, *space; /* held; NULL: empty */
	uint64_t n_runs, n_pages;      /* that are covered */
	/* How many of them were nobody's before: what a limit has been used for. */
	uint64_t new_to_payer, new_to_host;
	uint64_t kernel_bill;
	uint64_t digest; /* of the runs, in whatever order */
};

/* From empty: nothing is charged yet. */
void charge_open(struct charge *charge, struct account *payer, struct account *space);
/*
 * Covers these runs, all or none: 0; REFUSED (LIMIT_EXCEEDED), by the payer's limit or the host's;
 * -ERANGE, -ENOMEM, -EOVERFLOW. For the refusal, `requested`: pages that the client wants in all;
 * what it says to be used already is without this charge.
 */
int charge_cover(struct charge *charge, const frame_run *runs, size_t n_runs,
	const struct limits *limits, uint64_t requested, struct refusal *refusal);
/* More on the kernel's bill, in the same manner. */
int charge_bill(struct charge *charge, uint64_t pages, const struct limits *limits,
	uint64_t requested, struct refusal *refusal);
void charge_unbill(struct charge *charge, uint64_t pages);
/*
 * Takes runs back that were covered, each of them once, in any order and in pieces of any number.
 * 0; or -EBADMSG: they cannot be those that were covered. Nothing has changed in this call then if
 * there are too many of them, or the last of them leave a digest that says that they were others;
 * where one of them is not in the space at all, those before it have been taken back. Other spaces
 * are not touched: what is refunded was in this one. What is left of it stays charged.
 */
int charge_uncover(struct charge *charge, const frame_run *runs, size_t n_runs);
/* Nothing is covered and nothing billed: lets its accounts go, and is empty. Asserted. */
void charge_close(struct charge *charge);
/*
 * Empties it without a refund, at the end of the daemon, where what pins the frames outlives it.
 * The figures are wrong from here on; all that is left to do is ledger_free().
 */
void charge_drop(struct charge *charge);
