/*
 * The control group (v2) of a process: entering it, and how much memory it may still have. Reads
 * and writes of these files wait for the kernel's cgroup_mutex, which a client can make others
 * hold: so they are for children only, never for the loop.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Where proc and the hierarchy are mounted, and whose it is: a test has its own. */
struct cgroup_mounts {
	const char *proc, *cgroup;
	uid_t root;
};
extern const struct cgroup_mounts cgroup_mounts;

#define CGROUP_PATH_SIZE 4096

/*
 * The cgroup of the process that has this pid and began then: its path below the mount, "/a/b".
 * 0 or -errno: -ESRCH if it is another process by now, -EXDEV if it is outside of what can be seen
 * here.
 */
int cgroup_find(const struct cgroup_mounts *mounts, pid_t pid, unsigned long long start_ticks,
	char path[static CGROUP_PATH_SIZE]);
/* Moves this process there: 0 or -errno. */
int cgroup_enter(const struct cgroup_mounts *mounts, const char *path);

/* A file of a cgroup. 0 or -errno. */
int cgroup_stat(
	const struct cgroup_mounts *mounts, const char *path, const char *file, struct stat *st);
/* One with a number, or "max": UINT64_MAX. 0 or -errno. */
int cgroup_read_bytes(
	const struct cgroup_mounts *mounts, const char *path, const char *file, uint64_t *bytes);

struct cgroup_headroom {
	uint64_t bytes; /* that it may still have; UINT64_MAX: no limit is known */
	uint64_t max, current;
	char cgroup[256]; /* whose memory.max it is, in the end of its path if that is long */
};
/* The least of it and those above it. 0 or -errno. */
int cgroup_headroom(
	const struct cgroup_mounts *mounts, const char *path, struct cgroup_headroom *headroom);
