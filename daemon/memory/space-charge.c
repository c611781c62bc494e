/* What a mapping costs: billed before it is made, covered as its frames are read, taken back. */
#include "daemon/memory/space-parts.h"

#include <errno.h>

void space_limits(struct space *space, struct limits *limits)
{
	*limits = (struct limits){ LIMIT_NONE, LIMIT_NONE };
	space->hooks.limits(space, limits, space->userdata);
}

int mapping_bill(struct space *space, struct mapping *mapping, unsigned times,
	const struct limits *limits, struct refusal *refusal)
{
	uint64_t pages = mapping_pages(mapping) * times;

	if (!mapping->charge.payer)
		charge_open(&mapping->charge, space->payer, space->account);
	int r = charge_bill(&mapping->charge, pages, limits, pages, refusal);
	if (r != 0)
		mapping_settle(mapping);
	return r;
}

void mapping_unbill(struct mapping *mapping, unsigned times)
{
	if (mapping->charge.payer)
		charge_unbill(&mapping->charge, mapping_pages(mapping) * times);
}

void mapping_settle(struct mapping *mapping)
{
	const struct charge *charge = &mapping->charge;

	if (charge->payer && charge->n_runs == 0 && charge->kernel_bill == 0)
		charge_close(&mapping->charge);
}

int mapping_take_back(struct mapping *mapping, const struct wire_runs *runs, size_t n_runs)
{
	/* Where covering stopped half way, the book has more. */
	if (n_runs > mapping->charge.n_runs)
		n_runs = mapping->charge.n_runs;
	if (n_runs == 0)
		return 0;
	if (runs->book_offset != mapping->book_offset)
		return -EBADMSG;
	int r = charge_uncover(&mapping->charge, runs->runs, n_runs);
	if (r == 0)
		mapping->book_offset += n_runs * sizeof(frame_run);
	return r;
}

int space_limit_locked(struct space *space)
{
	return keeper_limit_locked(
		space->keeper, account_kernel_bill(space->account) * space_page_bytes());
}

/* --- taking back ---------------------------------------------------------------------------- */

int operation_take_back(struct operation *operation, const struct wire_runs *runs, size_t n_runs)
{
	return mapping_take_back(operation->mapping, runs, n_runs);
}

static void uncover_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	if (done->result != 0 || operation->mapping->charge.n_runs > 0) {
		space_distrust(operation->space, "its book is not complete");
		return;
	}
	operation->after_uncover(operation);
}

void mapping_uncover(struct operation *operation, struct mapping *mapping,
	void (*after_uncover)(struct operation *operation))
{
	struct wire_request request = {
		.header.type = WIRE_BOOK,
		.book_offset = mapping->book_offset,
		.n_runs = mapping->charge.n_runs,
	};

	operation->after_uncover = after_uncover;
	operation->mapping = mapping;
	if (mapping->charge.n_runs == 0) {
		after_uncover(operation);
		return;
	}
	operation->runs = operation_take_back;
	operation_ask(operation, &request, NULL, 0, mapping_pages(mapping), uncover_answered);
}

static void uncover_next(struct operation *operation)
{
	struct mappings *mappings = &operation->space->mappings;

	/* Not by way of mapping_uncover(), where there is nothing to do: there may be many. */
	for (; operation->index < mappings->n; operation->index++) {
		struct mapping *mapping = mappings->list[operation->index];
		if (mapping->charge.n_runs > 0) {
			mapping_uncover(operation, mapping, uncover_next);
			return;
		}
		mapping_settle(mapping);
	}
	operation->mapping = NULL;
	operation->after_uncover_all(operation);
}

void space_uncover_all(
	struct operation *operation, void (*after_uncover)(struct operation *operation))
{
	operation->index = 0;
	operation->after_uncover_all = after_uncover;
	uncover_next(operation);
}
