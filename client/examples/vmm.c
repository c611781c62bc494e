/*
 * vmm DEVICE: the part of a VMM that has to do with devices, from nothing to DMA.
 *
 *	cc vmm.c $(pkg-config --cflags --libs libvfiod) && ./vmm 0000:00:04.0
 *
 * Unprivileged. It leases the device, makes a container with the memory of a guest in it, opens the
 * device, and has it copy some of that memory to itself and back. What is left out is a guest. The
 * device is QEMU's edu, whose DMA engine is simple (docs/specs/edu.txt there); another one needs
 * another last part.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vfiod.h>

#define GUEST_BYTES (UINT64_C(16) << 20)
#define GUEST_AT UINT64_C(0x1000000) /* where the device sees it: its I/O virtual address */

/* --- the lease ------------------------------------------------------------------------ */

static struct vfiod_lease *lease_device(struct vfiod *vfiod, const char *device)
{
	struct vfiod_acquire_options options = {
		.size = sizeof options,
		.wait_seconds = 10,
		/* So much may be locked while the lease lasts: no limit is to be raised by hand. */
		.memory_bytes = GUEST_BYTES,
	};
	struct vfiod_lease *lease;

	if (vfiod_acquire_with(vfiod, &device, 1, &options, &lease) < 0)
		errx(1, "%s: %s", device, vfiod_strerror(vfiod));
	return lease;
}

/* --- the container: what devices see ---------------------------------------------------- */

static int container_new(int group)
{
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	if (container < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "a container for the group");
	return container;
}

/* A VMM that the rules trust tells vfiod, whose ledger then knows which pages are the same. */
static uint8_t *guest_new(struct vfiod *vfiod, struct vfiod_lease *lease, int container)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	void *guest = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, GUEST_BYTES) == 0)
		guest = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (guest == MAP_FAILED)
		err(1, "memory");
	if (vfiod_dma_map(vfiod, vfiod_lease_token(lease), container, guest, GUEST_AT, GUEST_BYTES,
		    VFIOD_MAP_READ | VFIOD_MAP_WRITE) < 0)
		errx(1, "%s", vfiod_strerror(vfiod));
	return guest;
}

/* --- the device ------------------------------------------------------------------------- */

static struct vfio_region_info region(int device, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = index };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(1, "VFIO_DEVICE_GET_REGION_INFO");
	return info;
}

static int device_open(int group, const char *name)
{
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	uint16_t command;

	if (device < 0)
		err(1, "%s", name);
	/* It may do DMA from here on. */
	off_t at = (off_t)region(device, VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND;
	if (pread(device, &command, sizeof command, at) != sizeof command)
		err(1, "the command register");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(device, &command, sizeof command, at) != sizeof command)
		err(1, "the command register");
	return device;
}

/* --- what only edu has ------------------------------------------------------------------- */

enum { EDU_SOURCE = 0x80, EDU_TARGET = 0x88, EDU_COUNT = 0x90, EDU_COMMAND = 0x98 };
enum { EDU_BUFFER = 0x40000, EDU_START = 1, EDU_TO_MEMORY = 2, BYTES = 1024 };

static void edu_copy(volatile uint8_t *edu, uint64_t source, uint64_t target, uint64_t command)
{
	*(volatile uint64_t *)(edu + EDU_SOURCE) = source;
	*(volatile uint64_t *)(edu + EDU_TARGET) = target;
	*(volatile uint64_t *)(edu + EDU_COUNT) = BYTES;
	*(volatile uint64_t *)(edu + EDU_COMMAND) = command | EDU_START;
	while (*(volatile uint64_t *)(edu + EDU_COMMAND) & EDU_START)
		usleep(1000);
}

int main(int argc, char *argv[])
{
	struct vfiod *vfiod;

	if (argc != 2)
		errx(2, "usage: vmm DEVICE");
	if (vfiod_open(NULL, &vfiod) < 0)
		errx(1, "no vfiod: %s", vfiod_strerror(vfiod));
	struct vfiod_lease *lease = lease_device(vfiod, argv[1]);
	int group = vfiod_lease_group_fd(lease, 0), container = container_new(group);
	uint8_t *guest = guest_new(vfiod, lease, container);
	int device = device_open(group, argv[1]);
	struct vfio_region_info bar = region(device, VFIO_PCI_BAR0_REGION_INDEX);
	void *edu =
		mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
	if (edu == MAP_FAILED)
		err(1, "mmap of BAR 0");

	for (size_t i = 0; i < BYTES; i++)
		guest[i] = (uint8_t)(i * 7 + i / 256);
	edu_copy(edu, GUEST_AT, EDU_BUFFER, 0);
	edu_copy(edu, EDU_BUFFER, GUEST_AT + 4096, EDU_TO_MEMORY);
	bool is_equal = memcmp(guest, guest + 4096, BYTES) == 0;
	printf("%s: %d bytes there and back are %s\n", argv[1], BYTES,
		is_equal ? "equal" : "not equal");

	/* The group goes back when nothing of it is open any more: a mapping counts, too. */
	munmap(edu, bar.size);
	close(device);
	close(container);
	if (vfiod_release(vfiod, lease) != 0)
		errx(1, "not given back: %s", vfiod_strerror(vfiod));
	vfiod_close(vfiod);
	return is_equal ? 0 : 1;
}
