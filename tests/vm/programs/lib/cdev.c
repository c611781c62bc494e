/*
 * cdev [--wait SECONDS] [--memory MIB] DEVICE…
 *
 * A client that does what it is told with devices and an iommufd of its own: acquires them from the
 * daemon at $VFIOD_SOCKET, says
 *
 *	lease L1 0123456789abcdef0123456789abcdef
 *	device 0000:00:04.0 fd 5
 *	iommufd fd 6
 *	granted
 *
 * or "error NAME PARAMETERS", with exit status 1. Then it reads commands, and answers the n-th with
 *a line "n ok …" or "n failed ENOENT":
 *
 *	bind DEVICE        to its iommufd; attach DEVICE IOAS, detach DEVICE
 *	ioas               allocates one; its id
 *	map IOAS MIB       so much more memory, behind what it mapped before
 *	open-iommu         opens /dev/iommu by itself, and closes it
 *	keep DEVICE        takes its descriptor out of the lease: release does not close it
 *	hide DEVICE        likewise, and leaves it in a socket, where no process has it open; unhide
 *	                   DEVICE takes it out again
 *	close DEVICE       closes it; it may be one that was kept
 *	release            "n ok released", or lingering
 *
 * It ends with its standard input.
 */
#include "client/include/vfiod.h"
#include "tests/vm/programs/iommufd.h"
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

struct client {
	struct vfiod *vfiod;
	struct vfiod_lease *lease; /* NULL: released */
	int kept;                  /* a device's descriptor, or -1 */
	int hidden[2];             /* the socket that one is in */
	int iommufd;
	uint64_t n_mapped;
};

static void fail(const struct vfiod *vfiod)
{
	if (!vfiod_error_name(vfiod))
		errx(EXIT_SYSTEM, "acquire: %s", vfiod_strerror(vfiod));
	printf("error %s %s\n", vfiod_error_name(vfiod), vfiod_error_parameters(vfiod));
	exit(EXIT_SYSTEM);
}

static void lease_print(const struct vfiod_lease *lease)
{
	printf("lease %s %s\n", vfiod_lease_name(lease), vfiod_lease_token(lease));
	for (size_t i = 0; i < vfiod_lease_n_groups(lease); i++)
		for (size_t j = 0; j < vfiod_lease_n_devices(lease, i); j++)
			printf("device %s fd %d\n", vfiod_lease_device(lease, i, j),
				vfiod_lease_device_fd(lease, vfiod_lease_device(lease, i, j)));
	printf("iommufd fd %d\n", vfiod_lease_iommufd(lease));
	puts("granted");
	fflush(stdout);
}

/* Of the lease, or the one that was kept. */
static int device_fd(const struct client *client, const char *name)
{
	int fd = client->lease && name ? vfiod_lease_device_fd(client->lease, name) : -EBADF;

	return fd >= 0 ? fd : client->kept;
}

static int keep(struct client *client, const char *name)
{
	int fd = client->lease ? vfiod_lease_steal_device_fd(client->lease, name) : -EBADF;

	if (fd >= 0)
		client->kept = fd;
	return fd < 0 ? fd : 0;
}

union rights {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static int hide(struct client *client, const char *name)
{
	char byte = 0;
	struct iovec vector = { &byte, 1 };
	union rights rights = { 0 };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = sizeof(rights.space) };
	int r = keep(client, name);

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, client->hidden) < 0)
		return -errno;
	rights.header.cmsg_level = SOL_SOCKET;
	rights.header.cmsg_type = SCM_RIGHTS;
	rights.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&rights.header), &client->kept, sizeof(int));
	if (sendmsg(client->hidden[0], &message, 0) != 1)
		return -errno;
	close(client->kept);
	client->kept = -1;
	return 0;
}

