/*
 * A group comes to the space: into a container that is there, or, if the kernel accepts it in none,
 * into one of its own, with all mappings. Then they are billed once more; and in the first one,
 * read and covered.
 */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>

int space_may_attach(struct space *space, const struct space_group *group, struct refusal *refusal)
{
	if (space->state > SPACE_LIVE)
		return space_refuse_ended(space, refusal);
	if (space_group(space, group->number)) {
		refuse(refusal, REFUSAL_GROUP_BUSY, "it is attached already");
		refusal->group = group->number;
		refusal->owner_pid = space->subject.pid;
		refusal->owner_uid = space->subject.process_uid;
		return REFUSED;
	}
	if (space->payer && strcmp(space->payer->name, group->account) != 0)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"%s pays for what the space has pinned, and %s would pay for group %d: "
			"make another space for it",
			space->payer->name, group->account, group->number);
	for (size_t i = 0; i < group->n_reserved; i++) {
		const struct iova_range *reserved = &group->reserved[i];
		const struct mapping *mapping =
			mappings_overlap(&space->mappings, reserved->first, reserved->last);
		if (!mapping)
			continue;
		refuse(refusal, REFUSAL_RESERVED_REGION, "a mapping is in the way");
		refusal->group = group->number;
		refusal->ranges[0] = *reserved;
		refusal->ranges[1] = (struct iova_range){ mapping->iova, mapping_last(mapping) };
		refusal->n_ranges = 2;
		return REFUSED;
	}
	return 0;
}

/* --- attached ------------------------------------------------------------------------------- */

static void info_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)fd;
	struct space *space = operation->space;
	struct group *group = space_group(space, operation->group_number);
	int r = info ? container_learn(space, group->container, info)
		     : operation_refuse(operation, done, "asking what the container can do");

	operation->answer.container = group->container->number;
	if (r == 0) {
		operation_finish(operation, 0);
		return;
	}
	/* All or nothing: taken out again, as if it had not been attached yet. */
	struct container *container = group->container;
	TAILQ_REMOVE(&space->groups, group, of_space);
	space->n_groups--;
	group->container = NULL;
	operation->group = group;
	if (--container->n_groups == 0) {
		TAILQ_REMOVE(&space->containers, container, of_space);
		space->slot->n_containers = --space->n_containers;
		operation->container = container;
	}
	attach_undo(operation, r);
}

void attach_joined(struct operation *operation, struct container *container)
{
	struct group *group = operation->group;
	struct wire_request request = {
		.header.type = WIRE_INFO,
		.container = container->number,
	};

	operation->group = NULL;
	space_add_group(operation->space, group, container);
	operation_ask(operation, &request, NULL, 0, 0, info_answered);
}

/* --- undone --------------------------------------------------------------------------------- */

static void undone(struct operation *operation)
{
	struct space *space = operation->space;

	for (size_t i = 0; i < space->mappings.n; i++)
		mapping_settle(space->mappings.list[i]);
	if (space->n_groups == 0)
		space_let_payer_go(space);
	space_limit_locked(space);
	operation_finish(operation, operation->result);
}

/* Neither the keeper nor the kernel has anything of the group any more. */
static void undo_bill(struct operation *operation)
{
	struct space *space = operation->space;

	for (size_t i = 0; operation->container && i < space->mappings.n; i++)
		mapping_unbill(space->mappings.list[i], space_times_more(space));
	operation->container = container_free(operation->container);
	if (space->n_containers == 0)
		space_uncover_all(operation, undone);
	else
		undone(operation);
}

static void undo_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	if (done->result != 0) {
		space_distrust(operation->space, "it cannot undo an attach");
		return;
	}
	operation->group = space_group_free(operation->group);
	undo_bill(operation);
}

void attach_undo(struct operation *operation, int result)
{
	struct space *space = operation->space;
	struct wire_request request = {
		.header.type = WIRE_DETACH,
		.group = (uint32_t)operation->group_number,
	};

	operation->result = result;
	operation_ask(operation, &request, NULL, 0, space_pages(space), undo_answered);
}

