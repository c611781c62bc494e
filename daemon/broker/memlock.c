/* What a lease has of its holder's limits. */
#include "daemon/broker/memlock-process.h"
#include "daemon/broker/memlock-share.h"

#include <string.h>

void memlock_book_init(struct memlock_book *book)
{
	book->ops = &memlock_kernel;
	LIST_INIT(&book->processes);
	LIST_INIT(&book->of_users);
}

void memlock_of_user(struct memlock *memlock, uid_t uid)
{
	memlock->is_of_user = true;
	memlock->uid = uid;
}

static int find_process(struct memlock_book *book, const struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, struct memlock_process **process)
{
	*process = memlock->part.process;
	return *process ? 0 : memlock_process_get(book, pid, start_ticks, process);
}

int memlock_raise(struct memlock_book *book, struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, uint64_t bytes)
{
	struct memlock_process *process;

	if (bytes == 0)
		return 0;
	int r = find_process(book, memlock, pid, start_ticks, &process);
	if (r < 0)
		return r;
	r = memlock_part_raise(book, &memlock->more, process, bytes);
	if (r < 0) {
		memlock_process_sweep(process);
		return r;
	}
	r = memlock_shares_raise(book, memlock, process, bytes);
	if (r < 0)
		memlock_part_lower(book, &memlock->more);
	else
		memlock_part_join(&memlock->part, &memlock->more);
	return r;
}

void memlock_note(const struct memlock *memlock, struct memlock_note *note)
{
	const struct memlock_part *part = &memlock->part;

	*note = (struct memlock_note){ 0 };
	if (!part->process)
		return;
	memcpy(note->own, part->process->own, sizeof(note->own));
	memcpy(note->bytes, part->bytes, sizeof(note->bytes));
}

int memlock_foresee(struct memlock_book *book, const struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, uint64_t bytes, struct memlock_note *note)
{
	struct memlock_process *process;
	struct rlimit now;

	memlock_note(memlock, note);
	if (bytes == 0)
		return 0;
	int r = find_process(book, memlock, pid, start_ticks, &process);
	if (r < 0)
		return r;
	r = memlock_process_look(book, process, &now);
	if (r == 0) {
		memcpy(note->own, process->own, sizeof(note->own));
		memcpy(note->bytes, memlock->part.bytes, sizeof(note->bytes));
		note->bytes[MEMLOCK_SOFT] += now.rlim_cur == RLIM_INFINITY ? 0 : bytes;
		note->bytes[MEMLOCK_HARD] += now.rlim_max == RLIM_INFINITY ? 0 : bytes;
	}
	memlock_process_sweep(process);
	return r;
}

int memlock_adopt(struct memlock_book *book, struct memlock *memlock, pid_t pid,
	unsigned long long start_ticks, const struct memlock_note *note, uint64_t bytes)
{
	struct memlock_process *process;

	int r = memlock_process_get(book, pid, start_ticks, &process);
	if (r < 0) {
		int shared = memlock_shares_adopt(book, memlock, NULL, bytes);
		return shared < 0 ? shared : r;
	}
	/* Of several leases, the last one has seen last what it has by itself. */
	memcpy(process->own, note->own, sizeof(process->own));
	memlock_part_adopt(&memlock->part, process, note->bytes);
	return memlock_shares_adopt(book, memlock, process, bytes);
}

int memlock_adopt_lowered(struct memlock_book *book, struct memlock *memlock, uint64_t bytes)
{
	return memlock_shares_adopt(book, memlock, NULL, bytes);
}

void memlock_leave(struct memlock *memlock)
{
	memlock_part_leave(&memlock->part);
	memlock_shares_leave(memlock);
}

int memlock_lower(struct memlock_book *book, struct memlock *memlock)
{
	int shared = memlock_shares_give_back(book, memlock);
	int r = memlock_part_lower(book, &memlock->part);
	return r < 0 ? r : shared;
}

int memlock_end(struct memlock_book *book, struct memlock *memlock)
{
	int r = memlock_lower(book, memlock);
	int shared = memlock_shares_end(book, memlock);
	return r < 0 ? r : shared;
}

bool memlock_expected(
	const struct memlock *memlock, struct rlimit *expected, struct rlimit *by_itself)
{
	const struct memlock_process *process = memlock->part.process;

	if (!process)
		return false;
	*expected = (struct rlimit){
		memlock_process_ceiling(process, MEMLOCK_SOFT),
		memlock_process_ceiling(process, MEMLOCK_HARD),
	};
	*by_itself = (struct rlimit){ process->own[MEMLOCK_SOFT], process->own[MEMLOCK_HARD] };
	return true;
}
