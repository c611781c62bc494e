/*
 * How much memory processes may lock (RLIMIT_MEMLOCK, soft and hard), where leases have had it
 * raised. Each lease has its part of what it is; what the process had by itself is nobody's part,
 * and stays. prlimit(2) goes by number: here it is only called where a pidfd says, before and
 * after, that the number is this process's.
 *
 * Somebody else may change a limit meanwhile. Above all parts together, it is his who did: none of
 * it is taken away (a soft limit cannot stay above the hard one). Below, the process has given
 * up what it lacks, and the parts end where they would have ended: or it could keep a part for ever
 * by lowering its limit by a byte.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/types.h>

/* One table, so that a test can be the kernel. */
struct memlock_ops {
	/* A pidfd of the process that began then, or -errno: -ESRCH if it has ended. */
	int (*open)(pid_t pid, unsigned long long start_ticks);
	bool (*has_ended)(int pidfd);
	/* privilege_memlock() */
	int (*swap)(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before);
};
extern const struct memlock_ops memlock_kernel;

struct memlock_process;
struct memlock_book {
	const struct memlock_ops *ops;
	LIST_HEAD(, memlock_process) processes; /* of which somebody has a part */
};
void memlock_book_init(struct memlock_book *book);

enum { MEMLOCK_SOFT, MEMLOCK_HARD, MEMLOCK_LIMITS };

/* What one lease has of the limits of one process. All zero: nothing. */
struct memlock {
	LIST_ENTRY(memlock) of_process;
	struct memlock_process *process; /* NULL: none */
	rlim_t bytes[MEMLOCK_LIMITS];    /* of each limit; 0 where there was none */
};
/*
 * So much more, of the same process each time. All or nothing: 0; -ESRCH: it has ended; -EOVERFLOW;
 * -EAGAIN: it changes its limits all the time; -EPERM, -ENOMEM, …
 */
int memlock_raise(struct memlock_book *book, struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, uint64_t bytes);
/* A part as it is written down for the next daemon, and what its process had by itself. */
struct memlock_note {
	rlim_t own[MEMLOCK_LIMITS], bytes[MEMLOCK_LIMITS];
};
/*
 * What it will be after memlock_raise() by so much, if nobody changes the limits meanwhile: written
 * down before, no raise is forgotten. 0, or -errno as memlock_raise().
 */
int memlock_foresee(struct memlock_book *book, const struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, uint64_t bytes, struct memlock_note *note);
void memlock_note(const struct memlock *memlock, struct memlock_note *note);
/*
 * The part that an earlier daemon has noted. It may be more than was raised: that is seen when it
 * is taken away. 0, -ESRCH, -ENOMEM, …
 */
int memlock_adopt(struct memlock_book *book, struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, const struct memlock_note *note);
/* The part is empty, and what its process may lock stays as it is: the next daemon's. */
void memlock_leave(struct memlock *memlock);
/* Takes the part away, which is empty then, whatever the kernel says: 0 or -errno. */
int memlock_lower(struct memlock_book *book, struct memlock *memlock);
/* What the limits are if nobody else has changed them, and what they were but for all parts. False:
 * the part is empty. */
bool memlock_expected(
	const struct memlock *memlock, struct rlimit *expected, struct rlimit *by_itself);
