/* Operations, one at a time. */
#include "daemon/base/child.h"
#include "daemon/base/slots.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(struct space_slot) <= SLOT_BYTES, "it fits into a slot");

static struct operation *operation_free(struct operation *operation)
{
	int fds[] = { operation->fd, operation->container_fd, operation->answer.device_fd };

	ev_timer_stop(operation->space->loop, &operation->back_off);
	filling_free(operation->filling);
	free(operation->new_memory);
	space_group_free(operation->group);
	container_free(operation->container);
	free(operation->reserved);
	free(operation->members);
	/* Any of them may be the last, if the keeper has just died. */
	fds_bury(fds, ARRAY_SIZE(fds));
	free(operation);
	return NULL;
}

struct group *space_group_make(struct space *space, int number)
{
	struct group *group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	group->number = number;
	for (size_t i = 0; i < ARRAY_SIZE(group->spares); i++)
		if (!(group->spares[i] = operation_make(space, NULL, -1, NULL, NULL)))
			return space_group_free(group);
	return group;
}

struct group *space_group_free(struct group *group)
{
	if (!group)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(group->spares); i++)
		if (group->spares[i])
			operation_free(group->spares[i]);
	free(group);
	return NULL;
}

struct operation *space_group_spare(struct group *group, void (*start)(struct operation *operation),
	space_done done, void *userdata)
{
	struct operation *spare = NULL;

	for (size_t i = 0; group && !spare && i < ARRAY_SIZE(group->spares); i++)
		spare = steal_pointer(&group->spares[i]);
	if (spare) {
		spare->start = start;
		spare->done = done;
		spare->userdata = userdata;
	}
	return spare;
}

struct operation *operation_make(struct space *space, void (*start)(struct operation *operation),
	int fd, space_done done, void *userdata)
{
	struct operation *operation = calloc(1, sizeof(*operation));
	if (!operation) {
		fd_bury(fd);
		return NULL;
	}
	*operation = (struct operation){
		.space = space,
		.start = start,
		.done = done,
		.userdata = userdata,
		.fd = fd,
		.container_fd = -1,
		.answer.device_fd = -1,
	};
	return operation;
}

struct operation *operation_new(struct space *space, void (*start)(struct operation *operation),
	int fd, space_done done, void *userdata, struct refusal *refusal, int *result)
{
	if (space->state > SPACE_LIVE) {
		*result = space_refuse_ended(space, refusal);
		fd_bury(fd);
		return NULL;
	}
	struct operation *operation = operation_make(space, start, fd, done, userdata);
	*result = operation ? 0 : -ENOMEM;
	return operation;
}

void operation_drop(struct operation *operation)
{
	operation_free(operation);
}

void operation_queue(struct operation *operation)
{
	TAILQ_INSERT_TAIL(&operation->space->queue, operation, of_queue);
	space_schedule(operation->space);
}

static void waited(struct operation *operation)
{
	operation_finish(operation, 0);
}

int space_wait(struct space *space, space_done done, void *userdata)
{
	struct operation *operation = operation_make(space, waited, -1, done, userdata);

	if (!operation)
		return -ENOMEM;
	operation->force = true;
	operation_queue(operation);
	return 0;
}

void operation_ask(struct operation *operation, struct wire_request *request, const int *fds,
	size_t n_fds, uint64_t n_pages,
	void (*answered)(struct operation *operation, const struct wire_done *done,
		const struct wire_info *info, int fd))
{
	struct space *space = operation->space;

	operation->answered = answered;
	space->slot->n_pages = n_pages;
	keeper_ask(space->keeper, request, fds, n_fds, space_seconds(space, n_pages));
}

void operation_finish(struct operation *operation, int result)
{
	struct space *space = operation->space;
	bool was_current = space->current == operation;

	if (was_current)
		space->current = NULL;
	operation->answer.result = result;
	operation->answer.refusal = &operation->refusal;
	/* Once its caller's answer is on its way, it is not undone any more. */
	if (was_current)
		slot_settles(&space->slot->work);
	if (operation->done)
		operation->done(space, &operation->answer, operation->userdata);
	if (was_current) {
		slot_settles(NULL);
		slot_publish();
		space->slot->work = WORK_NONE;
	}
	operation_free(operation);
	space_schedule(space);
}

