#include "daemon/keeper/info.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

/* A chain that is longer goes round. */
#define CAPABILITIES_MAX 64

static int read_ranges(const char *bytes, size_t size, size_t offset, struct wire_info *info)
{
	struct vfio_iommu_type1_info_cap_iova_range capability;

	if (size - offset < sizeof(capability))
		return -EBADMSG;
	memcpy(&capability, bytes + offset, sizeof(capability));
	offset += sizeof(capability);
	if (capability.nr_iovas > (size - offset) / sizeof(struct vfio_iova_range))
		return -EBADMSG;

	/* If there are more, the first: fewer IOVAs than could be had, but none that could not. */
	info->n_ranges = 0;
	for (uint32_t i = 0; i < capability.nr_iovas && info->n_ranges < WIRE_RANGES_MAX; i++) {
		struct vfio_iova_range range;
		memcpy(&range, bytes + offset + i * sizeof(range), sizeof(range));
		if (range.start > range.end)
			return -EBADMSG;
		info->ranges[info->n_ranges++] = (struct wire_range){ range.start, range.end };
	}
	info->has_any_iova = 0;
	return 0;
}

static int read_left(const char *bytes, size_t size, size_t offset, struct wire_info *info)
{
	struct vfio_iommu_type1_info_dma_avail capability;

	if (size - offset < sizeof(capability))
		return -EBADMSG;
	memcpy(&capability, bytes + offset, sizeof(capability));
	info->mappings_left = capability.avail;
	return 0;
}

int info_parse(const void *kernel, size_t size, struct wire_info *info)
{
	const char *bytes = kernel;
	struct vfio_iommu_type1_info head = { 0 };
	struct vfio_info_cap_header header;

	info->page_sizes = 0;
	info->mappings_left = UINT32_MAX;
	/* A container with nothing but mdevs has no list, and says nothing of it. */
	info->has_any_iova = 1;
	info->n_ranges = 0;
	if (size < offsetof(struct vfio_iommu_type1_info, cap_offset))
		return -EBADMSG;
	memcpy(&head, bytes, size < sizeof(head) ? size : sizeof(head));
	if ((head.flags & VFIO_IOMMU_INFO_CAPS) &&
		size < offsetof(struct vfio_iommu_type1_info, cap_offset) + sizeof(head.cap_offset))
		return -EBADMSG;
	if (head.flags & VFIO_IOMMU_INFO_PGSIZES)
		info->page_sizes = head.iova_pgsizes;

	size_t offset = head.flags & VFIO_IOMMU_INFO_CAPS ? head.cap_offset : 0;
	for (int n = 0; offset != 0; offset = header.next) {
		if (offset > size || size - offset < sizeof(header) || ++n > CAPABILITIES_MAX)
			return -EBADMSG;
		memcpy(&header, bytes + offset, sizeof(header));
		int r = 0;
		if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE && header.version == 1)
			r = read_ranges(bytes, size, offset, info);
		else if (header.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL && header.version == 1)
			r = read_left(bytes, size, offset, info);
		if (r < 0)
			return r;
	}
	return 0;
}

/* As large as the kernel wants it, within reason; it may want more when asked again. */
#define INFO_MAX 65536

int info_ask(int container, struct wire_info *info)
{
	uint32_t size = sizeof(struct vfio_iommu_type1_info);

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
