/*
 * shim [NODE]
 *
 * What `vfioctl run --shim` costs those system calls that it does not ask about: a child with its
 * filter, one with the library of --shim=preload, one with neither, by turns; and one with the
 * least that a filter can be, a single instruction. With the node of a group that is taken and
 * free: VFIO_IOMMU_MAP_DMA and UNMAP_DMA.
 *
 * All children live through all of it, on one processor, and are asked for a slice of calls in
 * turn: so what the machine does besides befalls each of them alike. The ratio is that of
 * neighbours, slice by slice. All of them map the same frames.
 */
#include "client/vfioctl/shim.h"
#include "client/shim/wire.h"
#include "tests/bench/sample.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/vfio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A round: a million of the quick ones. */
enum { SAMPLES = 200, CALLS = 5000, OPENS = 100, MAPS = 20, LARGE_MAPS = 4 };
#define LARGE (UINT64_C(2) << 20)

enum what { GETPPID, IOCTL, OPEN, MAP_PAGE, MAP_LARGE, N_WHATS };
enum how { WITHOUT, PRELOADED, LEAST, WITH, OBSERVING, N_HOWS };
static const char *const whats[] = { "getppid", "ioctl", "open + close", "map + unmap a page",
	"map + unmap 2 MiB" };
static const char *const hows[] = { "", ", --shim=preload", ", the least filter", ", --shim",
	", --shim --observe" };

/* --- a child --------------------------------------------------------------------------- */

/* A container with the group in it, or /dev/null. */
static int container = -1;
/* What is mapped: how it lies in memory is a part of what it costs. */
static int frames = -1;
static void *memory;

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

static int install(enum how how)
{
	int listener;

	if (how == WITHOUT || how == PRELOADED)
		return 0;
	return how == LEAST ? least_install() : shim_filter_install(how == OBSERVING, &listener);
}

static void call_once(enum what what)
{
	int fd;

	switch (what) {
	case GETPPID:
		syscall(SYS_getppid);
		break;
	case IOCTL:
		ioctl(container, VFIO_GET_API_VERSION);
		break;
	case OPEN:
		fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
		close(fd);
		break;
	default:
		map_and_unmap(what == MAP_PAGE ? 4096 : LARGE);
	}
}

/* Nanoseconds a call. */
static double measure(enum what what)
{
	static const int ns[] = { CALLS, CALLS, OPENS, MAPS, LARGE_MAPS };
	int n = ns[what];
	double begin = now_us();

	for (int i = 0; i < n; i++)
		call_once(what);
	return (now_us() - begin) * 1000 / n;
}

__attribute__((noreturn)) static void child(enum how how, int socket)
{
	char what;

	memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, frames, 0);
	if (memory == MAP_FAILED || install(how) < 0)
		_exit(1);
	while (read(socket, &what, 1) == 1) {
		double result = measure((enum what)what);

		if (write(socket, &result, sizeof result) != sizeof result)
			_exit(1);
	}
	_exit(0);
}

/* --- who asks -------------------------------------------------------------------------- */

static void set_up(const char *node)
{
	int group = node ? open(node, O_RDWR | O_CLOEXEC) : -1;
	cpu_set_t one;

	container = open(node ? "/dev/vfio/vfio" : "/dev/null", O_RDWR);
	if (container < 0 ||
		(node && (group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
				 ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))))
		err(1, "a container");
	frames = memfd_create("frames", 0);
	if (frames < 0 || ftruncate(frames, LARGE) < 0)
		err(1, "memory");
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof one, &one) < 0)
		err(1, "sched_setaffinity");
}

/* All of them anew, the library needs it; so that they are alike in all else. */
static int child_start(enum how how)
{
	char self[PATH_MAX] = "", library[PATH_MAX + 32], arguments[4][16];
	int pair[2];
	pid_t pid;

	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		err(1, "a child");
	snprintf(library, sizeof library, "%.*s/../../shim.so", (int)(strrchr(self, '/') - self),
		self);
	snprintf(arguments[0], sizeof arguments[0], "%d", how);
	snprintf(arguments[1], sizeof arguments[1], "%d", pair[1]);
	snprintf(arguments[2], sizeof arguments[2], "%d", container);
	snprintf(arguments[3], sizeof arguments[3], "%d", frames);
	if (how == PRELOADED && access(library, R_OK) < 0)
		err(1, "%s", library);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		close(pair[0]);
		if (how == PRELOADED) {
			setenv("LD_PRELOAD", library, 1);
			setenv(SHIM_ENVIRONMENT, "/nobody", 1);
		}
		execl(self, self, "--child", arguments[0], arguments[1], arguments[2], arguments[3],
			NULL);
		_exit(1);
	}
	close(pair[1]);
	fcntl(pair[0], F_SETFD, FD_CLOEXEC);
	return pair[0];
}

