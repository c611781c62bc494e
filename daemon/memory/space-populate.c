/*
 * Holes are filled by a process of their own, in the client's cgroup, the first to be killed where
 * that has no memory left: beyond memory.max the kernel never says ENOMEM. Where it does not come
 * to its end, another one makes holes again of what it has filled.
 */
#include "daemon/base/child.h"
#include "daemon/base/errand.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct filling {
	struct operation *operation;
	struct errand *errand;
	struct keeper *helper;
	int memory, holes;         /* -1: none yet */
	uint64_t n_pages, n_holes; /* to be filled; written down in `holes` */
	struct cgroup_headroom room;
	int result;
};

struct filling *filling_free(struct filling *filling)
{
	if (!filling)
		return NULL;
	errand_free(filling->errand);
	keeper_free(filling->helper);
	fd_bury(filling->memory);
	if (filling->holes >= 0)
		close(filling->holes);
	free(filling);
	return NULL;
}

static void finish(struct filling *filling)
{
	struct operation *operation = filling->operation;
	int result = filling->result;

	operation->filling = filling_free(filling);
	operation->after_fill(operation, result);
}

static int refuse_room(struct filling *filling)
{
	struct refusal *refusal = &filling->operation->refusal;

	refuse(refusal, REFUSAL_LIMIT_EXCEEDED, "memory.max of %s", filling->room.cgroup);
	string_copy(refusal->account, sizeof(refusal->account), filling->room.cgroup);
	string_copy(refusal->limit, sizeof(refusal->limit), "memory.max");
	refusal->limit_bytes = filling->room.max;
	refusal->state_bytes = filling->room.current;
	refusal->requested_bytes = filling->n_pages * space_page_bytes();
	return REFUSED;
}

/* --- making holes again --------------------------------------------------------------------- */

static void punched(struct filling *filling, const char *problem)
{
	if (problem)
		log_warning("space %s: what was filled of its memory stays filled: %s",
			filling->operation->space->name, problem);
	finish(filling);
}

static int helper_ask(struct filling *filling, uint32_t type)
{
	const struct operation *operation = filling->operation;
	const struct mapping *mapping = operation->mapping;
	int fds[] = { filling->memory, filling->holes };
	struct wire_request request = {
		.header.type = type,
		.offset = mapping->offset,
		.length = mapping->length,
		.n_runs = filling->n_holes,
	};
	return keeper_ask(filling->helper, &request, fds, ARRAY_SIZE(fds),
		space_seconds(operation->space, mapping_pages(mapping)));
}

static void punch_ready(struct keeper *keeper, void *userdata)
{
	(void)keeper;
	helper_ask(userdata, WIRE_PUNCH);
}

static void no_runs(
	struct keeper *keeper, const struct wire_runs *runs, size_t n_runs, void *userdata)
{
	(void)runs;
	(void)n_runs;
	(void)userdata;
	keeper_kill(keeper, "it has no runs");
}

static void punch_done(struct keeper *keeper, const struct wire_done *done,
	const struct wire_info *info, int fd, void *userdata)
{
	(void)keeper;
	(void)info;
	(void)fd;
	punched(userdata, done->result < 0 ? strerror(-done->result) : NULL);
}

static void punch_gone(struct keeper *keeper, int status, const char *text, void *userdata)
{
	(void)keeper;
	(void)status;
	punched(userdata, text);
}

static const struct keeper_listener punch_listener = { punch_ready, no_runs, punch_done,
	punch_gone };

static int helper_start(
	struct filling *filling, enum keeper_role role, const struct keeper_listener *listener)
{
	const struct space *space = filling->operation->space;

	filling->helper = keeper_free(filling->helper);
	return keeper_new(space->loop, space->ops, space->settings.keeper_path, role,
		&space->subject, -1, listener, filling, &filling->helper);
}

static void undo(struct filling *filling, int result)
{
	filling->result = result;
	if (filling->n_holes == 0) {
		finish(filling);
		return;
	}
	int r = helper_start(filling, KEEPER_PUNCH, &punch_listener);
	if (r < 0)
		punched(filling, strerror(-r));
}

