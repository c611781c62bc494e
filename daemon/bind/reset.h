/*
 * Is a device reset between two clients? Nothing here resets: VFIO does, where the kernel can.
 * Pure: told from what the inventory knows.
 *
 * vfio-pci resets a function when it is opened, and again when it is closed, by a method of its
 * own (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_core_enable and _disable). What has none is reset
 * with its bus, when the last open device there is closed, if every device on that bus is on
 * vfio-pci (vfio_pci_dev_set_try_reset). A function that is alone on its bus counts as having
 * `bus` for a method; of several, the first that was found says so and is wrong
 * (drivers/pci/pci.c, pci_init_reset_methods, pci_parent_bus_reset): so `bus` says only that the
 * bus can be reset.
 */
#pragma once

#include "daemon/inventory/group.h"

/* Does it have a method that resets this function alone? */
bool device_resets_itself(const struct device *device);
/*
 * Will the next client find it reset, when its group is taken? `all`: every group of the host.
 * If not: *why, for a person, "it has no way of being reset".
 */
bool device_is_reset(const struct group_list *all, const struct device *device, const char **why);
/*
 * Visits the other devices that a reset of its bus resets, too: what is on it, and behind that
 * (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_for_each_slot_or_bus). False: there is no bus to
 * reset, it is on a root bus or not PCI; whether the kernel would, VFIO tells who has the device.
 */
typedef void (*reset_visit)(const struct device *other, void *userdata);
bool device_each_on_bus(const struct group_list *all, const struct device *device,
	reset_visit visit, void *userdata);
