/* What observing*.c and observer*.c share. Nobody else includes this. */
#pragma once

#include "daemon/base/errand.h"
#include "daemon/broker/observer.h"
#include "daemon/broker/observing.h"
#include "daemon/broker/reports.h"

/* No page is behind these addresses; frames are below 2⁴⁴ - 1. */
#define RUN_ABSENT_FIRST ((UINT64_C(1) << (64 - RUN_BITS)) - 1)
static inline bool run_is_absent(frame_run run)
{
	return run_first(run) == RUN_ABSENT_FIRST;
}

/*
 * What a user may have observed; beyond it, mappings stay unobserved. Runs are what the daemon has
 * to remember, 8 bytes each, and what is covered, some 30: 2 GiB of ordinary memory were 6,600 of
 * them (facts seen with 4 KiB pages), 1 TiB of huge pages is half of this. Pieces are 8 TiB.
 */
#define USER_RUNS_MAX ((size_t)1 << 20)
#define USER_PIECES_MAX ((size_t)1 << 18)

/* All reporters of one uid. */
struct observed_user {
	TAILQ_ENTRY(observed_user) of_observing;
	uid_t uid;
	size_t n_reporters, n_reports, n_pieces, n_runs;
};

/* All reporters that are one process. */
struct observed_process {
	TAILQ_ENTRY(observed_process) of_observing;
	pid_t pid;
	unsigned long long start_ticks;
	size_t n_reporters;
	struct reported_list fresh; /* not read yet; the first may be read in part */
	struct reported_list seen;  /* the one that was read first, first */
	struct batch *batch;        /* a child reads for it; NULL: none */
	double not_before;          /* no child before this time: the last one failed */
	double pause_seconds;       /* the next time one fails */
	bool is_gone;               /* it has ended: its page tables are no more */
};

/* A lease for which something is reported. */
struct observed_lease {
	TAILQ_ENTRY(observed_lease) of_observing;
	struct observing *observing;
	const struct lease *lease;
	struct account *payer;   /* held; of the ledger of what is observed, like the next */
	struct account *account; /* what it is itself */
	size_t n_reports;
	uint64_t bill_pages, covered_pages; /* of all its reports; a page as often as it is shown */
};

struct reporter {
	TAILQ_ENTRY(reporter) of_observing;
	struct observing *observing;
	const struct subject *subject; /* the connection's */
	struct observed_user *user;
	struct observed_process *process;
	struct reports reports;
};

struct observing {
	struct broker *broker;
	struct ledger *ledger;
	uint64_t n_frames;
	TAILQ_HEAD(, reporter) reporters;
	TAILQ_HEAD(, observed_user) users;
	TAILQ_HEAD(, observed_process) processes; /* whose turn it was last, last */
	TAILQ_HEAD(, observed_lease) leases;
	struct reported_list leaving; /* out of all books, but not uncovered yet */
	ev_timer leave;               /* the next slice of them */
	ev_timer next;                /* the next child */
	double free_at;               /* not before: so many pages a second */
	size_t n_children;
	const struct observer_ops *observer_ops;
	const struct observer_pace *observer_pace;
};

/* Which part of its process's memory a piece is. */
struct observer_part reported_part(const struct reported *reported, size_t piece);

/* --- observed.c: what is covered ---------------------------------------------------------- */

/* The runs of a piece, in the place of those that it had. What cannot be remembered is unobserved.
 */
void reported_observe(
	struct reported *reported, size_t piece, const frame_run *runs, size_t n_runs);
/* Uncovered before the loop goes on: some milliseconds. */
#define SLICE_RUNS 8192
/* Uncovers some of it, from its end on; how many runs that was, and a piece counts as one more. */
size_t reported_unobserve(struct reported *reported, size_t n_runs_max);
static inline bool reported_is_observed(const struct reported *reported)
{
	return reported->n_kept > 0;
}
/*
 * It is out of its reporter's book: out of its lease's figures as well. It is uncovered by
 * observed_sweep(), and as there may be very much of it, in slices: what is left goes later.
 */
void reported_leave(struct reported *reported);
void observed_sweep(struct observing *observing);
void observed_init(struct observing *observing);
void observed_stop(struct observing *observing); /* all that leaves is gone */

/* --- leases, users, processes (observed-who.c) ---------------------------------------------- */

struct observed_lease *observed_lease_find(
	const struct observing *observing, const struct lease *lease);
/* Finds or makes; held by n_reports, which the caller counts. NULL: no memory. */
struct observed_lease *observed_lease_get(struct observing *observing, const struct lease *lease);
/* One report less; the last frees it. */
void observed_lease_put(struct observed_lease *lease);
/* Held by n_reporters, which these count. NULL: no memory. */
struct observed_user *observed_user_get(struct observing *observing, uid_t uid);
void observed_user_put(struct observing *observing, struct observed_user *user);
struct observed_process *observed_process_get(
	struct observing *observing, pid_t pid, unsigned long long start_ticks);
void observed_process_put(struct observing *observing, struct observed_process *process);

/* --- observer.c: when, and the child that reads --------------------------------------------- */

void observer_init(struct observing *observing);
void observer_stop(struct observing *observing);
/* Is to be read, as soon as it can be. */
void observer_add(struct reported *reported);
/* Is not to be read any more; what a child brings of it is not looked at. */
void observer_remove(struct reported *reported);
/* It has no reporter any more: its child is killed. */
void observer_forget(struct observed_process *process);
