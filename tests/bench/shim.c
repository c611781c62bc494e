/*
 * shim [NODE]
 *
 * What the filter of `vfioctl run --shim` costs those system calls that it does not ask about: a
 * child with it, a child without, by turns; and one with the least that a filter can be, a single
 * instruction. With the node of a group that is taken and free: VFIO_IOMMU_MAP_DMA and UNMAP_DMA.
 */
#include "client/vfioctl/shim.h"
#include "tests/bench/sample.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAMPLES = 20, CALLS = 50000, MAPS = 500 }; /* a round: a million of the quick ones */
#define LARGE (UINT64_C(2) << 20)

enum what { GETPPID, IOCTL, MAP_PAGE, MAP_LARGE };
enum filter { WITHOUT, LEAST, WITH, OBSERVING, N_FILTERS };
static const char *const whats[] = { "getppid", "ioctl", "map + unmap a page",
	"map + unmap 2 MiB" };
static const char *const filters[] = { "", ", the least filter", ", --shim", ", --shim --observe" };

/* A container with the group in it, or /dev/null. */
static int container = -1;
static void *memory;

static void set_up(const char *node)
{
	int group = node ? open(node, O_RDWR | O_CLOEXEC) : -1;

	container = open(node ? "/dev/vfio/vfio" : "/dev/null", O_RDWR | O_CLOEXEC);
	if (container < 0 ||
		(node && (group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
				 ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))))
		err(1, "a container");
	memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
}

static void map_and_unmap(uint64_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.size = size,
	};
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .size = size };

	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) ||
		ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		_exit(1);
}

static int least_install(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { 1, &allow };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		       &program) < 0
		       ? -errno
		       : 0;
}

static int install(enum filter filter)
{
	int listener;

	if (filter == WITHOUT)
		return 0;
	return filter == LEAST ? least_install()
			       : shim_filter_install(filter == OBSERVING, &listener);
}

/* Nanoseconds a call. */
static double measure(enum what what)
{
	int n = what <= IOCTL ? CALLS : MAPS;
	double begin = now_us();

	for (int i = 0; i < n; i++)
		if (what == GETPPID)
			syscall(SYS_getppid);
		else if (what == IOCTL)
			ioctl(container, VFIO_GET_API_VERSION);
		else
			map_and_unmap(what == MAP_PAGE ? 4096 : LARGE);
	return (now_us() - begin) * 1000 / n;
}

/* In a process of its own: a filter stays for ever. */
static double measure_in_child(enum what what, enum filter filter, double *result)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		if (install(filter) < 0)
			_exit(1);
		measure(what); /* warm */
		*result = measure(what);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "the child has failed");
	return *result;
}

/* Nobody would answer. */
static bool is_possible(size_t what, size_t filter)
{
	return what <= IOCTL || filter != OBSERVING;
}

static void print_row(size_t what, size_t filter, struct sample_case cases[])
{
	struct sample_case *sample = &cases[filter];

	sample_finish(sample);
	printf("%s%-*s%10.1f%10.1f%10.1f%9.3f%s\n", whats[what], 38 - (int)strlen(whats[what]),
		filters[filter], sample->min, sample->median, sample->max,
		sample->median / cases[WITHOUT].median,
		filter == WITH ? "   goal: at most 1.02" : "");
}

int main(int argc, char *argv[])
{
	static struct sample_case cases[4][N_FILTERS];
	static char names[4][N_FILTERS][64];
	size_t n_whats = argc > 1 ? 4 : 2;
	double *result = mmap(
		NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (result == MAP_FAILED)
		err(1, "mmap");
	set_up(argc > 1 ? argv[1] : NULL);
	for (size_t what = 0; what < n_whats; what++)
		for (size_t filter = 0; filter < N_FILTERS; filter++) {
			snprintf(names[what][filter], sizeof names[what][filter], "%s%s",
				whats[what], filters[filter]);
			cases[what][filter].name = names[what][filter];
		}
	for (size_t round = 0; round < SAMPLE_ROUNDS; round++)
		for (size_t what = 0; what < n_whats; what++) {
			for (size_t i = 0; i < (size_t)SAMPLES * N_FILTERS; i++)
				if (is_possible(what, i % N_FILTERS))
					sample_add(&cases[what][i % N_FILTERS],
						measure_in_child((enum what)what,
							(enum filter)(i % N_FILTERS), result));
			for (size_t filter = 0; filter < N_FILTERS; filter++)
				if (is_possible(what, filter))
					sample_end_round(&cases[what][filter], "shim");
		}
	printf("%-38s%10s%10s%10s%9s\n", "nanoseconds a call", "min", "median", "max", "ratio");
	for (size_t what = 0; what < n_whats; what++)
		for (size_t filter = 0; filter < N_FILTERS; filter++)
			if (is_possible(what, filter))
				print_row(what, filter, cases[what]);
	return 0;
}