/* --- filling -------------------------------------------------------------------------------- */

static void fill_ready(struct keeper *keeper, void *userdata)
{
	(void)keeper;
	helper_ask(userdata, WIRE_POPULATE);
}

static void fill_done(struct keeper *keeper, const struct wire_done *done,
	const struct wire_info *info, int fd, void *userdata)
{
	(void)keeper;
	(void)info;
	(void)fd;
	struct filling *filling = userdata;

	if (done->result == WIRE_HOLES) {
		filling->n_holes = done->n_runs;
	} else if (done->result == 0) {
		filling->result = 0;
		finish(filling);
	} else {
		int error = done->result < 0 ? -done->result : EPROTO;
		undo(filling,
			refuse(&filling->operation->refusal, REFUSAL_MEMORY_UNSUITABLE,
				"pages that it does not have yet cannot be made (%s); is its file "
				"system full?",
				strerror(error)));
	}
}

static void fill_gone(struct keeper *keeper, int status, const char *text, void *userdata)
{
	(void)keeper;
	struct filling *filling = userdata;
	bool is_killed = status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	if (is_killed && *filling->room.cgroup) {
		undo(filling, refuse_room(filling));
		return;
	}
	refuse(&filling->operation->refusal, REFUSAL_SYSTEM,
		"making the pages that the memory does not have yet: %s", text);
	filling->operation->refusal.errnum = is_killed ? ENOMEM : EIO;
	undo(filling, REFUSED);
}

static const struct keeper_listener fill_listener = { fill_ready, no_runs, fill_done, fill_gone };

static void memory_given(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	struct filling *filling = operation->filling;

	filling->memory = fd;
	if (done->result != 0 || fd < 0) {
		space_distrust(operation->space, "it does not give its memory");
		return;
	}
	operation->space->slot->is_filling = true;
	filling->holes = memfd_create("vfiod-holes", MFD_CLOEXEC);
	int r = filling->holes < 0 ? -errno
				   : helper_start(filling, KEEPER_POPULATE, &fill_listener);
	if (r < 0)
		undo(filling, r);
}

/* --- is there room? ------------------------------------------------------------------------- */

static int look_for_room(FILE *answer, void *userdata)
{
	const struct space *space = userdata;
	struct cgroup_headroom room;

	int r = space->ops->headroom(&space->subject, &room);
	if (r == 0)
		fwrite(&room, sizeof(room), 1, answer);
	return r;
}

static void ask_for_memory(struct filling *filling)
{
	struct operation *operation = filling->operation;
	struct wire_request request = {
		.header.type = WIRE_GIVE_MEMORY,
		.memory = operation->mapping->memory,
	};
	operation_ask(operation, &request, NULL, 0, 0, memory_given);
}

static void room_known(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct filling *filling = userdata;

	/* Where nobody can say, the helper finds out. */
	filling->room.bytes = UINT64_MAX;
	if (result == 0 && length == sizeof(filling->room))
		memcpy(&filling->room, answer, length);
	filling->errand = errand_free(errand);
	if (filling->room.bytes / space_page_bytes() >= filling->n_pages) {
		ask_for_memory(filling);
	} else {
		filling->result = refuse_room(filling);
		finish(filling);
	}
}

void mapping_fill(struct operation *operation, uint64_t n_pages,
	void (*after_fill)(struct operation *operation, int result))
{
	struct space *space = operation->space;
	struct filling *filling = calloc(1, sizeof(*filling));

	operation->after_fill = after_fill;
	if (!filling) {
		after_fill(operation, -ENOMEM);
		return;
	}
	*filling = (struct filling){
		.operation = operation,
		.memory = -1,
		.holes = -1,
		.n_pages = n_pages,
	};
	operation->filling = filling;
	int r = errand_new(space->loop, "vfiod-room", look_for_room, space,
		space->settings.keeper_seconds, room_known, filling, &filling->errand);
	if (r < 0) {
		filling->result = r;
		finish(filling);
	}
}
