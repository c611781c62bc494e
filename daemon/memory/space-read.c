/* The frames of a mapping are read by the keeper, and covered before anything is pinned. */
#include "daemon/memory/space-parts.h"

#include <errno.h>

/* For compaction, and whoever else moves pages, to be done. */
static const double BACK_OFF_SECONDS = 0.002;

static void read_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd);

static int read_runs(struct operation *operation, const struct wire_runs *runs, size_t n_runs)
{
	struct mapping *mapping = operation->mapping;
	struct charge *charge = &mapping->charge;
	struct limits limits;

	/* A mapping that nothing pins costs nothing; and where covering has failed, the rest of
	 * the stream goes by. */
	if (!charge->payer || operation->cover_result != 0)
		return 0;
	if (charge->n_runs == 0)
		mapping->book_offset = runs->book_offset;
	else if (runs->book_offset != mapping->book_offset + charge->n_runs * sizeof(frame_run))
		return -EBADMSG;
	space_limits(operation->space, &limits);
	operation->cover_result = charge_cover(
		charge, runs->runs, n_runs, &limits, mapping_pages(mapping), &operation->refusal);
	return 0;
}

static void read_ask(struct operation *operation)
{
	operation->cover_result = 0;
	operation->runs = read_runs;
	operation_ask(operation, &operation->reading, NULL, 0, mapping_pages(operation->mapping),
		read_answered);
}

static void set_reading(struct operation *operation)
{
	operation->reading = (struct wire_request){
		.header.type = WIRE_READ,
		.mapping = operation->mapping->number,
	};
}

static void read_failed(struct operation *operation)
{
	operation->after_read(operation, operation->result);
}

static void read_filled(struct operation *operation, int result)
{
	if (result == 0)
		read_ask(operation);
	else
		operation->after_read(operation, result);
}

static bool may_try_again(struct operation *operation)
{
	return ++operation->attempts < READ_ATTEMPTS;
}

static void on_back_off(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct operation *operation = timer->data;

	/* Its keeper has died meanwhile: that will be heard. */
	read_ask(operation);
}

static void back_off(struct operation *operation)
{
	ev_timer_init(&operation->back_off, on_back_off,
		BACK_OFF_SECONDS * (double)(1U << operation->attempts), 0);
	operation->back_off.data = operation;
	ev_timer_start(operation->space->loop, &operation->back_off);
}

static void read_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct mapping *mapping = operation->mapping;
	const struct charge *charge = &mapping->charge;

	if (operation->reading.header.type == WIRE_PREPARE &&
		(done->result == 0 || done->result == WIRE_HOLES)) {
		operation->is_prepared = true;
		set_reading(operation);
	}
	if (operation->cover_result != 0) {
		operation->result = operation->cover_result;
		mapping_uncover(operation, mapping, read_failed);
		return;
	}
	bool is_complete =
		charge->n_runs == done->n_runs && charge->n_pages == mapping_pages(mapping);
	if ((done->result == 0 && is_complete) ||
		(!charge->payer && (done->result == 0 || done->result == WIRE_HOLES))) {
		operation->after_read(operation, 0);
		return;
	}
	if (done->result == 0 || charge->n_runs > 0) {
		space_distrust(operation->space, "it does not say all frames of a mapping");
		return;
	}
	if (done->result != WIRE_HOLES && done->result != WIRE_CHANGED)
		operation->after_read(operation,
			operation_refuse(operation, done, "reading the pages of the memory"));
	else if (!may_try_again(operation))
		operation->after_read(
			operation, mapping_refuse_changed(mapping, &operation->refusal));
	else if (done->result == WIRE_HOLES)
		mapping_fill(operation, done->n_pages, read_filled);
	else
		back_off(operation);
}

void mapping_read(struct operation *operation, void (*after_read)(struct operation *, int result))
{
	operation->after_read = after_read;
	operation->attempts = 0;
	set_reading(operation);
	read_ask(operation);
}

void mapping_prepare(
	struct operation *operation, void (*after_read)(struct operation *, int result))
{
	operation->after_read = after_read;
	operation->attempts = 0;
	read_ask(operation);
}

void mapping_read_again(
	struct operation *operation, void (*after_read)(struct operation *, int result))
{
	operation->after_read = after_read;
	set_reading(operation);
	if (may_try_again(operation)) {
		mapping_uncover(operation, operation->mapping, back_off);
	} else {
		operation->result = mapping_refuse_changed(operation->mapping, &operation->refusal);
		mapping_uncover(operation, operation->mapping, read_failed);
	}
}

int mapping_refuse_changed(const struct mapping *mapping, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_MEMORY_CHANGED,
		"its pages were others each time that they were looked at; is something punching "
		"holes into it? Map it again when that is over");
	refusal->ranges[0] = (struct iova_range){ mapping->iova, mapping_last(mapping) };
	refusal->n_ranges = 1;
	return REFUSED;
}
