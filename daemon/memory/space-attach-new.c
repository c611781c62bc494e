/*
 * A group that no container accepts gets one of its own, with all mappings. They are billed once
 * more for it, and for the first one that there is, read and covered.
 */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>

static void read_next(struct operation *operation);
static void ask_new(struct operation *operation);

static void read_again(struct operation *operation, int result)
{
	operation->mapping = NULL;
	if (result == 0)
		ask_new(operation);
	else
		attach_undo(operation, result);
}

static void new_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct mapping *mapping = mappings_by_number(&space->mappings, done->mapping);

	if (operation->container_fd >= 0)
		fd_bury(steal_fd(&operation->container_fd));
	if (done->result == 0) {
		struct container *container = operation->container;
		if (space_container(space, done->container)) {
			space_distrust(space, "it has two containers with one number");
			return;
		}
		operation->container = NULL;
		container->number = done->container;
		space_add_container(space, container);
		attach_joined(operation, container);
	} else if (done->result != WIRE_CHANGED) {
		attach_undo(operation,
			operation_refuse(operation, done, "opening a container for the group"));
	} else if (!mapping) {
		space_distrust(space, "it has no such mapping");
	} else if (space->n_containers == 0) {
		if (operation->begin != mapping->number + 1U)
			operation->attempts = 0;
		operation->begin = mapping->number + 1U;
		operation->mapping = mapping;
		mapping_read_again(operation, read_again);
	} else {
		/* Those in the other containers are pinned: they are the ones that are paid for. */
		refuse(&operation->refusal, REFUSAL_MEMORY_CHANGED,
			"a hole was punched into it, and its pages are not those any more that "
			"are pinned; unmap it first");
		operation->refusal.ranges[0] =
			(struct iova_range){ mapping->iova, mapping_last(mapping) };
		operation->refusal.n_ranges = 1;
		attach_undo(operation, REFUSED);
	}
}

static void ask_new(struct operation *operation)
{
	struct space *space = operation->space;
	struct wire_request request = {
		.header.type = WIRE_ATTACH_NEW,
		.group = (uint32_t)operation->group_number,
	};

	int r = space_limit_locked(space);
	/* With iommufd its keeper opens it. */
	bool is_sent = !space->settings.is_iommufd;
	if (r == 0 && is_sent) {
		operation->container_fd = space->ops->open_container();
		r = operation->container_fd < 0 ? operation->container_fd : 0;
	}
	if (r < 0)
		attach_undo(operation, r);
	else
		operation_ask(operation, &request, &operation->container_fd, is_sent,
			space_pages(space) * 2, new_answered);
}

/* What the refusal says to be used already is to be without what this attach has brought. */
static void leave_out(struct operation *operation)
{
	const struct space *space = operation->space;
	struct refusal *refusal = &operation->refusal;
	uint64_t pages = 0;

	if (refusal->kind != REFUSAL_LIMIT_EXCEEDED)
		return;
	refusal->requested_bytes = space->mappings.bytes;
	for (size_t i = 0; i < space->mappings.n; i++) {
		const struct charge *charge = &space->mappings.list[i]->charge;
		if (strcmp(refusal->limit, "owed-limit") == 0)
			pages += charge->new_to_payer;
		else if (strcmp(refusal->limit, "host-limit") == 0)
			pages += charge->new_to_host;
	}
	refusal->state_bytes -= pages * space_page_bytes();
}

static void read_one(struct operation *operation, int result)
{
	operation->mapping = NULL;
	if (result != 0) {
		leave_out(operation);
		attach_undo(operation, result);
		return;
	}
	operation->index++;
	read_next(operation);
}

static void read_next(struct operation *operation)
{
	struct space *space = operation->space;

	if (operation->index == space->mappings.n) {
		ask_new(operation);
		return;
	}
	operation->mapping = space->mappings.list[operation->index];
	mapping_read(operation, read_one);
}

/* All of them or none: so the limit is looked at for all at once. */
static int bill_all(struct operation *operation)
{
	static const struct limits none = { LIMIT_NONE, LIMIT_NONE };
	struct space *space = operation->space;
	uint64_t pages = space->mappings.bytes / space_page_bytes();
	unsigned times = space_times_more(space);
	struct charge probe = { 0 };
	struct limits limits;
	int r = 0;

	if (times == 0)
		return 0;
	space_limits(space, &limits);
	charge_open(&probe, space->payer, space->account);
	r = charge_bill(&probe, pages, &limits, pages, &operation->refusal);
	if (r == 0)
		charge_unbill(&probe, pages);
	charge_close(&probe);
	for (size_t i = 0; r == 0 && i < space->mappings.n; i++) {
		r = mapping_bill(space, space->mappings.list[i], times, &none, &operation->refusal);
		for (size_t j = i; r != 0 && j-- > 0;) {
			mapping_unbill(space->mappings.list[j], times);
			mapping_settle(space->mappings.list[j]);
		}
	}
	return r;
}

void attach_new(struct operation *operation)
{
	struct space *space = operation->space;

	if (space->n_containers >= space->settings.max_containers) {
		refuse(&operation->refusal, REFUSAL_TOO_MANY, "max-containers-per-space");
		operation->refusal.max = (long)space->settings.max_containers;
		attach_undo(operation, REFUSED);
		return;
	}
	struct container *container = calloc(1, sizeof(*container));
	int r = container ? bill_all(operation) : -ENOMEM;
	if (r != 0) {
		container_free(container);
		attach_undo(operation, r);
		return;
	}
	operation->container = container;
	operation->index = 0;
	operation->begin = 0;
	if (space->n_containers == 0)
		read_next(operation);
	else
		ask_new(operation);
}
