/* I/O address spaces of an iommufd context: drivers/iommu/iommufd/ioas.c, vfio_compat.c */
#include "daemon/keeper/iommufd.h"

#include "daemon/base/iommufd-kernel.h"
#include "daemon/base/util.h"
#include "daemon/keeper/device.h"
#include "daemon/keeper/info.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

const unsigned long iommufd_ioctls[] = {
	IOMMU_DESTROY,
	IOMMU_IOAS_ALLOC,
	IOMMU_IOAS_COPY,
	IOMMU_IOAS_MAP,
	IOMMU_IOAS_MAP_FILE,
	IOMMU_IOAS_UNMAP,
	IOMMU_HWPT_ALLOC,
	IOMMU_VFIO_IOAS,
	/* The context knows these, too. */
	VFIO_CHECK_EXTENSION,
	VFIO_IOMMU_GET_INFO, /* and a device's VFIO_DEVICE_GET_PCI_HOT_RESET_INFO */
	VFIO_GROUP_GET_STATUS,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_PCI_HOT_RESET,
	0,
};

int ioas_alloc(const struct iommufd *iommufd, uint32_t *id)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	if (ioctl(iommufd->fd, IOMMU_IOAS_ALLOC, &alloc) < 0)
		return -errno;
	*id = alloc.out_ioas_id;
	return 0;
}

void iommufd_destroy(const struct iommufd *iommufd, uint32_t id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	if (id != 0)
		ioctl(iommufd->fd, IOMMU_DESTROY, &destroy);
}

int ioas_choose(const struct iommufd *iommufd, uint32_t id)
{
	struct iommu_vfio_ioas ioas = {
		.size = sizeof(ioas),
		.ioas_id = id,
		.op = id ? IOMMU_VFIO_IOAS_SET : IOMMU_VFIO_IOAS_CLEAR,
	};
	return ioctl(iommufd->fd, IOMMU_VFIO_IOAS, &ioas) < 0 ? -errno : 0;
}

static void start(void *userdata, int fd)
{
	struct iommufd *iommufd = userdata;
	iommufd->fd = fd;
}

static int ioas_open(void *userdata, int fd)
{
	struct iommufd *iommufd = userdata;
	int i = 0;

	if (fd >= 0)
		close(fd);
	while (i < IOMMUFD_IOAS_MAX && iommufd->ioas[i].id != 0)
		i++;
	if (i == IOMMUFD_IOAS_MAX)
		return -ENFILE;
	struct ioas *ioas = &iommufd->ioas[i];
	*ioas = (struct ioas){ 0 };
	LIST_INIT(&ioas->groups);
	int r = ioas_alloc(iommufd, &ioas->id);
	return r < 0 ? r : i;
}

static int unmap(void *userdata, int container, uint64_t iova, uint64_t length)
{
	const struct iommufd *iommufd = userdata;
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = iommufd->ioas[container].id,
		.iova = iova,
		.length = length,
	};
	return ioctl(iommufd->fd, IOMMU_IOAS_UNMAP, &unmap) < 0 ? -errno : 0;
}

static void ioas_close(void *userdata, int container)
{
	struct iommufd *iommufd = userdata;
	struct ioas *ioas = &iommufd->ioas[container];

	/* All of it: it is not to be pinned for longer, even if a device should be in it still. */
	unmap(iommufd, container, 0, UINT64_MAX);
	iommufd_destroy(iommufd, ioas->anchor);
	iommufd_destroy(iommufd, ioas->id);
	ioas->id = ioas->anchor = 0;
}

static int map_file(struct iommufd *iommufd, const struct iommu_ioas_map *by_address,
	const struct backend_memory *memory)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = by_address->flags,
		.ioas_id = by_address->ioas_id,
		.fd = memory->fd,
		.start = memory->offset,
		.length = by_address->length,
		.iova = by_address->iova,
	};

	if (iommufd->has_no_map_file)
		return -ENOTTY;
	int r = ioctl(iommufd->fd, IOMMU_IOAS_MAP_FILE, &map) < 0 ? -errno : 0;
	iommufd->has_no_map_file = r == -ENOTTY;
	return r;
}

