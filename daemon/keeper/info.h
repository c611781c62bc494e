/* What VFIO_IOMMU_GET_INFO says, read with care: a chain of capabilities by offsets. */
#pragma once

#include "daemon/base/wire.h"

/*
 * `size` bytes of struct vfio_iommu_type1_info and what follows it: page sizes, IOVA ranges and
 * mappings left go to *info. 0, or -EBADMSG: the chain leads out of it, or has no end.
 */
int info_parse(const void *kernel, size_t size, struct wire_info *info);
/*
 * Asks a container, or an iommufd context of the IOAS that is chosen: that, and whether it is
 * coherent. 0 or -errno.
 */
int info_ask(int container, struct wire_info *info);
