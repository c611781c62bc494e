/*
 * dma-limit GROUP_FD MEBIBYTES
 *
 * What a VMM does that knows nothing of vfiod: a container for the group, so much memory of its own
 * mapped by type1. Then the same memory again and again, at other addresses, until the kernel
 * bills it no more:
 *
 *	mapped 268435456
 *	refused after 545259520: Cannot allocate memory
 *
 * and waits for a line on stdin. The first line is missing where that was too much already.
 */
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK = 8 << 20 };

static int container;
static uint64_t n_mapped;

static void container_open(int group)
{
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0)
		err(EXIT_SYSTEM, "/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(EXIT_SYSTEM, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(EXIT_SYSTEM, "VFIO_SET_IOMMU");
}

/* Below the addresses of interrupts at 0xfee00000, and behind what is mapped. */
static int map(void *memory, size_t length)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = n_mapped,
		.size = length,
	};
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		return -1;
	n_mapped += length;
	return 0;
}

static void map_until_refused(void *memory, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	while (length >= page)
		if (map(memory, length)) {
			if (errno != ENOMEM)
				err(EXIT_SYSTEM, "VFIO_IOMMU_MAP_DMA");
			length /= 2;
		}
	printf("refused after %ju: %s\n", (uintmax_t)n_mapped, strerror(errno));
}

int main(int argc, char *argv[])
{
	if (argc != 3)
		errx(EXIT_USAGE, "usage: dma-limit GROUP_FD MEBIBYTES");
	container_open((int)program_number(argv[1], INT_MAX));
	size_t length = program_number(argv[2], 1024) << 20;
	void *memory =
		mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap of memory");
	if (map(memory, length) == 0)
		printf("mapped %ju\n", (uintmax_t)n_mapped);
	else if (errno != ENOMEM)
		err(EXIT_SYSTEM, "VFIO_IOMMU_MAP_DMA");
	map_until_refused(memory, length < CHUNK ? length : CHUNK);
	program_wait_for_line();
	return 0;
}
