/*
 * What a keeper does with the kernel's I/O address spaces, in one table of operations: so that
 * there can be two kinds of container (type1.c, iommufd.c), and so that a unit test can be the
 * kernel and fail the k-th of them. All return 0 or more, or -errno with nothing changed.
 *
 * Both do the same at the same moment: from its first group on a container has all its mappings
 * pinned, unless there are only mdevs in it, until it is closed.
 */
#pragma once

#include "daemon/base/wire.h"

#include <stdbool.h>

#define BUS_GROUPS_MAX 256

/* The devices of a group, by name: those that are bound to a driver of VFIO's. */
struct members {
	char (*names)[WIRE_NAME_SIZE]; /* owned; NULL where there is none */
	size_t n;
};

struct backend_group {
	int fd;
	struct members members; /* only where the backend wants them */
	void *own;              /* the backend's, while it is in a container */
};

/* Where it is in memory, and in the file that is mapped there. */
struct backend_memory {
	void *address;
	int fd;
	uint64_t offset;
};

#define NO_CONTAINER (-1)

struct backend {
	void *userdata; /* given to each as its first argument */
	/* It opens its containers itself, and wants to know the members of groups. */
	bool is_iommufd;
	/* Then: its context, which is taken over. */
	void (*start)(void *userdata, int fd);
	/* A container with nothing in it; of the descriptor of a new /dev/vfio/vfio, which is taken
	 * over, or -1. Its handle. */
	int (*open)(void *userdata, int fd);
	/* No group is in it. With it go its mappings. */
	void (*close)(void *userdata, int container);
	/* It gets its first group. -EINVAL: they do not go together. */
	int (*begin)(void *userdata, int container, struct backend_group *group);
	/* One more group. -EINVAL: not in this container. */
	int (*attach)(void *userdata, int container, struct backend_group *group);
	/* -EBUSY: a device of it is open. With the last group go all pins. */
	int (*detach)(void *userdata, int container, struct backend_group *group);
	/* Its descriptor was closed, and now its last device is: no more than a memory of it is
	 * left. */
	void (*forget)(void *userdata, int container, struct backend_group *group);
	/* flags: WIRE_READ_ALLOWED, WIRE_WRITE_ALLOWED. `from`: a container that has the same
	 * mapping already, or NO_CONTAINER. */
	int (*map)(void *userdata, int container, int from, const struct backend_memory *memory,
		uint64_t iova, uint64_t length, uint32_t flags);
	/* Exactly what was mapped; fails only where there is no group in the container. */
	int (*unmap)(void *userdata, int container, uint64_t iova, uint64_t length);
	/* Fills what describes the container; the header is the caller's. */
	int (*info)(void *userdata, int container, struct wire_info *info);
	/* A descriptor of the device, the caller's. */
	int (*get_device)(
		void *userdata, int container, struct backend_group *group, const char *name);
	/* The function alone. -EOPNOTSUPP: it has no way of that. */
	int (*reset)(void *userdata, int device);
	/*
	 * The groups that a reset of its bus reaches, each once, by number, at most BUS_GROUPS_MAX:
	 * how many. -EOPNOTSUPP: its bus cannot be reset.
	 */
	int (*bus_groups)(void *userdata, int device, uint32_t *numbers);
	/* All of these groups. -EOPNOTSUPP: a device of theirs is not with VFIO. */
	int (*reset_bus)(void *userdata, int device, const int *groups, size_t n_groups);
};

extern const struct backend backend_type1; /* VFIO's type1 IOMMU, version 2 */
/* All the ioctl(2) requests that a backend makes; 0 behind the last. */
extern const unsigned long type1_ioctls[];
extern const unsigned long iommufd_ioctls[];
