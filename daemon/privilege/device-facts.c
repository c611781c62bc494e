#include "daemon/privilege/device-facts.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

/* The number may have become another file since its name was read: no ioctl on just anything. */
static bool is_vfio_device(int fd)
{
	char path[32], link[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, "anon_inode:[vfio-device]") == 0;
}

static int read_header(int device, struct device_facts *facts)
{
	struct vfio_region_info region = { .argsz = sizeof(region),
		.index = VFIO_PCI_CONFIG_REGION_INDEX };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region) < 0)
		return -errno;
	ssize_t n = pread(device, facts->header, sizeof(facts->header), (off_t)region.offset);
	if (n < 0)
		return -errno;
	return (size_t)n == sizeof(facts->header) ? 0 : -EIO;
}

/* Where the bus cannot be reset, as the root's, there is none. */
static void read_reset_set(int device, struct device_facts *facts)
{
	union {
		struct vfio_pci_hot_reset_info info;
		char space[sizeof(struct vfio_pci_hot_reset_info) +
			   RESET_SET_MAX * sizeof(struct vfio_pci_dependent_device)];
	} reply;

	memset(&reply, 0, sizeof(reply));
	reply.info.argsz = sizeof(reply);
	if (ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &reply.info) < 0 ||
		reply.info.count > RESET_SET_MAX)
		return;
	for (size_t i = 0; i < reply.info.count; i++)
		facts->set[i] = (struct device_address){
			.segment = reply.info.devices[i].segment,
			.bus = reply.info.devices[i].bus,
			.devfn = reply.info.devices[i].devfn,
		};
	facts->n_set = reply.info.count;
}

/*
 * The copy is closed before the next is made. Should it be the last by then, this is where the
 * device is reset: in a child, that may take its time.
 */
int device_facts_read(pid_t pid, int fd, struct device_facts *facts)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return -errno;
	_cleanup_close_ int device = pidfd_getfd(pidfd, fd, 0);
	if (device < 0)
		return -errno;
	if (!is_vfio_device(device))
		return -ENODEV;
	if (ioctl(device, VFIO_DEVICE_GET_INFO, &info) < 0)
		return -errno;
	*facts = (struct device_facts){ .is_pci = info.flags & VFIO_DEVICE_FLAGS_PCI };
	if (!facts->is_pci)
		return 0;
	read_reset_set(device, facts);
	return read_header(device, facts);
}
