/*
 * What an observer reads, in the child: frames of one process's memory, from its page map. Where
 * that process lets it wait (its mmap_lock is taken for it), the child is killed by its deadline.
 */
#pragma once

#include "daemon/base/frames.h"
#include "daemon/broker/reports.h"

#include <stdio.h>

/* The kernel's side, for tests. */
struct observer_ops {
	/*
	 * The page map of a process, and of no other that has got its number: its descriptor; or
	 * -ESRCH: it has ended.
	 */
	int (*open)(pid_t pid, unsigned long long start_ticks);
	/* As in struct frame_ops; userdata: the descriptor. */
	int (*read)(void *pagemap, const void *address, uint64_t *frames, size_t n_pages);
};
extern const struct observer_ops observer_kernel;

/* How much it may cost; for tests that have no time, too. */
struct observer_pace {
	/*
	 * Of the whole daemon. The kernel shows 35 million pages a second, so this many, 4 GiB of
	 * small ones, are three percent of a CPU; and a fork each, so not too many children.
	 */
	double pages_per_second, pause_seconds;
	double deadline_seconds;
	/* Pinned pages do not move. Those that are not pinned yet (of an mdev, say) do. */
	double again_seconds;
	/* After a child that failed; doubled each time. */
	double failed_first_seconds, failed_last_seconds;
};
extern const struct observer_pace observer_pace;

struct observer_part {
	uint64_t address, n_pages;
};
struct part_runs {
	uint64_t n; /* 0: it could not be read */
	frame_run runs[PIECE_PAGES];
};
/* 0, or -EPERM: frames are hidden. A part has PIECE_PAGES at most. */
int observer_read_part(const struct observer_ops *ops, int *pagemap,
	const struct observer_part *part, struct part_runs *runs);

struct observer_request {
	const struct observer_ops *ops;
	pid_t pid;
	unsigned long long start_ticks;
	const struct observer_part *parts;
	size_t n_parts;
	size_t n_runs_max; /* no further part is begun beyond it: the answer is short then */
};
/*
 * Writes of each part how many runs it has (as in struct part_runs), and these, in the order of its
 * addresses, RUN_ABSENT_FIRST where pages are not there. 0; -ESRCH; -EPERM: frames are
 * hidden; -ENOMEM.
 */
int observer_read(FILE *answer, const struct observer_request *request);
