/* Unmapping: whole mappings only, any number of them. */
#include "daemon/memory/space-parts.h"

#include <errno.h>

static void unmap_next(struct operation *operation);

static void unmap_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct mapping *mapping = operation->mapping;

	if (done->result != 0 || mapping->charge.n_runs > 0) {
		space_distrust(space, "it has not unmapped all of a mapping");
		return;
	}
	mapping_unbill(mapping, space_times(space, space->n_containers));
	mapping_settle(mapping);
	operation->answer.n_mappings++;
	operation->answer.length_bytes += mapping->length;
	space_memory(space, mapping->memory)->n_mappings--;
	operation->mapping = NULL;
	mappings_drop(&space->mappings, mapping, operation->index);
	unmap_next(operation);
}

/* From the last to the first, which leaves little to move in an array. */
static void unmap_next(struct operation *operation)
{
	struct space *space = operation->space;

	if (operation->index == operation->begin) {
		int r = operation->answer.n_mappings > 0 ? space_limit_locked(space) : 0;
		if (r < 0 && r != -ESRCH)
			space_distrust(space, "what it has locked cannot be limited");
		operation_finish(operation, 0);
		return;
	}
	operation->mapping = space->mappings.list[--operation->index];
	struct wire_request request = {
		.header.type = WIRE_UNMAP,
		.mapping = operation->mapping->number,
	};
	operation->runs = operation_take_back;
	operation_ask(operation, &request, NULL, 0,
		mapping_pages(operation->mapping) * (space->n_containers + 1), unmap_answered);
}

void unmap_start(struct operation *operation)
{
	struct space *space = operation->space;
	struct refusal *refusal = &operation->refusal;
	uint64_t last;

	if (operation->length == 0 ||
		__builtin_add_overflow(operation->iova, operation->length - 1, &last)) {
		operation_finish(operation, refuse(refusal, REFUSAL_INVALID_PARAMETER, "length"));
		return;
	}
	const struct mapping *split = mappings_within(
		&space->mappings, operation->iova, last, &operation->begin, &operation->index);
	if (split) {
		refuse(refusal, REFUSAL_UNMAP_SPLITS, "a mapping would be split");
		refusal->ranges[0] = (struct iova_range){ split->iova, mapping_last(split) };
		refusal->n_ranges = 1;
		operation_finish(operation, REFUSED);
		return;
	}
	operation_begin(operation, WORK_UNMAP, 0);
	unmap_next(operation);
}

int space_unmap(struct space *space, uint64_t iova, uint64_t length, space_done done,
	void *userdata, struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, unmap_start, -1, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->iova = iova;
	operation->length = length;
	operation_queue(operation);
	return 0;
}
