/* The tables and ordered lists in which groups and devices are found. */

/* uthash would call exit() without memory; so it leaves the element out, with no table. */
#define HASH_NONFATAL_OOM 1
#include "daemon/inventory/internal.h"

#include <errno.h>
#include <string.h>

/* Most of a function's size here is uthash's macros.
 * NOLINTBEGIN(readability-function-size) */

int index_add_group(struct inventory *inventory, struct group *group)
{
	struct group *before = TAILQ_LAST(&inventory->groups, group_list);

	HASH_ADD(by_number, inventory->by_number, number, sizeof(group->number), group);
	if (!group->by_number.tbl)
		return -ENOMEM;

	/* From the end: a first reading adds them in order. */
	while (before && before->number > group->number)
		before = TAILQ_PREV(before, group_list, of_inventory);
	if (before)
		TAILQ_INSERT_AFTER(&inventory->groups, before, group, of_inventory);
	else
		TAILQ_INSERT_HEAD(&inventory->groups, group, of_inventory);
	return 0;
}

void index_remove_group(struct inventory *inventory, struct group *group)
{
	HASH_DELETE(by_number, inventory->by_number, group);
	TAILQ_REMOVE(&inventory->groups, group, of_inventory);
}

int index_add_device(struct inventory *inventory, struct group *group, struct device *device)
{
	struct device *before = TAILQ_LAST(&group->devices, device_list);

	HASH_ADD_KEYPTR(
		by_syspath, inventory->devices, device->syspath, strlen(device->syspath), device);
	if (!device->by_syspath.tbl)
		return -ENOMEM;

	while (before && device_compare(before, device) > 0)
		before = TAILQ_PREV(before, device_list, of_group);
	if (before)
		TAILQ_INSERT_AFTER(&group->devices, before, device, of_group);
	else
		TAILQ_INSERT_HEAD(&group->devices, device, of_group);
	device->group = group;
	group->n_devices++;
	return 0;
}

void index_remove_device(struct inventory *inventory, struct device *device)
{
	HASH_DELETE(by_syspath, inventory->devices, device);
	TAILQ_REMOVE(&device->group->devices, device, of_group);
	device->group->n_devices--;
}

size_t inventory_n_groups(const struct inventory *inventory)
{
	return HASH_CNT(by_number, inventory->by_number);
}

size_t inventory_n_devices(const struct inventory *inventory)
{
	return HASH_CNT(by_syspath, inventory->devices);
}

struct group *inventory_group(struct inventory *inventory, int number)
{
	struct group *group;
	HASH_FIND(by_number, inventory->by_number, &number, sizeof(number), group);
	return group;
}

struct device *inventory_device(struct inventory *inventory, const char *syspath)
{
	struct device *device;
	HASH_FIND(by_syspath, inventory->devices, syspath, strlen(syspath), device);
	return device;
}
/* NOLINTEND(readability-function-size) */
