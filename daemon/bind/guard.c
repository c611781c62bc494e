/* The walk through a device's directory: which block devices and interfaces are its own? */
#include "daemon/bind/guard.h"

#include "daemon/base/util.h"
#include "daemon/bind/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* Real ones are about ten deep (SCSI disks behind SAS expanders); links are not followed. */
#define WALK_DEPTH 24

static void cleanup_closedir(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}
#define _cleanup_closedir_ __attribute__((cleanup(cleanup_closedir)))

static int path_join(char path[PATH_MAX], const char *directory, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", directory, name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The first entry whose name starts with `prefix`, after it; "" if there is none. */
static void first_entry(const char *directory, const char *prefix, char *name, size_t size)
{
	const struct dirent *entry;

	name[0] = '\0';
	_cleanup_closedir_ DIR *open = opendir(directory);
	while (open && (entry = readdir(open)))
		if (entry->d_name[0] != '.' &&
			strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
			snprintf(name, size, "%s", entry->d_name + strlen(prefix));
			return;
		}
}

static void holder_of(const char *directory, char *use, size_t size)
{
	char path[PATH_MAX], holder[NAME_MAX + 1] = "";

	use[0] = '\0';
	if (path_join(path, directory, "holders") == 0)
		first_entry(path, "", holder, sizeof(holder));
	if (*holder)
		snprintf(use, size, "is part of %s", holder);
}

/* A slash of a node's name is written "!" in sysfs ("cciss!c0d0"). */
static void node_name(char node[NAME_MAX + 1], const char *name)
{
	snprintf(node, NAME_MAX + 1, "%s", name);
	for (char *c = node; *c; c++)
		if (*c == '!')
			*c = '/';
}

/*
 * Mounts, swap, md and dm claim a block device; an exclusive open then fails (block/bdev.c,
 * bd_prepare_to_claim), in whichever namespace they are. No node, or no right to open it, says
 * nothing.
 */
static void claim_of(const char *dev, const char *name, char *use, size_t size)
{
	char path[PATH_MAX], node[NAME_MAX + 1];

	use[0] = '\0';
	node_name(node, name);
	if (path_join(path, dev, node) < 0)
		return;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == EBUSY)
		snprintf(use, size, "is in exclusive use");
}

static int ask_block(const struct guard_sources *sources, const char *directory, const char *name,
	char *use, size_t size)
{
	char path[PATH_MAX], number[32], node[NAME_MAX + 1];

	node_name(node, name);
	int r = path_join(path, directory, "dev");
	if (r < 0)
		return r;
	ssize_t n = file_read(path, number, sizeof(number));
	if (n == -ENOENT)
		return 0; /* hidden: a path of a multipath NVMe has no node */
	if (n < 0)
		return (int)n;

	r = guard_mounts(sources->mountinfo, number, node, use, size);
	if (r < 0)
		r = guard_mounts(sources->mountinfo_fallback, number, node, use, size);
	if (r == 0 && !*use)
		r = guard_swaps(sources->swaps, node, use, size);
	if (r == 0 && !*use)
		holder_of(directory, use, size);
	return r;
}

static void ask_interface(const struct guard_sources *sources, const char *directory,
	const char *name, char *use, size_t size)
{
	char upper[NAME_MAX + 1];

	guard_addresses(sources->addresses, name, use, size);
	if (*use || !guard_is_up(sources->addresses, name))
		return;
	/* net/core/dev.c links every device above: bridge, bond, VLAN, macvlan. */
	first_entry(directory, "upper_", upper, sizeof(upper));
	if (*upper)
		snprintf(use, size, "is up and part of %s", upper);
}

/* The class that a directory is of, as udev finds it, too. "" = none. */
static void read_subsystem(const char *directory, char *subsystem, size_t size)
{
	char path[PATH_MAX], target[PATH_MAX];

	subsystem[0] = '\0';
	if (path_join(path, directory, "subsystem") < 0)
		return;
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	string_copy(subsystem, size, slash ? slash + 1 : target);
}

struct walk {
	const struct guard_sources *sources;
	const char *device;
	/* First everything that names the user; then the claims, which a disk shows for each of
	 * its partitions. */
	bool asks_claims;
	struct refusal *refusal;
};

static int ask_directory(const struct walk *walk, const char *directory)
{
	const char *name = strrchr(directory, '/') + 1;
	char subsystem[32], use[REFUSAL_TEXT_SIZE] = "";
	int r = 0;

	read_subsystem(directory, subsystem, sizeof(subsystem));
	bool is_block = strcmp(subsystem, "block") == 0;
	bool is_net = strcmp(subsystem, "net") == 0;
	if (is_block && walk->asks_claims)
		claim_of(walk->sources->dev, name, use, sizeof(use));
	else if (is_block)
		r = ask_block(walk->sources, directory, name, use, sizeof(use));
	else if (is_net)
		ask_interface(walk->sources, directory, name, use, sizeof(use));
	if (r < 0 || !*use)
		return r;
	refuse(walk->refusal, REFUSAL_DEVICE_IN_USE, "%s %s %s",
		is_net ? "interface" : "block device", name, use);
	string_copy(walk->refusal->device, sizeof(walk->refusal->device), walk->device);
	return REFUSED;
}

/* A device with a group of its own, below a bridge say, is no part of this one. */
static bool is_another_device(const char *directory)
{
	char path[PATH_MAX];
	struct stat link;

	return path_join(path, directory, "iommu_group") == 0 && lstat(path, &link) == 0;
}

static bool is_directory(const char *path, const struct dirent *entry)
{
	struct stat file;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return lstat(path, &file) == 0 && S_ISDIR(file.st_mode);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as WALK_DEPTH. */
static int walk_directory(const struct walk *walk, const char *directory, int depth)
{
	const struct dirent *entry;
	char path[PATH_MAX];

	_cleanup_closedir_ DIR *open = opendir(directory);
	if (!open)
		/* It went away meanwhile: nobody uses it. */
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	int r = depth > 0 ? ask_directory(walk, directory) : 0;
	while (r == 0 && (errno = 0, entry = readdir(open))) {
		if (entry->d_name[0] == '.')
			continue;
		r = path_join(path, directory, entry->d_name);
		if (r < 0 || !is_directory(path, entry) || is_another_device(path))
			continue;
		r = depth < WALK_DEPTH ? walk_directory(walk, path, depth + 1) : -ELOOP;
	}
	return r == 0 && errno != 0 && errno != ENOENT ? -errno : r;
}

int guard_device(const struct guard_sources *sources, const char *syspath, const char *name,
	struct refusal *refusal)
{
	struct walk walk = { .sources = sources, .device = name, .refusal = refusal };

	int r = walk_directory(&walk, syspath, 0);
	if (r != 0)
		return r;
	walk.asks_claims = true;
	return walk_directory(&walk, syspath, 0);
}

int guard_ask(void *userdata, const char *syspath, const char *name, struct refusal *refusal)
{
	(void)userdata;
	struct ifaddrs *addresses = NULL;

	if (getifaddrs(&addresses) < 0)
		return -errno;
	/* The first process's mounts: the daemon's own unit has a namespace of its own. */
	const struct guard_sources sources = {
		.mountinfo = "/proc/1/mountinfo",
		.mountinfo_fallback = "/proc/self/mountinfo",
		.swaps = "/proc/swaps",
		.dev = "/dev",
		.addresses = addresses,
	};
	int r = guard_device(&sources, syspath, name, refusal);
	freeifaddrs(addresses);
	return r;
}
