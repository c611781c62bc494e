#include "tests/vm/programs/iommufd.h"

#include "daemon/base/iommufd-kernel.h"

#include <errno.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

/* include/uapi/linux/vfio.h since 6.6: Debian 12's does not have them. */
#define CDEV_BIND _IO(VFIO_TYPE, VFIO_BASE + 18)
#define CDEV_ATTACH _IO(VFIO_TYPE, VFIO_BASE + 19)
#define CDEV_DETACH _IO(VFIO_TYPE, VFIO_BASE + 20)

struct cdev_bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
};

struct cdev_attach {
	uint32_t argsz, flags, pt_id;
};

struct cdev_detach {
	uint32_t argsz, flags;
};

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

int cdev_bind(int device, int iommufd)
{
	struct cdev_bind bind = { .argsz = sizeof(bind), .iommufd = iommufd };

	return result(ioctl(device, CDEV_BIND, &bind));
}

int cdev_attach(int device, uint32_t ioas)
{
	struct cdev_attach attach = { .argsz = sizeof(attach), .pt_id = ioas };

	return result(ioctl(device, CDEV_ATTACH, &attach));
}

int cdev_detach(int device)
{
	struct cdev_detach detach = { .argsz = sizeof(detach) };

	return result(ioctl(device, CDEV_DETACH, &detach));
}

int ioas_allocate(int iommufd, uint32_t *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int r = result(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc));

	*ioas = alloc.out_ioas_id;
	return r;
}

int ioas_map(int iommufd, uint32_t ioas, void *memory, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.user_va = (uintptr_t)memory,
		.length = length,
		.iova = iova,
	};

	return result(ioctl(iommufd, IOMMU_IOAS_MAP, &map));
}

int ioas_map_file(int iommufd, uint32_t ioas, int memfd, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.fd = memfd,
		.length = length,
		.iova = iova,
	};

	return result(ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map));
}

int ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = ioas, .iova = iova, .length = length
	};

	return result(ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap));
}
