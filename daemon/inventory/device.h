/*
 * A device with an IOMMU group, as sysfs and udev tell it. Written by the
 * inventory only; everybody else reads. Strings are owned by the device and
 * never NULL unless said so.
 */
#pragma once

#include "daemon/base/refusal.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uthash.h>

struct group;

struct device {
	TAILQ_ENTRY(device) of_group;
	UT_hash_handle by_syspath;
	struct group *group;

	char *syspath;                 /* "/sys/devices/pci0000:00/0000:00:1c.0/0000:01:00.0" */
	ino_t inode;                   /* of that directory: another one is another device */
	char name[DEVICE_NAME_SIZE];   /* last part of syspath; unique within its bus */
	char bus[32];                  /* name of its subsystem: "pci", "platform", "mdev" … */
	char driver[DRIVER_NAME_SIZE]; /* "" = none */
	char *description;  /* from hwdb: "Intel 82540EM Gigabit Ethernet"; "" if unknown */
	char *reset_method; /* "flr bus"; "" = none */
	char **properties;  /* from udev's database, "KEY=value"; NULL = none */
	char **tags;        /* current ones, from udev's database; NULL = none */
	int numa_node;      /* -1 = unknown */
	uint64_t facts;     /* a hash of these, and of whose VF it is */
	unsigned n_looks;   /* that are still due: its driver may not stay (probing.c) */
	bool is_new;        /* it has come since the start, and has not been seen with a driver */

	/* PCI only, all zero elsewhere (vf_index: -1) */
	bool is_pci;
	uint16_t vendor, product, subsystem_vendor, subsystem_product;
	uint32_t class;                /* 24 bits: class, subclass, interface */
	char physfn[DEVICE_NAME_SIZE]; /* of a VF: its PF; "" = not a VF */
	int vf_index;                  /* of a VF: its number under the PF from 0; -1 */
	unsigned n_virtfns;            /* of a PF: how many VFs exist now */

	/* mdev only, else "" */
	char mdev_type[64];            /* "mtty-1"; "" if the kernel does not say */
	char parent[DEVICE_NAME_SIZE]; /* whose driver has made it */
};
TAILQ_HEAD(device_list, device);

/* PCI-to-PCI bridges and the like: never bound, they do no DMA of their own for a guest. */
bool device_is_bridge(const struct device *device);
/* Bridges by class, endpoints by header: host bridges, LPC and ISA bridges and their like. */
bool device_is_chipset(const struct device *device);
/* Bound to a driver through which VFIO hands it out ("vfio-pci", a variant, "vfio-platform"). */
bool device_on_vfio(const struct device *device);
/* No driver, or one that leaves DMA to user space (VFIO, pcieport, pci-stub): keeps viability. */
bool device_leaves_dma(const struct device *device);
/* The same for a driver's name, "" = none. */
bool driver_is_vfio(const char *driver);
bool driver_leaves_dma(const char *driver);
/*
 * The driver_override that vfiod's udev rule has given it before a driver of the host could have
 * it (property VFIOD_CLAIM); "" = none. It may have got another one since.
 */
const char *device_claim(const struct device *device);

/* Compares names so that 0000:01:00.2 comes before 0000:01:00.10; for qsort and sorted lists. */
int device_compare(const struct device *a, const struct device *b);
