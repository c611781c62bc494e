/* The registers are those of docs/specs/edu.txt in QEMU. */
#include "tests/vm/programs/edu.h"

#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>
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
	/* Older QEMUs abort on a whole page (edu_check_range in hw/misc/edu.c). */
	N_BYTES = 2048,
};

void edu_open(struct edu *edu, int group, const char *name)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	*edu = (struct edu){ .group = group, .iova = edu->iova };
	if (ioctl(edu->group, VFIO_GROUP_GET_STATUS, &status))
		err(EXIT_SYSTEM, "VFIO_GROUP_GET_STATUS");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		errx(EXIT_SYSTEM, "the group is not viable");
	edu->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (edu->container < 0)
		err(EXIT_SYSTEM, "/dev/vfio/vfio");
	if (ioctl(edu->group, VFIO_GROUP_SET_CONTAINER, &edu->container))
		err(EXIT_SYSTEM, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(edu->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(EXIT_SYSTEM, "VFIO_SET_IOMMU");
	edu->device = ioctl(edu->group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (edu->device < 0)
		err(EXIT_SYSTEM, "VFIO_GROUP_GET_DEVICE_FD %s", name);
}

static struct vfio_region_info region(const struct edu *edu, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	if (ioctl(edu->device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(EXIT_SYSTEM, "VFIO_DEVICE_GET_REGION_INFO %u", index);
	return info;
}

static void bus_mastering_enable(const struct edu *edu)
{
	off_t at = (off_t)region(edu, VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND;
	uint16_t command;

	if (pread(edu->device, &command, sizeof(command), at) != sizeof(command))
		err(EXIT_SYSTEM, "reading the PCI command register");
	command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	if (pwrite(edu->device, &command, sizeof(command), at) != sizeof(command))
		err(EXIT_SYSTEM, "writing the PCI command register");
}

static void registers_map(struct edu *edu)
{
	struct vfio_region_info bar = region(edu, VFIO_PCI_BAR0_REGION_INDEX);
	void *address = mmap(
		NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, edu->device, (off_t)bar.offset);
	if (address == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap of BAR 0");
	edu->registers = address;
	edu->n_registers_bytes = bar.size;
	uint32_t id = *(volatile uint32_t *)(edu->registers + EDU_ID);
	if ((id & 0xffff) != 0x00ed)
		errx(EXIT_WRONG, "not an edu device: identification 0x%08x", id);
}

static void memory_allocate(struct edu *edu)
{
	edu->n_memory_bytes = 2 * (size_t)sysconf(_SC_PAGESIZE);
	void *address = mmap(NULL, edu->n_memory_bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (address == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap of memory");
	edu->memory = address;
}

static void memory_map(const struct edu *edu)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)edu->memory,
		.iova = edu->iova,
		.size = edu->n_memory_bytes,
	};
	if (ioctl(edu->container, VFIO_IOMMU_MAP_DMA, &map))
		err(EXIT_SYSTEM, "VFIO_IOMMU_MAP_DMA at 0x%llx", (unsigned long long)edu->iova);
}

static void memory_unmap(const struct edu *edu)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = edu->iova, .size = edu->n_memory_bytes
	};
	if (ioctl(edu->container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		err(EXIT_SYSTEM, "VFIO_IOMMU_UNMAP_DMA");
	if (unmap.size != edu->n_memory_bytes)
		errx(EXIT_WRONG, "unmapped %llu bytes, not %zu", (unsigned long long)unmap.size,
			edu->n_memory_bytes);
}

void edu_prepare(struct edu *edu)
{
	bus_mastering_enable(edu);
	registers_map(edu);
	memory_allocate(edu);
	memory_map(edu);
}

void edu_close(struct edu *edu)
{
	/* A mapping of the BAR keeps the device open as its descriptor does. */
	if (edu->registers)
		munmap((void *)edu->registers, edu->n_registers_bytes);
	if (edu->memory)
		munmap(edu->memory, edu->n_memory_bytes);
	close(edu->device);
	close(edu->container);
}

void edu_print_memory(const struct edu *edu)
{
	printf("memory: pid %d address 0x%lx iova 0x%llx length %zu\n", (int)getpid(),
		(unsigned long)(uintptr_t)edu->memory, (unsigned long long)edu->iova,
		edu->n_memory_bytes);
}

static void register_write(const struct edu *edu, size_t at, uint64_t value)
{
	*(volatile uint64_t *)(edu->registers + at) = value;
}

static void transfer(const struct edu *edu, uint64_t source, uint64_t target, uint64_t command)
{
	register_write(edu, EDU_DMA_SOURCE, source);
	register_write(edu, EDU_DMA_TARGET, target);
	register_write(edu, EDU_DMA_COUNT, N_BYTES);
	register_write(edu, EDU_DMA_COMMAND, command | EDU_START);
	/* It takes 100 ms of the guest's time; the bit falls when it is done. */
	for (int i = 0; i < 3000; i++) {
		if (!(*(volatile uint64_t *)(edu->registers + EDU_DMA_COMMAND) & EDU_START))
			return;
		usleep(10000);
	}
	errx(EXIT_WRONG, "a transfer has not ended after 30 s");
}

static void to_device(const struct edu *edu, uint64_t iova)
{
	transfer(edu, iova, EDU_BUFFER, 0);
}

static void to_memory(const struct edu *edu, uint64_t iova)
{
	transfer(edu, EDU_BUFFER, iova, EDU_TO_MEMORY);
}

/* xorshift64: no two places of it alike, and different for each seed. */
static void fill(uint8_t *bytes, uint64_t seed)
{
	for (size_t i = 0; i < N_BYTES; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

void edu_check_mapped(const struct edu *edu)
{
	size_t page = edu->n_memory_bytes / 2;
	uint8_t *sent = edu->memory, *came_back = edu->memory + page;

	fill(sent, 0x5eed);
	memset(came_back, 0, N_BYTES);
	to_device(edu, edu->iova);
	to_memory(edu, edu->iova + page);
	if (memcmp(sent, came_back, N_BYTES) != 0)
		errx(EXIT_WRONG, "what came back is not what was sent");
	printf("equal: %d bytes, memory to device to memory\n", N_BYTES);
}

void edu_check_unmapped(struct edu *edu)
{
	uint8_t sentinel[N_BYTES];
	uint64_t unmapped = edu->iova;

	/* The device holds what was sent before; the memory is where it was, but not for it. */
	fill(sentinel, 0xace);
	memory_unmap(edu);
	memcpy(edu->memory, sentinel, N_BYTES);
	to_memory(edu, unmapped);
	if (memcmp(edu->memory, sentinel, N_BYTES) != 0)
		errx(EXIT_WRONG, "the device wrote to memory that is not mapped");
	printf("blocked: device to memory at unmapped 0x%llx\n", (unsigned long long)unmapped);

	/* Had the device read the sentinel, it would give it away elsewhere. */
	to_device(edu, unmapped);
	memset(edu->memory, 0, N_BYTES);
	edu->iova += edu->n_memory_bytes;
	memory_map(edu);
	to_memory(edu, edu->iova);
	if (memcmp(edu->memory, sentinel, N_BYTES) == 0)
		errx(EXIT_WRONG, "the device read memory that is not mapped");
	memory_unmap(edu);
	printf("blocked: memory to device at unmapped 0x%llx\n", (unsigned long long)unmapped);
}
