/*
 * What a keeper keeps: memories, mappings, groups and containers, by the numbers that the daemon
 * gives them (a container's is ours). Each operation is all or none; what fails is undone before it
 * returns.
 *
 * Operations return 0, -errno or a positive enum wire_result, and say more in *done. What cannot be
 * undone ends the process: the pins that it then leaves are those of its groups, and the daemon
 * knows how to wait for them.
 */
#pragma once

#include "daemon/base/frames.h"
#include "daemon/keeper/backend.h"
#include "daemon/keeper/book.h"
#include "daemon/keeper/memory.h"

/* The daemon's own limits (lease/config-bounds.c) are not above these. */
#define KEEPING_MEMORIES_MAX 1024
#define KEEPING_MAPPINGS_MAX BOOK_ITEMS
#define KEEPING_GROUPS_MAX 256
#define KEEPING_CONTAINERS_MAX 64

struct mapping {
	UT_hash_handle by_number;
	uint32_t number;
	struct memory *memory;
	uint64_t offset, iova, length; /* bytes */
	uint32_t flags;
	struct book_part part; /* its frames, as they were read last */
	bool is_made;          /* in every container, and there is one */
};

struct container {
	int handle;             /* the backend's; NO_CONTAINER: none has this number */
	unsigned n_groups;      /* in the kernel's eyes */
	unsigned n_groups_held; /* of these, those that we have open. None: it may be empty any
				   moment, as the kernel says nobody when a device is closed */
};

struct group {
	struct backend_group io; /* its fd is -1: let go while a device was open */
	uint32_t number;
	struct container *container; /* NULL: it needs one */
	bool is_here;                /* else this place is free */
};

struct keeping {
	const struct backend *backend;
	struct frame_ops frames;
	struct book book;
	struct memory *memories;  /* uthash */
	struct mapping *mappings; /* uthash */
	struct container containers[KEEPING_CONTAINERS_MAX];
	struct group groups[KEEPING_GROUPS_MAX];
	/* Those of the group that comes next. */
	uint32_t coming;
	struct members members;
};

void keeping_open(struct keeping *keeping, const struct backend *backend);
/* Closes and forgets all of it; the kernel does the same for a process that ends. */
void keeping_close(struct keeping *keeping);

/* Memories. Takes fd over. */
int keeping_add_memory(struct keeping *keeping, uint32_t number, int fd, struct wire_done *done);
int keeping_remove_memory(struct keeping *keeping, uint32_t number);
struct memory *keeping_memory(struct keeping *keeping, uint32_t number); /* NULL: none */

/* Mappings: as WIRE_PREPARE, READ, MAP, UNMAP and AUDIT say. */
int mapping_prepare(
	struct keeping *keeping, const struct wire_request *request, struct wire_done *done);
struct mapping *keeping_mapping(struct keeping *keeping, uint32_t number); /* NULL: none */
int mapping_read(struct keeping *keeping, struct mapping *mapping, struct wire_done *done);
int mapping_make(struct keeping *keeping, struct mapping *mapping, struct wire_done *done);
/* In one container, as the backend's map(). */
int mapping_enter(
	const struct keeping *keeping, const struct mapping *mapping, int container, int from);
/* What it is, to be listed. */
struct wire_item mapping_item(const struct mapping *mapping);
/* Its frames are not in the book any more. */
void mapping_strike(struct keeping *keeping, struct mapping *mapping);
/* Its part of the book is still there. */
void mapping_unmake(struct keeping *keeping, struct mapping *mapping);
void mapping_forget(struct keeping *keeping, struct mapping *mapping);
/* How many of its pages have other frames than the book says: 0 or -errno. */
int mapping_compare(struct keeping *keeping, struct mapping *mapping, uint64_t *n_different);

/* As WIRE_MEMBER says. */
int group_announce(struct keeping *keeping, uint32_t number, const char *name);
/* Groups and containers: as WIRE_ATTACH and those behind it say. Descriptors are taken over. */
int group_attach(struct keeping *keeping, uint32_t number, int fd, unsigned max_groups,
	struct wire_done *done);
int group_attach_new(
	struct keeping *keeping, uint32_t number, int container_fd, struct wire_done *done);
int group_detach(struct keeping *keeping, uint32_t number, bool force, struct wire_done *done);
int group_gone(struct keeping *keeping, uint32_t number, struct wire_done *done);
/* The device's descriptor, the caller's, or -errno. */
int group_get_device(struct keeping *keeping, uint32_t number, const char *name);
/* As WIRE_RESET says. */
int group_reset(struct keeping *keeping, uint32_t number, const char *name, bool bus,
	struct wire_done *done);
/* It is out of its container, or its container ends, too. */
void group_end(struct keeping *keeping, struct group *group);
struct group *keeping_group(struct keeping *keeping, uint32_t number); /* NULL: none */
int container_info(struct keeping *keeping, uint32_t number, struct wire_info *info);

/*
 * Why a map failed: the kernel's -EFAULT is of pages that went after their frames were read, as
 * when the file is truncated, and to read them again says so.
 */
int map_result(int error);
/* Ends the process: what is pinned is no longer what the daemon has been told. */
_Noreturn void keeping_fail(const char *what, int error);
/* In the text of an answer. Returns `result`. */
int say(struct wire_done *done, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
