/*
 * acquire SOCKET DEVICE GROUP
 *
 * What acquire + release of a ready group costs against a bare loop that does nothing but what
 * has to be done: a process opens /dev/vfio/GROUP, sends the descriptor to another, and, when that
 * one has closed it, opens the group once more (is it still open somewhere?). So does vfiod: one
 * open for the lease (transaction_open()), one after it (transaction_check()). As root; the group
 * is to be taken already, and stay so (`return = no`).
 */
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t N_BROKER = 200, N_BARE = 2000;

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec vector = { (char[]){ 'f' }, 1 };
	struct msghdr header = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(socket, &header, MSG_NOSIGNAL) != 1)
		err(1, "sendmsg");
}

static int open_group(const char *group)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

_Noreturn static void bare_server(int socket, const char *group)
{
	char request;

	while (read(socket, &request, 1) == 1) {
		int fd = open_group(group);
		if (request == 'a')
			send_fd(socket, fd);
		close(fd);
		if (request == 'r' && write(socket, "r", 1) != 1)
			break;
	}
	_exit(0);
}

/* The connection is a wire without a daemon: one byte each way, one with a descriptor. */
static void bare_lease(struct wire *wire)
{
	char reply;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vector = { &reply, 1 };
	struct msghdr header = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };

	if (write(wire->fd, "a", 1) != 1 || recvmsg(wire->fd, &header, MSG_CMSG_CLOEXEC) != 1 ||
		!CMSG_FIRSTHDR(&header))
		err(1, "bare acquire");
	int fd;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
	close(fd);
	if (write(wire->fd, "r", 1) != 1 || read(wire->fd, &reply, 1) != 1)
		err(1, "bare release");
}

static void bare_start(struct wire *wire, const char *group)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		err(1, "socketpair");
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		close(ends[0]);
		bare_server(ends[1], group);
	}
	close(ends[1]);
	*wire = (struct wire){ .fd = ends[0], .group_fd = -1 };
}

static const double GOAL = 3;

static void print_row(const struct sample_case *sample, const char *label, double bare)
{
	double ratio = sample->median / bare;

	printf("%-38s%10.1f%10.1f%10.1f%9.1f%s\n", sample->name, sample->min, sample->median,
		sample->max, ratio, ratio > GOAL ? "  (goal: at most 3)" : "");
	printf("plot\tacquire\t%s\t%.2f\t%.2f\t%.2f\t%.1f\n", label, ratio, sample->min / bare,
		sample->max / bare, sample->median);
}

int main(int argc, char *argv[])
{
	static struct sample_case bare = { .name = "bare: 2 opens, 1 descriptor sent" };
	static struct sample_case broker = { .name = "vfiod: Acquire, Release" };
	struct wire bare_wire, wire;

	if (argc != 4)
		errx(2, "see tests/bench/acquire.c");
	wire_open(&wire, argv[1], 0);
	bare_start(&bare_wire, argv[3]);
	if (!wire_lease(&wire, argv[2]))
		return 1;
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		for (size_t i = 0; i < N_BARE; i++) {
			double begin = now_us();
			bare_lease(&bare_wire);
			sample_add(&bare, now_us() - begin);
		}
		sample_end_round(&bare, "acquire");
		for (size_t i = 0; i < N_BROKER; i++) {
			double begin = now_us();
			if (!wire_lease(&wire, argv[2]))
				return 1;
			sample_add(&broker, now_us() - begin);
		}
		sample_end_round(&broker, "acquire");
	}
	sample_finish(&bare);
	sample_finish(&broker);
	printf("%-38s%10s%10s%10s%9s\n", "one group's fd, and its end, us", "min", "median", "max",
		"ratio");
	print_row(&bare, "bare", bare.median);
	print_row(&broker, "vfiod", bare.median);
	wire_close(&bare_wire);
	wire_close(&wire);
	return 0;
}
