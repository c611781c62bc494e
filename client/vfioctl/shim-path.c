/* What an open(2) of another process means. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

ssize_t shim_memory_read(pid_t pid, uint64_t address, void *buffer, size_t size)
{
	char name[64];
	ssize_t n;
	int fd;

	snprintf(name, sizeof name, "/proc/%d/mem", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, buffer, size, (off_t)address);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

int shim_open_read(const struct seccomp_notif *notif, struct shim_open *open)
{
	const __u64 *args = notif->data.args;
	struct open_how how = { 0 };

	*open = (struct shim_open){ .dirfd = AT_FDCWD };
	switch (shim_call_of(&notif->data)) {
	case SHIM_OPEN:
		open->path = args[0];
		open->flags = (uint32_t)args[1];
		return 0;
	case SHIM_CREAT:
		open->path = args[0];
		open->flags = O_CREAT | O_WRONLY | O_TRUNC;
		return 0;
	case SHIM_OPENAT:
		open->dirfd = (int)args[0];
		open->path = args[1];
		open->flags = (uint32_t)args[2];
		return 0;
	case SHIM_OPENAT2:
		open->dirfd = (int)args[0];
		open->path = args[1];
		/* A longer one may say what we do not know. */
		if (args[3] != sizeof how)
			return -E2BIG;
		if (shim_memory_read((pid_t)notif->pid, args[2], &how, sizeof how) != sizeof how)
			return -EFAULT;
		open->flags = how.flags;
		open->resolve = how.resolve;
		/* fs/open.c, build_open_flags() */
		return how.mode && !(how.flags & (O_CREAT | O_TMPFILE)) ? -EINVAL : 0;
	default:
		return -ENOSYS;
	}
}

/* /proc/self/… of its, as we have to name it: there, a thread is as good as its process. */
static int path_rename(pid_t pid, char *path, size_t size)
{
	static const struct {
		const char *theirs, *ours;
	} names[] = {
		{ "/proc/self/", "" },
		{ "/proc/thread-self/", "" },
		{ "/dev/fd/", "fd/" },
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t n_theirs = strlen(names[i].theirs), n_rest, n_ours;
		char ours[64];

		if (strncmp(path, names[i].theirs, n_theirs) != 0)
			continue;
		n_ours = (size_t)snprintf(ours, sizeof ours, "/proc/%d/%s", pid, names[i].ours);
		n_rest = strlen(path + n_theirs) + 1;
		if (n_ours + n_rest > size)
			return -ENAMETOOLONG;
		memmove(path + n_ours, path + n_theirs, n_rest);
		memcpy(path, ours, n_ours);
		break;
	}
	return 0;
}

static int path_read(pid_t pid, uint64_t address, char *path, size_t size)
{
	ssize_t n = shim_memory_read(pid, address, path, size);

	if (n < 0)
		return (int)n;
	if (!memchr(path, '\0', (size_t)n))
		return n == (ssize_t)size ? -ENAMETOOLONG : -EFAULT;
	return path_rename(pid, path, size);
}

/* Is /proc/PID/root our own root, as mounted here? */
static bool is_our_root(int root)
{
	struct statx theirs, ours;
	unsigned mask = STATX_INO | STATX_MNT_ID;

	return statx(root, "", AT_EMPTY_PATH, mask, &theirs) == 0 &&
	       statx(AT_FDCWD, "/", 0, mask, &ours) == 0 && theirs.stx_ino == ours.stx_ino &&
	       theirs.stx_mnt_id == ours.stx_mnt_id;
}

/* Where its paths begin: a descriptor, or -errno. *how: what has to be said of it besides. */
static int start_open(pid_t pid, int dirfd, bool is_absolute, struct open_how *how)
{
	char name[64];
	int fd;

	if (is_absolute)
		snprintf(name, sizeof name, "/proc/%d/root", pid);
	else if (dirfd == AT_FDCWD)
		snprintf(name, sizeof name, "/proc/%d/cwd", pid);
	else
		snprintf(name, sizeof name, "/proc/%d/fd/%d", pid, dirfd);
	fd = open(name, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (is_absolute && !(how->resolve & RESOLVE_BENEATH) && !is_our_root(fd))
		how->resolve |= RESOLVE_IN_ROOT;
	return fd;
}

int shim_open_device(pid_t pid, const struct shim_open *open, dev_t *device)
{
	char path[PATH_MAX] = "";
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | (open->flags & O_NOFOLLOW),
		.resolve = open->resolve,
	};
	struct stat status;
	int start, fd, r = path_read(pid, open->path, path, sizeof path);

	if (r < 0)
		return r;
	/* openat2(2): then an absolute one begins at dirfd as well. */
	start = start_open(
		pid, open->dirfd, *path == '/' && !(how.resolve & RESOLVE_IN_ROOT), &how);
	if (start < 0)
		return start;
	fd = (int)syscall(SYS_openat2, start, path, &how, sizeof how);
	r = fd < 0 ? -errno : 0;
	close(start);
	if (r < 0)
		return r;
	if (fstat(fd, &status) < 0)
		r = -errno;
	else if (!S_ISCHR(status.st_mode))
		r = -ENODEV;
	else
		*device = status.st_rdev;
	close(fd);
	return r;
}