int operation_refuse(struct operation *operation, const struct wire_done *done, const char *what)
{
	struct refusal *refusal = &operation->refusal;

	if (done->result == WIRE_UNSUITABLE)
		return refuse(refusal, REFUSAL_MEMORY_UNSUITABLE, "%s", done->text);
	if (done->result == WIRE_CHANGED && operation->mapping)
		return mapping_refuse_changed(operation->mapping, refusal);
	if (done->result == -EOPNOTSUPP && *done->text)
		return refuse(refusal, REFUSAL_NOT_SUPPORTED, "%s", done->text);
	refuse(refusal, REFUSAL_SYSTEM, "%s%s%s", what, *done->text ? ": " : "", done->text);
	refusal->errnum = done->result < 0 ? -done->result : EPROTO;
	return REFUSED;
}

void operation_begin(struct operation *operation, enum space_work work, uint32_t number)
{
	struct space_slot *slot = operation->space->slot;

	slot->number = number;
	slot->is_forced = operation->force;
	slot->is_filling = false;
	slot->iova = operation->iova;
	slot->length = operation->length;
	slot_publish();
	slot->work = work;
	slot_publish();
}

void operation_start(struct operation *operation)
{
	operation->space->current = operation;
	operation->start(operation);
}

static void run_waiting(struct space *space)
{
	struct operation *operation;

	while (!space->current && (operation = TAILQ_FIRST(&space->queue))) {
		if (space->hooks.may_begin && !operation->force &&
			!space->hooks.may_begin(space, space->userdata))
			return;
		TAILQ_REMOVE(&space->queue, operation, of_queue);
		operation_start(operation);
	}
}

/* Those that wait do so in vain; the one that is under way comes to its end. */
static void run_ending(struct space *space)
{
	struct operation *operation;

	while ((operation = TAILQ_FIRST(&space->queue))) {
		TAILQ_REMOVE(&space->queue, operation, of_queue);
		operation_finish(operation,
			operation->force ? 0
					 : refuse(&operation->refusal, REFUSAL_INTERRUPTED, "%s",
						   space->why));
	}
	operation = space->destroyer;
	if (space->current || !operation)
		return;
	space->destroyer = NULL;
	space->hooks.changed(space, space->why, space->userdata);
	operation_start(operation);
}

void queue_run(struct space *space)
{
	if (space->state == SPACE_LIVE || space->state == SPACE_ORPHANED)
		run_waiting(space);
	else if (space->state == SPACE_ENDING)
		run_ending(space);
	/* The last call: it may be the end of the space. */
	if (space->state == SPACE_ORPHANED && space->n_groups == 0)
		space_refund(space);
}

void space_resume(struct space *space)
{
	space_schedule(space);
}

void queue_end(struct space *space)
{
	struct operation *operation;

	while ((operation = TAILQ_FIRST(&space->queue))) {
		TAILQ_REMOVE(&space->queue, operation, of_queue);
		operation_finish(operation,
			operation->force ? 0 : space_refuse_ended(space, &operation->refusal));
	}
}

void queue_clear(struct space *space)
{
	struct operation *operation = space->current;

	if (operation) {
		if (operation->has_made_mapping)
			mappings_insert(&space->mappings, operation->mapping);
		operation_free(operation);
	}
	while ((operation = TAILQ_FIRST(&space->queue))) {
		TAILQ_REMOVE(&space->queue, operation, of_queue);
		operation_free(operation);
	}
	if (space->destroyer)
		operation_free(space->destroyer);
}

void space_forget(struct space *space, void *userdata)
{
	struct operation *operation;

	if (space->current && space->current->userdata == userdata)
		space->current->done = NULL;
	TAILQ_FOREACH (operation, &space->queue, of_queue)
		if (operation->userdata == userdata)
			operation->done = NULL;
}
