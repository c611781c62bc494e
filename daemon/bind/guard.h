/*
 * The guard: does the host use a device? Asked in a bind child before the first write; only
 * `force` in a rule passes it. Nobody outside of this room includes this. vfiod(8), "Devices in
 * use", has the same for people.
 *
 * Looked at is what is in the device's own directory of sysfs, whatever lies between, devices
 * with a group of their own excepted, and the heads of NVMe multipath. In use means:
 *  - block devices and partitions (guard-block.c, guard-mounts.c): mounted, swapped to, held by
 *    another (dm, md, bcache) or by a loop device, or claimed, which is how the kernel marks the
 *    rest: mounts in other namespaces, all members of a btrfs, zram's backing device;
 *  - interfaces, representors too (guard-net.c): in a bridge, bond or switch, or below a VLAN
 *    or macvlan, whether up or not; up with an address or a route; with an XDP program; in
 *    another network namespace, whatever its state there. The kernel's own link-local
 *    addresses and routes do not count, nor does being up: many systems bring all up;
 *  - virtual functions and mediated devices, which would go with it;
 *  - the console: on a framebuffer of it, the boot framebuffer in its memory, the text
 *    console of the boot VGA (guard-display.c);
 *  - a process that has a character device of it open (DRM, RDMA, NVMe, sound, tty, input,
 *    watchdog …), or a block device for writing (guard-openers.c). Who reads only is often a
 *    monitor (multipathd keeps all disks open).
 *
 * Not seen: packet sockets (LLDP daemons have one on every interface), PPPoE; mappings
 * whose descriptor is closed; users inside the kernel that claim nothing (an NVMe target).
 */
#pragma once

#include "daemon/base/refusal.h"

#include <time.h>

struct ifaddrs;
struct guard_tree;
struct open_file;

/* How long the walk through all processes may take. */
#define GUARD_SECONDS 5

/* Where the answers are, so that a test can give them. */
struct guard_sources {
	const char *proc; /* /proc */
	const char *sys;  /* /sys */
	const char *dev;  /* /dev */
	/* Of getifaddrs(). */
	const struct ifaddrs *addresses;
	/* netlink_find_route(), netlink_has_xdp(), open_file_number(). */
	int (*find_route)(unsigned ifindex, char *route, size_t size);
	int (*has_xdp)(unsigned ifindex);
	bool (*file_number)(const struct open_file *file, bool *is_block, dev_t *number);
	/* Between two looks at who has something open: udevd's own programs are quick. */
	struct timespec pause;
};

/*
 * 0: not in use. REFUSED: DEVICE_IN_USE with device and text: the most telling use, and how many
 * more there are. Or -errno: it cannot be told.
 */
int guard_device(const struct guard_sources *sources, const char *syspath, const char *name,
	struct refusal *refusal);

/* What was found: the first, which is told, and how many. */
struct guard_uses {
	char first[320];
	unsigned n;
};
void guard_add(struct guard_uses *uses, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The parts. 0, whatever was found, or -errno: it cannot be told. */
int guard_block(const struct guard_sources *sources, const struct guard_tree *tree,
	struct guard_uses *uses);
/* Last, as a disk shows the claims of its partitions: only if nothing else was found. */
int guard_claims(const struct guard_sources *sources, const struct guard_tree *tree,
	struct guard_uses *uses);
int guard_net(const struct guard_sources *sources, const struct guard_tree *tree,
	struct guard_uses *uses);
int guard_display(const struct guard_sources *sources, const struct guard_tree *tree,
	const char *syspath, const char *name, struct guard_uses *uses);
int guard_openers(const struct guard_sources *sources, const struct guard_tree *tree,
	struct guard_uses *uses);
