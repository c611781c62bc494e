/*
 * The guard: does the host use a device? Asked in a bind child before the first write.
 * Nobody outside of this room includes this.
 *
 * Looked at are the block devices and network interfaces in the device's own directory of
 * sysfs, whatever lies between. In use means:
 *  - a block device, or a partition of it, that is mounted (as the first process of the system
 *    sees it), swapped to, held by another (dm, md), or opened exclusively by anybody, which is
 *    how the kernel marks the rest: mounts in other namespaces, all members of a btrfs;
 *  - an interface that is up and has an address, or is up below another (bridge, bond, VLAN,
 *    macvlan). IPv6 link-local addresses do not count: the kernel gives one to every interface
 *    that is up. Up without an address does not count either: many systems bring all up.
 * Not seen: multipath heads of NVMe (they lie in /sys/devices/virtual), interfaces that were
 * moved into another network namespace.
 */
#pragma once

#include "daemon/base/refusal.h"

struct ifaddrs;

/* Where the answers are, so that a test can give them. */
struct guard_sources {
	const char *mountinfo;           /* /proc/1/mountinfo */
	const char *mountinfo_fallback;  /* where that cannot be read: /proc/self/mountinfo */
	const char *swaps;               /* /proc/swaps; may be missing: a kernel without swap */
	const char *dev;                 /* /dev */
	const struct ifaddrs *addresses; /* of getifaddrs() */
};

/* 0: not in use. REFUSED: DEVICE_IN_USE with device and text. Or -errno: it cannot be told. */
int guard_device(const struct guard_sources *sources, const char *syspath, const char *name,
	struct refusal *refusal);

/*
 * Of one block device (name as in /dev): `use` gets "is mounted on /mnt", or "" if it is not.
 * 0 or -errno. Mount points keep mountinfo's escapes ("\040").
 */
int guard_mounts(
	const char *mountinfo, const char *device_number, const char *name, char *use, size_t size);
int guard_swaps(const char *swaps, const char *name, char *use, size_t size);
bool guard_is_up(const struct ifaddrs *addresses, const char *interface);
/* Of one interface: `use` gets "is up with address 10.0.0.2". */
void guard_addresses(
	const struct ifaddrs *addresses, const char *interface, char *use, size_t size);
