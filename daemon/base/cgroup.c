#include "daemon/base/cgroup.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/sysinfo.h>

#define FILE_NAME_SIZE (CGROUP_PATH_SIZE * 2UL)

const struct cgroup_mounts cgroup_mounts = { "/proc", "/sys/fs/cgroup", 0 };

/* cgroup_namespaces(7): what is not below the root of this namespace begins with "/..". */
static bool is_outside(const char *path)
{
	return strncmp(path, "/..", 3) == 0 && (path[3] == '/' || path[3] == '\0');
}

int cgroup_find(const struct cgroup_mounts *mounts, pid_t pid, unsigned long long start_ticks,
	char path[static CGROUP_PATH_SIZE])
{
	char name[CGROUP_PATH_SIZE], text[2 * CGROUP_PATH_SIZE];
	unsigned long long ticks;

	snprintf(name, sizeof(name), "%s/%d/cgroup", mounts->proc, (int)pid);
	ssize_t n = file_read(name, text, sizeof(text));
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	/* Looked at afterwards: then all of it was that process's. */
	if (process_start_time(pid, &ticks) < 0 || ticks != start_ticks)
		return -ESRCH;
	/* cgroups(7): the line of version 2 has no controllers. */
	char *rest = text;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (strncmp(line, "0::/", 4) == 0)
			return is_outside(line + 3) ? -EXDEV
						    : string_copy(path, CGROUP_PATH_SIZE, line + 3);
	return -ENOENT;
}

static int file_of(const struct cgroup_mounts *mounts, const char *path, const char *file,
	char name[static FILE_NAME_SIZE])
{
	int n = snprintf(name, FILE_NAME_SIZE, "%s%s/%s", mounts->cgroup,
		strcmp(path, "/") == 0 ? "" : path, file);
	return (unsigned)n < FILE_NAME_SIZE ? 0 : -ENAMETOOLONG;
}

int cgroup_enter(const struct cgroup_mounts *mounts, const char *path)
{
	char name[FILE_NAME_SIZE];

	int r = file_of(mounts, path, "cgroup.procs", name);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, "0", 1) < 0 ? -errno : 0;
}

int cgroup_stat(
	const struct cgroup_mounts *mounts, const char *path, const char *file, struct stat *st)
{
	char name[FILE_NAME_SIZE];

	int r = file_of(mounts, path, file, name);
	if (r < 0)
		return r;
	return stat(name, st) < 0 ? -errno : 0;
}

int cgroup_read_bytes(
	const struct cgroup_mounts *mounts, const char *path, const char *file, uint64_t *bytes)
{
	char name[FILE_NAME_SIZE], text[64], *end;

	int r = file_of(mounts, path, file, name);
	ssize_t n = r < 0 ? r : file_read(name, text, sizeof(text));
	if (n < 0)
		return (int)n;
	if (strcmp(text, "max") == 0) {
		*bytes = UINT64_MAX;
		return 0;
	}
	errno = 0;
	*bytes = strtoull(text, &end, 10);
	return errno != 0 || end == text || *end ? -EINVAL : 0;
}

/* What the kernel can take away from the cgroup to make room: files that can be read again. */
static uint64_t reclaimable(const struct cgroup_mounts *mounts, const char *path)
{
	char name[FILE_NAME_SIZE], text[16384];
	uint64_t sum = 0;

	if (file_of(mounts, path, "memory.stat", name) < 0 ||
		file_read(name, text, sizeof(text)) < 0)
		return 0;
	char *rest = text;
	for (char *value; (value = strsep(&rest, "\n"));) {
		const char *key = strsep(&value, " ");
		if (value &&
			(strcmp(key, "active_file") == 0 || strcmp(key, "inactive_file") == 0 ||
				strcmp(key, "slab_reclaimable") == 0))
			sum += strtoull(value, NULL, 10);
	}
	return sum;
}

/* And what it can swap out. */
static uint64_t swappable(const struct cgroup_mounts *mounts, const char *path)
{
	struct sysinfo host;
	uint64_t max, current;

	if (sysinfo(&host) < 0 || cgroup_read_bytes(mounts, path, "memory.swap.max", &max) < 0 ||
		cgroup_read_bytes(mounts, path, "memory.swap.current", &current) < 0)
		return 0;
	uint64_t here = max > current ? max - current : 0;
	uint64_t there = (uint64_t)host.freeswap * host.mem_unit;
	return here < there ? here : there;
}

static void consider(
	const struct cgroup_mounts *mounts, const char *path, struct cgroup_headroom *headroom)
{
	uint64_t max, current;

	/* The root has no limit, and where the controller is off nobody has. */
	if (cgroup_read_bytes(mounts, path, "memory.max", &max) < 0 || max == UINT64_MAX ||
		cgroup_read_bytes(mounts, path, "memory.current", &current) < 0)
		return;
	uint64_t bytes = max > current ? max - current : 0;
	if (__builtin_add_overflow(
		    bytes, reclaimable(mounts, path) + swappable(mounts, path), &bytes) ||
		bytes >= headroom->bytes)
		return;
	headroom->bytes = bytes;
	headroom->max = max;
	headroom->current = current;
	size_t length = strlen(path), size = sizeof(headroom->cgroup);
	string_copy(headroom->cgroup, size, length < size ? path : path + length - size + 1);
}

int cgroup_headroom(
	const struct cgroup_mounts *mounts, const char *path, struct cgroup_headroom *headroom)
{
	char above[CGROUP_PATH_SIZE];

	*headroom = (struct cgroup_headroom){ .bytes = UINT64_MAX };
	int r = string_copy(above, sizeof(above), path);
	if (r < 0)
		return r;
	for (char *slash; (slash = strrchr(above, '/')); *slash = '\0')
		if (slash[1])
			consider(mounts, above, headroom);
	return 0;
}
