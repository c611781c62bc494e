#include "daemon/bind/guard-tree.h"

#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Real ones are about ten deep (SCSI disks behind SAS expanders); links are not followed. */
#define WALK_DEPTH 24

static void cleanup_closedir(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}
#define _cleanup_closedir_ __attribute__((cleanup(cleanup_closedir)))

int path_join(char path[PATH_MAX], const char *directory, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", directory, name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

unsigned directory_find(const char *directory, const char *prefix, char *name, size_t size)
{
	const struct dirent *entry;
	unsigned n = 0;

	name[0] = '\0';
	_cleanup_closedir_ DIR *open = opendir(directory);
	while (open && (entry = readdir(open)))
		if (entry->d_name[0] != '.' &&
			strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && n++ == 0)
			snprintf(name, size, "%s", entry->d_name + strlen(prefix));
	return n;
}

void link_name(const char *directory, const char *name, char *target, size_t size)
{
	char path[PATH_MAX], whole[PATH_MAX];

	target[0] = '\0';
	if (path_join(path, directory, name) < 0)
		return;
	ssize_t n = readlink(path, whole, sizeof(whole) - 1);
	if (n < 0)
		return;
	whole[n] = '\0';
	const char *slash = strrchr(whole, '/');
	string_copy(target, size, slash ? slash + 1 : whole);
}

/* "259:1". -ENOENT: it has no node. */
static int read_device_number(struct guard_node *node)
{
	char path[PATH_MAX], text[32];
	unsigned major, minor;

	int r = path_join(path, node->path, "dev");
	if (r < 0)
		return r;
	ssize_t n = file_read(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
	if (sscanf(text, "%u:%u", &major, &minor) != 2)
		return -EBADMSG;
	node->has_number = true;
	node->number = makedev(major, minor);
	return 0;
}

/* A node's name is in its uevent; where a test or a kernel has none, it is the directory's. */
static void read_devname(struct guard_node *node)
{
	char path[PATH_MAX], text[4096];

	if (path_join(path, node->path, "uevent") == 0 && file_read(path, text, sizeof(text)) > 0)
		for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
			if (strncmp(line, "DEVNAME=", 8) == 0 &&
				string_copy(node->devname, sizeof(node->devname), line + 8) == 0)
				return;
	snprintf(node->devname, sizeof(node->devname), "%s", node->name);
	/* A slash of a node's name is written "!" in sysfs ("cciss!c0d0"). */
	for (char *c = node->devname; *c; c++)
		if (*c == '!')
			*c = '/';
}

static int add_node(struct guard_tree *tree, const struct guard_node *node)
{
	struct guard_node *grown =
		reallocarray(tree->nodes, tree->n_nodes + 1, sizeof(*tree->nodes));

	if (!grown)
		return -ENOMEM;
	tree->nodes = grown;
	struct guard_node *added = &grown[tree->n_nodes];
	*added = *node;
	added->path = strdup(node->path);
	if (!added->path)
		return -ENOMEM;
	added->name = strrchr(added->path, '/') + 1;
	tree->n_nodes++;
	return 0;
}

static int walk(struct guard_tree *tree, const char *sys, const char *directory, int depth);

/*
 * A path of a multipath NVMe has no node: "nvme0c1n2" is controller 1's path to what is used as
 * nvme0n2, in subsystem 0 (drivers/nvme/host/core.c, nvme_alloc_ns). ng0n2 is its character
 * device.
 */
static int add_head(struct guard_tree *tree, const char *sys, const char *name, int depth)
{
	static const char *const kinds[] = { "nvme", "ng" };
	unsigned subsystem, controller, head;
	int r = 0;

	/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
	if (sscanf(name, "nvme%uc%un%u", &subsystem, &controller, &head) != 3)
		return 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
		char path[PATH_MAX];
		int n = snprintf(path, sizeof(path),
			"%s/class/nvme-subsystem/nvme-subsys%u/%s%un%u", sys, subsystem, kinds[i],
			subsystem, head);
		r = n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : walk(tree, sys, path, depth + 1);
	}
	return r;
}

static int look_at(struct guard_tree *tree, const char *sys, const char *directory, int depth)
{
	struct guard_node node = { .path = (char *)directory };

	node.name = strrchr(directory, '/') + 1;
	link_name(directory, "subsystem", node.subsystem, sizeof(node.subsystem));
	bool is_block = strcmp(node.subsystem, "block") == 0;
	int r = read_device_number(&node);
	if (r < 0 && r != -ENOENT && r != -ENODEV)
		return r;
	if (is_block && !node.has_number)
		return add_head(tree, sys, node.name, depth);
	if (node.has_number)
		read_devname(&node);
	else if (strcmp(node.subsystem, "net") != 0)
		return 0;
	return add_node(tree, &node);
}

/* A device with a group of its own, below a bridge say, is no part of this one. */
static bool is_another_device(const char *directory)
{
	char path[PATH_MAX];
	struct stat link;

	return path_join(path, directory, "iommu_group") == 0 && lstat(path, &link) == 0;
}

/* But one that its driver made goes with the driver. */
static void count_mediated(struct guard_tree *tree, const char *directory)
{
	char subsystem[32];

	link_name(directory, "subsystem", subsystem, sizeof(subsystem));
	tree->n_mediated += strcmp(subsystem, "mdev") == 0;
}

static bool is_directory(const char *path, const struct dirent *entry)
{
	struct stat file;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return lstat(path, &file) == 0 && S_ISDIR(file.st_mode);
}

/*
 * The directory of a device's interfaces lists those of our network namespace only, and counts all
 * of them (fs/kernfs/inode.c: the number of links).
 */
static void count_elsewhere(struct guard_tree *tree, int fd, unsigned n_seen)
{
	struct stat directory;

	if (fstat(fd, &directory) == 0 && directory.st_nlink > n_seen + 2)
		tree->n_elsewhere += (unsigned)directory.st_nlink - 2 - n_seen;
	else if (n_seen == 0)
		tree->n_elsewhere++;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as WALK_DEPTH. */
static int walk(struct guard_tree *tree, const char *sys, const char *directory, int depth)
{
	const struct dirent *entry;
	char path[PATH_MAX];
	unsigned n_seen = 0;

	if (depth > WALK_DEPTH)
		return -ELOOP;
	_cleanup_closedir_ DIR *open = opendir(directory);
	if (!open)
		/* It went away meanwhile: nobody uses it. */
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	int r = depth > 0 ? look_at(tree, sys, directory, depth) : 0;
	while (r == 0 && (errno = 0, entry = readdir(open))) {
		if (entry->d_name[0] == '.')
			continue;
		r = path_join(path, directory, entry->d_name);
		if (r < 0 || !is_directory(path, entry))
			continue;
		if (is_another_device(path)) {
			count_mediated(tree, path);
			continue;
		}
		n_seen++;
		r = walk(tree, sys, path, depth + 1);
	}
	if (r == 0 && errno != 0 && errno != ENOENT)
		return -errno;
	if (r == 0 && strcmp(strrchr(directory, '/'), "/net") == 0)
		count_elsewhere(tree, dirfd(open), n_seen);
	return r;
}

int guard_tree_read(const char *sys, const char *syspath, struct guard_tree *tree)
{
	*tree = (struct guard_tree){ 0 };
	int r = walk(tree, sys, syspath, 0);
	if (r < 0)
		guard_tree_clear(tree);
	return r;
}

void guard_tree_clear(struct guard_tree *tree)
{
	for (size_t i = 0; i < tree->n_nodes; i++)
		free(tree->nodes[i].path);
	free(tree->nodes);
	*tree = (struct guard_tree){ 0 };
}
