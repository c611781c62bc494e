/*
 * Who has a group, or a device of it, open: a search through /proc. It may take seconds, and a
 * process that does not want to be found may delay it: for children only (base/errand.h, a bind
 * child), never on the loop.
 *
 * What the kernel tells, and no process can forge:
 *
 *   /dev/vfio/N               the group's node, by its device number (the path is anybody's to
 * make) /dev/vfio/devices/vfioX   a device's own node, likewise vfio-device-syspath       in fdinfo
 * of a device's descriptor (newer kernels)
 *
 * Older kernels show a device as anon_inode:[vfio-device] and no more. Then a copy of the
 * descriptor is asked (`ask_devices`): ids in config space, which its user cannot write, and
 * the set of devices that are reset together. That is a proof where every device on a VFIO driver
 * that it fits is of this group, and a guess where it fits others, too. A guess as well is a
 * descendant of who had the lease, or somebody of its session or control group, with
 * a device open that cannot be told.
 *
 * Not seen are descriptors on their way through a socket, registered with io_uring, or kept by a
 * mapping or by KVM alone, and processes of which the kernel shows no descriptors: then nobody is
 * named.
 */
#pragma once

#include "daemon/base/refusal.h"

enum opener_certainty {
	OPENER_UNKNOWN,
	OPENER_PROBABLE, /* has a VFIO device open that may be of this group */
	OPENER_SURE,     /* has it open */
};

struct opener {
	enum opener_certainty certainty;
	pid_t pid;
	unsigned long long start_ticks; /* process_start_time(): another one is another process */
	uid_t uid;
	char command[16]; /* printable */
	unsigned n_more;  /* other processes of whom the same is as certain */
	bool is_cut;      /* there was no time to look at everything */
};

/* Where a process belongs, to know its family when it has ended itself. */
struct opener_kin {
	pid_t pid; /* 0: nobody */
	unsigned long long start_ticks;
	pid_t session;
	uid_t uid;
	char cgroup[256]; /* the line of the unified hierarchy; "" = the root, or unknown */
};
/* root: "" is this machine, tests make others. 0 or -errno. */
int opener_kin_read(const char *root, pid_t pid, struct opener_kin *kin);

struct opener_query {
	const char *root;
	int group;
	const char *const *syspaths; /* of its devices */
	size_t n_syspaths;
	struct opener_kin former; /* who had the lease */
	/* vfiod's own: the daemon and its children hold groups open for moments. */
	pid_t daemon;
	pid_t keeper; /* of the space that the group is in: its client has devices open; 0: none */
	pid_t former_child; /* of an earlier daemon, holding the group while it hangs; 0: none */
	bool nodes_only;    /* only who has a device's own node open */
	bool ask_devices;
	double seconds; /* for the whole search; a process can delay a call beyond it */
};

struct opener_ops;
extern const struct opener_ops opener_kernel; /* the real one */

/* 0 with *opener, certainty UNKNOWN if nobody was found. -ENOMEM, or what opening /proc said. */
int opener_find(
	const struct opener_query *query, const struct opener_ops *ops, struct opener *opener);
/*
 * May VFIO devices have nodes of their own? False: VFIO is loaded, and its kernel was built without
 * (CONFIG_VFIO_DEVICE_CDEV).
 */
bool opener_has_nodes(const char *root);
/* Does it still run? Reads /proc, which does not block. */
bool opener_lives(const struct opener *opener);
/* "testpmd (pid 902, uid 1001)", with how many more. */
void opener_describe(const struct opener *opener, char *buffer, size_t size);
