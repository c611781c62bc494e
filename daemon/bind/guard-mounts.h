/* Where a block device is mounted. Nobody outside of the guard's files includes this. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct guard_node;

/*
 * In a file such as /proc/1/mountinfo: `point` gets "/mnt", with mountinfo's escapes ("\040"), or
 * "" if it is not mounted. 0 or -errno.
 */
int mounts_find(const char *mountinfo, const struct guard_node *node, char *point, size_t size);
/*
 * In all mount namespaces that a process is in; `pid` is one of them. Namespaces that are only
 * kept by a file are not seen. 0 or -errno.
 */
int mounts_find_anywhere(
	const char *proc, const struct guard_node *node, char *point, size_t size, pid_t *pid);
