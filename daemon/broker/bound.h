/*
 * Does anything bound what a process can pin? RLIMIT_MEMLOCK does not: a pin outlives the process
 * that made it, if the descriptor lives on. The memory.max of a control group does, as pages stay
 * charged to it; if only root can raise it or take it off, and move processes out of its reach.
 *
 * Another owner than root is nobody to trust, also if it is not the client: who has subordinate
 * uids (subuid(5)) can give files to them.
 */
#pragma once

#include "daemon/base/cgroup.h"

#include <stdbool.h>

struct memory_bound {
	uint64_t max_bytes; /* the least that holds; UINT64_MAX: none does */
	char cgroup[256];   /* whose it is; with none, that of the process; the end of its path */
	bool is_own;        /* a finite one was passed over: others than root can get past it */
	bool is_controlled; /* the memory controller is on somewhere on the path */
};
/*
 * The least memory.max of the cgroup of the process (pid, start_ticks) and of those above it, of
 * those that hold. 0 or -errno, as cgroup_find(). Reads files that a client can make hang: in a
 * child only.
 */
int memory_bound_find(const struct cgroup_mounts *mounts, pid_t pid, unsigned long long start_ticks,
	struct memory_bound *bound);
