/*
 * What a keeper does with the kernel's I/O address spaces, in one table of operations: so that
 * another kind of container can be had (iommufd), and so that a unit test can be the kernel and
 * fail the k-th of them. All return 0 or more, or -errno with nothing changed.
 */
#pragma once

#include "daemon/base/wire.h"

#define BUS_GROUPS_MAX 256

struct backend {
	void *userdata; /* given to each as its first argument */
	/* A container just opened gets its first group. -EINVAL: they do not go together. */
	int (*begin)(void *userdata, int container, int group);
	/* One more group. -EINVAL: not in this container. */
	int (*attach)(void *userdata, int container, int group);
	/* -EBUSY: a device of it is open. With the last group go all mappings and pins. */
	int (*detach)(void *userdata, int container, int group);
	/* flags: WIRE_READ_ALLOWED, WIRE_WRITE_ALLOWED */
	int (*map)(void *userdata, int container, void *address, uint64_t iova, uint64_t length,
		uint32_t flags);
	/* Exactly what was mapped; fails only where there is no group in the container. */
	int (*unmap)(void *userdata, int container, uint64_t iova, uint64_t length);
	/* Fills what describes the container; the header is the caller's. */
	int (*info)(void *userdata, int container, struct wire_info *info);
	/* A descriptor of the device, the caller's. */
	int (*get_device)(void *userdata, int container, int group, const char *name);
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
/* All the ioctl(2) requests that backends make; 0 behind the last. */
extern const unsigned long backend_ioctls[];
