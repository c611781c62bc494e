/*
 * What one process may lock, and whose parts of that there are: memlock.h's own, and nobody else's.
 */
#pragma once

#include "daemon/broker/memlock.h"

struct memlock_process {
	LIST_ENTRY(memlock_process) of_book;
	pid_t pid;
	unsigned long long start_ticks;
	int pidfd;
	rlim_t own[MEMLOCK_LIMITS]; /* what it has but for the parts */
	LIST_HEAD(, memlock_part) parts;
};

/* 0; -ESRCH: it has ended; -ENOMEM, … A new one is gone by memlock_process_sweep(), if nobody has
 * got a part of it by then. */
int memlock_process_get(struct memlock_book *book, pid_t pid, unsigned long long start_ticks,
	struct memlock_process **process);
/* Without parts, it is freed. */
void memlock_process_sweep(struct memlock_process *process);
/* What it has by itself, and all parts. */
rlim_t memlock_process_ceiling(const struct memlock_process *process, int which);
/* What the limits are now: what others have made of them is seen. 0 or -errno. */
int memlock_process_look(
	const struct memlock_book *book, struct memlock_process *process, struct rlimit *now);

/* An empty part becomes that many bytes: 0, or -errno as memlock_raise(), and nothing is changed.
 */
int memlock_part_raise(const struct memlock_book *book, struct memlock_part *part,
	struct memlock_process *process, uint64_t bytes);
/* An empty part becomes what an earlier daemon has raised it by, or meant to. */
void memlock_part_adopt(struct memlock_part *part, struct memlock_process *process,
	const rlim_t bytes[MEMLOCK_LIMITS]);
/* `more`, of the same process, is a part of it then, and empty. */
void memlock_part_join(struct memlock_part *part, struct memlock_part *more);
/* Empty then; its process may be gone from the book. The one leaves the limit as it is. */
void memlock_part_leave(struct memlock_part *part);
int memlock_part_lower(
	const struct memlock_book *book, struct memlock_part *part); /* 0 or -errno */
