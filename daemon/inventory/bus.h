/*
 * What differs from bus to bus, in a table: everything else in vfiod works on
 * any device that has an iommu_group link.
 */
#pragma once

#include <stdbool.h>

struct bus {
	const char *name;        /* directory below /sys/bus */
	const char *vfio_driver; /* the driver that hands its devices out */
	const char *vfio_module; /* module to load for it */
	bool is_reset;           /* that driver resets each device between two users of it */
};

/* NULL: a bus whose devices vfiod lists but cannot take. */
const struct bus *bus_find(const char *name);
