/*
 * Does anything bound what a process can pin? RLIMIT_MEMLOCK does not: a pin outlives the process
 * that made it, if the descriptor lives on. The memory.max of a control group does, as pages stay
 * charged to it.
 */
#pragma once

#include "daemon/memory/cgroup.h"

#include <stdbool.h>

struct memory_bound {
	uint64_t max_bytes; /* the least that holds; UINT64_MAX: none does */
	char cgroup[256];   /* whose it is; with none, that of the process, the end of its path */
	/* A finite one that was passed over: its file can be written by this user. */
	bool is_own;
};
/*
 * The least memory.max of the cgroup of the process (pid, start_ticks) and of those above it that
 * `uid` cannot raise by himself: its file is not his, nor can everybody write it. 0 or -errno, as
 * cgroup_find(). Reads files that a client can make hang: in a child only.
 */
int memory_bound_find(const struct cgroup_mounts *mounts, pid_t pid, unsigned long long start_ticks,
	uid_t uid, struct memory_bound *bound);
