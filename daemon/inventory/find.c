/* A device by what people call it. */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <stdlib.h>
#include <string.h>

struct search {
	struct device *found;
	bool ambiguous;
};

static void search_add(struct search *search, struct device *device)
{
	if (device && search->found && search->found != device)
		search->ambiguous = true;
	else if (device)
		search->found = device;
}

/* The first known device from a resolved syspath upwards: an interface's, a partition's. */
static struct device *device_above(struct inventory *inventory, char *syspath)
{
	char *slash;

	while ((slash = strrchr(syspath, '/')) && slash != syspath) {
		struct device *device = inventory_device(inventory, syspath);
		if (device)
			return device;
		*slash = '\0';
	}
	return NULL;
}

/* An interface's or a disk's. Neither has a colon (net/core/dev.c, dev_valid_name), as addresses
 * do: what most ask for costs no look into sysfs. */
static struct device *find_child(struct inventory *inventory, const char *class, const char *name)
{
	if (strchr(name, ':'))
		return NULL;
	_cleanup_free_ char *link = NULL;
	if (asprintf(&link, "/sys/class/%s/%s", class, name) < 0) {
		link = NULL;
		return NULL;
	}
	_cleanup_free_ char *syspath = realpath(link, NULL);
	return syspath ? device_above(inventory, syspath) : NULL;
}

static struct device *find_syspath(struct inventory *inventory, const char *path)
{
	static const char root[] = "/sys/devices/";
	_cleanup_free_ char *syspath =
		strncmp(path, root, sizeof(root) - 1) == 0 ? realpath(path, NULL) : NULL;
	return syspath ? inventory_device(inventory, syspath) : NULL;
}

/* By its own name, or, on the PCI bus, by its address however it is written. */
static void search_names(struct search *search, struct inventory *inventory, const char *name)
{
	struct pci_address wanted, address;
	bool is_address = pci_address_parse(name, &wanted);
	struct device *device, *next;

	HASH_ITER (by_syspath, inventory->devices, device, next) {
		/* The kernel writes uuids in lower case. */
		bool is_mdev = strcmp(device->bus, "mdev") == 0;
		if (strcmp(device->name, name) == 0 ||
			(is_mdev && strcasecmp(device->name, name) == 0) ||
			(is_address && device->is_pci &&
				pci_address_parse(device->name, &address) &&
				pci_address_compare(&address, &wanted) == 0))
			search_add(search, device);
	}
}

struct device *inventory_find(struct inventory *inventory, const char *name, bool *ambiguous)
{
	struct search search = { 0 };

	if (strchr(name, '/')) {
		search.found = find_syspath(inventory, name);
	} else if (*name != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
		search_names(&search, inventory, name);
		search_add(&search, find_child(inventory, "net", name));
		search_add(&search, find_child(inventory, "block", name));
	}
	if (ambiguous)
		*ambiguous = search.ambiguous;
	return search.ambiguous ? NULL : search.found;
}
