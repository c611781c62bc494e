/* What a VFIO device that somebody has open says of itself, through a copy of his descriptor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The address of a PCI device, as VFIO has it in its reset sets. */
struct device_address {
	unsigned segment, bus, devfn;
};

#define RESET_SET_MAX 256
#define CONFIG_HEADER_SIZE 64

struct device_facts {
	bool is_pci;
	unsigned char header[CONFIG_HEADER_SIZE]; /* of config space; is_pci only */
	/* VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: the device and those reset with it; 0: not told */
	size_t n_set;
	struct device_address set[RESET_SET_MAX];
};

/*
 * Asks a copy of the descriptor, if it is one of a VFIO device, and closes it again. 0, or
 * -ESRCH, -EBADF, -ENODEV: it is none any more, or -errno: it cannot be asked. In a child: closing
 * it may reset the device.
 */
int device_facts_read(pid_t pid, int fd, struct device_facts *facts);