static void attach_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;

	fd_bury(steal_fd(&operation->fd));
	if (done->result == WIRE_NEEDS_CONTAINER) {
		attach_new(operation);
	} else if (done->result == 0) {
		struct container *container = space_container(space, done->container);
		if (container)
			attach_joined(operation, container);
		else
			space_distrust(space, "it has a container that nobody opened");
	} else {
		struct mapping *mapping = mappings_by_number(&space->mappings, done->mapping);
		operation->result = done->result == WIRE_CHANGED && mapping
					    ? mapping_refuse_changed(mapping, &operation->refusal)
					    : operation_refuse(operation, done, "attaching");
		operation->group = space_group_free(operation->group);
		undo_bill(operation);
	}
}

static void member_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd);

/* Its members first, where the keeper has to know them; then itself. */
static void enter_next(struct operation *operation)
{
	struct space *space = operation->space;
	struct wire_request request = {
		.header.type = WIRE_ATTACH,
		.group = (uint32_t)operation->group_number,
		.max_groups = space->settings.max_groups_per_container,
	};

	if (!space->settings.is_iommufd || operation->index == operation->n_members) {
		operation_ask(operation, &request, &operation->fd, 1, space_pages(space),
			attach_answered);
		return;
	}
	request.header.type = WIRE_MEMBER;
	request.max_groups = 0;
	memcpy(request.name, operation->members[operation->index++], sizeof(request.name));
	operation_ask(operation, &request, NULL, 0, 0, member_answered);
}

static void member_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	if (done->result == 0) {
		enter_next(operation);
		return;
	}
	operation->result = operation_refuse(operation, done, "telling of its devices");
	operation->group = space_group_free(operation->group);
	undo_bill(operation);
}

static void attach_start(struct operation *operation)
{
	struct space *space = operation->space;
	struct space_group group = {
		.number = operation->group_number,
		.reserved = operation->reserved,
		.n_reserved = operation->n_reserved,
		.account = operation->account,
	};

	int r = space_may_attach(space, &group, &operation->refusal);
	if (r == 0 && !space->payer &&
		!(space->payer = ledger_account(space->ledger, operation->account)))
		r = -ENOMEM;
	if (r == 0) {
		/* Room to describe it, so that describing cannot fail. */
		size_t n = space->n_groups + 1;
		int *groups = reallocarray(space->described_groups, n, sizeof(*groups));
		space->described_groups = groups ? groups : space->described_groups;
		struct space_container *containers =
			reallocarray(space->described, n, sizeof(*containers));
		space->described = containers ? containers : space->described;
		operation->group = space_group_make(space, group.number);
		r = groups && containers && operation->group ? 0 : -ENOMEM;
	}
	if (r != 0) {
		if (space->n_groups == 0)
			space_let_payer_go(space);
		operation_finish(operation, r);
		return;
	}
	operation_begin(operation, WORK_ATTACH, (uint32_t)group.number);
	operation->index = 0;
	enter_next(operation);
}

static int copy_members(struct operation *operation, const struct space_group *group)
{
	operation->members = calloc(group->n_members + 1, sizeof(*operation->members));
	if (!operation->members)
		return -ENOMEM;
	for (; operation->n_members < group->n_members; operation->n_members++) {
		size_t i = operation->n_members;
		int r = string_copy(
			operation->members[i], sizeof(operation->members[i]), group->members[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int space_attach(struct space *space, const struct space_group *group, int group_fd,
	space_done done, void *userdata, struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, attach_start, group_fd, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->group_number = group->number;
	operation->n_reserved = group->n_reserved;
	r = string_copy(operation->account, sizeof(operation->account), group->account);
	if (r == 0)
		r = copy_members(operation, group);
	if (r == 0 && group->n_reserved > 0) {
		operation->reserved =
			reallocarray(NULL, group->n_reserved, sizeof(*operation->reserved));
		r = operation->reserved ? 0 : -ENOMEM;
	}
	if (r < 0) {
		operation_drop(operation);
		return r;
	}
	if (group->n_reserved > 0)
		memcpy(operation->reserved, group->reserved,
			group->n_reserved * sizeof(*operation->reserved));
	operation_queue(operation);
	return 0;
}
