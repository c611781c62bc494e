/* What a device is, told from what was read of it. Pure. */
#include "daemon/inventory/bus.h"
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <string.h>

/* PCI base class 06 (bridge); subclasses of pci_ids.h whose header is not the normal one. */
#define CLASS_BRIDGE 0x06
#define SUBCLASS_PCI 0x04
#define SUBCLASS_CARDBUS 0x07
#define SUBCLASS_SEMI_TRANSPARENT 0x09

static bool has_bridge_header(const struct device *device)
{
	unsigned subclass = device->class >> 8 & 0xff;

	return subclass == SUBCLASS_PCI || subclass == SUBCLASS_CARDBUS ||
	       subclass == SUBCLASS_SEMI_TRANSPARENT;
}

bool device_is_bridge(const struct device *device)
{
	return device->is_pci && device->class >> 16 == CLASS_BRIDGE && has_bridge_header(device);
}

bool device_is_chipset(const struct device *device)
{
	return device->is_pci && device->class >> 16 == CLASS_BRIDGE && !has_bridge_header(device);
}

/*
 * The generic drivers by name. PCI's variant drivers carry "vfio-pci" in their name, written
 * with dashes or, where the name is KBUILD_MODNAME, with underscores: mlx5_vfio_pci,
 * hisi_acc_vfio_pci, pds_vfio_pci, nvgrace_gpu_vfio_pci, virtio_vfio_pci, qat_vfio_pci,
 * xe-vfio-pci (drivers/vfio/pci/). No host driver does.
 */
bool driver_is_vfio(const char *driver)
{
	static const char *const names[] = { "vfio-platform", "vfio-amba", "vfio-fsl-mc",
		"vfio-cdx", "vfio_ap" };

	/* Asked of every device in every lease: what is none is seen at once. */
	const char *vfio = strstr(driver, "vfio");
	if (!vfio || strcmp(driver, "vfio-pci") == 0)
		return vfio;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(driver, names[i]) == 0)
			return true;
	return strstr(vfio, "vfio-pci") || strstr(vfio, "vfio_pci");
}

/* Those that set driver_managed_dma without being VFIO's: drivers/pci/pcie/portdrv.c and
 * drivers/pci/pci-stub.c. */
bool driver_leaves_dma(const char *driver)
{
	return *driver == '\0' || strcmp(driver, "pcieport") == 0 ||
	       strcmp(driver, "pci-stub") == 0 || driver_is_vfio(driver);
}

/* Every driver of the mdev bus is VFIO's (struct mdev_driver, include/linux/mdev.h). */
bool device_on_vfio(const struct device *device)
{
	if (strcmp(device->bus, "mdev") == 0)
		return *device->driver != '\0';
	return driver_is_vfio(device->driver);
}

bool device_leaves_dma(const struct device *device)
{
	return device_on_vfio(device) || driver_leaves_dma(device->driver);
}

const char *device_claim(const struct device *device)
{
	const char *claim = property_value(device->properties, "VFIOD_CLAIM");
	return claim && strlen(claim) < DRIVER_NAME_SIZE ? claim : "";
}

/* PCI addresses are hexadecimal, and go first; other names as people count. */
int device_compare(const struct device *a, const struct device *b)
{
	struct pci_address left, right;
	bool left_is_pci = pci_address_parse(a->name, &left);
	bool right_is_pci = pci_address_parse(b->name, &right);
	int order;

	if (left_is_pci != right_is_pci)
		return left_is_pci ? -1 : 1;
	order = left_is_pci ? pci_address_compare(&left, &right) : strverscmp(a->name, b->name);
	/* Two buses may use one name in one group. */
	return order != 0 ? order : strcmp(a->bus, b->bus);
}
