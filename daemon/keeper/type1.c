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

const unsigned long backend_ioctls[] = {
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

static int attach(void *userdata, int container, int group)
{
	(void)userdata;
	return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0 ? -errno : 0;
}

static int detach(void *userdata, int container, int group)
{
	(void)userdata;
	(void)container;
	return ioctl(group, VFIO_GROUP_UNSET_CONTAINER) < 0 ? -errno : 0;
}

static int begin(void *userdata, int container, int group)
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

static int map(void *userdata, int container, void *address, uint64_t iova, uint64_t length,
	uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = (flags & WIRE_READ_ALLOWED ? VFIO_DMA_MAP_FLAG_READ : 0) |
			 (flags & WIRE_WRITE_ALLOWED ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)address,
		.iova = iova,
		.size = length,
	};
	(void)userdata;
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

/* As large as the kernel wants it, within reason; it may want more when asked again. */
#define INFO_MAX 65536

static int info(void *userdata, int container, struct wire_info *info)
{
	uint32_t size = sizeof(struct vfio_iommu_type1_info);
	(void)userdata;

	for (int tries = 0; tries < 4; tries++) {
		_cleanup_free_ struct vfio_iommu_type1_info *kernel = calloc(1, size);
		if (!kernel)
			return -ENOMEM;
		kernel->argsz = size;
		if (ioctl(container, VFIO_IOMMU_GET_INFO, kernel) < 0)
			return -errno;
		if (kernel->argsz > INFO_MAX)
			return -EFBIG;
		if (kernel->argsz > size) {
			size = kernel->argsz;
			continue;
		}
		int r = info_parse(kernel, size, info);
		if (r < 0)
			return r;
		info->is_coherent = ioctl(container, VFIO_CHECK_EXTENSION,
					    (unsigned long)VFIO_DMA_CC_IOMMU) == 1;
		return 0;
	}
	return -EAGAIN;
}

static int get_device(void *userdata, int container, int group, const char *name)
{
	(void)userdata;
	(void)container;
	int fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	return fd < 0 ? -errno : fd;
}

const struct backend backend_type1 = {
	.begin = begin,
	.attach = attach,
	.detach = detach,
	.map = map,
	.unmap = unmap,
	.info = info,
	.get_device = get_device,
	.reset = device_reset,
	.bus_groups = device_bus_groups,
	.reset_bus = device_reset_bus,
};
