/* A group comes into an IOAS, and leaves it: drivers/vfio/group.c, drivers/vfio/iommufd.c */
#include "daemon/keeper/iommufd.h"

#include "daemon/base/iommufd-kernel.h"
#include "daemon/base/util.h"
#include "daemon/keeper/info.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static int enter(const struct iommufd *iommufd, const struct backend_group *group)
{
	int fd = iommufd->fd;
	return ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &fd) < 0 ? -errno : 0;
}

static int leave(const struct backend_group *group)
{
	return ioctl(group->fd, VFIO_GROUP_UNSET_CONTAINER) < 0 ? -errno : 0;
}

/* Its device, or those, are gone: ENODEV. */
static bool is_viable(const struct backend_group *group)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (ioctl(group->fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return errno == ENODEV;
	return status.flags & VFIO_GROUP_FLAGS_VIABLE;
}

/*
 * Is a device of it open? That has the DMA of its group for its context: then the group, which has
 * no container at this moment, is viable for nobody. 0, 1, or -errno; then it is in no container.
 */
static int is_open(const struct iommufd *iommufd, const struct backend_group *group)
{
	int r = leave(group);
	if (r < 0)
		return r;
	bool is_open = !is_viable(group);
	/* The devices that are open stay where they are; nobody else has the group's descriptor. */
	r = enter(iommufd, group);
	return r < 0 ? r : is_open;
}

static int device_open(const struct backend_group *group, const char *name)
{
	int fd = ioctl(group->fd, VFIO_GROUP_GET_DEVICE_FD, name);
	return fd < 0 ? -errno : fd;
}

/* --- what its devices leave --------------------------------------------------------------------
 */

/* All devices of a group, open in an IOAS that has nothing but them. */
struct measuring {
	const struct iommufd *iommufd;
	const struct backend_group *group;
	uint32_t ioas,
		device; /* the first of them has this number in the context, or a lower one */
	int *devices;
	size_t n;
};

static void measuring_end(struct measuring *measuring)
{
	while (measuring->n > 0)
		close(measuring->devices[--measuring->n]);
	free(measuring->devices);
	iommufd_destroy(measuring->iommufd, measuring->ioas);
}

static int measuring_begin(struct measuring *measuring)
{
	const struct members *members = &measuring->group->members;
	const struct iommufd *iommufd = measuring->iommufd;

	int r = ioas_alloc(iommufd, &measuring->ioas);
	if (r == 0)
		r = ioas_choose(iommufd, measuring->ioas);
	/* The lowest number that is free will be the first device's. */
	if (r == 0)
		r = ioas_alloc(iommufd, &measuring->device);
	if (r < 0)
		return r;
	iommufd_destroy(iommufd, measuring->device);
	measuring->devices = calloc(members->n, sizeof(*measuring->devices));
	if (!measuring->devices)
		return -ENOMEM;
	for (; measuring->n < members->n; measuring->n++) {
		int fd = device_open(measuring->group, members->names[measuring->n]);
		if (fd < 0)
			return fd;
		measuring->devices[measuring->n] = fd;
	}
	return 0;
}

static int measure(const struct measuring *measuring, struct iommufd_group *own)
{
	const struct iommufd *iommufd = measuring->iommufd;
	int r = is_open(iommufd, measuring->group);
	if (r < 0)
		return r;
	/* An mdev has no DMA of its own: what says so here would never say that it is open. */
	return r > 0 ? info_ask(iommufd->fd, &own->info) : -EOPNOTSUPP;
}

/*
 * The anchor. Whose device it is made for does not matter; but the group path does not tell the
 * number of a device, so it is looked for from the one that should be it downwards: if a client has
 * closed another one just now, it is lower. What is no device is ENOENT.
 */
static int anchor(const struct measuring *measuring, struct ioas *ioas)
{
	struct iommu_hwpt_alloc alloc = { .size = sizeof(alloc), .pt_id = ioas->id };
	int r = -ENOENT;

	for (uint32_t id = measuring->device; r == -ENOENT && id > 0; id--) {
		alloc.dev_id = id;
		r = ioctl(measuring->iommufd->fd, IOMMU_HWPT_ALLOC, &alloc) < 0 ? -errno : 0;
	}
	if (r == 0)
		ioas->anchor = alloc.out_hwpt_id;
	return r;
}

int iommufd_attach(void *userdata, int container, struct backend_group *group)
{
	struct iommufd *iommufd = userdata;
	struct ioas *ioas = &iommufd->ioas[container];
	struct measuring measuring = { .iommufd = iommufd, .group = group };
	struct iommufd_group *own = calloc(1, sizeof(*own));

	if (!own)
		return -ENOMEM;
	/* If one has been chosen, none is made by this. */
	int r = group->members.n > 0 ? ioas_choose(iommufd, ioas->id) : -ENODEV;
	if (r == 0)
		r = enter(iommufd, group);
	if (r == 0) {
		r = measuring_begin(&measuring);
		if (r == 0)
			r = measure(&measuring, own);
		if (r == 0 && ioas->anchor == 0)
			r = anchor(&measuring, ioas);
		measuring_end(&measuring);
		if (r < 0)
			leave(group);
	}
	if (r < 0) {
		free(own);
		return r;
	}
	LIST_INSERT_HEAD(&ioas->groups, own, of_ioas);
	group->own = own;
	return 0;
}

/* --- and out of it ------------------------------------------------------------------------------
 */

void iommufd_forget(void *userdata, int container, struct backend_group *group)
{
	struct iommufd *iommufd = userdata;
	struct ioas *ioas = &iommufd->ioas[container];
	struct iommufd_group *own = group->own;

	if (!own)
		return;
	LIST_REMOVE(own, of_ioas);
	free(own);
	group->own = NULL;
	if (!LIST_EMPTY(&ioas->groups))
		return;
	/* As with type1: without a group nothing is pinned. */
	iommufd_destroy(iommufd, ioas->anchor);
	ioas->anchor = 0;
}

int iommufd_detach(void *userdata, int container, struct backend_group *group)
{
	const struct iommufd *iommufd = userdata;

	/* So that none is made. */
	int r = ioas_choose(iommufd, iommufd->ioas[container].id);
	if (r == 0)
		r = is_open(iommufd, group);
	if (r == 0)
		r = leave(group);
	else if (r > 0)
		r = -EBUSY;
	if (r == 0)
		iommufd_forget(userdata, container, group);
	return r;
}

int iommufd_get_device(void *userdata, int container, struct backend_group *group, const char *name)
{
	const struct iommufd *iommufd = userdata;
	int r = ioas_choose(iommufd, iommufd->ioas[container].id);

	return r < 0 ? r : device_open(group, name);
}
