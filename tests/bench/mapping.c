/*
 * mapping SOCKET DEVICE GROUP [CDEV BACKEND]
 *
 * What Map + Unmap of 2 MiB in a brokered space cost, by libvfiod, against the bare ioctls in
 * another process and one round trip over a socket to it; and how both grow with the mappings that
 * are there. As root; DEVICE, for uid 1000, and GROUP (/dev/vfio/N) are two groups that are taken
 * already. With CDEV, a device of a third one (/dev/vfio/devices/vfioX), by the bare ioctls of
 * iommufd, too; the results are kept as of "mapping-BACKEND", which is what the daemon's spaces are
 * made of.
 */
#include "client/include/vfiod.h"
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"
#include "tests/vm/programs/iommufd.h"

#include <err.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define LARGE (UINT64_C(2) << 20)
/* What stays mapped lies behind what is measured, two pages apart so that nothing can join. */
#define LIVE_IOVA (UINT64_C(1) << 32)

static const size_t N_LARGE = 200, N_SMALL = 200;
static const unsigned live_counts[] = { 0, 1000, 10000 };
enum { N_LIVE_COUNTS = sizeof(live_counts) / sizeof(*live_counts) };

/* A mapping or its end, in the bare process and over the broker. */
struct side {
	const char *name;
	void (*map_and_unmap)(const struct side *side, uint64_t length);
	void (*map)(const struct side *side, uint64_t iova, uint64_t length);
	void (*unmap_all)(const struct side *side, uint64_t iova, uint64_t length);
	int socket; /* to a bare process */
};

static int memory_new(void)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)LARGE) < 0)
		err(1, "a memfd");
	/* All of it is there: what is measured is not the first touch. */
	void *bytes = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (bytes == MAP_FAILED)
		err(1, "mmap");
	return fd;
}

/* --- bare ------------------------------------------------------------------------------------- */

struct request {
	enum { PAIR, MAP, UNMAP } what;
	uint64_t iova, length;
};

/* What a bare process maps with. */
struct backend {
	void (*start)(const char *node, int memory);
	void (*map)(const struct request *request);
	void (*unmap)(const struct request *request);
};

/* In the bare process: the container or context, and what it maps. */
static int bare_container, bare_memory;
static uint32_t bare_ioas;
static void *bare_address;

static int open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void type1_start(const char *node, int memory)
{
	int group = open_node(node);

	bare_container = open_node("/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &bare_container) ||
		ioctl(bare_container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "a container for %s", node);
	bare_address = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (bare_address == MAP_FAILED)
		err(1, "mmap");
}

static void type1_map(const struct request *request)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)bare_address,
		.iova = request->iova,
		.size = request->length,
	};
	if (ioctl(bare_container, VFIO_IOMMU_MAP_DMA, &map))
		err(1, "VFIO_IOMMU_MAP_DMA");
}

static void type1_unmap(const struct request *request)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = request->iova,
		.size = request->length,
	};
	if (ioctl(bare_container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		err(1, "VFIO_IOMMU_UNMAP_DMA");
}

static void iommufd_check(int result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, strerror(-result));
}

static void iommufd_start(const char *node, int memory)
{
	int device = open_node(node);

	bare_container = open_node("/dev/iommu");
	bare_memory = memory;
	iommufd_check(cdev_bind(device, bare_container), "bind");
	iommufd_check(ioas_allocate(bare_container, &bare_ioas), "IOMMU_IOAS_ALLOC");
	iommufd_check(cdev_attach(device, bare_ioas), "attach");
}

static void iommufd_map(const struct request *request)
{
	iommufd_check(ioas_map_file(bare_container, bare_ioas, bare_memory, request->iova,
			      request->length),
		"IOMMU_IOAS_MAP_FILE");
}

static void iommufd_unmap(const struct request *request)
{
	iommufd_check(ioas_unmap(bare_container, bare_ioas, request->iova, request->length),
		"IOMMU_IOAS_UNMAP");
}

static const struct backend type1 = { type1_start, type1_map, type1_unmap };
static const struct backend iommufd = { iommufd_start, iommufd_map, iommufd_unmap };

_Noreturn static void bare_server(
	const struct backend *backend, int socket, const char *node, int memory)
{
	struct request request;

	backend->start(node, memory);
	while (read(socket, &request, sizeof(request)) == sizeof(request)) {
		if (request.what != UNMAP)
			backend->map(&request);
		if (request.what != MAP)
			backend->unmap(&request);
		if (write(socket, &request, sizeof(request)) != sizeof(request))
			break;
	}
	_exit(0);
}

/* A socket to it. */
static int bare_start(const struct backend *backend, const char *node, int memory)
{
	int end;

	if (peer_fork(SOCK_SEQPACKET, &end) == 0)
		bare_server(backend, end, node, memory);
	return end;
}

static void bare_ask(const struct side *side, struct request request)
{
	if (write(side->socket, &request, sizeof(request)) != sizeof(request) ||
		read(side->socket, &request, sizeof(request)) != sizeof(request))
		errx(1, "the bare process has ended");
}

static void bare_pair(const struct side *side, uint64_t length)
{
	bare_ask(side, (struct request){ .what = PAIR, .length = length });
}

static void bare_map_one(const struct side *side, uint64_t iova, uint64_t length)
{
	bare_ask(side, (struct request){ .what = MAP, .iova = iova, .length = length });
}

static void bare_unmap_all(const struct side *side, uint64_t iova, uint64_t length)
{
	bare_ask(side, (struct request){ .what = UNMAP, .iova = iova, .length = length });
}

/* --- brokered ----------------------------------------------------------------------------------
 */

