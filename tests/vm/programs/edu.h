/*
 * QEMU's edu device, driven through VFIO as anybody may who was given the fd of its group, or its
 * own with an iommufd: an own container, memory at an IOVA, DMA from memory into the device and
 * back into other memory. What fails ends the program (program.h).
 */
#pragma once

#include "tests/vm/programs/edu-device.h"

#define EDU_IOVA 0x4000000 /* if there is no reason for another */

struct edu {
	int container, group; /* an iommufd, -1: with its own descriptor */
	uint32_t ioas;        /* of the iommufd */
	struct edu_device device;
	uint8_t *memory; /* two pages: what is sent, and where it comes back */
	size_t n_memory_bytes;
	uint64_t iova; /* of the memory */
};

/* A container and the device. `iova` is set; the group stays the caller's. */
void edu_open(struct edu *edu, int group, const char *name);
/* Its own descriptor, bound to the iommufd, and an IOAS. `iova` is set; the iommufd is taken over.
 */
void edu_open_cdev(struct edu *edu, int iommufd, int device);
/* Everything for DMA, with the memory mapped. */
void edu_prepare(struct edu *edu);
/* Nothing of the device stays open. */
void edu_close(struct edu *edu);
/* For who wants to compare with physical addresses: pid, address, IOVA, length. */
void edu_print_memory(const struct edu *edu);
/* Memory, device, other memory, at IOVAs that the IOMMU translates. */
void edu_check_mapped(const struct edu *edu);
/* The same addresses without a mapping: nothing may move, either way. Leaves no mapping. */
void edu_check_unmapped(struct edu *edu);
