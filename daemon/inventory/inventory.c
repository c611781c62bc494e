#include "daemon/inventory/internal.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <libudev.h>
#include <string.h>

const char *inventory_event_name(enum inventory_event event)
{
	static const char *const names[] = {
		[DEVICE_ADDED] = "deviceAdded",
		[DEVICE_REMOVED] = "deviceRemoved",
		[DEVICE_DRIVER] = "driverChanged",
		[DEVICE_FACTS] = "factsChanged",
		[GROUP_ADDED] = "groupAdded",
		[GROUP_BINDING] = "bindingChanged",
		[GROUP_OWNER] = "ownerChanged",
		[GROUP_REMOVED] = "groupRemoved",
	};
	return names[event];
}

/*
 * A virtio IOMMU has the name of its transport ("0000:00:02.0",
 * drivers/iommu/virtio-iommu.c); its `device` link leads to virtioN.
 */
static bool iommu_is_virtio(const char *name)
{
	_cleanup_free_ char *path = NULL;
	char parent[64];
	if (asprintf(&path, "/sys/class/iommu/%s", name) < 0) {
		path = NULL;
		return false;
	}
	return sysfs_link_name(path, "device", parent, sizeof(parent)) == 0 &&
	       strncmp(parent, "virtio", 6) == 0;
}

static const char *iommu_kind(const char *name)
{
	if (strncmp(name, "dmar", 4) == 0) /* drivers/iommu/intel/dmar.c */
		return "Intel IOMMU";
	if (strncmp(name, "ivhd", 4) == 0) /* drivers/iommu/amd/init.c */
		return "AMD IOMMU";
	/* "smmu3.0x…" and "smmu.0x…": drivers/iommu/arm/ */
	if (strncmp(name, "smmu", 4) == 0 || strncmp(name, "arm-smmu", 8) == 0)
		return "SMMU";
	return iommu_is_virtio(name) ? "virtio IOMMU" : "IOMMU";
}

static const char *iommu_find(void)
{
	const char *kind = NULL;
	const struct dirent *entry;
	DIR *directory = opendir("/sys/class/iommu");
	if (!directory)
		return NULL;

	while (!kind && (entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			kind = iommu_kind(entry->d_name);
	closedir(directory);
	return kind;
}

int inventory_new_at(struct ev_loop *loop, const char *udev_directory, struct inventory **inventory)
{
	struct inventory *new = calloc(1, sizeof(*new));
	int result = -ENOMEM;
	if (!new)
		return -ENOMEM;

	new->loop = loop;
	TAILQ_INIT(&new->groups);
	new->udev_directory = strdup(udev_directory);
	new->udev = udev_new();
	if (new->udev_directory &&new->udev) {
		/* Without a hwdb devices have no names: no reason to fail. */
		new->hwdb = udev_hwdb_new(new->udev);
		result = monitor_start(new);
	}
	if (result == 0)
		result = inventory_rescan(new);
	if (result < 0) {
		inventory_free(new);
		return result;
	}
	new->iommu = iommu_find();
	log_debug("%zu devices in %zu IOMMU groups", inventory_n_devices(new),
		inventory_n_groups(new));
	*inventory = new;
	return 0;
}

int inventory_new(struct ev_loop *loop, struct inventory **inventory)
{
	return inventory_new_at(loop, "/run/udev", inventory);
}

struct inventory *inventory_free(struct inventory *inventory)
{
	struct group *group;
	struct device *device;

	if (!inventory)
		return NULL;
	while ((group = TAILQ_FIRST(&inventory->groups))) {
		while ((device = TAILQ_FIRST(&group->devices))) {
			index_remove_device(inventory, device);
			device_free(device);
		}
		index_remove_group(inventory, group);
		group->binding = BINDING_GONE;
		group_release(group);
	}
	if (inventory->monitor)
		monitor_stop(inventory);
	udev_hwdb_unref(inventory->hwdb);
	udev_unref(inventory->udev);
	free(inventory->udev_directory);
	free(inventory);
	return NULL;
}

void inventory_listen(struct inventory *inventory, inventory_listener listener, void *userdata)
{
	inventory->listener = listener;
	inventory->userdata = userdata;
}

void inventory_tell(struct inventory *inventory, enum inventory_event event, struct group *group,
	struct device *device, const char *before)
{
	const struct inventory_change change = { event, group, device, before };
	if (inventory->listener)
		inventory->listener(&change, inventory->userdata);
}

struct group_list *inventory_groups(struct inventory *inventory)
{
	return &inventory->groups;
}

const char *inventory_iommu(const struct inventory *inventory)
{
	return inventory->iommu;
}
