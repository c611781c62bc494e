/* The memories of a space, its devices, and what of its frames is as the books say. */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>

/* --- memories ------------------------------------------------------------------------------- */

static void add_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct memory *memory = operation->new_memory;

	if (done->result != 0) {
		operation_finish(
			operation, operation_refuse(operation, done, "looking at the memory"));
		return;
	}
	memory->size = done->size;
	memory->page_bytes = done->page_bytes;
	memory->is_writable = done->flags & WIRE_WRITE_ALLOWED;
	operation->new_memory = NULL;
	TAILQ_INSERT_TAIL(&space->memories, memory, of_space);
	space->n_memories++;
	operation->answer.memory = memory->number;
	operation->answer.length_bytes = memory->size;
	operation->answer.page_bytes = memory->page_bytes;
	operation->answer.is_writable = memory->is_writable;
	operation_finish(operation, 0);
}

static void add_start(struct operation *operation)
{
	struct space *space = operation->space;
	struct memory *memory = operation->new_memory;

	if (space->n_memories >= space->settings.max_memories) {
		refuse(&operation->refusal, REFUSAL_TOO_MANY, "max-memories-per-space");
		operation->refusal.max = (long)space->settings.max_memories;
		operation_finish(operation, REFUSED);
		return;
	}
	/* From 1 on; after 2³² of them, those that are still there are passed over. */
	do
		memory->number = ++space->last_memory;
	while (memory->number == 0 || space_memory(space, memory->number));
	struct wire_request request = {
		.header.type = WIRE_ADD_MEMORY,
		.memory = memory->number,
	};
	space->slot->last_memory = space->last_memory;
	operation_begin(operation, WORK_ADD_MEMORY, memory->number);
	operation_ask(operation, &request, &operation->fd, 1, 0, add_answered);
}

int space_add_memory(struct space *space, int memory_fd, space_done done, void *userdata,
	struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, add_start, memory_fd, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->new_memory = calloc(1, sizeof(*operation->new_memory));
	if (!operation->new_memory) {
		operation_drop(operation);
		return -ENOMEM;
	}
	operation_queue(operation);
	return 0;
}

static void remove_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct memory *memory = space_memory(space, operation->memory);

	if (done->result != 0) {
		operation_finish(
			operation, operation_refuse(operation, done, "removing the memory"));
		return;
	}
	TAILQ_REMOVE(&space->memories, memory, of_space);
	space->n_memories--;
	free(memory);
	operation_finish(operation, 0);
}

void remove_memory_start(struct operation *operation)
{
	const struct memory *memory = space_memory(operation->space, operation->memory);
	struct wire_request request = {
		.header.type = WIRE_REMOVE_MEMORY,
		.memory = operation->memory,
	};

	if (memory && memory->n_mappings == 0) {
		operation_begin(operation, WORK_REMOVE_MEMORY, memory->number);
		operation_ask(operation, &request, NULL, 0, memory->size / space_page_bytes(),
			remove_answered);
		return;
	}
	refuse(&operation->refusal, memory ? REFUSAL_MEMORY_MAPPED : REFUSAL_NO_SUCH_MEMORY,
		"memory %u", operation->memory);
	operation->refusal.number = operation->memory;
	operation->refusal.max = memory ? (long)memory->n_mappings : 0;
	operation_finish(operation, REFUSED);
}

int space_remove_memory(struct space *space, uint32_t memory, space_done done, void *userdata,
	struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, remove_memory_start, -1, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->memory = memory;
	operation_queue(operation);
	return 0;
}

/* --- devices -------------------------------------------------------------------------------- */

static void device_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	struct refusal *refusal = &operation->refusal;

	operation->answer.device_fd = fd;
	if (done->result == 0 && fd < 0) {
		space_distrust(operation->space, "it gives no device");
	} else if (done->result == -ENODEV) {
		refuse(refusal, REFUSAL_NO_SUCH_DEVICE, "group %d has no such device on VFIO",
			operation->group_number);
		string_copy(refusal->device, sizeof(refusal->device), operation->device);
		operation_finish(operation, REFUSED);
	} else {
		operation_finish(operation, done->result == 0 ? 0
							      : operation_refuse(operation, done,
									"opening the device"));
	}
}

static void device_start(struct operation *operation)
{
	const struct group *group = space_group(operation->space, operation->group_number);
	struct wire_request request = {
		.header.type = WIRE_GET_DEVICE,
		.group = (uint32_t)operation->group_number,
	};

	if (!group || group->is_let_go) {
		refuse(&operation->refusal, REFUSAL_NOT_ATTACHED, "not attached");
		operation->refusal.group = operation->group_number;
		operation_finish(operation, REFUSED);
		return;
	}
	string_copy(request.name, sizeof(request.name), operation->device);
	operation_ask(operation, &request, NULL, 0, 0, device_answered);
}

int space_get_device(struct space *space, int group, const char *device, space_done done,
	void *userdata, struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, device_start, -1, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->group_number = group;
	if (string_copy(operation->device, sizeof(operation->device), device) < 0) {
		operation_drop(operation);
		refuse(refusal, REFUSAL_NO_SUCH_DEVICE, "no device has so long a name");
		return REFUSED;
	}
	operation_queue(operation);
	return 0;
}

/* --- audit ---------------------------------------------------------------------------------- */

static void audit_next(struct operation *operation);

static void audit_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	if (done->result != 0) {
		operation_finish(operation,
			operation_refuse(operation, done, "reading frames for the audit"));
		return;
	}
	operation->answer.n_pages_different += done->n_pages;
	audit_next(operation);
}

static void audit_next(struct operation *operation)
{
	struct space *space = operation->space;

	while (operation->index < space->mappings.n) {
		const struct mapping *mapping = space->mappings.list[operation->index++];
		struct wire_request request = {
			.header.type = WIRE_AUDIT,
			.mapping = mapping->number,
		};
		if (mapping->charge.n_runs > 0) {
			operation_ask(operation, &request, NULL, 0, mapping_pages(mapping),
				audit_answered);
			return;
		}
	}
	int64_t locked = keeper_locked(space->keeper);
	operation->answer.locked_bytes = locked > 0 ? (uint64_t)locked : 0;
	operation_finish(operation, locked < 0 ? (int)locked : 0);
}

int space_audit(struct space *space, space_done done, void *userdata, struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, audit_next, -1, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation_queue(operation);
	return 0;
}
