#include "daemon/broker/memlock-process.h"

#include "daemon/base/util.h"
#include "daemon/privilege/privilege.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>

/* Somebody who changes his limits while we do. */
enum { MAX_TRIES = 8 };

/* --- the kernel ------------------------------------------------------------------------------- */

static bool kernel_has_ended(int pidfd)
{
	return poll_now(pidfd, POLLIN) != 0;
}

static int kernel_open(pid_t pid, unsigned long long start_ticks)
{
	unsigned long long ticks;
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);

	if (pidfd < 0)
		return -errno;
	int r = process_start_time(pid, &ticks);
	if (r == -ENOENT || (r == 0 && (ticks != start_ticks || kernel_has_ended(pidfd))))
		return -ESRCH;
	return r < 0 ? r : steal_fd(&pidfd);
}

const struct memlock_ops memlock_kernel = {
	.open = kernel_open,
	.has_ended = kernel_has_ended,
	.swap = privilege_memlock,
};

/* --- processes and their parts ------------------------------------------------------------------
 */

static struct memlock_process *process_find(
	const struct memlock_book *book, pid_t pid, unsigned long long start_ticks)
{
	struct memlock_process *process;

	LIST_FOREACH (process, &book->processes, of_book)
		if (process->pid == pid && process->start_ticks == start_ticks &&
			!book->ops->has_ended(process->pidfd))
			return process;
	return NULL;
}

static int process_new(struct memlock_book *book, pid_t pid, unsigned long long start_ticks,
	struct memlock_process **processp)
{
	struct memlock_process *process = calloc(1, sizeof(*process));

	if (!process)
		return -ENOMEM;
	process->pid = pid;
	process->start_ticks = start_ticks;
	process->pidfd = book->ops->open(pid, start_ticks);
	if (process->pidfd < 0) {
		int r = process->pidfd;
		free(process);
		return r;
	}
	process->own[MEMLOCK_SOFT] = process->own[MEMLOCK_HARD] = RLIM_INFINITY;
	LIST_INIT(&process->parts);
	LIST_INSERT_HEAD(&book->processes, process, of_book);
	*processp = process;
	return 0;
}

void memlock_process_sweep(struct memlock_process *process)
{
	if (!LIST_EMPTY(&process->parts))
		return;
	LIST_REMOVE(process, of_book);
	close(process->pidfd);
	free(process);
}

/* What it has by itself, and all parts. */
rlim_t memlock_process_ceiling(const struct memlock_process *process, int which)
{
	const struct memlock_part *part;
	rlim_t sum = process->own[which];

	LIST_FOREACH (part, &process->parts, of_process)
		sum += part->bytes[which];
	return sum;
}

/* What somebody else has made of it since we looked last. */
static void process_see(struct memlock_process *process, int which, rlim_t now)
{
	struct memlock_part *part;

	if (now > memlock_process_ceiling(process, which))
		LIST_FOREACH (part, &process->parts, of_process)
			part->bytes[which] = 0;
	else if (now >= process->own[which])
		return;
	process->own[which] = now;
}

/* --- changing them ------------------------------------------------------------------------------
 */

struct change {
	const struct memlock_part *part;
	uint64_t bytes; /* more; 0: all of the part less */
};

static int raised(
	const struct memlock_process *process, int which, uint64_t bytes, rlim_t now, rlim_t *to)
{
	rlim_t sum;

	*to = now == RLIM_INFINITY ? now : now + bytes;
	if (now != RLIM_INFINITY &&
		(__builtin_add_overflow(memlock_process_ceiling(process, which), bytes, &sum) ||
			sum == RLIM_INFINITY))
		return -EOVERFLOW;
	return 0;
}

static rlim_t lowered(const struct memlock_process *process, int which,
	const struct memlock_part *part, rlim_t now)
{
	rlim_t rest = memlock_process_ceiling(process, which) - part->bytes[which];
	return now < rest ? now : rest;
}

static int change_target(struct memlock_process *process, const struct change *change,
	const struct rlimit *now, struct rlimit *to)
{
	int r = 0;

	process_see(process, MEMLOCK_SOFT, now->rlim_cur);
	process_see(process, MEMLOCK_HARD, now->rlim_max);
	if (change->bytes > 0) {
		r = raised(process, MEMLOCK_SOFT, change->bytes, now->rlim_cur, &to->rlim_cur);
		return r < 0 ? r
			     : raised(process, MEMLOCK_HARD, change->bytes, now->rlim_max,
				       &to->rlim_max);
	}
	to->rlim_cur = lowered(process, MEMLOCK_SOFT, change->part, now->rlim_cur);
	to->rlim_max = lowered(process, MEMLOCK_HARD, change->part, now->rlim_max);
	if (to->rlim_cur > to->rlim_max)
		to->rlim_cur = to->rlim_max;
	return 0;
}

