/* The registers are those of docs/specs/edu.txt in QEMU. */
#include "tests/vm/programs/edu-device.h"

#include "tests/vm/programs/program.h"

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	EDU_ID = 0x00,
	EDU_DMA_SOURCE = 0x80,
	EDU_DMA_TARGET = 0x88,
	EDU_DMA_COUNT = 0x90,
	EDU_DMA_COMMAND = 0x98,
	EDU_BUFFER = 0x40000, /* the device's own memory, one page, as its DMA engine sees it */
	EDU_START = 1,
	EDU_TO_MEMORY = 2,
};

static struct vfio_region_info region(const struct edu_device *device, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(EXIT_SYSTEM, "VFIO_DEVICE_GET_REGION_INFO %u", index);
	return info;
}

static void bus_mastering_enable(const struct edu_device *device)
{
	off_t at = (off_t)region(device, VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND;
	uint16_t command;

	if (pread(device->fd, &command, sizeof(command), at) != sizeof(command))
		err(EXIT_SYSTEM, "reading the PCI command register");
	command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	if (pwrite(device->fd, &command, sizeof(command), at) != sizeof(command))
		err(EXIT_SYSTEM, "writing the PCI command register");
}

static void registers_map(struct edu_device *device)
{
	struct vfio_region_info bar = region(device, VFIO_PCI_BAR0_REGION_INDEX);
	void *address = mmap(
		NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd, (off_t)bar.offset);
	if (address == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap of BAR 0");
	device->registers = address;
	device->n_registers_bytes = bar.size;
	uint32_t id = *(volatile uint32_t *)(device->registers + EDU_ID);
	if ((id & 0xffff) != 0x00ed)
		errx(EXIT_WRONG, "not an edu device: identification 0x%08x", id);
}

void edu_device_open(struct edu_device *device, int fd)
{
	*device = (struct edu_device){ .fd = fd };
	bus_mastering_enable(device);
	registers_map(device);
}

void edu_device_close(struct edu_device *device)
{
	/* A mapping of the BAR keeps the device open as its descriptor does. */
	if (device->registers)
		munmap((void *)device->registers, device->n_registers_bytes);
	close(device->fd);
	*device = (struct edu_device){ .fd = -1 };
}

static void register_write(const struct edu_device *device, size_t at, uint64_t value)
{
	*(volatile uint64_t *)(device->registers + at) = value;
}

static void transfer(
	const struct edu_device *device, uint64_t source, uint64_t target, uint64_t command)
{
	register_write(device, EDU_DMA_SOURCE, source);
	register_write(device, EDU_DMA_TARGET, target);
	register_write(device, EDU_DMA_COUNT, EDU_BYTES);
	register_write(device, EDU_DMA_COMMAND, command | EDU_START);
	/* It takes 100 ms of the guest's time; the bit falls when it is done. */
	for (int i = 0; i < 3000; i++) {
		if (!(*(volatile uint64_t *)(device->registers + EDU_DMA_COMMAND) & EDU_START))
			return;
		usleep(10000);
	}
	errx(EXIT_WRONG, "a transfer has not ended after 30 s");
}

void edu_to_device(const struct edu_device *device, uint64_t iova)
{
	transfer(device, iova, EDU_BUFFER, 0);
}

void edu_to_memory(const struct edu_device *device, uint64_t iova)
{
	transfer(device, EDU_BUFFER, iova, EDU_TO_MEMORY);
}

void edu_pattern(uint8_t *bytes, uint64_t seed)
{
	for (size_t i = 0; i < EDU_BYTES; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}
