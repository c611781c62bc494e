/* One group, read once: for who asks about a device and ends. */
#include "daemon/inventory/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int inventory_peek(const char *syspath, struct inventory **inventory, struct device **device)
{
	char path[PATH_MAX];

	if (!realpath(syspath, path))
		return errno == ENOENT ? -ENODEV : -errno;
	int number = sysfs_group_of(path);
	if (number < 0)
		return number == -ENOENT ? -ENODEV : number;
	struct inventory *new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	TAILQ_INIT(&new->groups);
	new->udev_directory = strdup("/run/udev");
	int result = new->udev_directory ? group_sync(new, number, NULL) : -ENOMEM;
	*device = result == 0 ? inventory_device(new, path) : NULL;
	if (result == 0 && !*device)
		result = -ENODEV;
	if (result < 0) {
		inventory_free(new);
		return result;
	}
	*inventory = new;
	return 0;
}
