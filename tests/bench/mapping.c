/*
 * mapping SOCKET DEVICE GROUP
 *
 * What Map + Unmap of 2 MiB in a brokered space cost, by libvfiod, against the bare ioctls in
 * another process and one round trip over a socket to it; and how both grow with the mappings that
 * are there. As root; DEVICE, for uid 1000, and GROUP are two groups that are taken already.
 */
#include "client/include/vfiod.h"
#include "tests/bench/sample.h"

#include <err.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
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
	void (*map_and_unmap)(uint64_t length);
	void (*map)(uint64_t iova, uint64_t length);
	void (*unmap_all)(uint64_t iova, uint64_t length);
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

static int bare_socket;

static void bare_map(int container, uint64_t address, const struct request *request)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = address,
		.iova = request->iova,
		.size = request->length,
	};
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		err(1, "VFIO_IOMMU_MAP_DMA");
}

static void bare_unmap(int container, const struct request *request)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = request->iova,
		.size = request->length,
	};
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		err(1, "VFIO_IOMMU_UNMAP_DMA");
}

_Noreturn static void bare_server(int socket, const char *group_number, int memory)
{
	struct request request;
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%s", group_number);
	int group = open(path, O_RDWR | O_CLOEXEC);
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (group < 0 || container < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "a container for %s", path);
	void *address = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (address == MAP_FAILED)
		err(1, "mmap");
	while (read(socket, &request, sizeof(request)) == sizeof(request)) {
		if (request.what != UNMAP)
			bare_map(container, (uintptr_t)address, &request);
		if (request.what != MAP)
			bare_unmap(container, &request);
		if (write(socket, &request, sizeof(request)) != sizeof(request))
			break;
	}
	_exit(0);
}

static void bare_start(const char *group, int memory)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		err(1, "socketpair");
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		close(ends[0]);
		bare_server(ends[1], group, memory);
	}
	close(ends[1]);
	bare_socket = ends[0];
}

static void bare_ask(struct request request)
{
	if (write(bare_socket, &request, sizeof(request)) != sizeof(request) ||
		read(bare_socket, &request, sizeof(request)) != sizeof(request))
		errx(1, "the bare process has ended");
}

static void bare_pair(uint64_t length)
{
	bare_ask((struct request){ .what = PAIR, .length = length });
}

static void bare_map_one(uint64_t iova, uint64_t length)
{
	bare_ask((struct request){ .what = MAP, .iova = iova, .length = length });
}

static void bare_unmap_all(uint64_t iova, uint64_t length)
{
	bare_ask((struct request){ .what = UNMAP, .iova = iova, .length = length });
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

static void broker_map_one(uint64_t iova, uint64_t length)
{
	check(vfiod_space_map(vfiod, space, memory_number, 0, iova, length,
		      VFIOD_MAP_READ | VFIOD_MAP_WRITE, NULL),
		"map");
}

static void broker_unmap_all(uint64_t iova, uint64_t length)
{
	check(vfiod_space_unmap(vfiod, space, iova, length, NULL), "unmap");
}

static void broker_pair(uint64_t length)
{
	broker_map_one(0, length);
	broker_unmap_all(0, length);
}

/* --- both ----------------------------------------------------------------------------------------
 */

static const struct side bare = {
	"bare ioctls, 1 round trip",
	bare_pair,
	bare_map_one,
	bare_unmap_all,
};
static const struct side broker = {
	"vfiod: Map, Unmap",
	broker_pair,
	broker_map_one,
	broker_unmap_all,
};

static void measure(const struct side *side, struct sample_case *sample, uint64_t length, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double begin = now_us();
		side->map_and_unmap(length);
		sample_add(sample, now_us() - begin);
	}
	sample_end_round(sample, "mapping");
}

static void print_pair(struct sample_case *a, struct sample_case *b)
{
	sample_finish(a);
	sample_finish(b);
	printf("%-38s%10.1f%10.1f%10.1f\n", a->name, a->min, a->median, a->max);
	printf("%-38s%10.1f%10.1f%10.1f%9.2f\n", b->name, b->min, b->median, b->max,
		b->median / a->median);
}

static void compare(uint64_t length, size_t n, const char *what)
{
	static struct sample_case cases[2 * (N_LIVE_COUNTS + 1)];
	static char names[2 * (N_LIVE_COUNTS + 1)][80];
	static size_t n_cases;
	struct sample_case *a = &cases[n_cases], *b = &cases[n_cases + 1];

	snprintf(names[n_cases], sizeof(names[0]), "%s%s", what, bare.name);
	snprintf(names[n_cases + 1], sizeof(names[0]), "%s%s", what, broker.name);
	a->name = names[n_cases];
	b->name = names[n_cases + 1];
	n_cases += 2;
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		measure(&bare, a, length, n);
		measure(&broker, b, length, n);
	}
	print_pair(a, b);
}

static void live_add(const struct side *side, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		side->map(LIVE_IOVA + 2 * i * PAGE, PAGE);
}

int main(int argc, char *argv[])
{
	char what[32];

	if (argc != 4)
		errx(2, "see tests/bench/mapping.c");
	int memory = memory_new();
	bare_start(argv[3], memory);
	broker_start(argv[1], argv[2], memory);
	printf("%-38s%10s%10s%10s%9s\n", "Map + Unmap of 2 MiB, us", "min", "median", "max",
		"ratio");
	compare(LARGE, N_LARGE, "");
	printf("\n%-38s%10s%10s%10s%9s\n", "of 4 KiB, by mappings that are there", "min", "median",
		"max", "ratio");
	for (size_t i = 0; i < N_LIVE_COUNTS; i++) {
		unsigned had = i ? live_counts[i - 1] : 0;
		live_add(&bare, had, live_counts[i]);
		live_add(&broker, had, live_counts[i]);
		snprintf(what, sizeof(what), "%5u: ", live_counts[i]);
		compare(PAGE, N_SMALL, what);
	}
	double begin = now_us();
	broker.unmap_all(LIVE_IOVA, UINT64_C(1) << 32);
	printf("\n%u mappings unmapped in one call: %.0f ms\n", live_counts[N_LIVE_COUNTS - 1],
		(now_us() - begin) / 1000);
	bare.unmap_all(LIVE_IOVA, UINT64_C(1) << 32);
	vfiod_close(vfiod);
	return 0;
}
