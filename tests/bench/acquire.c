/*
 * acquire SOCKET DEVICE GROUP
 *
 * What acquire + release of a ready group costs against a bare loop that does nothing but what
 * has to be done: a process opens /dev/vfio/GROUP, sends the descriptor to another, and, when that
 * one has closed it, opens the group once more (is it still open somewhere?). So does vfiod: one
 * open for the lease (transaction_open()), one after it (transaction_check()). As root; the group
 * is to be taken already, and stay so (`return = no`).
 *
 * Then, apart from what is timed, what each process does for one lease is counted (effort.h).
 */
#include "tests/bench/effort.h"
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

static const size_t N_BROKER = 200, N_BARE = 2000, N_COUNTED = 100;
enum { MAX_PROCESSES = 16 };

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

static pid_t bare_start(struct wire *wire, const char *group)
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
	return pid;
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

/* --- what each process does ------------------------------------------------------------------ */

/* Who listens at the other end, and the children that it has: its doormen. */
static size_t find_daemon(const struct wire *wire, pid_t pids[MAX_PROCESSES])
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	char path[64];
	size_t n = 1;
	int child;

	if (getsockopt(wire->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		err(1, "SO_PEERCRED");
	pids[0] = peer.pid;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)peer.pid, (int)peer.pid);
	FILE *children = fopen(path, "re");
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
	while (children && n < MAX_PROCESSES && fscanf(children, "%d", &child) == 1)
		pids[n++] = child;
	if (children)
		fclose(children);
	return n;
}

static void print_effort(const char *who, const double shares[EFFORT_KINDS])
{
	printf("%-38s%10.1f%10.1f%10.1f\n", who, shares[EFFORT_CALLS], shares[EFFORT_SWITCHES],
		shares[EFFORT_CPU_US]);
}

/* Of this process, its peer, and the peer's children as one. */
static bool count_effort(const char *const names[3], const pid_t pids[], size_t n_pids,
	bool (*lease)(struct wire *wire, const char *of), struct wire *wire, const char *of)
{
	struct effort mine, theirs[MAX_PROCESSES];
	double shares[EFFORT_KINDS], children[EFFORT_KINDS] = { 0 };
	bool is_well = true;

	for (size_t i = 0; i < n_pids; i++)
		effort_begin(&theirs[i], pids[i]);
	effort_begin(&mine, 0);
	for (size_t i = 0; is_well && i < N_COUNTED; i++)
		is_well = lease(wire, of);
	effort_end(&mine, (double)N_COUNTED, shares);
	print_effort(names[0], shares);
	for (size_t i = 0; i < n_pids; i++) {
		effort_end(&theirs[i], (double)N_COUNTED, shares);
		if (i == 0)
			print_effort(names[1], shares);
		for (int kind = 0; i > 0 && kind < EFFORT_KINDS; kind++)
			children[kind] += shares[kind];
	}
	if (n_pids > 1)
		print_effort(names[2], children);
	return is_well;
}

static bool bare_lease_of(struct wire *wire, const char *of)
{
	(void)of;
	bare_lease(wire);
	return true;
}

int main(int argc, char *argv[])
{
	static struct sample_case bare = { .name = "bare: 2 opens, 1 descriptor sent" };
	static struct sample_case broker = { .name = "vfiod: Acquire, Release" };
	struct wire bare_wire, wire;

	if (argc != 4)
		errx(2, "see tests/bench/acquire.c");
	wire_open(&wire, argv[1], 0);
	pid_t pids[MAX_PROCESSES], bare_pid = bare_start(&bare_wire, argv[3]);
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
	printf("\n%-38s%10s%10s%10s\n", "for one lease", "calls", "switches", "CPU us");
	count_effort((const char *[]){ "bare: client", "bare: server", NULL }, &bare_pid, 1,
		bare_lease_of, &bare_wire, argv[3]);
	size_t n_pids = find_daemon(&wire, pids);
	if (!count_effort((const char *[]){ "vfiod: client", "vfiod: daemon", "vfiod: doormen" },
		    pids, n_pids, wire_lease, &wire, argv[2]))
		return 1;
	wire_close(&bare_wire);
	wire_close(&wire);
	return 0;
}
