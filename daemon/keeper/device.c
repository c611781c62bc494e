/* Resets: drivers/vfio/pci/vfio_pci_core.c, vfio_pci_ioctl_reset and _pci_hot_reset */
#include "daemon/keeper/device.h"

#include "daemon/base/util.h"
#include "daemon/keeper/backend.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

/* What a driver says that cannot do it, or has never heard of it. */
static int unsupported(int error)
{
	return error == EINVAL || error == ENOTTY || error == ENODEV ? -EOPNOTSUPP : -error;
}

int device_reset(void *userdata, int device)
{
	(void)userdata;
	return ioctl(device, VFIO_DEVICE_RESET) < 0 ? unsupported(errno) : 0;
}

static bool is_among(uint32_t number, const uint32_t *numbers, int n)
{
	for (int i = 0; i < n; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

/* A bus has 256 functions, the buses behind it as many again. */
#define DEVICES_MAX 4096

int device_bus_groups(void *userdata, int device, uint32_t *numbers)
{
	struct vfio_pci_hot_reset_info head = { .argsz = sizeof(head) };
	int n = 0;
	(void)userdata;

	/* The first answer says how many there are. */
	if (ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &head) < 0 && errno != ENOSPC)
		return unsupported(errno);
	if (head.count > DEVICES_MAX)
		return -EFBIG;
	size_t size = sizeof(head) + head.count * sizeof(head.devices[0]);
	_cleanup_free_ struct vfio_pci_hot_reset_info *info = calloc(1, size);
	if (!info)
		return -ENOMEM;
	info->argsz = (uint32_t)size;
	if (ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info) < 0)
		/* One more has come meanwhile. */
		return errno == ENOSPC ? -EAGAIN : unsupported(errno);
	for (uint32_t i = 0; i < info->count && i < head.count; i++) {
		uint32_t number = info->devices[i].group_id;
		if (is_among(number, numbers, n))
			continue;
		if (n == BUS_GROUPS_MAX)
			return -EFBIG;
		numbers[n++] = number;
	}
	return n;
}

int device_reset_bus(void *userdata, int device, const int *groups, size_t n_groups)
{
	size_t size = sizeof(struct vfio_pci_hot_reset) + n_groups * sizeof(int32_t);
	_cleanup_free_ struct vfio_pci_hot_reset *reset = calloc(1, size);
	(void)userdata;

	if (!reset)
		return -ENOMEM;
	reset->argsz = (uint32_t)size;
	reset->count = (uint32_t)n_groups;
	for (size_t i = 0; i < n_groups; i++)
		reset->group_fds[i] = groups[i];
	return ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, reset) < 0 ? unsupported(errno) : 0;
}
