#include "daemon/broker/bound.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* 1 if nobody but root can write the file, 0, or -errno. */
static int is_roots(const struct cgroup_mounts *mounts, const char *path, const char *file)
{
	struct stat st;

	int r = cgroup_stat(mounts, path, file, &st);
	if (r < 0)
		return r;
	return st.st_uid == mounts->root && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

static void name_cgroup(struct memory_bound *bound, const char *path)
{
	size_t length = strlen(path), size = sizeof(bound->cgroup);
	string_copy(bound->cgroup, size, length < size ? path : path + length - size + 1);
}

/*
 * Who can write the cgroup.procs of a cgroup moves processes from anywhere below it to anywhere
 * else there (Documentation/admin-guide/cgroup-v2.rst, "Delegation Containment"), and who can write
 * its cgroup.subtree_control takes the controller from those below: then no bound of theirs holds.
 */
static int check_leaving(
	const struct cgroup_mounts *mounts, const char *path, struct memory_bound *bound)
{
	int r = is_roots(mounts, path, "cgroup.procs");
	if (r > 0)
		r = is_roots(mounts, path, "cgroup.subtree_control");
	if (r == 0 && bound->max_bytes != UINT64_MAX) {
		bound->max_bytes = UINT64_MAX;
		bound->is_own = true;
	}
	return r < 0 ? r : 0;
}

static int check_max(
	const struct cgroup_mounts *mounts, const char *path, struct memory_bound *bound)
{
	uint64_t max;

	int r = cgroup_read_bytes(mounts, path, "memory.max", &max);
	/* The root has none, nor has one that its parent has not given the controller to. */
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	bound->is_controlled = true;
	if (max == UINT64_MAX)
		return 0;
	r = is_roots(mounts, path, "memory.max");
	if (r == 0)
		bound->is_own = true;
	if (r > 0 && max < bound->max_bytes) {
		bound->max_bytes = max;
		name_cgroup(bound, path);
	}
	return r < 0 ? r : 0;
}

int memory_bound_find(const struct cgroup_mounts *mounts, pid_t pid, unsigned long long start_ticks,
	struct memory_bound *bound)
{
	char path[CGROUP_PATH_SIZE], above[CGROUP_PATH_SIZE];

	*bound = (struct memory_bound){ .max_bytes = UINT64_MAX };
	int r = cgroup_find(mounts, pid, start_ticks, path);
	if (r < 0)
		return r;
	string_copy(above, sizeof(above), path);
	for (char *slash; r == 0 && (slash = strrchr(above, '/')); *slash = '\0') {
		/* The root itself is "/", and comes last. */
		if (slash == above && slash[1] == '\0')
			break;
		r = check_leaving(mounts, above, bound);
		if (r == 0)
			r = check_max(mounts, above, bound);
	}
	if (r == 0)
		r = check_leaving(mounts, "/", bound);
	if (r == 0 && bound->max_bytes == UINT64_MAX)
		name_cgroup(bound, path);
	return r;
}
