/* What descriptors are, without asking their files anything; and how the service closes them. */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <fcntl.h>
#include <string.h>

static void link_of(int fd, char *name, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, name, size - 1);
	name[n < 0 ? 0 : n] = '\0';
}

bool fd_is_pidfd(int fd)
{
	char name[32];
	/* "pidfd:[12345]" since 6.9. No client can make such a link. */
	link_of(fd, name, sizeof(name));
	return strcmp(name, "anon_inode:[pidfd]") == 0 || strncmp(name, "pidfd:[", 7) == 0;
}

bool fd_is_memory(int fd)
{
	/* The kernel knows by the file's operations whose it is (mm/memfd.c, memfd_file_seals_ptr):
	 * those of tmpfs and hugetlbfs; all others are EINVAL, and not asked. */
	return fcntl(fd, F_GET_SEALS) >= 0;
}

static bool fd_is_device(int fd)
{
	char name[32];
	link_of(fd, name, sizeof(name));
	return strcmp(name, "anon_inode:[vfio-device]") == 0;
}

void close_client_fds(const int *fds, size_t n_fds)
{
	int slow[TRANSPORT_MAX_FDS];
	size_t n_slow = 0;

	for (size_t i = 0; i < n_fds; i++) {
		if (fds[i] < 0)
			continue;
		if (fd_is_memory(fds[i]) || fd_is_device(fds[i]))
			slow[n_slow++] = fds[i];
		else
			close(fds[i]);
	}
	fds_bury(slow, n_slow);
}
