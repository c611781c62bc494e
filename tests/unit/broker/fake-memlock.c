#include "tests/unit/broker/fake-memlock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

struct fake_memlock fake_memlock;

/* Which process a pidfd is of: descriptors are real, so that none is lost. */
static const struct fake_process *owners[1024];

void fake_memlock_reset(void)
{
	fake_memlock = (struct fake_memlock){ 0 };
}

struct fake_process *fake_process_add(pid_t pid, rlim_t soft, rlim_t hard)
{
	for (size_t i = 0; i < FAKE_PROCESSES; i++) {
		struct fake_process *process = &fake_memlock.processes[i];
		if (process->pid)
			continue;
		*process = (struct fake_process){
			.pid = pid,
			.start_ticks = i + 1,
			.limit = { soft, hard },
		};
		return process;
	}
	fail_msg("too many processes");
	return NULL;
}

struct fake_process *fake_process_of(pid_t pid)
{
	for (size_t i = 0; i < FAKE_PROCESSES; i++)
		if (fake_memlock.processes[i].pid == pid && !fake_memlock.processes[i].has_ended)
			return &fake_memlock.processes[i];
	return NULL;
}

static int fake_open(pid_t pid, unsigned long long start_ticks)
{
	const struct fake_process *process = fake_process_of(pid);

	if (fake_memlock.fails_open)
		return -EMFILE;
	if (!process || process->start_ticks != start_ticks)
		return -ESRCH;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_in_range(fd, 0, 1023);
	owners[fd] = process;
	return fd;
}

static bool fake_has_ended(int pidfd)
{
	return owners[pidfd]->has_ended;
}

static int fake_swap(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before)
{
	(void)pidfd;
	struct fake_process *process = fake_process_of(pid);

	fake_memlock.n_calls++;
	if (fake_memlock.n_calls == fake_memlock.fail_at)
		return -fake_memlock.error;
	if (process && fake_memlock.n_calls == fake_memlock.end_at) {
		process->has_ended = true;
		process = fake_process_add(pid, 5, 7);
	}
	if (!process)
		return -ESRCH;
	if (limit && fake_memlock.n_changes > 0) {
		fake_memlock.n_changes--;
		/* Another value each time, or the last one would be as the one before. */
		process->limit = fake_memlock.change;
		process->limit.rlim_cur -= (rlim_t)fake_memlock.n_changes;
	}
	if (before)
		*before = process->limit;
	if (limit) {
		assert_true(limit->rlim_cur <= limit->rlim_max);
		process->limit = *limit;
	}
	if (fake_memlock.n_calls == fake_memlock.ends_after)
		process->has_ended = true;
	return 0;
}

const struct memlock_ops fake_memlock_ops = {
	.open = fake_open,
	.has_ended = fake_has_ended,
	.swap = fake_swap,
};