static int unhide(struct client *client)
{
	char byte;
	struct iovec vector = { &byte, 1 };
	union rights rights = { 0 };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = sizeof(rights.space) };

	if (recvmsg(client->hidden[1], &message, MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	memcpy(&client->kept, CMSG_DATA(&rights.header), sizeof(int));
	return 0;
}

static int map(struct client *client, const char *ioas, const char *mib)
{
	uint64_t length = program_number(mib, 1 << 20) * MIB;
	void *memory =
		mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r;

	if (memory == MAP_FAILED)
		return -errno;
	r = ioas_map(client->iommufd, (uint32_t)program_number(ioas, UINT32_MAX), memory,
		client->n_mapped, length);
	if (r == 0)
		client->n_mapped += length;
	return r;
}

static int device_close(struct client *client, const char *name)
{
	int fd = client->kept;

	if (fd < 0 && client->lease)
		fd = vfiod_lease_steal_device_fd(client->lease, name);
	client->kept = -1;
	return fd < 0 ? -EBADF : close(fd) < 0 ? -errno : 0;
}

static int open_iommu(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* 0 or -errno, and more to say in `more`. */
static int command_run(
	struct client *client, const char *name, const char *a, const char *b, char more[32])
{
	uint32_t ioas;
	int r;

	if (strcmp(name, "bind") == 0)
		return cdev_bind(device_fd(client, a), client->iommufd);
	if (strcmp(name, "attach") == 0)
		return cdev_attach(device_fd(client, a), (uint32_t)program_number(b, UINT32_MAX));
	if (strcmp(name, "detach") == 0)
		return cdev_detach(device_fd(client, a));
	if (strcmp(name, "map") == 0)
		return map(client, a, b);
	if (strcmp(name, "open-iommu") == 0)
		return open_iommu();
	if (strcmp(name, "keep") == 0)
		return keep(client, a);
	if (strcmp(name, "hide") == 0)
		return hide(client, a);
	if (strcmp(name, "unhide") == 0)
		return unhide(client);
	if (strcmp(name, "close") == 0)
		return device_close(client, a);
	if (strcmp(name, "ioas") == 0) {
		r = ioas_allocate(client->iommufd, &ioas);
		snprintf(more, 32, " %u", ioas);
		return r;
	}
	if (strcmp(name, "release") != 0)
		errx(EXIT_USAGE, "no command: %s", name);
	r = vfiod_release(client->vfiod, client->lease);
	client->lease = NULL;
	snprintf(more, 32, r == 1 ? " lingering" : " released");
	return r < 0 ? r : 0;
}

static void commands_run(struct client *client)
{
	char line[256];

	for (int n = 1; fgets(line, sizeof(line), stdin); n++) {
		char name[32] = "", a[128] = "", b[32] = "", more[32] = "";

		sscanf(line, "%31s %127s %31s", name, a, b);
		int r = command_run(client, name, a, b, more);
		if (r < 0)
			printf("%d failed %s\n", n, strerrorname_np(-r));
		else
			printf("%d ok%s\n", n, more);
		fflush(stdout);
	}
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "wait", required_argument, NULL, 'w' },
		{ "memory", required_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 },
	};
	struct vfiod_acquire_options asked = { .size = sizeof(asked),
		.flags = VFIOD_ACQUIRE_WATCH | VFIOD_ACQUIRE_CDEV };
	struct client client = { .kept = -1 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'w')
			asked.wait_seconds = (unsigned)program_number(optarg, UINT_MAX);
		else if (option == 'm')
			asked.memory_bytes = program_number(optarg, 1 << 20) * MIB;
		else
			errx(EXIT_USAGE, "see tests/vm/programs/lib/cdev.c");
	}
	if (vfiod_open(NULL, &client.vfiod) < 0)
		err(EXIT_SYSTEM, "the daemon's socket");
	if (vfiod_acquire_with(client.vfiod, (const char *const *)argv + optind,
		    (size_t)(argc - optind), &asked, &client.lease) < 0)
		fail(client.vfiod);
	lease_print(client.lease);
	/* Its own: a stale device has to be bound to something after the release. */
	client.iommufd = vfiod_lease_steal_iommufd(client.lease);
	commands_run(&client);
	vfiod_close(client.vfiod);
	return 0;
}