static int copy(const struct iommufd *iommufd, int from, const struct iommu_ioas_map *map)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = map->flags,
		.dst_ioas_id = map->ioas_id,
		.src_ioas_id = iommufd->ioas[from].id,
		.length = map->length,
		.dst_iova = map->iova,
		.src_iova = map->iova,
	};
	return ioctl(iommufd->fd, IOMMU_IOAS_COPY, &copy) < 0 ? -errno : 0;
}

static int map(void *userdata, int container, int from, const struct backend_memory *memory,
	uint64_t iova, uint64_t length, uint32_t flags)
{
	struct iommufd *iommufd = userdata;
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA |
			 (flags & WIRE_READ_ALLOWED ? IOMMU_IOAS_MAP_READABLE : 0U) |
			 (flags & WIRE_WRITE_ALLOWED ? IOMMU_IOAS_MAP_WRITEABLE : 0U),
		.ioas_id = iommufd->ioas[container].id,
		.user_va = (uintptr_t)memory->address,
		.length = length,
		.iova = iova,
	};

	if (from != NO_CONTAINER)
		return copy(iommufd, from, &map);
	int r = map_file(iommufd, &map, memory);
	/* EINVAL is of a file that is shorter by now (mm/memfd.c), as of an IOVA that cannot be
	 * mapped: by address the first is EFAULT, as with type1. */
	if (r == -ENOTTY || r == -EINVAL)
		r = ioctl(iommufd->fd, IOMMU_IOAS_MAP, &map) < 0 ? -errno : 0;
	return r;
}

/* What both leave: of ranges that are sorted and apart. */
static void narrow(struct wire_info *info, const struct wire_info *by)
{
	struct wire_range ranges[WIRE_RANGES_MAX] = { 0 };
	uint32_t n = 0;

	for (uint32_t i = 0, j = 0; i < info->n_ranges && j < by->n_ranges;) {
		const struct wire_range *a = &info->ranges[i], *b = &by->ranges[j];
		struct wire_range both = {
			.first = a->first > b->first ? a->first : b->first,
			.last = a->last < b->last ? a->last : b->last,
		};
		/* If there were more, the first: none that could not be had. */
		if (both.first <= both.last && n < WIRE_RANGES_MAX)
			ranges[n++] = both;
		if (a->last < b->last)
			i++;
		else
			j++;
	}
	memcpy(info->ranges, ranges, n * sizeof(*ranges));
	info->n_ranges = n;
	info->page_sizes &= by->page_sizes;
	info->is_coherent = info->is_coherent && by->is_coherent;
}

static int info(void *userdata, int container, struct wire_info *info)
{
	const struct iommufd *iommufd = userdata;
	const struct iommufd_group *group = LIST_FIRST(&iommufd->ioas[container].groups);
	struct wire_header header = info->header;

	if (!group)
		return -EINVAL;
	*info = group->info;
	info->header = header;
	while ((group = LIST_NEXT(group, of_ioas)))
		narrow(info, &group->info);
	return 0;
}

void iommufd_init(struct iommufd *iommufd)
{
	memset(iommufd, 0, sizeof(*iommufd));
	iommufd->fd = -1;
	iommufd->backend = (struct backend){
		.userdata = iommufd,
		.is_iommufd = true,
		.start = start,
		.open = ioas_open,
		.close = ioas_close,
		.begin = iommufd_attach,
		.attach = iommufd_attach,
		.detach = iommufd_detach,
		.forget = iommufd_forget,
		.map = map,
		.unmap = unmap,
		.info = info,
		.get_device = iommufd_get_device,
		.reset = device_reset,
		.bus_groups = device_bus_groups,
		.reset_bus = device_reset_bus,
	};
}
