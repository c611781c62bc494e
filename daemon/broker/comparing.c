/* What an audit asks: are the frames still those that were observed? */
#include "daemon/base/util.h"
#include "daemon/broker/observing-parts.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* At 35 million pages a second, more than 1 TiB of small ones. */
static const double DEADLINE_SECONDS = 10;

struct comparison {
	const struct observing *observing; /* NULL: nothing was reported */
	const struct observed_lease *lease;
	struct errand *errand;
	compared_fn compared;
	void *userdata;
};

/* Runs, page by page. */
struct cursor {
	const frame_run *runs;
	size_t n_runs;
	uint64_t done; /* of the first */
};

static uint64_t cursor_left(const struct cursor *cursor)
{
	return cursor->n_runs > 0 ? run_length(*cursor->runs) - cursor->done : UINT64_MAX;
}

static uint64_t cursor_frame(const struct cursor *cursor)
{
	if (cursor->n_runs == 0 || run_is_absent(*cursor->runs))
		return FRAME_ABSENT;
	return run_first(*cursor->runs) + cursor->done;
}

static void cursor_go(struct cursor *cursor, uint64_t n)
{
	cursor->done += n;
	if (cursor->n_runs > 0 && cursor->done == run_length(*cursor->runs)) {
		cursor->runs++;
		cursor->n_runs--;
		cursor->done = 0;
	}
}

/* Of the pages that had a frame, those that have another one, or none. */
static uint64_t count_different(const struct piece *piece, const struct part_runs *now)
{
	struct cursor was = { piece->runs, piece->n_runs, 0 }, is = { now->runs, now->n, 0 };
	uint64_t n_different = 0;

	while (was.n_runs > 0) {
		uint64_t n =
			cursor_left(&was) < cursor_left(&is) ? cursor_left(&was) : cursor_left(&is);
		if (cursor_frame(&was) != FRAME_ABSENT && cursor_frame(&was) != cursor_frame(&is))
			n_different += n;
		cursor_go(&was, n);
		cursor_go(&is, n);
	}
	return n_different;
}

/* --- in the child, which has the books as they were ----------------------------------------- */

static int compare_reported(const struct observing *observing, const struct reported *reported,
	int *pagemap, uint64_t *n_different)
{
	static struct part_runs now;

	for (size_t i = 0; i < reported->n_kept; i++) {
		const struct piece *piece = &reported->pieces[i];
		struct observer_part part = reported_part(reported, i);
		if (piece->n_pages == 0)
			continue;
		int r = observer_read_part(observing->observer_ops, pagemap, &part, &now);
		if (r < 0)
			return r;
		*n_different += count_different(piece, &now);
	}
	return 0;
}

static int compare_reporter(
	const struct comparison *comparison, const struct reporter *reporter, uint64_t *n_different)
{
	const struct observing *observing = comparison->observing;
	const struct observed_process *process = reporter->process;
	_cleanup_close_ int pagemap = -1;

	for (size_t i = 0; i < reporter->reports.n; i++) {
		const struct reported *reported = reporter->reports.list[i];
		if (reported->lease != comparison->lease)
			continue;
		if (pagemap < 0)
			pagemap = observing->observer_ops->open(process->pid, process->start_ticks);
		if (pagemap < 0)
			return pagemap;
		int r = compare_reported(observing, reported, &pagemap, n_different);
		if (r < 0)
			return r;
	}
	return 0;
}

static int work(FILE *answer, void *userdata)
{
	const struct comparison *comparison = userdata;
	const struct reporter *reporter;
	uint64_t n_different = 0;

	if (comparison->lease)
		TAILQ_FOREACH (reporter, &comparison->observing->reporters, of_observing) {
			int r = compare_reporter(comparison, reporter, &n_different);
			if (r < 0)
				return r;
		}
	return fwrite(&n_different, sizeof(n_different), 1, answer) == 1 ? 0 : -ENOMEM;
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void on_compared(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	(void)errand;
	struct comparison *comparison = userdata;
	compared_fn compared = comparison->compared;
	uint64_t n_different = 0;

	if (result == 0 && length == sizeof(n_different))
		memcpy(&n_different, answer, sizeof(n_different));
	else if (result == 0)
		result = -EBADMSG;
	userdata = comparison->userdata;
	comparison_free(comparison);
	compared(result, n_different, userdata);
}

int observing_compare(struct broker *broker, const struct lease *lease, compared_fn compared,
	void *userdata, struct comparison **comparisonp)
{
	struct comparison *comparison = calloc(1, sizeof(*comparison));
	if (!comparison)
		return -ENOMEM;
	comparison->observing = broker->observing;
	comparison->lease =
		broker->observing ? observed_lease_find(broker->observing, lease) : NULL;
	comparison->compared = compared;
	comparison->userdata = userdata;
	int r = errand_new(broker->loop, "vfiod-compare", work, comparison, DEADLINE_SECONDS,
		on_compared, comparison, &comparison->errand);
	if (r < 0) {
		comparison_free(comparison);
		return r;
	}
	*comparisonp = comparison;
	return 0;
}

struct comparison *comparison_free(struct comparison *comparison)
{
	if (!comparison)
		return NULL;
	errand_free(comparison->errand);
	free(comparison);
	return NULL;
}
