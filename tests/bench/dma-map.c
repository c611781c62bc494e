/*
 * dma-map SOCKET DEVICE
 *
 * What vfiod_dma_map() + vfiod_dma_unmap() cost against the two ioctls that they are, in one
 * process and on one container, by turns: of 2 MiB and of a page. As root, who is trusted; what
 * is told is read by the daemon meanwhile. DEVICE's group is to be taken already.
 */
#include "client/include/vfiod.h"
#include "tests/bench/sample.h"

#include <err.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define LARGE (UINT64_C(2) << 20)

static const size_t N_LARGE = 100, N_SMALL = 400;

static struct vfiod *vfiod;
static const char *token;
static int container;
static void *memory;

static void check(int result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, vfiod_strerror(vfiod));
}

static void set_up(const char *socket, const char *device)
{
	struct vfiod_lease *lease;

	check(vfiod_open(socket, &vfiod), "open");
	check(vfiod_acquire(vfiod, &device, 1, 0, &lease), "acquire");
	token = vfiod_lease_token(lease);
	int group = vfiod_lease_group_fd(lease, 0);
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "a container for %s", device);
	memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
}

static void map_and_unmap_bare(uint64_t length)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.size = length,
	};
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .size = length };

	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) ||
		ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		err(1, "VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA");
}

static void map_and_unmap(uint64_t length)
{
	check(vfiod_dma_map(
		      vfiod, token, container, memory, 0, length, VFIOD_MAP_READ | VFIOD_MAP_WRITE),
		"map");
	check(vfiod_dma_unmap(vfiod, token, container, 0, length, NULL), "unmap");
}

static void measure(
	void (*pair)(uint64_t length), struct sample_case *sample, uint64_t length, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double begin = now_us();
		pair(length);
		sample_add(sample, now_us() - begin);
	}
	sample_end_round(sample, "dma-map");
}

static void compare(
	struct sample_case *bare, struct sample_case *told, uint64_t length, const char *label)
{
	size_t n = length == LARGE ? N_LARGE : N_SMALL;

	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		measure(map_and_unmap_bare, bare, length, n);
		measure(map_and_unmap, told, length, n);
	}
	sample_finish(bare);
	sample_finish(told);
	printf("%-38s%10.1f%10.1f%10.1f\n", bare->name, bare->min, bare->median, bare->max);
	printf("%-38s%10.1f%10.1f%10.1f%9.2f\n", told->name, told->min, told->median, told->max,
		told->median / bare->median);
	printf("plot\tdma-map\t%s\t%.2f\t%.2f\t%.2f\n", label, told->median / bare->median,
		told->min / bare->median, told->max / bare->median);
}

int main(int argc, char *argv[])
{
	static struct sample_case cases[] = {
		{ .name = "2 MiB: bare ioctls" },
		{ .name = "2 MiB: vfiod_dma_map, _unmap" },
		{ .name = "4 KiB: bare ioctls" },
		{ .name = "4 KiB: vfiod_dma_map, _unmap" },
	};

	if (argc != 3)
		errx(2, "see tests/bench/dma-map.c");
	set_up(argv[1], argv[2]);
	printf("%-38s%10s%10s%10s%9s\n", "mapped and unmapped by oneself, us", "min", "median",
		"max", "ratio");
	compare(&cases[0], &cases[1], LARGE, "2 MiB");
	compare(&cases[2], &cases[3], PAGE, "4 KiB");
	vfiod_close(vfiod);
	return 0;
}
