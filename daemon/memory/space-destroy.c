/*
 * The end of a space while its keeper lives. All is unmapped first: then nothing is pinned any
 * more, whatever devices stay open, and nothing is charged. Then the groups are let go, and the
 * keeper.
 */
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

static void next_step(struct operation *operation);

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
	operation->mapping = NULL;
	mappings_drop(&space->mappings, mapping, space->mappings.n - 1);
	next_step(operation);
}

static void detach_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct group *group = space_group(space, operation->group_number);
	int number = group->number;

	space_remove_group(space, group);
	space->hooks.let_go(space, number, done->result != 0, space->userdata);
	next_step(operation);
}

static void next_step(struct operation *operation)
{
	struct space *space = operation->space;
	const struct group *group = TAILQ_FIRST(&space->groups);
	struct wire_request request = { 0 };

	if (space->mappings.n > 0) {
		operation->mapping = space->mappings.list[space->mappings.n - 1];
		request.header.type = WIRE_UNMAP;
		request.mapping = operation->mapping->number;
		operation->runs = operation_take_back;
		operation_ask(operation, &request, NULL, 0,
			mapping_pages(operation->mapping) * (space->n_containers + 1),
			unmap_answered);
		return;
	}
	/* Those that were let go before are with the kernel already, and it is known who waits. */
	while (group && group->is_let_go) {
		space_remove_group(space, space_group(space, group->number));
		group = TAILQ_FIRST(&space->groups);
	}
	if (!group) {
		/* Its end is the space's: gone() follows. */
		keeper_end(space->keeper);
		return;
	}
	operation->group_number = group->number;
	request.header.type = WIRE_DETACH;
	request.group = (uint32_t)group->number;
	request.flags = WIRE_FORCE;
	operation_ask(operation, &request, NULL, 0, 0, detach_answered);
}

void destroy_start(struct operation *operation)
{
	next_step(operation);
}

void space_destroy(struct space *space, const char *why)
{
	if (space->state > SPACE_LIVE)
		return;
	/* What it has is not known yet: first that. */
	if (space->adoption || (space->state == SPACE_STARTING && space->current)) {
		snprintf(space->why, sizeof(space->why), "%s", why);
		space->is_to_end = true;
		return;
	}
	bool is_starting = space->state == SPACE_STARTING;
	snprintf(space->why, sizeof(space->why), "%s", why);
	space->state = SPACE_ENDING;
	/* It has nothing yet, and is not waited for. */
	if (is_starting)
		keeper_kill(space->keeper, "its space is destroyed");
	space_schedule(space);
}
