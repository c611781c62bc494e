/*
 * The backend iommufd: one context (/dev/iommu) a space, a container is an IOAS of it. The daemon
 * has opened it and set its RLIMIT_MODE to 1 (memory/keeper-ops.c), and so the bill is the keeper's
 * VmLck, as with type1.
 *
 * Groups, and not their devices' own nodes: a client that had one of those could attach it to
 * another IOAS. With the context as their container (drivers/vfio/group.c) the IOAS that a device
 * gets is the one that was set last, by IOMMU_VFIO_IOAS, before it was opened; and it is in it
 * while it is open, and no longer. So the kernel would pin what is mapped when the first device is
 * opened, and nobody would be told when the last is closed. A client of type1 knows better: what is
 * attached is pinned, and memory that is short is found by Attach and Map. To have that here:
 *
 * - each IOAS has an anchor, an I/O page table (HWPT) that no device uses. What an IOAS has mapped
 *   is pinned as long as it has one (drivers/iommu/iommufd/pages.c), whatever devices do.
 * - such a page table is made for a device, while that is open; and which IOVAs a device leaves, an
 *   IOAS says only while it is in it. So attaching opens all devices of the group in an IOAS of
 *   their own, for a moment, asks that, makes the anchor if there is none yet, and closes them.
 *   The IOVAs of a container are what all of its groups leave.
 * - whether a device of the group is open, when it is to leave, its DMA says: the kernel would let
 * it go all the same, and the devices stay. An mdev has no DMA of its own, and so is not accepted:
 *   whether it is still open nobody could tell, not even by opening its group.
 *
 * A mapping goes into the first IOAS by IOMMU_IOAS_MAP_FILE, where the kernel has that (6.14), or
 * by address; and into the others by IOMMU_IOAS_COPY, for which nothing is pinned, or billed,
 * twice.
 */
#pragma once

#include "daemon/keeper/backend.h"

#include <sys/queue.h>

#define IOMMUFD_IOAS_MAX 64

/* A group that is in an IOAS. */
struct iommufd_group {
	LIST_ENTRY(iommufd_group) of_ioas;
	struct wire_info info; /* what it leaves */
};

struct ioas {
	uint32_t id;     /* 0: none */
	uint32_t anchor; /* 0: none, as there is no group */
	LIST_HEAD(, iommufd_group) groups;
};

struct iommufd {
	struct backend backend; /* its userdata is this */
	int fd;                 /* /dev/iommu; -1: it has not come yet */
	bool has_no_map_file;   /* the kernel has said so */
	struct ioas ioas[IOMMUFD_IOAS_MAX];
};

/* Its context comes by backend.start(). */
void iommufd_init(struct iommufd *iommufd);

/* --- between its files: 0 or -errno --------------------------------------------------------------
 */
int ioas_alloc(const struct iommufd *iommufd, uint32_t *id);
void iommufd_destroy(const struct iommufd *iommufd, uint32_t id); /* any object; 0: none */
/* The IOAS of what is opened next; 0: there is none, and it cannot be. */
int ioas_choose(const struct iommufd *iommufd, uint32_t id);

/* The backend's operations (iommufd-group.c). */
int iommufd_attach(void *userdata, int container, struct backend_group *group);
int iommufd_detach(void *userdata, int container, struct backend_group *group);
void iommufd_forget(void *userdata, int container, struct backend_group *group);
int iommufd_get_device(
	void *userdata, int container, struct backend_group *group, const char *name);
