/*
 * Compares what is known with sysfs, and tells the listener of exactly the differences. An
 * event from udev is a hint where to look; it is not believed: it may be late, or of a device
 * that has come back since. Whether a device or a group is still the same one is told by the
 * inode of its directory.
 */
#include "daemon/inventory/internal.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void device_log(const struct device *device, const char *what)
{
	char number[16];
	const char *const fields[] = { "VFIOD_GROUP", number, "VFIOD_DEVICE", device->name, NULL };

	snprintf(number, sizeof(number), "%d", device->group->number);
	log_fields(LOG_DEBUG, fields, "%s %s, group %d, driver \"%s\"", device->name, what,
		device->group->number, device->driver);
}

static void device_leave(struct inventory *inventory, struct device *device)
{
	struct group *group = device->group;

	device_log(device, "has gone");
	index_remove_device(inventory, device);
	inventory_tell(inventory, DEVICE_REMOVED, group, device, NULL);
	device_free(device);
}

/* The caller has a hold of its own, if it wants to look at the group afterwards. */
static void group_vanish(struct inventory *inventory, struct group *group)
{
	struct device *device;

	while ((device = TAILQ_FIRST(&group->devices)))
		device_leave(inventory, device);
	index_remove_group(inventory, group);
	group_set_binding(inventory, group, BINDING_GONE, NULL);
	inventory_tell(inventory, GROUP_REMOVED, group, NULL, NULL);
	group_release(group);
}

/* A transaction's states are the transaction's; else what sysfs shows is true. */
static void group_observe(struct inventory *inventory, struct group *group)
{
	if (group->binding == BINDING_HOST || group->binding == BINDING_TAKEN)
		group_set_binding(inventory, group, group_observed_binding(group), NULL);
}

/*
 * Reads a new member into the group, which need not be in the tables yet. If another group had
 * it, it leaves that one first. 0, also if it has gone meanwhile (*device is NULL then).
 */
static int group_admit(struct inventory *inventory, struct group *group, const char *syspath,
	struct device **device)
{
	struct device *new;
	int result = device_new(inventory, syspath, &new);

	*device = NULL;
	if (result < 0)
		return result == -ENODEV ? 0 : result;

	struct device *old = inventory_device(inventory, syspath);
	if (old) {
		struct group *former = old->group;
		device_leave(inventory, old);
		if (former->n_devices == 0 && former != group)
			group_vanish(inventory, former);
		else if (former != group)
			group_observe(inventory, former);
	}
	new->is_new = inventory->listener && !*new->driver;
	result = index_add_device(inventory, group, new);
	if (result < 0) {
		device_free(new);
		return result;
	}
	*device = new;
	return 0;
}

/* Undoes an admission that nobody was told of. */
static void group_discard(struct inventory *inventory, struct group *group)
{
	struct device *device;

	while ((device = TAILQ_FIRST(&group->devices))) {
		index_remove_device(inventory, device);
		device_free(device);
	}
	group_release(group);
}

/* A group that was not known: read whole, then told of. */
static int group_appear(struct inventory *inventory, int number, char *const *members)
{
	struct group *group = group_new(number);
	struct device *device;
	int result = group ? group_read(group) : -ENOMEM;

	for (size_t i = 0; result == 0 && members[i]; i++)
		result = group_admit(inventory, group, members[i], &device);
	if (result == 0 && group->n_devices == 0)
		result = -ENODEV;
	if (result == 0)
		result = index_add_group(inventory, group);
	if (result < 0) {
		if (group)
			group_discard(inventory, group);
		return result == -ENODEV ? 0 : result;
	}

	group->binding = group_observed_binding(group);
	log_debug("group %d appears with %zu devices", number, group->n_devices);
	inventory_tell(inventory, GROUP_ADDED, group, NULL, NULL);
	TAILQ_FOREACH (device, &group->devices, of_group)
		inventory_tell(inventory, DEVICE_ADDED, group, device, NULL);
	return 0;
}

static int string_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Members that have left, or whose directory is another one now. */
static bool group_drop_leavers(struct inventory *inventory, struct group *group, char **members)
{
	size_t n_members = strv_length(members);
	bool changed = false;
	struct device *next;

	qsort(members, n_members, sizeof(*members), string_compare);
	for (struct device *device = TAILQ_FIRST(&group->devices); device; device = next) {
		ino_t inode = 0;
		next = TAILQ_NEXT(device, of_group);
		if (bsearch(&device->syspath, members, n_members, sizeof(*members),
			    string_compare) &&
			(sysfs_inode(device->syspath, &inode) < 0 || inode == device->inode))
			continue;
		device_leave(inventory, device);
		changed = true;
	}
	return changed;
}

