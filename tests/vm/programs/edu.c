#include "tests/vm/programs/edu.h"

#include "tests/vm/programs/iommufd.h"
#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

void edu_open(struct edu *edu, int group, const char *name)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	*edu = (struct edu){ .group = group, .device.fd = -1, .iova = edu->iova };
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
	edu->device.fd = ioctl(edu->group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (edu->device.fd < 0)
		err(EXIT_SYSTEM, "VFIO_GROUP_GET_DEVICE_FD %s", name);
}

static void check(int r, const char *what)
{
	if (r < 0)
		errx(EXIT_SYSTEM, "%s: %s", what, strerror(-r));
}

void edu_open_cdev(struct edu *edu, int iommufd, int device)
{
	*edu = (struct edu){
		.container = iommufd, .group = -1, .device.fd = device, .iova = edu->iova
	};
	check(cdev_bind(device, iommufd), "VFIO_DEVICE_BIND_IOMMUFD");
	check(ioas_allocate(iommufd, &edu->ioas), "IOMMU_IOAS_ALLOC");
	check(cdev_attach(device, edu->ioas), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
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
	if (edu->group < 0)
		check(ioas_map(edu->container, edu->ioas, edu->memory, edu->iova,
			      edu->n_memory_bytes),
			"IOMMU_IOAS_MAP");
	else if (ioctl(edu->container, VFIO_IOMMU_MAP_DMA, &map))
		err(EXIT_SYSTEM, "VFIO_IOMMU_MAP_DMA at 0x%llx", (unsigned long long)edu->iova);
}

static void memory_unmap(const struct edu *edu)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = edu->iova, .size = edu->n_memory_bytes
	};
	if (edu->group < 0) {
		check(ioas_unmap(edu->container, edu->ioas, edu->iova, edu->n_memory_bytes),
			"IOMMU_IOAS_UNMAP");
		return;
	}
	if (ioctl(edu->container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		err(EXIT_SYSTEM, "VFIO_IOMMU_UNMAP_DMA");
	if (unmap.size != edu->n_memory_bytes)
		errx(EXIT_WRONG, "unmapped %llu bytes, not %zu", (unsigned long long)unmap.size,
			edu->n_memory_bytes);
}

void edu_prepare(struct edu *edu)
{
	edu_device_open(&edu->device, edu->device.fd);
	memory_allocate(edu);
	memory_map(edu);
}

void edu_close(struct edu *edu)
{
	edu_device_close(&edu->device);
	if (edu->memory)
		munmap(edu->memory, edu->n_memory_bytes);
	close(edu->container);
}

void edu_print_memory(const struct edu *edu)
{
	printf("memory: pid %d address 0x%lx iova 0x%llx length %zu\n", (int)getpid(),
		(unsigned long)(uintptr_t)edu->memory, (unsigned long long)edu->iova,
		edu->n_memory_bytes);
}

void edu_check_mapped(const struct edu *edu)
{
	size_t page = edu->n_memory_bytes / 2;
	uint8_t *sent = edu->memory, *came_back = edu->memory + page;

	edu_pattern(sent, 0x5eed);
	memset(came_back, 0, EDU_BYTES);
	edu_to_device(&edu->device, edu->iova);
	edu_to_memory(&edu->device, edu->iova + page);
	if (memcmp(sent, came_back, EDU_BYTES) != 0)
		errx(EXIT_WRONG, "what came back is not what was sent");
	printf("equal: %d bytes, memory to device to memory\n", EDU_BYTES);
}

void edu_check_unmapped(struct edu *edu)
{
	uint8_t sentinel[EDU_BYTES];
	uint64_t unmapped = edu->iova;

	/* The device holds what was sent before; the memory is where it was, but not for it. */
	edu_pattern(sentinel, 0xace);
	memory_unmap(edu);
	memcpy(edu->memory, sentinel, EDU_BYTES);
	edu_to_memory(&edu->device, unmapped);
	if (memcmp(edu->memory, sentinel, EDU_BYTES) != 0)
		errx(EXIT_WRONG, "the device wrote to memory that is not mapped");
	printf("blocked: device to memory at unmapped 0x%llx\n", (unsigned long long)unmapped);

	/* Had the device read the sentinel, it would give it away elsewhere. */
	edu_to_device(&edu->device, unmapped);
	memset(edu->memory, 0, EDU_BYTES);
	edu->iova += edu->n_memory_bytes;
	memory_map(edu);
	edu_to_memory(&edu->device, edu->iova);
	if (memcmp(edu->memory, sentinel, EDU_BYTES) == 0)
		errx(EXIT_WRONG, "the device read memory that is not mapped");
	memory_unmap(edu);
	printf("blocked: memory to device at unmapped 0x%llx\n", (unsigned long long)unmapped);
}
