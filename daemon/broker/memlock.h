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
 *
 * iommufd bills the user: it compares the limit of the process that maps with what all processes of
 * this user have pinned (drivers/iommu/iommufd/pages.c, incr_user_locked_vm). So a lease that maps
 * with one gives the same to each process of the user that has such a lease: its holder's part, and
 * a share of the others'.
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

struct memlock;
struct memlock_process;
struct memlock_book {
	const struct memlock_ops *ops;
	LIST_HEAD(, memlock_process) processes; /* of which somebody has a part */
	LIST_HEAD(, memlock) of_users;          /* those that the kernel bills their user for */
};
void memlock_book_init(struct memlock_book *book);

enum { MEMLOCK_SOFT, MEMLOCK_HARD, MEMLOCK_LIMITS };

/* Of the limits of one process. All zero: nothing. */
struct memlock_part {
	LIST_ENTRY(memlock_part) of_process;
	struct memlock_process *process; /* NULL: none */
	rlim_t bytes[MEMLOCK_LIMITS];    /* of each limit; 0 where there was none */
};

/* What one lease has had limits raised by. All zero: nothing. */
struct memlock {
	struct memlock_part part; /* of its holder */
	struct memlock_part more; /* while it is being raised */
	bool is_of_user;
	uid_t uid; /* is_of_user */
	/* The rest is theirs. */
	bool is_listed;
	LIST_ENTRY(memlock) of_book;
	uint64_t bytes; /* that all processes of the user need more */
	LIST_HEAD(, memlock_share) shares;
};
/* Before it is raised or adopted: the kernel bills this user, whichever of his processes maps. */
void memlock_of_user(struct memlock *memlock, uid_t uid);
/*
 * So much more, of the same process each time, and its share to the user's other processes that
 * have a lease; a process that is new among them gets its share of what is there already. All or
 * nothing: 0; -ESRCH: it has ended (one of the others: passed over); -EOVERFLOW; -EAGAIN: it
 * changes its limits all the time; -EPERM, -ENOMEM, …
 */
int memlock_raise(struct memlock_book *book, struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, uint64_t bytes);
/* The holder's part as it is written down for the next daemon, and what he had by himself. Shares
 * follow from the parts. */
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
 * The part that an earlier daemon has noted, of `bytes` in all. It may be more than was raised:
 * that is seen when it is taken away. 0, -ESRCH (others have their share of it all the same),
 * -ENOMEM, …
 */
int memlock_adopt(struct memlock_book *book, struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, const struct memlock_note *note, uint64_t bytes);
/* Likewise, of a lease that is over: memlock_lower() was called for it. 0 or -ENOMEM. */
int memlock_adopt_lowered(struct memlock_book *book, struct memlock *memlock, uint64_t bytes);
/* All is empty, and what processes may lock stays as it is: the next daemon's. */
void memlock_leave(struct memlock *memlock);
/*
 * Takes the holder's part away, which is empty then, whatever the kernel says: 0 or -errno. Without
 * another lease, he has no share of others' either. Theirs of this one stay, since what he has
 * mapped may be pinned still, and be billed to all of them.
 */
int memlock_lower(struct memlock_book *book, struct memlock *memlock);
/* Those, too: all is empty then. 0 or -errno. */
int memlock_end(struct memlock_book *book, struct memlock *memlock);
/* What the limits are if nobody else has changed them, and what they were but for all parts. False:
 * the part is empty. */
bool memlock_expected(
	const struct memlock *memlock, struct rlimit *expected, struct rlimit *by_itself);