static int device_reread(struct inventory *inventory, struct device *device)
{
	char driver[DRIVER_NAME_SIZE], before[DRIVER_NAME_SIZE];
	uint64_t facts = device->facts;
	int result = device_read_state(inventory, device);
	if (result == 0)
		result = device_read_driver(device->syspath, driver);
	/* Until it is told. */
	if (result < 0)
		device->facts = facts;
	/* Just going: its own event follows. */
	if (result == -ENODEV || result == -ENOENT)
		return 0;
	if (result < 0)
		return result;
	if (strcmp(driver, device->driver) == 0) {
		if (facts != device->facts)
			inventory_tell(inventory, DEVICE_FACTS, device->group, device, NULL);
		return 0;
	}

	memcpy(before, device->driver, sizeof(before));
	memcpy(device->driver, driver, sizeof(driver));
	device->is_new = false;
	device_log(device, "has changed drivers");
	inventory_tell(inventory, DEVICE_DRIVER, device->group, device, before);
	return 0;
}

static int group_compare(
	struct inventory *inventory, struct group *group, char **members, const char *hint)
{
	bool changed = group_drop_leavers(inventory, group, members);
	struct device *device;
	int result = 0;

	for (size_t i = 0; result == 0 && members[i]; i++) {
		device = inventory_device(inventory, members[i]);
		if (device && device->group == group) {
			if (!hint || strcmp(hint, members[i]) == 0)
				result = device_reread(inventory, device);
			continue;
		}
		result = group_admit(inventory, group, members[i], &device);
		if (!device)
			continue;
		changed = true;
		device_log(device, "has come");
		inventory_tell(inventory, DEVICE_ADDED, group, device, NULL);
	}
	if (result == 0 && (changed || !hint))
		result = group_read(group);
	if (group->n_devices > 0)
		group_observe(inventory, group);
	return result;
}

static int group_sync_members(struct inventory *inventory, struct group *group, int number,
	char **members, const char *hint)
{
	char path[64];
	ino_t inode = 0;
	int result = 0;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d", number);
	if (group) {
		result = members ? sysfs_inode(path, &inode) : -ENODEV;
		if (result < 0 && result != -ENODEV)
			return result;
		if (result == 0 && inode == group->inode) {
			result = group_compare(inventory, group, members, hint);
			if (group->n_devices > 0 || (result < 0 && result != -ENODEV))
				return result == -ENODEV ? 0 : result;
			members = NULL;
		}
		group_vanish(inventory, group);
	}
	return members ? group_appear(inventory, number, members) : 0;
}

int group_sync(struct inventory *inventory, int number, const char *hint)
{
	char **members;
	int result = group_read_members(number, &members);
	if (result < 0)
		return result;

	struct group *group = inventory_group(inventory, number);
	if (group)
		group_hold(group);
	inventory->syncing = true;
	result = group_sync_members(inventory, group, number, members, hint);
	inventory->syncing = false;
	group_release(group);
	strv_free(members);
	return result;
}

static int number_compare(const void *a, const void *b)
{
	int left = *(const int *)a, right = *(const int *)b;
	return (left > right) - (left < right);
}

static int number_add(int **numbers, size_t *n_numbers, int number)
{
	int *grown = reallocarray(*numbers, *n_numbers + 1, sizeof(**numbers));
	if (!grown)
		return -ENOMEM;
	*numbers = grown;
	grown[(*n_numbers)++] = number;
	return 0;
}

/* The numbers of all groups in sysfs. No IOMMU, no directory: no groups. */
static int numbers_read(int **numbers, size_t *n_numbers)
{
	int result = 0;
	DIR *directory = opendir("/sys/kernel/iommu_groups");
	if (!directory)
		return errno == ENOENT ? 0 : -errno;

	const struct dirent *entry;
	while (result == 0 && (errno = 0, entry = readdir(directory))) {
		int number = group_number_parse(entry->d_name);
		if (number >= 0)
			result = number_add(numbers, n_numbers, number);
	}
	if (result == 0 && errno != 0)
		result = -errno;
	closedir(directory);
	return result;
}

int inventory_rescan(struct inventory *inventory)
{
	_cleanup_free_ int *numbers = NULL;
	const struct group *group;
	size_t n_numbers = 0;
	int result = numbers_read(&numbers, &n_numbers);

	/* And of those that sysfs may no longer have. */
	TAILQ_FOREACH (group, &inventory->groups, of_inventory) {
		if (result == 0)
			result = number_add(&numbers, &n_numbers, group->number);
	}
	if (n_numbers > 0)
		qsort(numbers, n_numbers, sizeof(*numbers), number_compare);
	for (size_t i = 0; result == 0 && i < n_numbers; i++)
		if (i == 0 || numbers[i] != numbers[i - 1])
			result = group_sync(inventory, numbers[i], NULL);
	return result;
}

void inventory_refresh(struct inventory *inventory, struct group *group)
{
	int result;

	if (group->binding == BINDING_GONE)
		return;
	result = inventory->syncing ? -EBUSY : group_sync(inventory, group->number, NULL);
	if (result < 0) {
		log_warning("group %d could not be read from sysfs, will be tried again: %s",
			group->number, strerror(-result));
		inventory_rescan_later(inventory, 1.0);
	}
}
