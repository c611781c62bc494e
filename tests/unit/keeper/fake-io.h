/*
 * A kernel with I/O address spaces, and frames that move when a test wants it. Containers and
 * groups are known by their descriptors, which are real ones of nothing.
 */
#pragma once

#include "daemon/keeper/keeping.h"

#include <stdbool.h>

#define FAKE_FDS 256
#define FAKE_MAPPINGS 64

struct fake_mapping {
	uint64_t iova, length;
	void *address;
	uint32_t flags;
};

struct fake_container {
	bool has_groups; /* and so an address space */
	unsigned n_groups, n_mappings;
	struct fake_mapping mappings[FAKE_MAPPINGS];
};

/* What can be compared, by memcmp(3): zero where nothing is. */
struct fake_state {
	struct fake_container containers[FAKE_FDS];
	int container_of[FAKE_FDS]; /* of a group; 0: none */
};

struct fake_io {
	struct backend backend;
	struct fake_state state;
	bool busy[FAKE_FDS];       /* a device of this group is open */
	int refuses[FAKE_FDS];     /* the error that attaching this group gives */
	uint64_t last_iova;        /* of the IOVAs that groups leave */
	bool has_only_mdevs;       /* what containers say of themselves */
	unsigned n_calls, fail_at; /* the fail_at-th begin, attach or map fails; 0: none */
	int error;                 /* with this */

	uint32_t bus_groups[BUS_GROUPS_MAX];
	int n_bus_groups; /* or -errno */
	int reset_error;
	unsigned n_resets, n_bus_resets;

	struct frame_ops frames;
	/* What is a hole in this file, mapped at `base`, is absent. */
	int file;
	const char *base; /* NULL: there is none */
	size_t n_file_bytes;
	uint64_t moved_by;     /* is added to each frame */
	const char *moved;     /* this page alone has another frame */
	const char *absent;    /* this page is absent */
	unsigned absent_reads; /* as often */
	unsigned n_populated;  /* calls */
	int populate_error;
	void (*on_map)(struct fake_io *fake); /* what else happens then */
};

void fake_io_init(struct fake_io *fake);
/* The frame of a page that has not moved. */
uint64_t fake_frame(const void *address);
