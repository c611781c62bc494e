/* A kernel with a few processes and their RLIMIT_MEMLOCK, for memlock.h. What it says is a test's.
 */
#pragma once

#include "daemon/broker/memlock.h"

enum { FAKE_PROCESSES = 4 };

struct fake_process {
	pid_t pid; /* 0: none */
	unsigned long long start_ticks;
	bool has_ended;
	struct rlimit limit;
};
struct fake_memlock {
	struct fake_process processes[FAKE_PROCESSES];
	int n_calls;    /* of swap */
	int fail_at;    /* this call of swap fails, from 1 on; 0: none */
	int error;      /* with this */
	int end_at;     /* before this call, the process ends, and another has its number */
	int ends_after; /* when this call is done, the process ends */
	/* Between two calls of swap somebody makes this of the limit; n_changes times. */
	struct rlimit change;
	int n_changes;
	bool fails_open;
};
extern struct fake_memlock fake_memlock;
extern const struct memlock_ops fake_memlock_ops;

/* No process, nothing fails. */
void fake_memlock_reset(void);
struct fake_process *fake_process_add(pid_t pid, rlim_t soft, rlim_t hard);
/* Of the one with the number that has not ended. */
struct fake_process *fake_process_of(pid_t pid);
