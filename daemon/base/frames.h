/*
 * The frames (physical pages) behind the keeper's own memory, as its page map shows them. The
 * memory itself is never touched: a file that was truncated would kill.
 */
#pragma once

#include "daemon/base/wire.h"

#include <stdbool.h>

/* A page that is not there; otherwise frames are below 2⁴⁴. */
#define FRAME_ABSENT UINT64_MAX

/* The kernel's side in a table of operations, for tests without the right to see frames. */
struct frame_ops {
	void *userdata; /* given to each as its first argument */
	/* Makes pages present, from swap too: 0 or -errno; -EFAULT: the file is shorter. */
	int (*populate)(void *userdata, void *address, size_t length);
	/* The frame of each page, or FRAME_ABSENT: 0 or -errno; -EPERM: they are hidden. */
	int (*read)(void *userdata, const void *address, uint64_t *frames, size_t n_pages);
};

/* The real ones; `pagemap` is this process's. */
void frames_use_pagemap(struct frame_ops *ops, int *pagemap);

/*
 * Consecutive frames, or absent pages (first is FRAME_ABSENT): at most RUN_FRAMES_MAX. 0 to go on;
 * anything else ends the walk, and is its result.
 */
typedef int (*frames_take)(void *userdata, uint64_t first, uint64_t n);
/*
 * All frames of a part of memory, in its order, in the fewest runs: so the same frames are the
 * same runs. `populates`: what is absent is populated and read again, some times, as a pinned page
 * too can be seen so for a moment (compaction).
 */
int frames_walk(const struct frame_ops *ops, char *address, uint64_t length, bool populates,
	frames_take take, void *userdata);

/* How many pages the page tables do not have: 0 or -errno. They may be in the file all the same. */
int frames_count_absent(
	const struct frame_ops *ops, char *address, uint64_t length, uint64_t *n_absent);

size_t page_bytes(void); /* the base page size */
