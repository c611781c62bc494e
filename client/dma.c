/* What a client maps by itself, and tells the daemon of. */
#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* 0, or what is said of the ioctl that failed. */
static int dma_result(struct vfiod *vfiod, const char *what, int r, uint64_t iova)
{
	int error = -errno;

	if (r >= 0)
		return 0;
	if (vfiod)
		vfiod_fail(vfiod, error, "%s at 0x%" PRIx64 ": %s", what, iova,
			strerrordesc_np(-error));
	return error;
}

static bool add_address(struct json_object *object, const char *key, uint64_t address)
{
	char text[32];

	snprintf(text, sizeof text, "0x%" PRIx64, address);
	return object_add(object, key, json_object_new_string(text));
}

/* address NULL: it is unmapped. Nothing that goes wrong here is the caller's failure. */
static void report(struct vfiod *vfiod, const char *token, int container_fd, const void *address,
	uint64_t iova, uint64_t length)
{
	const char *method =
		address ? "org.vfiod.Ledger.ReportMap" : "org.vfiod.Ledger.ReportUnmap";
	struct json_object *parameters;

	if (!vfiod || vfiod_begin(vfiod, false) < 0)
		return;
	/* What Varlink's integers cannot say is no memory of anybody's. */
	if (length >= INT64_MAX) {
		vfiod_fail(
			vfiod, -EINVAL, "a length of %" PRIu64 " bytes cannot be reported", length);
		return;
	}
	parameters = json_object_new_object();
	if ((token && !object_add(parameters, "token", json_object_new_string(token))) ||
		!object_add(parameters, "container", json_object_new_int(container_fd)) ||
		!add_address(parameters, "iova", iova) ||
		(address && !add_address(parameters, "address", (uintptr_t)address)) ||
		!object_add(parameters, "length", json_object_new_int64((int64_t)length))) {
		json_object_put(parameters);
		vfiod_fail(vfiod, -ENOMEM, "out of memory");
		return;
	}
	vfiod_tell(vfiod, method, parameters);
}

int vfiod_dma_map(struct vfiod *vfiod, const char *token, int container_fd, void *address,
	uint64_t iova, uint64_t length, int flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map,
		.vaddr = (uintptr_t)address,
		.iova = iova,
		.size = length,
	};
	int r;

	if (flags & ~(VFIOD_MAP_READ | VFIOD_MAP_WRITE))
		return vfiod ? vfiod_fail(vfiod, -EINVAL, "flags of a mapping that are not known")
			     : -EINVAL;
	if (flags & VFIOD_MAP_READ)
		map.flags |= VFIO_DMA_MAP_FLAG_READ;
	if (flags & VFIOD_MAP_WRITE)
		map.flags |= VFIO_DMA_MAP_FLAG_WRITE;
	r = dma_result(
		vfiod, "VFIO_IOMMU_MAP_DMA", ioctl(container_fd, VFIO_IOMMU_MAP_DMA, &map), iova);
	if (r == 0)
		report(vfiod, token, container_fd, address, iova, length);
	return r;
}

int vfiod_dma_unmap(struct vfiod *vfiod, const char *token, int container_fd, uint64_t iova,
	uint64_t length, uint64_t *unmapped)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof unmap,
		.iova = iova,
		.size = length,
	};
	int r = dma_result(vfiod, "VFIO_IOMMU_UNMAP_DMA",
		ioctl(container_fd, VFIO_IOMMU_UNMAP_DMA, &unmap), iova);

	if (r < 0)
		return r;
	/* None: then there is nothing to tell of, but of a container that was closed. */
	report(vfiod, token, container_fd, NULL, iova, length);
	if (unmapped)
		*unmapped = unmap.size;
	return 0;
}
