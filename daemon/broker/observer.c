/* When what is read: the queues of the processes, and one child at a time for each of them. */
#include "daemon/broker/observer.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/observing-parts.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

const struct observer_pace observer_pace = {
	.pages_per_second = 1 << 20,
	.pause_seconds = 1.0 / 16,
	.deadline_seconds = 5,
	.again_seconds = 60,
	.failed_first_seconds = 10,
	.failed_last_seconds = 600,
};
/* One that hangs has its place until its deadline; the others are for all other processes. */
#define CHILDREN_MAX 4

/* A child's work at most: 1 GiB of small pages; what it brings is covered in a few milliseconds. */
#define BATCH_PARTS 512
#define BATCH_PAGES (UINT64_C(32) * PIECE_PAGES)
#define BATCH_RUNS 4096

struct batch {
	struct observing *observing;
	struct observed_process *process;
	struct errand *errand;
	struct observer_request request;
	size_t n_parts;
	uint64_t n_pages;
	struct observer_part parts[BATCH_PARTS];
	struct reported *reported[BATCH_PARTS]; /* NULL: it has gone meanwhile */
};

static void schedule(struct observing *observing);

/* Not the loop's: that one jumps when the clock is set. */
static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double later(double a, double b)
{
	return a > b ? a : b;
}

/* --- what is to be read ---------------------------------------------------------------------- */

struct observer_part reported_part(const struct reported *reported, size_t piece)
{
	uint64_t offset = (uint64_t)piece * PIECE_PAGES;
	uint64_t n_left = reported->length / page_bytes() - offset;

	return (struct observer_part){
		.address = reported->address + offset * page_bytes(),
		.n_pages = n_left < PIECE_PAGES ? n_left : PIECE_PAGES,
	};
}

static bool batch_add(struct batch *batch, struct reported *reported, size_t piece)
{
	struct observer_part part = reported_part(reported, piece);

	if (batch->n_parts == BATCH_PARTS || batch->n_pages + part.n_pages > BATCH_PAGES)
		return false;
	batch->parts[batch->n_parts] = part;
	batch->reported[batch->n_parts++] = reported;
	batch->n_pages += part.n_pages;
	reported->batch = batch;
	return true;
}

/* Of those that were read last before this time. False: it is full. */
static bool batch_fill(struct batch *batch, const struct reported_list *list, double before)
{
	struct reported *reported;

	TAILQ_FOREACH (reported, list, of_queue) {
		if (reported->was_read && reported->read_at > before)
			return true;
		for (size_t i = reported->next_piece; i < reported->n_pieces; i++)
			if (!batch_add(batch, reported, i))
				return false;
	}
	return true;
}

static struct batch *batch_free(struct batch *batch)
{
	for (size_t i = 0; i < batch->n_parts; i++)
		if (batch->reported[i])
			batch->reported[i]->batch = NULL;
	batch->process->batch = NULL;
	batch->observing->n_children--;
	errand_free(batch->errand);
	free(batch);
	return NULL;
}

/* --- what was read --------------------------------------------------------------------------- */

static void piece_was_read(struct reported *reported, const frame_run *runs, size_t n_runs)
{
	struct observed_process *process = reported->reporter->process;

	if (!reported->pieces)
		reported->pieces = calloc(reported->n_pieces, sizeof(*reported->pieces));
	if (reported->pieces)
		reported_observe(reported, reported->next_piece, runs, n_runs);
	if (++reported->next_piece < reported->n_pieces)
		return;
	TAILQ_REMOVE(reported->was_read ? &process->seen : &process->fresh, reported, of_queue);
	reported->next_piece = 0;
	reported->was_read = true;
	reported->read_at = now();
	TAILQ_INSERT_TAIL(&process->seen, reported, of_queue);
}

/* Parts that did not come are read later. */
static void batch_take(struct batch *batch, const char *answer, size_t length)
{
	static frame_run runs[PIECE_PAGES];
	uint64_t n;

	for (size_t i = 0; i < batch->n_parts && length >= sizeof(n); i++) {
		memcpy(&n, answer, sizeof(n));
		answer += sizeof(n);
		length -= sizeof(n);
		if (n > PIECE_PAGES || n * sizeof(*runs) > length)
			return;
		memcpy(runs, answer, n * sizeof(*runs));
		answer += n * sizeof(*runs);
		length -= n * sizeof(*runs);
		if (batch->reported[i])
			piece_was_read(batch->reported[i], runs, n);
	}
}

static void dequeue(struct reported *reported)
{
	struct observed_process *process = reported->reporter->process;

	if (reported->is_queued)
		TAILQ_REMOVE(
			reported->was_read ? &process->seen : &process->fresh, reported, of_queue);
	reported->is_queued = false;
}

/* Has it ended, and is something left of what it has shown? */
static struct reported *left_behind(const struct observed_process *process)
{
	if (!process->is_gone)
		return NULL;
	return TAILQ_EMPTY(&process->seen) ? TAILQ_FIRST(&process->fresh)
					   : TAILQ_FIRST(&process->seen);
}

/* Frames that it has shown have other owners by now. There may be many: in slices. */
static void forget_some(const struct observed_process *process)
{
	struct reported *reported;
	size_t n_runs = 0;

	while (n_runs < SLICE_RUNS && (reported = left_behind(process))) {
		n_runs += reported_unobserve(reported, SLICE_RUNS - n_runs);
		if (!reported_is_observed(reported))
			dequeue(reported);
	}
}

