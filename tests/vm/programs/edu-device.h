/*
 * QEMU's edu device as its open VFIO descriptor gives it: registers, and a DMA engine with one page
 * of memory behind it. What fails ends the program (program.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The device puts out 28 bits of an address. */
#define EDU_LAST_ADDRESS ((1UL << 28) - 1)
/* Of one transfer. Older QEMUs abort on a whole page (edu_check_range in hw/misc/edu.c). */
#define EDU_BYTES 2048

struct edu_device {
	int fd;
	volatile uint8_t *registers; /* BAR 0 */
	size_t n_registers_bytes;
};

/* The device may do DMA from here on. The descriptor is the object's. */
void edu_device_open(struct edu_device *device, int fd);
/* Nothing of it stays open. */
void edu_device_close(struct edu_device *device);
/* One transfer, to its end. */
void edu_to_device(const struct edu_device *device, uint64_t iova);
void edu_to_memory(const struct edu_device *device, uint64_t iova);

/* xorshift64: no two places of it alike, and different for each seed. EDU_BYTES. */
void edu_pattern(uint8_t *bytes, uint64_t seed);
