/*
 * The inventory: udev → devices → groups. It owns all struct device and struct
 * group. Runs on the loop; reads sysfs attributes that take no device lock only
 * (driver_override and sriov_numvfs do, and a stuck unbind holds that lock:
 * those are read in bind children).
 *
 * The udev monitor is started before the enumeration, and its backlog is read
 * after it: no event is lost. An overrun (ENOBUFS) rescans and compares.
 */
#pragma once

#include "daemon/inventory/group.h"

#include <ev.h>

enum inventory_event {
	DEVICE_ADDED,   /* device, and its group already holds it */
	DEVICE_REMOVED, /* device is about to be freed; group->devices no longer holds it */
	DEVICE_DRIVER,  /* device->driver has changed; `before` is the old one */
	DEVICE_FACTS, /* what rules and descriptions go by: udev's properties and tags, its node …
		       */
	GROUP_ADDED,
	GROUP_BINDING, /* group->binding has changed; `before` is the old name */
	GROUP_OWNER,   /* group->owner has changed; likewise */
	GROUP_REMOVED, /* binding is BINDING_GONE; about to be freed unless it is held */
};
const char *inventory_event_name(enum inventory_event event); /* "deviceAdded" */

struct inventory_change {
	enum inventory_event event;
	struct group *group;   /* never NULL */
	struct device *device; /* NULL for GROUP_* */
	const char *before; /* DEVICE_DRIVER ("" = none), GROUP_BINDING, GROUP_OWNER; else NULL */
};

struct inventory;
/* Called from within inventory functions; must not call back into inventory_refresh(). */
typedef void (*inventory_listener)(const struct inventory_change *change, void *userdata);

/*
 * Reads everything once and starts to watch. 0 or -errno. `loop` must outlive it.
 * Where no udevd runs (/run/udev/control absent) the kernel's own events are used.
 */
int inventory_new(struct ev_loop *loop, struct inventory **inventory);
struct inventory *inventory_free(struct inventory *inventory);

/*
 * An inventory of one group, that of this device, which is not watched and has no names. 0,
 * -ENODEV (no such device, or it has no group), -ENOMEM or what sysfs says.
 */
int inventory_peek(const char *syspath, struct inventory **inventory, struct device **device);

/* At most one listener (main.c connects the broker); NULL removes it. */
void inventory_listen(struct inventory *inventory, inventory_listener listener, void *userdata);

struct group_list *inventory_groups(struct inventory *inventory);
size_t inventory_n_groups(const struct inventory *inventory);
size_t inventory_n_devices(const struct inventory *inventory);
struct group *inventory_group(struct inventory *inventory, int number); /* NULL */
/*
 * Finds a device by "0000:01:00.0", "01:00.0" (domain 0), an interface or block
 * device name below it ("enp3s0", "nvme0n1"), a uuid, or a syspath. NULL if there
 * is none, or if the name fits several (then *ambiguous, if given, is true).
 */
struct device *inventory_find(struct inventory *inventory, const char *name, bool *ambiguous);

/*
 * The one way to change a group's states: sets, logs, tells the listener. No-op
 * when nothing changes. `failure` (NULL = "") is kept with FAILED and STUCK.
 */
void group_set_binding(struct inventory *, struct group *, enum binding, const char *failure);
void group_set_owner(struct inventory *, struct group *, enum owner);

/*
 * The binding that sysfs shows for a group with no transaction running: TAKEN
 * when every member leaves DMA alone and one at least is on VFIO, else HOST.
 */
enum binding group_observed_binding(const struct group *group);

/*
 * Looks now at what an event may only be about to tell: the device with this syspath, with its
 * group; NULL: there is none. Tells the listener of differences, in the groups of before and now.
 */
struct device *inventory_look(struct inventory *inventory, const char *syspath);

/* Reads all members of one group again from sysfs now, telling the listener of differences. */
void inventory_refresh(struct inventory *inventory, struct group *group);

/*
 * Keeps a group's memory after GROUP_REMOVED (it is then in no list, BINDING_GONE, without
 * devices) until released as often. If a group of that number comes back meanwhile, it is a
 * new struct group.
 */
struct group *group_hold(struct group *group);
/* One that had left before this inventory was made, likewise: to be released. NULL: no memory. */
struct group *group_departed(int number);
struct group *group_release(struct group *group); /* NULL-safe, returns NULL */

/* "Intel IOMMU", "AMD IOMMU", "virtio IOMMU", "SMMU", "IOMMU" (another kind), or NULL: none is
 * active. Static. As it was at the start. */
const char *inventory_iommu(const struct inventory *inventory);
