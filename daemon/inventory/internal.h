/* What the inventory's own files share. No other room includes it, except tests. */
#pragma once

#include "daemon/inventory/inventory.h"

struct udev;
struct udev_hwdb;
struct udev_monitor;

struct inventory {
	struct ev_loop *loop;
	char *udev_directory; /* "/run/udev" */
	struct udev *udev;
	struct udev_monitor *monitor;
	struct udev_hwdb *hwdb; /* NULL: not installed */
	ev_io readable;
	ev_timer retry;   /* a rescan that is still owed */
	ev_timer probing; /* drivers that may not stay */
	int next_vf;      /* the number of the VF that is likely the next to be looked for */
	bool syncing;

	struct device *devices; /* by syspath; no group's devices are missing here */
	struct group *by_number;
	struct group_list groups;
	const char *iommu;

	inventory_listener listener;
	void *userdata;
};

/* inventory.c */

/*
 * inventory_new() with udev's run-time directory given: its `control` says whether udevd
 * runs, its `data` is the database. Tests bring their own.
 */
int inventory_new_at(
	struct ev_loop *loop, const char *udev_directory, struct inventory **inventory);
void inventory_tell(struct inventory *inventory, enum inventory_event event, struct group *group,
	struct device *device, const char *before);

/* index.c */
struct device *inventory_device(struct inventory *inventory, const char *syspath); /* NULL */
/* Into the lists and tables, and out of them. 0 or -ENOMEM, then nothing has changed. */
int index_add_group(struct inventory *inventory, struct group *group);
void index_remove_group(struct inventory *inventory, struct group *group);
int index_add_device(struct inventory *inventory, struct group *group, struct device *device);
void index_remove_device(struct inventory *inventory, struct device *device);

/* sync.c: sysfs is the truth; compares with it and tells the listener of the differences. */

/*
 * One group, whether known or not. `hint`: read this member only again (NULL: all of them);
 * who has left and who is new is found in any case. 0 or -errno: try again later.
 */
int group_sync(struct inventory *inventory, int number, const char *hint);
/* All groups. */
int inventory_rescan(struct inventory *inventory);
/* Owes a rescan after so many seconds, unless one is owed already. */
void inventory_rescan_later(struct inventory *inventory, double seconds);

/* monitor.c */
int monitor_start(struct inventory *inventory);
void monitor_stop(struct inventory *inventory);

/* probing.c: once, at the start; after each event; the caller stops the timer. */
void probing_init(struct inventory *inventory);
void probing_note(struct inventory *inventory, const char *syspath, const char *action);

/* read.c: sysfs. Everything follows links and reads attributes that take no device lock. */

/* -ENODEV: it has gone meanwhile. */
int device_new(struct inventory *inventory, const char *syspath, struct device **device);
struct device *device_free(struct device *device);
/* Reads again what can change, except `driver`. */
int device_read_state(struct inventory *inventory, struct device *device);
/* The name of its driver now, "" = none. */
int device_read_driver(const char *syspath, char driver[static DRIVER_NAME_SIZE]);
/* The inode of its directory: the kernel gives each sysfs directory one of its own. */
int sysfs_inode(const char *path, ino_t *inode);
/* The last part of what a link in sysfs points to, cut if it does not fit. */
int sysfs_link_name(const char *directory, const char *link, char *name, size_t size);
/* The group that the device's link names: its number, or -errno (-ENOENT: none). */
int sysfs_group_of(const char *syspath);
/* "13" → 13; -EINVAL. */
int group_number_parse(const char *text);

/* group.c */

struct group *group_new(int number); /* one hold, the inventory's */
/* Type and reserved regions. -ENODEV: it has gone meanwhile. */
int group_read(struct group *group);
/* The real syspaths of its members; an empty list if there is no such group (any more). */
int group_read_members(int number, char ***members);
/* One line of reserved_regions. */
bool reserved_region_parse(const char *line, struct reserved_region *region);

/* database.c: udev's database */

/*
 * Properties and tags of the device from `directory`/data/+bus:name; both NULL where udev
 * has no entry. 0 or -errno, then both are as before.
 */
int database_read(
	const char *directory, const char *bus, const char *name, char ***properties, char ***tags);
/* "value" of "KEY=value" for the key, borrowed; NULL. */
const char *property_value(char *const *properties, const char *key);

/* describe.c: "Intel 82540EM Gigabit Ethernet Controller" from hwdb's names (NULL: unknown). */
char *device_describe(const char *vendor, const char *model);

/* address.c: "[domain:]bus:slot.function", all hexadecimal */
struct pci_address {
	unsigned domain, bus, slot, function;
};
bool pci_address_parse(const char *text, struct pci_address *address);
int pci_address_compare(const struct pci_address *a, const struct pci_address *b);
