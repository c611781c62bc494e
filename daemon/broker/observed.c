/* What is observed: runs of frames in the ledger, as they come and as they go. */
#include "daemon/base/util.h"
#include "daemon/broker/observing-parts.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

static const struct limits no_limits = { LIMIT_NONE, LIMIT_NONE };

/* Those that have frames, into `frames`, which has room for all. */
static size_t without_absent(const frame_run *runs, size_t n_runs, frame_run *frames)
{
	size_t n = 0;

	for (size_t i = 0; i < n_runs; i++)
		if (!run_is_absent(runs[i]))
			frames[n++] = runs[i];
	return n;
}

static void piece_uncover(struct reported *reported, struct piece *piece)
{
	frame_run frames[PIECE_PAGES];
	size_t n = without_absent(piece->runs, piece->n_runs, frames);

	/* They were covered just so: it cannot fail. */
	if (charge_uncover(&reported->charge, frames, n) == 0 && reported->lease) {
		reported->lease->covered_pages -= piece->n_pages;
		reported->reporter->user->n_runs -= piece->n_runs;
	}
	free(piece->runs);
	*piece = (struct piece){ 0 };
}

static int piece_cover(
	struct reported *reported, struct piece *piece, const frame_run *runs, size_t n_runs)
{
	struct observed_user *user = reported->reporter->user;
	frame_run frames[PIECE_PAGES];
	struct refusal refusal;
	uint64_t before = reported->charge.n_pages;

	if (n_runs > PIECE_PAGES || user->n_runs + n_runs > USER_RUNS_MAX)
		return -ENOSPC;
	frame_run *copy = calloc(n_runs, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	int r = charge_cover(&reported->charge, frames, without_absent(runs, n_runs, frames),
		&no_limits, 0, &refusal);
	if (r != 0) {
		free(copy);
		return r;
	}
	memcpy(copy, runs, n_runs * sizeof(*copy));
	piece->runs = copy;
	piece->n_runs = n_runs;
	piece->n_pages = reported->charge.n_pages - before;
	user->n_runs += n_runs;
	reported->lease->covered_pages += piece->n_pages;
	return 0;
}

void reported_observe(struct reported *reported, size_t at, const frame_run *runs, size_t n_runs)
{
	struct piece *piece = &reported->pieces[at];

	if (piece->runs && piece->n_runs == n_runs &&
		memcmp(piece->runs, runs, n_runs * sizeof(*runs)) == 0)
		return;
	if (piece->runs)
		piece_uncover(reported, piece);
	if (n_runs > 0 && piece_cover(reported, piece, runs, n_runs) == 0 && reported->n_kept <= at)
		reported->n_kept = at + 1;
}

size_t reported_unobserve(struct reported *reported, size_t n_runs_max)
{
	size_t n_runs = 0;

	for (; reported->n_kept > 0 && n_runs < n_runs_max; reported->n_kept--) {
		struct piece *piece = &reported->pieces[reported->n_kept - 1];
		n_runs += 1 + piece->n_runs;
		if (piece->runs)
			piece_uncover(reported, piece);
	}
	return n_runs;
}

/* --- what leaves -------------------------------------------------------------------------- */

void observed_sweep(struct observing *observing)
{
	struct reported *reported;
	size_t n_runs = 0;

	while (n_runs < SLICE_RUNS && (reported = TAILQ_FIRST(&observing->leaving))) {
		n_runs += 1 + reported_unobserve(reported, SLICE_RUNS - n_runs);
		if (reported_is_observed(reported))
			continue;
		TAILQ_REMOVE(&observing->leaving, reported, of_queue);
		charge_close(&reported->charge);
		free(reported->pieces);
		free(reported);
	}
	/* Not at once: others have their turns between. */
	if (!TAILQ_EMPTY(&observing->leaving))
		ev_timer_start(observing->broker->loop, &observing->leave);
}

static void on_leave(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	observed_sweep(timer->data);
}

void reported_leave(struct reported *reported)
{
	struct observed_user *user = reported->reporter->user;
	struct observing *observing = reported->reporter->observing;
	struct observed_lease *lease = reported->lease;

	observer_remove(reported);
	user->n_reports--;
	user->n_pieces -= reported->n_pieces;
	for (size_t i = 0; i < reported->n_kept; i++)
		user->n_runs -= reported->pieces[i].n_runs;
	lease->covered_pages -= reported->charge.n_pages;
	lease->bill_pages -= reported->charge.kernel_bill;
	charge_unbill(&reported->charge, reported->charge.kernel_bill);
	observed_lease_put(lease);
	reported->lease = NULL;
	reported->reporter = NULL;
	TAILQ_INSERT_TAIL(&observing->leaving, reported, of_queue);
}

void observed_init(struct observing *observing)
{
	TAILQ_INIT(&observing->leaving);
	ev_timer_init(&observing->leave, on_leave, 0, 0);
	observing->leave.data = observing;
}

void observed_stop(struct observing *observing)
{
	while (!TAILQ_EMPTY(&observing->leaving))
		observed_sweep(observing);
	ev_timer_stop(observing->broker->loop, &observing->leave);
}
