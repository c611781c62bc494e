/* Who uses the block devices of a device. */
#include "daemon/base/util.h"
#include "daemon/bind/guard-mounts.h"
#include "daemon/bind/guard-tree.h"
#include "daemon/bind/guard.h"
#include "daemon/privilege/open-files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool is_path_of(const char *path, const struct guard_node *node)
{
	return strncmp(path, "/dev/", 5) == 0 && strcmp(path + 5, node->devname) == 0;
}

/* The mounts of the first process: the daemon's own unit has a namespace of its own. */
static int ask_mounts(
	const struct guard_sources *sources, const struct guard_node *node, struct guard_uses *uses)
{
	static const char *const files[] = { "1/mountinfo", "self/mountinfo" };
	char path[PATH_MAX], point[PATH_MAX] = "";
	int r = -ENOENT;

	for (size_t i = 0; r < 0 && i < ARRAY_SIZE(files); i++) {
		r = path_join(path, sources->proc, files[i]);
		if (r == 0)
			r = mounts_find(path, node, point, sizeof(point));
	}
	if (r < 0 || !*point)
		return r;
	guard_add(uses, "block device %s is mounted on %s", node->devname, point);
	return 1;
}

/* "/dev/nvme0n1p2    partition    1048572    0    -2", after a line of headings. */
static int ask_swaps(
	const struct guard_sources *sources, const struct guard_node *node, struct guard_uses *uses)
{
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;
	char path[PATH_MAX];

	int r = path_join(path, sources->proc, "swaps");
	if (r < 0)
		return r;
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	if (!file)
		/* A kernel without swap. */
		return errno == ENOENT ? 0 : -errno;
	while ((errno = 0, getline(&line, &capacity, file)) >= 0) {
		line[strcspn(line, " \t\n")] = '\0';
		if (is_path_of(line, node)) {
			guard_add(uses, "block device %s is used for swap", node->devname);
			return 1;
		}
	}
	return errno ? -errno : 0;
}

/* dm, md, bcache (block/holder.c). dm's have a name that people know. */
static int ask_holders(
	const struct guard_sources *sources, const struct guard_node *node, struct guard_uses *uses)
{
	char path[PATH_MAX], holder[NAME_MAX + 1], name[128];

	int r = path_join(path, node->path, "holders");
	if (r < 0)
		return r;
	directory_find(path, "", holder, sizeof(holder));
	if (!*holder)
		return 0;
	snprintf(path, sizeof(path), "%s/class/block/%s/dm/name", sources->sys, holder);
	if (file_read(path, name, sizeof(name)) > 0)
		guard_add(uses, "block device %s is part of %s (%s)", node->devname, holder, name);
	else
		guard_add(uses, "block device %s is part of %s", node->devname, holder);
	return 1;
}

/* A loop device holds its file inside the kernel, with no claim and no process. */
static int ask_loops(
	const struct guard_sources *sources, const struct guard_node *node, struct guard_uses *uses)
{
	char directory[PATH_MAX], path[PATH_MAX], file[PATH_MAX];
	const struct dirent *entry;
	int r = 0;

	snprintf(directory, sizeof(directory), "%s/class/block", sources->sys);
	DIR *open = opendir(directory);
	while (open && r == 0 && (entry = readdir(open))) {
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		int n = snprintf(
			path, sizeof(path), "%s/%s/loop/backing_file", directory, entry->d_name);
		if (n < 0 || n >= PATH_MAX || file_read(path, file, sizeof(file)) <= 0 ||
			!is_path_of(file, node))
			continue;
		guard_add(uses, "block device %s is behind %s", node->devname, entry->d_name);
		r = 1;
	}
	if (open)
		closedir(open);
	return r;
}

int guard_block(
	const struct guard_sources *sources, const struct guard_tree *tree, struct guard_uses *uses)
{
	static int (*const questions[])(const struct guard_sources *, const struct guard_node *,
		struct guard_uses *) = { ask_mounts, ask_swaps, ask_holders, ask_loops };

	for (size_t i = 0; i < tree->n_nodes; i++) {
		int r = 0;
		if (strcmp(tree->nodes[i].subsystem, "block") != 0)
			continue;
		/* One use of each device is enough. */
		for (size_t k = 0; r == 0 && k < ARRAY_SIZE(questions); k++)
			r = questions[k](sources, &tree->nodes[i], uses);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Mounts, swap, md and dm claim a block device; an exclusive open then fails (block/bdev.c,
 * bd_prepare_to_claim), in whichever namespace they are. No node, or no right to open it, says
 * nothing.
 */
static bool is_claimed(const struct guard_sources *sources, const struct guard_node *node)
{
	char path[PATH_MAX];

	if (path_join(path, sources->dev, node->devname) < 0)
		return false;
	/* Another child that looks at it claims it, too, for a moment: for a dry run, say. */
	for (int tries = 0; tries < 3; tries++) {
		const struct timespec moment = { .tv_nsec = 5000000 };
		_cleanup_close_ int fd =
			open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (fd >= 0 || errno != EBUSY)
			return false;
		nanosleep(&moment, NULL);
	}
	return true;
}

int guard_claims(
	const struct guard_sources *sources, const struct guard_tree *tree, struct guard_uses *uses)
{
	const struct guard_node *claimed = NULL;

	for (size_t i = 0; i < tree->n_nodes; i++) {
		const struct guard_node *node = &tree->nodes[i];
		char point[PATH_MAX], name[32];
		pid_t pid;

		if (strcmp(node->subsystem, "block") != 0 || !is_claimed(sources, node))
			continue;
		if (!claimed)
			claimed = node;
		/* Not to find it is no failure: that it is claimed is known. */
		if (mounts_find_anywhere(sources->proc, node, point, sizeof(point), &pid) < 0 ||
			!*point)
			continue;
		process_name(sources->proc, pid, name, sizeof(name));
		guard_add(uses,
			"block device %s is mounted on %s in the mount namespace of %s "
			"(pid %d)",
			node->devname, point, name, (int)pid);
	}
	if (claimed && uses->n == 0)
		guard_add(uses, "block device %s is in exclusive use", claimed->devname);
	return 0;
}
