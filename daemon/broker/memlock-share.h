/*
 * What each process of a user has of his other leases, where the kernel bills the user: memlock.h's
 * own. All of it does nothing for a lease that is not so.
 */
#pragma once

#include "daemon/broker/memlock.h"

/* Of one lease, in one process of its user that is not its holder. */
struct memlock_share {
	LIST_ENTRY(memlock_share) of_giver;
	struct memlock_part part, more; /* as in struct memlock */
};

/*
 * `process`, its holder, gets so much more by itself: so do the others, and he his shares of what
 * they have, if he is new. 0, or -errno, and nothing is changed.
 */
int memlock_shares_raise(struct memlock_book *book, struct memlock *memlock,
	struct memlock_process *process, uint64_t bytes);
/* As an earlier daemon has raised them. `process`: NULL: it is over with its holder. 0 or -ENOMEM.
 */
int memlock_shares_adopt(struct memlock_book *book, struct memlock *memlock,
	struct memlock_process *process, uint64_t bytes);
/* Its holder's, of others, if this is the last lease that he has. 0 or -errno. */
int memlock_shares_give_back(struct memlock_book *book, const struct memlock *memlock);
/* The others', of this one: lowered, or as they are. */
int memlock_shares_end(struct memlock_book *book, struct memlock *memlock);
void memlock_shares_leave(struct memlock *memlock);