static struct vfiod *vfiod;
static struct vfiod_space *space;
static uint32_t memory_number;

static void check(int result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, vfiod_strerror(vfiod));
}

static void broker_start(const char *socket, const char *device, int memory)
{
	struct vfiod_lease *lease;

	/* The kernel tells the daemon who called connect(2). */
	if (seteuid(1000) < 0)
		err(1, "becoming uid 1000");
	check(vfiod_open(socket, &vfiod), "open");
	if (seteuid(0) < 0)
		err(1, "becoming root");
	check(vfiod_acquire_brokered(vfiod, &device, 1, 0, &lease), "acquire");
	check(vfiod_space_create(vfiod, -1, 0, &space), "create");
	check(vfiod_space_attach(
		      vfiod, space, vfiod_lease_token(lease), vfiod_lease_group_number(lease, 0)),
		"attach");
	check(vfiod_space_add_memory(vfiod, space, memory, &memory_number), "add memory");
}

static void broker_map_one(const struct side *side, uint64_t iova, uint64_t length)
{
	(void)side;
	check(vfiod_space_map(vfiod, space, memory_number, 0, iova, length,
		      VFIOD_MAP_READ | VFIOD_MAP_WRITE, NULL),
		"map");
}

static void broker_unmap_all(const struct side *side, uint64_t iova, uint64_t length)
{
	(void)side;
	check(vfiod_space_unmap(vfiod, space, iova, length, NULL), "unmap");
}

static void broker_pair(const struct side *side, uint64_t length)
{
	broker_map_one(side, 0, length);
	broker_unmap_all(side, 0, length);
}

/* --- all -----------------------------------------------------------------------------------------
 */

/* The bare ones first, the broker last. */
static struct side sides[3];
static size_t n_sides;
static const char *bench = "mapping";

static void side_add(const char *name, int socket)
{
	sides[n_sides++] = (struct side){ name, bare_pair, bare_map_one, bare_unmap_all, socket };
}

static void measure(const struct side *side, struct sample_case *sample, uint64_t length, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double begin = now_us();
		side->map_and_unmap(side, length);
		sample_add(sample, now_us() - begin);
	}
	sample_end_round(sample, bench);
}

/* The broker's with a ratio to each of the bare ones. */
static void print_rows(struct sample_case rows[])
{
	for (size_t i = 0; i < n_sides; i++) {
		sample_finish(&rows[i]);
		printf("%-38s%10.1f%10.1f%10.1f", rows[i].name, rows[i].min, rows[i].median,
			rows[i].max);
		for (size_t j = 0; i == n_sides - 1 && j < i; j++) {
			printf("%9.2f%s", rows[i].median / rows[j].median, j + 1 < i ? " /" : "");
		}
		printf("\n");
	}
}

static void compare(uint64_t length, size_t n, const char *what)
{
	static struct sample_case cases[3 * (N_LIVE_COUNTS + 1)];
	static char names[3 * (N_LIVE_COUNTS + 1)][80];
	static size_t n_cases;
	struct sample_case *rows = &cases[n_cases];

	for (size_t i = 0; i < n_sides; i++, n_cases++) {
		snprintf(names[n_cases], sizeof(names[0]), "%s%s", what, sides[i].name);
		cases[n_cases].name = names[n_cases];
	}
	for (int round = 0; round < SAMPLE_ROUNDS; round++)
		for (size_t i = 0; i < n_sides; i++)
			measure(&sides[i], &rows[i], length, n);
	print_rows(rows);
}

static void live_add(const struct side *side, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		side->map(side, LIVE_IOVA + 2 * i * PAGE, PAGE);
}

int main(int argc, char *argv[])
{
	char what[32], name[64];

	if (argc != 4 && argc != 6)
		errx(2, "see tests/bench/mapping.c");
	int memory = memory_new();
	side_add(argc == 6 ? "bare ioctls of type1" : "bare ioctls, 1 round trip",
		bare_start(&type1, argv[3], memory));
	if (argc == 6) {
		side_add("bare ioctls of iommufd", bare_start(&iommufd, argv[4], memory));
		snprintf(name, sizeof(name), "mapping-%s", argv[5]);
		bench = name;
	}
	broker_start(argv[1], argv[2], memory);
	sides[n_sides++] = (struct side){ "vfiod: Map, Unmap", broker_pair, broker_map_one,
		broker_unmap_all, -1 };
	printf("%-38s%10s%10s%10s%9s\n", "Map + Unmap of 2 MiB, us", "min", "median", "max",
		"ratio");
	compare(LARGE, N_LARGE, "");
	printf("\n%-38s%10s%10s%10s%9s\n", "of 4 KiB, by mappings that are there", "min", "median",
		"max", "ratio");
	for (size_t i = 0; i < N_LIVE_COUNTS; i++) {
		unsigned had = i ? live_counts[i - 1] : 0;
		for (size_t j = 0; j < n_sides; j++)
			live_add(&sides[j], had, live_counts[i]);
		snprintf(what, sizeof(what), "%5u: ", live_counts[i]);
		compare(PAGE, N_SMALL, what);
	}
	const struct side *broker = &sides[n_sides - 1];
	double begin = now_us();
	broker->unmap_all(broker, LIVE_IOVA, UINT64_C(1) << 32);
	printf("\n%u mappings unmapped in one call: %.0f ms\n", live_counts[N_LIVE_COUNTS - 1],
		(now_us() - begin) / 1000);
	for (size_t i = 0; i + 1 < n_sides; i++)
		sides[i].unmap_all(&sides[i], LIVE_IOVA, UINT64_C(1) << 32);
	vfiod_close(vfiod);
	return 0;
}