static double ask_child(int child, enum what what)
{
	double result;
	char byte = (char)what;

	if (write(child, &byte, 1) != 1 || read(child, &result, sizeof result) != sizeof result)
		errx(1, "a child has failed");
	return result;
}

/* Nobody would answer. */
static bool is_possible(size_t what, size_t how)
{
	return (what <= IOCTL || how != OBSERVING) && (what != OPEN || how <= LEAST);
}

struct measured {
	struct sample_case figures, ratios;
	char name[64];
};

static void print_row(size_t what, size_t how, struct measured *measured)
{
	struct sample_case *sample = &measured->figures;

	sample_finish(sample);
	sample_finish(&measured->ratios);
	printf("%s%-*s%10.1f%10.1f%10.1f%9.3f%s\n", whats[what], 38 - (int)strlen(whats[what]),
		hows[how], sample->min, sample->median, sample->max, measured->ratios.median,
		how == WITH || how == PRELOADED ? "   goal: at most 1.02" : "");
}

/* Each time another one is the first. */
static void turn_run(
	const int children[N_HOWS], size_t what, size_t turn, struct measured measured[N_HOWS])
{
	double values[N_HOWS] = { 0 };

	for (size_t j = 0; j < N_HOWS; j++) {
		size_t how = (turn + j) % N_HOWS;

		if (is_possible(what, how))
			values[how] = ask_child(children[how], (enum what)what);
	}
	for (size_t how = 0; how < N_HOWS; how++)
		if (is_possible(what, how)) {
			sample_add(&measured[how].figures, values[how]);
			sample_add(&measured[how].ratios, values[how] / values[WITHOUT]);
		}
}

static void round_run(const int children[N_HOWS], size_t what, struct measured measured[N_HOWS])
{
	for (size_t how = 0; how < N_HOWS; how++)
		if (is_possible(what, how))
			ask_child(children[how], (enum what)what); /* warm */
	for (size_t turn = 0; turn < SAMPLES; turn++)
		turn_run(children, what, turn, measured);
	for (size_t how = 0; how < N_HOWS; how++)
		if (is_possible(what, how)) {
			sample_end_round(&measured[how].figures, "shim");
			sample_end_round(&measured[how].ratios, "shim-ratio");
		}
}

int main(int argc, char *argv[])
{
	static struct measured all[N_WHATS][N_HOWS];
	size_t n_whats = argc > 1 ? N_WHATS : OPEN + 1;
	int children[N_HOWS];

	if (argc == 6 && strcmp(argv[1], "--child") == 0) {
		container = atoi(argv[4]);
		frames = atoi(argv[5]);
		child((enum how)atoi(argv[2]), atoi(argv[3]));
	}
	signal(SIGPIPE, SIG_IGN);
	set_up(argc > 1 ? argv[1] : NULL);
	for (size_t how = 0; how < N_HOWS; how++)
		children[how] = child_start((enum how)how);
	for (size_t what = 0; what < n_whats; what++)
		for (size_t how = 0; how < N_HOWS; how++) {
			struct measured *measured = &all[what][how];

			snprintf(measured->name, sizeof measured->name, "%s%s", whats[what],
				hows[how]);
			measured->figures.name = measured->ratios.name = measured->name;
		}
	for (size_t round = 0; round < SAMPLE_ROUNDS; round++)
		for (size_t what = 0; what < n_whats; what++)
			round_run(children, what, all[what]);
	printf("%-38s%10s%10s%10s%9s\n", "nanoseconds a call", "min", "median", "max", "ratio");
	for (size_t what = 0; what < n_whats; what++)
		for (size_t how = 0; how < N_HOWS; how++)
			if (is_possible(what, how))
				print_row(what, how, &all[what][how]);
	for (size_t how = 0; how < N_HOWS; how++)
		close(children[how]);
	while (wait(NULL) > 0)
		;
	return 0;
}
