/* VFIO containers: linux/vfio.h, drivers/vfio/vfio_iommu_type1.c */
#include "daemon/keeper/backend.h"
#include "daemon/keeper/device.h"
#include "daemon/keeper/info.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

/* NOLINTBEGIN(misc-redundant-expression): that they are equivalent is what is asserted. */
_Static_assert(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO == VFIO_IOMMU_GET_INFO &&
		       VFIO_DEVICE_PCI_HOT_RESET == VFIO_IOMMU_MAP_DMA,
	"both are allowed with the others");
/* NOLINTEND(misc-redundant-expression) */

const unsigned long type1_ioctls[] = {
	VFIO_GET_API_VERSION,
	VFIO_CHECK_EXTENSION,
	VFIO_SET_IOMMU,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_GROUP_GET_DEVICE_FD,
	/* A device's VFIO_DEVICE_GET_PCI_HOT_RESET_INFO and VFIO_DEVICE_PCI_HOT_RESET have the
	 * numbers of the next two, of a container. */
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	VFIO_DEVICE_RESET,
	0,
};

static int container_open(void *userdata, int fd)
{
	(void)userdata;
	return fd;
}

static void container_close(void *userdata, int container)
{
	(void)userdata;
	close(container);
}

static int attach(void *userdata, int container, struct backend_group *group)
{
	(void)userdata;
	return ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &container) < 0 ? -errno : 0;
}

static int detach(void *userdata, int container, struct backend_group *group)
{
	(void)userdata;
	(void)container;
	return ioctl(group->fd, VFIO_GROUP_UNSET_CONTAINER) < 0 ? -errno : 0;
}

static void forget(void *userdata, int container, struct backend_group *group)
{
	(void)userdata;
	(void)container;
	(void)group;
}

static int begin(void *userdata, int container, struct backend_group *group)
{
	if (ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
		ioctl(container, VFIO_CHECK_EXTENSION, (unsigned long)VFIO_TYPE1v2_IOMMU) != 1)
		return -EOPNOTSUPP;
	int r = attach(userdata, container, group);
	if (r < 0)
		return r;
	if (ioctl(container, VFIO_SET_IOMMU, (unsigned long)VFIO_TYPE1v2_IOMMU) < 0) {
		r = -errno;
		detach(userdata, container, group);
		return r;
	}
	return 0;
}

static int map(void *userdata, int container, int from, const struct backend_memory *memory,
	uint64_t iova, uint64_t length, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = (flags & WIRE_READ_ALLOWED ? VFIO_DMA_MAP_FLAG_READ : 0) |
			 (flags & WIRE_WRITE_ALLOWED ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)memory->address,
		.iova = iova,
		.size = length,
	};
	(void)userdata;
	(void)from;
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

static int unmap(void *userdata, int container, uint64_t iova, uint64_t length)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = length,
	};
	(void)userdata;
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
		return -errno;
	/* Where nothing is mapped that is success, of size 0. */
	return unmap.size == length ? 0 : -ENOENT;
}

static int info(void *userdata, int container, struct wire_info *info)
{
	(void)userdata;
	return info_ask(container, info);
}

static int get_device(void *userdata, int container, struct backend_group *group, const char *name)
{
	(void)userdata;
	(void)container;
	int fd = ioctl(group->fd, VFIO_GROUP_GET_DEVICE_FD, name);
	return fd < 0 ? -errno : fd;
}

const struct backend backend_type1 = {
	.open = container_open,
	.close = container_close,
	.begin = begin,
	.attach = attach,
	.detach = detach,
	.forget = forget,
	.map = map,
	.unmap = unmap,
	.info = info,
	.get_device = get_device,
	.reset = device_reset,
	.bus_groups = device_bus_groups,
	.reset_bus = device_reset_bus,
};
