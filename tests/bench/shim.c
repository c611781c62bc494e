/*
 * shim
 *
 * What the filter of `vfioctl run --shim` costs those system calls that it does not ask about: a
 * child with it, a child without, by turns. An ioctl as VFIO_IOMMU_MAP_DMA is one, without what it
 * does.
 */
#include "client/vfioctl/shim.h"
#include "tests/bench/sample.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAMPLES = 20, CALLS = 50000 }; /* a round: a million of each */
enum what { GETPPID, IOCTL };
enum filter { WITHOUT, LEAST, WITH, OBSERVING };

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

static double measure(enum what what, int fd)
{
	double begin = now_us();

	if (what == GETPPID)
		for (int i = 0; i < CALLS; i++)
			syscall(SYS_getppid);
	else
		for (int i = 0; i < CALLS; i++)
			ioctl(fd, VFIO_GET_API_VERSION);
	return (now_us() - begin) * 1000 / CALLS;
}

/* Nanoseconds a call, in a process of its own: a filter stays for ever. */
static double measure_in_child(enum what what, enum filter filter, double *result)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), status;
	pid_t pid = fork();

	if (fd < 0 || pid < 0)
		err(1, "a child");
	if (pid == 0) {
		if (install(filter) < 0)
			_exit(1);
		measure(what, fd); /* warm */
		*result = measure(what, fd);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "the child has failed");
	close(fd);
	return *result;
}

int main(void)
{
	static struct sample_case cases[2][4] = {
		{ { .name = "getppid" }, { .name = "getppid, the least filter" },
			{ .name = "getppid, --shim" }, { .name = "getppid, --shim --observe" } },
		{ { .name = "ioctl" }, { .name = "ioctl, the least filter" },
			{ .name = "ioctl, --shim" }, { .name = "ioctl, --shim --observe" } },
	};
	double *result = mmap(
		NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (result == MAP_FAILED)
		err(1, "mmap");
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		for (int i = 0; i < SAMPLES * 8; i++)
			sample_add(
				&cases[i % 8 / 4][i % 4], measure_in_child((enum what)(i % 8 / 4),
								  (enum filter)(i % 4), result));
		for (int i = 0; i < 8; i++)
			sample_end_round(&cases[i / 4][i % 4], "shim");
	}
	printf("%-38s%10s%10s%10s%9s\n", "nanoseconds a call", "min", "median", "max", "ratio");
	for (int i = 0; i < 8; i++) {
		struct sample_case *sample = &cases[i / 4][i % 4];

		sample_finish(sample);
		printf("%-38s%10.1f%10.1f%10.1f%9.3f%s\n", sample->name, sample->min,
			sample->median, sample->max, sample->median / cases[i / 4][0].median,
			i % 4 == WITH ? "   goal: at most 1.02" : "");
	}
	return 0;
}
