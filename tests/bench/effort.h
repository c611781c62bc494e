/*
 * What a process does while something is measured, counted by the kernel (perf_event_open(2)): its
 * system calls, how often it is switched away from, and its CPU time. A busy machine makes the last
 * larger, and leaves the first as it is. Root only; what cannot be counted is -1.
 */
#pragma once

#include <sys/types.h>

enum effort_kind { EFFORT_CALLS, EFFORT_SWITCHES, EFFORT_CPU_US, EFFORT_KINDS };

struct effort {
	int fds[EFFORT_KINDS]; /* -1: cannot be counted */
};

/* Counts from now on; of this thread of the process alone. */
void effort_begin(struct effort *effort, pid_t pid);
/* Ends it: what was counted, a lease's share of so many. */
void effort_end(struct effort *effort, double n_leases, double shares[EFFORT_KINDS]);
