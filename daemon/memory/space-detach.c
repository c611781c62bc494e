/* A group leaves: by itself, by force, or as the last device of it has been closed. */
#include "daemon/base/log.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>

/*
 * A file that its last holder has closed lives on for as long as another process looks at it
 * (fs/proc/fd.c takes a reference for one readlink): a refusal has to last for a tenth of a second.
 */
#define BUSY_ATTEMPTS 6
static const double BUSY_PAUSE_SECONDS = 0.02;

static void ask_to_leave(struct operation *operation);

static void finish(struct operation *operation)
{
	space_limit_locked(operation->space);
	operation_finish(operation, 0);
}

static void all_uncovered(struct operation *operation)
{
	space_let_payer_go(operation->space);
	finish(operation);
}

static void info_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)fd;
	struct space *space = operation->space;
	struct container *container = space_container(space, (unsigned)operation->index);
	int r = info && container ? container_learn(space, container, info) : done->result;

	/* What it could do with the group, it can do without. */
	if (r != 0)
		log_warning("space %s: what its container %zu can do is not known anew",
			space->name, operation->index);
	finish(operation);
}

/* The group is out of its container. */
static void left(struct operation *operation, struct group *group)
{
	struct space *space = operation->space;
	bool was_inside = group->container;
	unsigned container = was_inside ? group->container->number : 0;
	struct wire_request request = { .header.type = WIRE_INFO, .container = container };

	bool was_last = space_remove_group(space, group);
	if (!was_inside) {
		/* Adopted half way in: nothing was ever pinned for it. */
		if (space->n_groups == 0)
			space_let_payer_go(space);
		finish(operation);
		return;
	}
	if (!was_last) {
		operation->index = container;
		operation_ask(operation, &request, NULL, 0, 0, info_answered);
		return;
	}
	if (space_intersect(space) < 0)
		log_warning("space %s: what its containers have in common is not known anew",
			space->name);
	if (space->n_containers == 0)
		space_uncover_all(operation, all_uncovered);
	else
		finish(operation);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	/* Its keeper has died meanwhile: that will be heard. */
	ask_to_leave(timer->data);
}

static bool may_ask_again(struct operation *operation)
{
	if (++operation->attempts >= BUSY_ATTEMPTS)
		return false;
	ev_timer_init(&operation->back_off, on_pause_over, BUSY_PAUSE_SECONDS, 0);
	operation->back_off.data = operation;
	ev_timer_start(operation->space->loop, &operation->back_off);
	return true;
}

static void detach_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct group *group = space_group(space, operation->group_number);

	if (done->result == 0) {
		if (operation->force)
			space->hooks.let_go(space, group->number, false, space->userdata);
		left(operation, group);
	} else if (operation->force) {
		group->is_let_go = true;
		space->hooks.let_go(space, group->number, true, space->userdata);
		operation_finish(operation, 0);
	} else if (done->result == -EBUSY) {
		if (may_ask_again(operation))
			return;
		refuse(&operation->refusal, REFUSAL_GROUP_BUSY, "a device of it is open");
		operation->refusal.group = group->number;
		operation->refusal.owner_pid = space->subject.pid;
		operation->refusal.owner_uid = space->subject.process_uid;
		operation_finish(operation, REFUSED);
	} else {
		operation_finish(operation, operation_refuse(operation, done, "detaching"));
	}
}

static void ask_to_leave(struct operation *operation)
{
	struct wire_request request = {
		.header.type = WIRE_DETACH,
		.group = (uint32_t)operation->group_number,
		.flags = operation->force ? WIRE_FORCE : 0,
	};

	operation_ask(operation, &request, NULL, 0, space_pages(operation->space), detach_answered);
}

void detach_start(struct operation *operation)
{
	struct space *space = operation->space;
	const struct group *group = space_group(space, operation->group_number);

	if (space->state <= SPACE_LIVE && group && !group->is_let_go) {
		operation_begin(operation, WORK_DETACH, (uint32_t)group->number);
		ask_to_leave(operation);
	} else if (operation->force) {
		operation_finish(operation, 0);
	} else {
		refuse(&operation->refusal, REFUSAL_NOT_ATTACHED, "not attached");
		operation->refusal.group = operation->group_number;
		operation_finish(operation, REFUSED);
	}
}

int space_detach(struct space *space, int group, bool force, space_done done, void *userdata,
	struct refusal *refusal)
{
	int r;
	struct operation *operation;

	if (force) {
		operation = operation_make(space, detach_start, -1, done, userdata);
		if (!operation)
			operation = space_group_spare(
				space_group(space, group), detach_start, done, userdata);
		r = operation ? 0 : -ENOMEM;
	} else {
		operation = operation_new(space, detach_start, -1, done, userdata, refusal, &r);
	}
	if (!operation)
		return r;
	operation->group_number = group;
	operation->force = force;
	operation_queue(operation);
	return 0;
}

static void gone_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct group *group = space_group(operation->space, operation->group_number);

	if (done->result != 0)
		space_distrust(operation->space, "it does not know a group that was let go");
	else
		left(operation, group);
}

static void gone_start(struct operation *operation)
{
	struct space *space = operation->space;
	const struct group *group = space_group(space, operation->group_number);
	struct wire_request request = {
		.header.type = WIRE_GROUP_GONE,
		.group = (uint32_t)operation->group_number,
	};

	if (space->state <= SPACE_LIVE && group && group->is_let_go)
		operation_ask(operation, &request, NULL, 0, space_pages(space), gone_answered);
	else
		operation_finish(operation, 0);
}

void space_group_gone(struct space *space, int number)
{
	struct group *group = space_group(space, number);
	struct operation *operation;

	if (!group || space->state == SPACE_ENDED)
		return;
	if (space->state == SPACE_ORPHANED) {
		space_remove_group(space, group);
		if (space->n_groups == 0)
			space_schedule(space);
		return;
	}
	/* If the keeper dies before it is told, nobody will say so again. */
	group->is_gone = true;
	operation = operation_make(space, gone_start, -1, NULL, NULL);
	if (!operation)
		operation = space_group_spare(group, gone_start, NULL, NULL);
	if (!operation) {
		log_error("space %s: no memory; what group %d had pinned stays charged",
			space->name, number);
		return;
	}
	operation->group_number = number;
	operation_queue(operation);
}
