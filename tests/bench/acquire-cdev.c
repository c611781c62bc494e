/*
 * acquire-cdev SOCKET DEVICE GROUP
 *
 * What it takes until a lease of mode cdev is there, by libvfiod, of a group that is taken and
 * stays so, against a bare process: it opens GROUP (/dev/vfio/N; is the device still open
 * somewhere?), the device's node and /dev/iommu, and sends the last two. Apart from that the
 * release: then the device is given to its driver anew, which nothing bare stands against. As root;
 * GROUP is DEVICE's (PCI): vfiod has nothing open while the bare process is asked.
 */
#include "client/include/vfiod.h"
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const size_t N_LEASES = 100;
enum { N_FDS = 2 };

static const char *group, *device;
static int bare_socket;
static struct vfiod *vfiod;

/* vfiod may have it open for a moment after its last lease. */
static int open_node(const char *path)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	int fd;

	while ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0) {
		if (errno != EBUSY)
			err(1, "%s", path);
		nanosleep(&pause, NULL);
	}
	return fd;
}

/* It has another name each time that its driver has it anew. */
static int open_cdev(void)
{
	char directory[128], path[300];
	const struct dirent *entry;

	snprintf(directory, sizeof(directory), "/sys/bus/pci/devices/%s/vfio-dev", device);
	DIR *nodes = opendir(directory);
	if (!nodes)
		err(1, "%s", directory);
	while ((entry = readdir(nodes)) && entry->d_name[0] == '.')
		continue;
	if (!entry)
		errx(1, "%s: empty", directory);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
	closedir(nodes);
	return open_node(path);
}

union descriptors {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int[N_FDS]))];
};

_Noreturn static void bare_server(int socket)
{
	char request;

	while (read(socket, &request, 1) == 1) {
		close(open_node(group));
		int fds[N_FDS] = { open_cdev(), open_node("/dev/iommu") };
		union descriptors control = { .header = { .cmsg_level = SOL_SOCKET,
						      .cmsg_type = SCM_RIGHTS,
						      .cmsg_len = CMSG_LEN(sizeof(fds)) } };
		struct iovec vector = { (char[]){ 'f' }, 1 };
		struct msghdr message = { .msg_iov = &vector,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control) };
		memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
		if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1)
			break;
		for (int i = 0; i < N_FDS; i++)
			close(fds[i]);
	}
	_exit(0);
}

static void bare_acquire(struct sample_case *sample)
{
	char byte;
	union descriptors control;
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int fds[N_FDS];

	double begin = now_us();
	if (write(bare_socket, "a", 1) != 1 ||
		recvmsg(bare_socket, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		errx(1, "the bare process has ended");
	sample_add(sample, now_us() - begin);
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fds));
	for (int i = 0; i < N_FDS; i++)
		close(fds[i]);
}

static void broker_lease(struct sample_case *acquire, struct sample_case *release)
{
	struct vfiod_lease *lease;

	double begin = now_us();
	if (vfiod_acquire_cdev(vfiod, &device, 1, 10, &lease) < 0)
		errx(1, "%s: %s", device, vfiod_strerror(vfiod));
	double granted = now_us();
	sample_add(acquire, granted - begin);
	if (vfiod_release(vfiod, lease) < 0)
		errx(1, "%s: %s", device, vfiod_strerror(vfiod));
	sample_add(release, now_us() - granted);
}

int main(int argc, char *argv[])
{
	static struct sample_case bare = { .name = "bare: 3 opens, 2 descriptors sent" };
	static struct sample_case acquire = { .name = "vfiod: acquire" };
	static struct sample_case release = { .name = "vfiod: release, driver anew" };

	if (argc != 4)
		errx(2, "see tests/bench/acquire-cdev.c");
	device = argv[2];
	group = argv[3];
	pid_t pid = peer_fork(SOCK_STREAM, &bare_socket);
	if (pid == 0)
		bare_server(bare_socket);
	if (vfiod_open(argv[1], &vfiod) < 0)
		errx(1, "%s: no vfiod", argv[1]);
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		for (size_t i = 0; i < N_LEASES; i++)
			bare_acquire(&bare);
		for (size_t i = 0; i < N_LEASES; i++)
			broker_lease(&acquire, &release);
		sample_end_round(&bare, "acquire-cdev");
		sample_end_round(&acquire, "acquire-cdev");
		sample_end_round(&release, "acquire-cdev");
	}
	printf("%-38s%10s%10s%10s%9s\n", "a device's node and an iommufd, us", "min", "median",
		"max", "ratio");
	struct sample_case *const rows[] = { &bare, &acquire, &release };
	for (size_t i = 0; i < 3; i++) {
		sample_finish(rows[i]);
		printf("%-38s%10.1f%10.1f%10.1f", rows[i]->name, rows[i]->min, rows[i]->median,
			rows[i]->max);
		if (rows[i] == &acquire)
			printf("%9.1f", acquire.median / bare.median);
		printf("\n");
	}
	vfiod_close(vfiod);
	close(bare_socket);
	waitpid(pid, NULL, 0);
	return 0;
}
