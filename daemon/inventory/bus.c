#include "daemon/inventory/bus.h"

#include "daemon/base/util.h"

#include <string.h>

/*
 * Names as the drivers register them (drivers/vfio/, drivers/s390/crypto/vfio_ap_drv.c).
 *
 * "mdev" is not here on purpose: a mediated device is created by its parent's driver for
 * VFIO and sits on a VFIO driver from birth (Documentation/driver-api/vfio-mediated-device.rst):
 * there is nothing to take it from, and nothing to return it to.
 *
 * vfio-platform binds nothing that it cannot reset (reset_required), vfio-amba does. fsl-mc's
 * resets the container with the device, cdx's and ap's the device itself. PCI's asks the device.
 *
 * All have a driver_override but older kernels' AP queues, which a take refuses then, before it
 * writes anything; VMs are given the matrix, an mdev.
 */
static const struct bus buses[] = {
	{ "pci", "vfio-pci", "vfio-pci", false },
	{ "platform", "vfio-platform", "vfio-platform", true },
	{ "amba", "vfio-amba", "vfio-amba", false },
	{ "fsl-mc", "vfio-fsl-mc", "vfio-fsl-mc", true },
	{ "cdx", "vfio-cdx", "vfio-cdx", true },
	{ "ap", "vfio_ap", "vfio_ap", true },
};

const struct bus *bus_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(buses); i++)
		if (strcmp(buses[i].name, name) == 0)
			return &buses[i];
	return NULL;
}