static bool same(const struct rlimit *a, const struct rlimit *b)
{
	return a->rlim_cur == b->rlim_cur && a->rlim_max == b->rlim_max;
}

static int process_swap(const struct memlock_book *book, const struct memlock_process *process,
	const struct rlimit *to, struct rlimit *before)
{
	if (book->ops->has_ended(process->pidfd))
		return -ESRCH;
	int r = book->ops->swap(process->pidfd, process->pid, to, before);
	if (r < 0 || !book->ops->has_ended(process->pidfd))
		return r;
	/* It ended meanwhile, and if somebody has the number already, he gets back what he had. */
	if (to)
		book->ops->swap(process->pidfd, process->pid, before, NULL);
	return -ESRCH;
}

/* What it was, if it could be changed, is in *now: who changed it at the same time is heard. */
static int process_change(const struct memlock_book *book, struct memlock_process *process,
	const struct change *change, struct rlimit *now)
{
	struct rlimit is, to, before;

	int r = process_swap(book, process, NULL, now);
	is = *now;
	for (int tries = 0; r == 0 && tries < MAX_TRIES; tries++) {
		r = change_target(process, change, now, &to);
		if (r < 0 || same(&is, &to))
			return r;
		r = process_swap(book, process, &to, &before);
		if (r < 0 || same(&before, &is))
			return r;
		*now = before;
		is = to;
	}
	/* What is lowered by now he cannot raise: it stays so. */
	if (r < 0 || change->bytes == 0)
		return r;
	process_swap(book, process, now, &before);
	return -EAGAIN;
}

int memlock_process_get(struct memlock_book *book, pid_t pid, unsigned long long start_ticks,
	struct memlock_process **process)
{
	*process = process_find(book, pid, start_ticks);
	return *process ? 0 : process_new(book, pid, start_ticks, process);
}

int memlock_process_look(
	const struct memlock_book *book, struct memlock_process *process, struct rlimit *now)
{
	int r = process_swap(book, process, NULL, now);
	if (r < 0)
		return r;
	process_see(process, MEMLOCK_SOFT, now->rlim_cur);
	process_see(process, MEMLOCK_HARD, now->rlim_max);
	return 0;
}

/* --- parts ------------------------------------------------------------------------------------ */

static void part_insert(struct memlock_part *part, struct memlock_process *process)
{
	part->process = process;
	LIST_INSERT_HEAD(&process->parts, part, of_process);
}

int memlock_part_raise(const struct memlock_book *book, struct memlock_part *part,
	struct memlock_process *process, uint64_t bytes)
{
	const struct change change = { .bytes = bytes };
	struct rlimit now;

	int r = process_change(book, process, &change, &now);
	if (r < 0)
		return r;
	part->bytes[MEMLOCK_SOFT] = now.rlim_cur == RLIM_INFINITY ? 0 : bytes;
	part->bytes[MEMLOCK_HARD] = now.rlim_max == RLIM_INFINITY ? 0 : bytes;
	part_insert(part, process);
	return 0;
}

void memlock_part_join(struct memlock_part *part, struct memlock_part *more)
{
	if (!more->process)
		return;
	if (!part->process)
		part_insert(part, more->process);
	for (int i = 0; i < MEMLOCK_LIMITS; i++)
		part->bytes[i] += more->bytes[i];
	memlock_part_leave(more);
}

/* Of a limit that there is not, nobody has a part. */
static void process_trim(struct memlock_process *process, int which)
{
	struct memlock_part *part;
	rlim_t sum = process->own[which];
	bool fits = sum != RLIM_INFINITY;

	LIST_FOREACH (part, &process->parts, of_process)
		fits = fits && !__builtin_add_overflow(sum, part->bytes[which], &sum) &&
		       sum != RLIM_INFINITY;
	if (!fits)
		LIST_FOREACH (part, &process->parts, of_process)
			part->bytes[which] = 0;
}

void memlock_part_adopt(struct memlock_part *part, struct memlock_process *process,
	const rlim_t bytes[MEMLOCK_LIMITS])
{
	memcpy(part->bytes, bytes, sizeof(part->bytes));
	part_insert(part, process);
	process_trim(process, MEMLOCK_SOFT);
	process_trim(process, MEMLOCK_HARD);
}

void memlock_part_leave(struct memlock_part *part)
{
	struct memlock_process *process = part->process;

	if (!process)
		return;
	LIST_REMOVE(part, of_process);
	*part = (struct memlock_part){ 0 };
	memlock_process_sweep(process);
}

int memlock_part_lower(const struct memlock_book *book, struct memlock_part *part)
{
	const struct change change = { .part = part };
	struct rlimit now;

	if (!part->process)
		return 0;
	int r = process_change(book, part->process, &change, &now);
	memlock_part_leave(part);
	return r;
}
