#include "daemon/privilege/direct.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>

/* Another process may get the number at any moment: then that one gets back what it had. */
int direct_memlock(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before)
{
	struct rlimit was;

	if (poll_now(pidfd, POLLIN) != 0)
		return -ESRCH;
	if (prlimit(pid, RLIMIT_MEMLOCK, limit, &was) < 0)
		return -errno;
	if (poll_now(pidfd, POLLIN) != 0) {
		if (limit)
			prlimit(pid, RLIMIT_MEMLOCK, &was, NULL);
		return -ESRCH;
	}
	if (before)
		*before = was;
	return 0;
}

int direct_pagemap(const struct process_id *process)
{
	char path[64];
	unsigned long long ticks;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)process->pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	/* It is this process's from here on: whose it is can be asked now. */
	if (process_start_time(process->pid, &ticks) < 0 || ticks != process->start_ticks)
		return -ESRCH;
	return steal_fd(&fd);
}

/* Who has opened it decides how much it shows (drivers/pci/pci-sysfs.c, pci_read_config). */
int direct_config_space(const char *directory)
{
	char path[PATH_MAX];

	int n = snprintf(path, sizeof(path), "%s/config", directory);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
