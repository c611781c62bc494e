#include "daemon/broker/memlock-share.h"

#include "daemon/broker/memlock-process.h"

#include <errno.h>
#include <stdlib.h>

/* --- one of them ------------------------------------------------------------------------------ */

static struct memlock_share *share_find(
	const struct memlock *memlock, const struct memlock_process *process)
{
	struct memlock_share *share;

	LIST_FOREACH (share, &memlock->shares, of_giver)
		if (share->part.process == process || share->more.process == process)
			return share;
	return NULL;
}

/* Nothing is in it yet. */
static struct memlock_share *share_get(
	struct memlock *memlock, const struct memlock_process *process)
{
	struct memlock_share *share = share_find(memlock, process);

	if (share)
		return share;
	share = calloc(1, sizeof(*share));
	if (share)
		LIST_INSERT_HEAD(&memlock->shares, share, of_giver);
	return share;
}

static void share_free(struct memlock_share *share)
{
	LIST_REMOVE(share, of_giver);
	free(share);
}

static int share_raise(struct memlock_book *book, struct memlock *memlock,
	struct memlock_process *process, uint64_t bytes)
{
	struct memlock_share *share;

	if (bytes == 0)
		return 0;
	share = share_get(memlock, process);
	if (!share)
		return -ENOMEM;
	/* By another lease of the same process. */
	if (share->more.process)
		return 0;
	int r = memlock_part_raise(book, &share->more, process, bytes);
	if (r < 0 && !share->part.process)
		share_free(share);
	/* Its own lease will end as well. */
	return r == -ESRCH ? 0 : r;
}

static int share_adopt(struct memlock *memlock, struct memlock_process *process)
{
	const rlim_t bytes[MEMLOCK_LIMITS] = { memlock->bytes, memlock->bytes };
	struct memlock_share *share;

	if (memlock->bytes == 0 || share_find(memlock, process))
		return 0;
	share = share_get(memlock, process);
	if (!share)
		return -ENOMEM;
	memlock_part_adopt(&share->part, process, bytes);
	return 0;
}

/* --- who has any ------------------------------------------------------------------------------ */

static void list_in(struct memlock_book *book, struct memlock *memlock)
{
	if (!memlock->is_listed)
		LIST_INSERT_HEAD(&book->of_users, memlock, of_book);
	memlock->is_listed = true;
}

static void list_out(struct memlock *memlock)
{
	if (memlock->is_listed)
		LIST_REMOVE(memlock, of_book);
	memlock->is_listed = false;
	memlock->bytes = 0;
}

/* Another lease of the same user. */
static bool is_other(const struct memlock *memlock, const struct memlock *other)
{
	return other != memlock && other->uid == memlock->uid;
}

/* Has the process another lease than this one? */
static bool is_holder_besides(const struct memlock_book *book, const struct memlock *memlock,
	const struct memlock_process *process)
{
	const struct memlock *other;

	LIST_FOREACH (other, &book->of_users, of_book)
		if (is_other(memlock, other) && other->part.process == process)
			return true;
	return false;
}

/* --- raising ---------------------------------------------------------------------------------- */

static void join_all(struct memlock_book *book, uid_t uid)
{
	const struct memlock *memlock;
	struct memlock_share *share;

	LIST_FOREACH (memlock, &book->of_users, of_book)
		if (memlock->uid == uid)
			LIST_FOREACH (share, &memlock->shares, of_giver)
				memlock_part_join(&share->part, &share->more);
}

static void lower_all(struct memlock_book *book, uid_t uid)
{
	struct memlock_share *share, *next;
	const struct memlock *memlock;

	LIST_FOREACH (memlock, &book->of_users, of_book) {
		for (share = LIST_FIRST(&memlock->shares); memlock->uid == uid && share;
			share = next) {
			next = LIST_NEXT(share, of_giver);
			memlock_part_lower(book, &share->more);
			if (!share->part.process)
				share_free(share);
		}
	}
}

/* A holder of one user's may have the same number as that of another's: each has its own. */
static int raise_all(struct memlock_book *book, struct memlock *memlock,
	struct memlock_process *process, uint64_t bytes)
{
	bool is_new = !memlock->part.process && !is_holder_besides(book, memlock, process);
	struct memlock *other;
	int r = 0;

	LIST_FOREACH (other, &book->of_users, of_book) {
		if (r < 0 || !is_other(memlock, other))
			continue;
		if (other->part.process && other->part.process != process)
			r = share_raise(book, memlock, other->part.process, bytes);
		if (r == 0 && is_new)
			r = share_raise(book, other, process, other->bytes);
	}
	return r;
}

int memlock_shares_raise(struct memlock_book *book, struct memlock *memlock,
	struct memlock_process *process, uint64_t bytes)
{
	if (!memlock->is_of_user)
		return 0;
	list_in(book, memlock);
	int r = raise_all(book, memlock, process, bytes);
	if (r < 0) {
		lower_all(book, memlock->uid);
		if (memlock->bytes == 0)
			list_out(memlock);
		return r;
	}
	join_all(book, memlock->uid);
	memlock->bytes += bytes;
	return 0;
}

int memlock_shares_adopt(struct memlock_book *book, struct memlock *memlock,
	struct memlock_process *process, uint64_t bytes)
{
	struct memlock *other;
	int r = 0;

	if (!memlock->is_of_user)
		return 0;
	list_in(book, memlock);
	memlock->bytes = bytes;
	LIST_FOREACH (other, &book->of_users, of_book) {
		if (r < 0 || !is_other(memlock, other) || other->part.process == process)
			continue;
		if (other->part.process)
			r = share_adopt(memlock, other->part.process);
		if (r == 0 && process)
			r = share_adopt(other, process);
	}
	return r;
}

/* --- lowering --------------------------------------------------------------------------------- */

int memlock_shares_give_back(struct memlock_book *book, const struct memlock *memlock)
{
	const struct memlock_process *process = memlock->part.process;
	const struct memlock *other;
	int first = 0;

	if (!process || !memlock->is_of_user || is_holder_besides(book, memlock, process))
		return 0;
	LIST_FOREACH (other, &book->of_users, of_book) {
		struct memlock_share *share =
			is_other(memlock, other) ? share_find(other, process) : NULL;
		if (!share)
			continue;
		int r = memlock_part_lower(book, &share->part);
		first = first < 0 ? first : r;
		share_free(share);
	}
	return first;
}

int memlock_shares_end(struct memlock_book *book, struct memlock *memlock)
{
	struct memlock_share *share;
	int first = 0;

	while ((share = LIST_FIRST(&memlock->shares))) {
		int r = memlock_part_lower(book, &share->part);
		/* Whose process has ended has nothing to be lowered. */
		first = first < 0 || r == -ESRCH ? first : r;
		share_free(share);
	}
	list_out(memlock);
	return first;
}

void memlock_shares_leave(struct memlock *memlock)
{
	struct memlock_share *share;

	while ((share = LIST_FIRST(&memlock->shares))) {
		memlock_part_leave(&share->part);
		share_free(share);
	}
	list_out(memlock);
}
