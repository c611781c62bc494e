/* What else the host does for keepers, and says of them. */
#include "daemon/base/iommufd-kernel.h"
#include "daemon/base/util.h"
#include "daemon/memory/keeper.h"
#include "daemon/privilege/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

static pid_t spawn(const char *path, enum keeper_role role, const struct subject *client,
	int socket, int *report)
{
	struct process_id id = { .pid = 0 };

	if (client)
		id = (struct process_id){ client->pid, client->start_ticks };
	return privilege_start_keeper(path, role, &id, socket, report);
}

static int limit_locked(int pidfd, pid_t pid, uint64_t bytes)
{
	return privilege_memlock(pidfd, pid, &(struct rlimit){ bytes, bytes }, NULL);
}

static int64_t locked(pid_t pid)
{
	char name[64], line[256];
	snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	_cleanup_fclose_ FILE *status = fopen(name, "re");
	if (!status)
		return -errno;
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, "VmLck:", 6) == 0)
			return strtoll(line + 6, NULL, 10) * 1024;
	return -ESRCH; /* a process without memory has none of these lines */
}

static int open_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The bill is by process, its VmLck, as with type1. By user, which is what contexts begin with, all
 * keepers would share one limit (drivers/iommu/iommufd/ioas.c, iommufd_option_rlimit_mode).
 */
static int open_iommufd(void)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = IOMMU_OPTION_OP_SET,
		.val64 = 1,
	};
	_cleanup_close_ int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, IOMMU_OPTION, &option) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int headroom(const struct subject *client, struct cgroup_headroom *room)
{
	char path[CGROUP_PATH_SIZE];

	int r = cgroup_find(&cgroup_mounts, client->pid, client->start_ticks, path);
	return r < 0 ? r : cgroup_headroom(&cgroup_mounts, path, room);
}

const struct keeper_ops keeper_ops = {
	.spawn = spawn,
	.limit_locked = limit_locked,
	.locked = locked,
	.open_container = open_container,
	.open_iommufd = open_iommufd,
	.headroom = headroom,
};
