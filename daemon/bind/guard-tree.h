/*
 * What a device has below it: the walk through its directory in sysfs. Nobody outside of this room
 * includes this.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A directory of a class that the guard asks about: block, net, or with a node in /dev. */
struct guard_node {
	char *path;       /* owned */
	const char *name; /* its last part */
	char subsystem[32];
	bool has_number;
	dev_t number;
	char devname[64]; /* below /dev: "nvme0n1", "dri/card0"; "" = no node */
};

struct guard_tree {
	struct guard_node *nodes; /* owned */
	size_t n_nodes;
	unsigned n_elsewhere; /* interfaces in other network namespaces */
	unsigned n_mediated;  /* devices that its driver made (mdev) */
};

/*
 * `sys` is where /sys is, for the heads of multipath. 0, or -errno with nothing to clear. A device
 * that has gone has nothing.
 */
int guard_tree_read(const char *sys, const char *syspath, struct guard_tree *tree);
void guard_tree_clear(struct guard_tree *tree);

/* Small helpers of the guard's files. "directory/name": 0 or -ENAMETOOLONG. */
int path_join(char path[PATH_MAX], const char *directory, const char *name);
/*
 * The first entry of a directory whose name begins with `prefix`, what comes after it; "" if there
 * is none. The number of such entries.
 */
unsigned directory_find(const char *directory, const char *prefix, char *name, size_t size);
/* The last part of a link's target, "" if there is no such link. */
void link_name(const char *directory, const char *name, char *target, size_t size);
