/*
 * An iommufd and devices by their own nodes, as anybody may use them who was given their
 * descriptors. All return 0 or -errno.
 */
#pragma once

#include <stdint.h>

/* A device, /dev/vfio/devices/vfioX, to a context, /dev/iommu: before, it does nothing. */
int cdev_bind(int device, int iommufd);
/* To an I/O address space of that context, or away from it. */
int cdev_attach(int device, uint32_t ioas);
int cdev_detach(int device);

int ioas_allocate(int iommufd, uint32_t *ioas);
/* Readable and writable memory at this IOVA. */
int ioas_map(int iommufd, uint32_t ioas, void *memory, uint64_t iova, uint64_t length);
/* Of a memfd, from its beginning; -ENOTTY: the kernel is older than 6.13. */
int ioas_map_file(int iommufd, uint32_t ioas, int memfd, uint64_t iova, uint64_t length);
int ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length);
