/* Config spaces, and where devices are in sysfs. May block: for an errand. */
#include "daemon/inventory/topology.h"

#include "daemon/base/util.h"
#include "daemon/inventory/internal.h"
#include "daemon/privilege/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

/* The kernel shows as much as there is, and to who may not see it, the header only. */
static ssize_t config_read_file(const char *directory, uint8_t bytes[static CONFIG_SPACE_SIZE])
{
	size_t length = 0;

	_cleanup_close_ int fd = privilege_config_space(directory);
	if (fd < 0)
		return fd;
	while (length < CONFIG_SPACE_SIZE) {
		ssize_t n = read(fd, bytes + length, CONFIG_SPACE_SIZE - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

static void function_read(
	struct pci_function *function, const char *directory, const char *name, bool is_vf)
{
	uint8_t bytes[CONFIG_SPACE_SIZE];

	*function = (struct pci_function){ .acs = ACS_UNSEEN };
	string_copy(function->name, sizeof(function->name), name);
	ssize_t length = config_read_file(directory, bytes);
	if (length < 0)
		function->error = (int)-length;
	else
		pci_function_parse(function, bytes, (size_t)length, is_vf);
}

/* A part of a syspath that is a PCI function, and not "pci0000:00". */
static bool is_function(const char *part)
{
	struct pci_address address;
	return strlen(part) >= 12 && pci_address_parse(part, &address);
}

static int path_add(struct topology_member *member, const char *directory, const char *name)
{
	struct pci_function *grown = reallocarray(member->path, member->n_path + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	member->path = grown;
	bool is_vf = *member->physfn && strcmp(name, member->name) == 0;
	function_read(&grown[member->n_path++], directory, name, is_vf);
	return 0;
}

/*
 * "/sys/devices/pci0000:00/0000:00:05.0/0000:01:00.0", from the left. A second root in it is that
 * of a controller with a PCI domain of its own: the way to that one is not the device's.
 */
static int path_read(const char *sysfs, struct topology_member *member, const char *syspath)
{
	_cleanup_free_ char *directory = NULL;
	char last[DEVICE_NAME_SIZE] = "";

	if (asprintf(&directory, "%s%s", sysfs, syspath + strlen("/sys")) < 0) {
		directory = NULL;
		return -ENOMEM;
	}
	for (char *slash = directory + strlen(sysfs) + 1; slash;) {
		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		const char *name = strrchr(directory, '/') + 1;
		if (strncmp(name, "pci", 3) == 0 && strchr(name, ':')) {
			string_copy(member->root, sizeof(member->root), name);
			string_copy(member->real_dma, sizeof(member->real_dma), last);
			member->n_path = 0;
		} else if (is_function(name)) {
			string_copy(last, sizeof(last), name);
			int r = path_add(member, directory, name);
			if (r < 0)
				return r;
		}
		if (slash)
			*slash++ = '/';
	}
	return 0;
}

static int sibling_add(struct topology_member *member, const char *directory, const char *name)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *physfn = NULL;
	struct pci_function *grown =
		reallocarray(member->siblings, member->n_siblings + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	member->siblings = grown;
	if (asprintf(&path, "%s/%s", directory, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&physfn, "%s/physfn", path) < 0) {
		physfn = NULL;
		return -ENOMEM;
	}
	function_read(&grown[member->n_siblings++], path, name, access(physfn, F_OK) == 0);
	return 0;
}

static int siblings_read(const char *sysfs, struct topology_member *member, const char *syspath)
{
	const char *top = member->path[member->top].name;
	const char *end = strstr(syspath, top);
	size_t slot = (size_t)(strrchr(top, '.') - top) + 1;
	_cleanup_free_ char *directory = NULL;
	int r = 0;

	if (!end)
		return 0;
	if (asprintf(&directory, "%s%.*s", sysfs, (int)(end - syspath - strlen("/sys")),
		    syspath + strlen("/sys")) < 0) {
		directory = NULL;
		return -ENOMEM;
	}
	DIR *stream = opendir(directory);
	if (!stream)
		return 0; /* it has gone */
	const struct dirent *entry;
	while (r == 0 && (entry = readdir(stream)))
		if (is_function(entry->d_name) && strncmp(entry->d_name, top, slot) == 0 &&
			strcmp(entry->d_name, top) != 0)
			r = sibling_add(member, directory, entry->d_name);
	closedir(stream);
	return r;
}

/* What is above a device that is not PCI: of an mdev, its parent. */
static void parent_read(const char *sysfs, struct topology_member *member, const char *syspath)
{
	_cleanup_free_ char *parent = NULL;
	const char *end = strrchr(syspath, '/');

	if (asprintf(&parent, "%s%.*s", sysfs, (int)(end - syspath - strlen("/sys")),
		    syspath + strlen("/sys")) < 0) {
		parent = NULL;
		return;
	}
	string_copy(member->parent, sizeof(member->parent), strrchr(parent, '/') + 1);
	if (sysfs_link_name(
		    parent, "driver", member->parent_driver, sizeof(member->parent_driver)) < 0)
		member->parent_driver[0] = '\0';
}

static int member_read(
	const char *sysfs, struct topology_member *member, const struct device *device)
{
	string_copy(member->name, sizeof(member->name), device->name);
	string_copy(member->bus, sizeof(member->bus), device->bus);
	string_copy(member->physfn, sizeof(member->physfn), device->physfn);
	member->is_pci = device->is_pci;
	if (!member->is_pci) {
		parent_read(sysfs, member, device->syspath);
		return 0;
	}
	int r = path_read(sysfs, member, device->syspath);
	if (r < 0)
		return r;
	topology_resolve(member);
	return member->shares_slot ? siblings_read(sysfs, member, device->syspath) : 0;
}

int topology_read(const char *sysfs, const struct group *group, struct topology **topology)
{
	struct topology *made = topology_new(group->number, group->n_devices);
	const struct device *device;
	size_t i = 0;

	if (!made)
		return -ENOMEM;
	TAILQ_FOREACH (device, &group->devices, of_group) {
		int r = member_read(sysfs, &made->members[i++], device);
		if (r < 0) {
			topology_free(made);
			return r;
		}
	}
	made->is_noiommu = group_is_noiommu(group);
	*topology = made;
	return 0;
}