static void process_failed(struct observing *observing, struct observed_process *process, int r)
{
	const struct observer_pace *pace = observing->observer_pace;

	log_debug("what process %d has mapped cannot be observed: %s", (int)process->pid,
		strerror(-r));
	if (r == -ESRCH)
		process->is_gone = true;
	if (process->pause_seconds < pace->failed_first_seconds)
		process->pause_seconds = pace->failed_first_seconds;
	process->not_before = now() + process->pause_seconds;
	process->pause_seconds *= 2;
	if (process->pause_seconds > pace->failed_last_seconds)
		process->pause_seconds = pace->failed_last_seconds;
}

static void on_read(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	(void)errand;
	struct batch *batch = userdata;
	struct observing *observing = batch->observing;
	struct observed_process *process = batch->process;

	if (result == 0) {
		process->pause_seconds = 0;
		batch_take(batch, answer, length);
	}
	batch_free(batch);
	if (result != 0)
		process_failed(observing, process, result < 0 ? result : -EBADMSG);
	schedule(observing);
}

/* --- the child ------------------------------------------------------------------------------- */

static int work(FILE *answer, void *userdata)
{
	const struct batch *batch = userdata;

	return observer_read(answer, &batch->request);
}

static int batch_start(struct observing *observing, struct observed_process *process)
{
	const struct observer_pace *pace = observing->observer_pace;
	struct batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	batch->observing = observing;
	batch->process = process;
	process->batch = batch;
	observing->n_children++;
	if (batch_fill(batch, &process->fresh, 0))
		batch_fill(batch, &process->seen, now() - pace->again_seconds);
	batch->request = (struct observer_request){
		.ops = observing->observer_ops,
		.pid = process->pid,
		.start_ticks = process->start_ticks,
		.parts = batch->parts,
		.n_parts = batch->n_parts,
		.n_runs_max = BATCH_RUNS,
	};
	int r = errand_new(observing->broker->loop, "vfiod-observe", work, batch,
		pace->deadline_seconds, on_read, batch, &batch->errand);
	observing->free_at =
		now() + later(pace->pause_seconds, (double)batch->n_pages / pace->pages_per_second);
	if (r < 0)
		batch_free(batch);
	return r;
}

/* --- when ------------------------------------------------------------------------------------ */

/* INFINITY: there is nothing to be read. */
static double due_at(const struct observing *observing, const struct observed_process *process)
{
	double at = INFINITY;

	if (process->is_gone)
		return left_behind(process) ? 0 : INFINITY;
	if (process->batch)
		return INFINITY;
	if (!TAILQ_EMPTY(&process->fresh))
		at = 0;
	else if (!TAILQ_EMPTY(&process->seen))
		at = TAILQ_FIRST(&process->seen)->read_at + observing->observer_pace->again_seconds;
	return later(at, process->not_before);
}

static void schedule(struct observing *observing)
{
	struct ev_loop *loop = observing->broker->loop;
	const struct observed_process *process;
	double first = INFINITY;

	ev_timer_stop(loop, &observing->next);
	if (observing->n_children == CHILDREN_MAX)
		return;
	TAILQ_FOREACH (process, &observing->processes, of_observing) {
		double at = due_at(observing, process);
		first = at < first ? at : first;
	}
	if (first == INFINITY)
		return;
	ev_now_update(loop);
	ev_timer_set(&observing->next, later(later(first, observing->free_at) - now(), 0), 0);
	ev_timer_start(loop, &observing->next);
}

static void on_next(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct observing *observing = timer->data;
	struct observed_process *process;

	TAILQ_FOREACH (process, &observing->processes, of_observing) {
		if (due_at(observing, process) > now())
			continue;
		TAILQ_REMOVE(&observing->processes, process, of_observing);
		TAILQ_INSERT_TAIL(&observing->processes, process, of_observing);
		if (process->is_gone) {
			forget_some(process);
			break;
		}
		int r = batch_start(observing, process);
		if (r < 0)
			process_failed(observing, process, r);
		break;
	}
	schedule(observing);
}

void observer_add(struct reported *reported)
{
	struct observed_process *process = reported->reporter->process;

	if (process->is_gone)
		return;
	TAILQ_INSERT_TAIL(&process->fresh, reported, of_queue);
	reported->is_queued = true;
	schedule(reported->reporter->observing);
}

void observer_remove(struct reported *reported)
{
	struct batch *batch = reported->batch;

	for (size_t i = 0; batch && i < batch->n_parts; i++)
		if (batch->reported[i] == reported)
			batch->reported[i] = NULL;
	reported->batch = NULL;
	dequeue(reported);
}

void observer_forget(struct observed_process *process)
{
	struct observing *observing;

	if (!process->batch)
		return;
	observing = process->batch->observing;
	batch_free(process->batch);
	schedule(observing);
}

void observer_init(struct observing *observing)
{
	observing->observer_ops = &observer_kernel;
	observing->observer_pace = &observer_pace;
	ev_init(&observing->next, on_next);
	observing->next.data = observing;
}

void observer_stop(struct observing *observing)
{
	ev_timer_stop(observing->broker->loop, &observing->next);
}
