/* A device by what people call it. */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <dirent.h>
#include <stdio.h>
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

/* Where a link leads, and above. */
static void search_above(struct search *search, struct inventory *inventory, const char *link)
{
	_cleanup_free_ char *syspath = realpath(link, NULL);

	if (syspath)
		search_add(search, device_above(inventory, syspath));
}

/*
 * A multipath NVMe disk is below its subsystem, and that below no device. The subsystem has links
 * to its controllers, and "nvme0c1n2" below one is controller 1's path to what is used as nvme0n2
 * (drivers/nvme/host/core.c, nvme_init_subsystem, nvme_alloc_ns).
 */
static void search_paths(struct search *search, struct inventory *inventory, const char *disk)
{
	static const char root[] = "/sys/devices/virtual/nvme-subsystem/nvme-subsys";
	unsigned subsystem, controller, head;
	const struct dirent *entry;
	char path[512];

	if (strncmp(disk, root, sizeof(root) - 1) != 0)
		return;
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
	if (sscanf(disk + sizeof(root) - 1, "%u/nvme%*un%u", &subsystem, &head) != 2)
		return;
	snprintf(path, sizeof(path), "%s%u", root, subsystem);
	DIR *directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
		if (sscanf(entry->d_name, "nvme%u", &controller) != 1)
			continue;
		snprintf(path, sizeof(path), "%s%u/nvme%u/nvme%uc%un%u", root, subsystem,
			controller, subsystem, controller, head);
		search_above(search, inventory, path);
	}
	if (directory)
		closedir(directory);
}

/* An interface's or a disk's. Neither has a colon (net/core/dev.c, dev_valid_name), as addresses
 * do: what most ask for costs no look into sysfs. */
static void search_class(
	struct search *search, struct inventory *inventory, const char *class, const char *name)
{
	if (strchr(name, ':'))
		return;
	_cleanup_free_ char *link = NULL;
	if (asprintf(&link, "/sys/class/%s/%s", class, name) < 0) {
		link = NULL;
		return;
	}
	_cleanup_free_ char *syspath = realpath(link, NULL);
	if (!syspath)
		return;
	search_paths(search, inventory, syspath);
	search_add(search, device_above(inventory, syspath));
}

static struct device *find_syspath(struct inventory *inventory, const char *path)
{
	static const char root[] = "/sys/devices/";
	_cleanup_free_ char *syspath =
		strncmp(path, root, sizeof(root) - 1) == 0 ? realpath(path, NULL) : NULL;
	return syspath ? inventory_device(inventory, syspath) : NULL;
}

/* On the PCI bus, by its address however it is written. */
static void search_addresses(struct search *search, struct inventory *inventory, const char *name)
{
	struct pci_address wanted, address;
	struct device *device, *next;

	if (!pci_address_parse(name, &wanted))
		return;
	HASH_ITER (by_syspath, inventory->devices, device, next)
		if (device->is_pci && pci_address_parse(device->name, &address) &&
			pci_address_compare(&address, &wanted) == 0)
			search_add(search, device);
}

/* By its own name, which is an address already if it is a PCI device's. */
static void search_names(struct search *search, struct inventory *inventory, const char *name)
{
	struct device *device, *next;

	HASH_ITER (by_syspath, inventory->devices, device, next)
		/* The kernel writes uuids in lower case. */
		if (strcmp(device->name, name) == 0 ||
			(strcmp(device->bus, "mdev") == 0 && strcasecmp(device->name, name) == 0))
			search_add(search, device);
	if (!search->found || !search->found->is_pci)
		search_addresses(search, inventory, name);
}

struct device *inventory_find(struct inventory *inventory, const char *name, bool *ambiguous)
{
	struct search search = { 0 };

	if (strchr(name, '/')) {
		search.found = find_syspath(inventory, name);
	} else if (*name != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
		search_names(&search, inventory, name);
		search_class(&search, inventory, "net", name);
		search_class(&search, inventory, "block", name);
	}
	if (ambiguous)
		*ambiguous = search.ambiguous;
	return search.ambiguous ? NULL : search.found;
}
