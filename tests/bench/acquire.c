/*
 * acquire SOCKET DEVICE NODE [counted|stand-in]
 *
 * What acquire + release of a ready group costs against a bare loop that does nothing but what
 * has to be done: a process sends another the descriptor of NODE (/dev/vfio/N), and, when that one
 * has closed it, opens the group (is it still open somewhere?), and has the descriptor for the next
 * time. So does vfiod: it opens the group once for each lease, after it (transaction_check()), and
 * keeps it open for a moment (holding_drop_kept()). The group is to be taken already, and stay so
 * (`return = no`).
 *
 * Between the two, the least that a broker of this shape costs: a server that waits for all of its
 * clients with epoll(7), and a helper that opens the group for it, since that may block; without a
 * message, a rule, or a journal.
 *
 * Then, apart from what is timed, what each process does for one lease is counted (effort.h).
 *
 * `counted`: the machine has one processor, and its clock goes on by a nanosecond with each
 * instruction, of programs and of the kernel (QEMU's -icount). Then a microsecond is a thousand
 * instructions.
 * `stand-in`: NODE is the file that stands for a group in tests/bench/stand-in.c.
 */
#include "tests/bench/effort.h"
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Leases of a round; emulated, a broker's are fewer. */
static size_t n_broker = 200, n_counted = 100;
static const size_t N_BARE = 2000;
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

static bool is_stand_in;

/* -1 with errno EBUSY: it is open somewhere else. */
static int try_group(const char *node)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	if (is_stand_in && fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		errno = EBUSY;
		return -1;
	}
	return fd;
}

static int open_group(const char *node)
{
	int fd = try_group(node);

	if (fd < 0)
		err(1, "%s", node);
	return fd;
}

/* vfiod has it open for a moment after a lease. */
static int open_first(const char *node)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };

	for (;;) {
		int fd = try_group(node);
		if (fd >= 0)
			return fd;
		if (errno != EBUSY)
			err(1, "%s", node);
		nanosleep(&pause, NULL);
	}
}

static int receive_fd(int socket)
{
	char byte;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vector = { &byte, 1 };
	struct msghdr header = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(socket, &header, MSG_CMSG_CLOEXEC) != 1)
		err(1, "recvmsg");
	if (CMSG_FIRSTHDR(&header))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
	return fd;
}

/* Sends what it has open, and is without. */
static void hand_over(int socket, int *fd)
{
	send_fd(socket, *fd);
	close(*fd);
	*fd = -1;
}

_Noreturn static void bare_server(int socket, const char *node)
{
	int kept = open_first(node);
	char request;

	while (read(socket, &request, 1) == 1) {
		if (request == 'a') {
			hand_over(socket, &kept);
			continue;
		}
		kept = open_group(node);
		if (write(socket, "r", 1) != 1)
			break;
	}
	_exit(0);
}

static void wait_for(int epoll)
{
	struct epoll_event event;

	if (epoll_wait(epoll, &event, 1, -1) != 1)
		err(1, "epoll_wait");
}

_Noreturn static void helper_main(int socket, const char *node)
{
	char request;

	close(open_first(node));
	while (read(socket, &request, 1) == 1) {
		int fd = open_group(node);
		hand_over(socket, &fd);
	}
	_exit(0);
}

static int ask_helper(int epoll, int helper)
{
	if (write(helper, "o", 1) != 1)
		_exit(0);
	wait_for(epoll);
	return receive_fd(helper);
}

_Noreturn static void shaped_server(int socket, int helper)
{
	struct epoll_event events[2] = { { .events = EPOLLIN }, { .events = EPOLLIN } };
	int epoll = epoll_create1(EPOLL_CLOEXEC), kept = -1;
	char request;

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, helper, &events[1]) < 0)
		err(1, "epoll");
	kept = ask_helper(epoll, helper);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &events[0]) < 0)
		err(1, "epoll");
	for (;;) {
		wait_for(epoll);
		if (read(socket, &request, 1) != 1)
			_exit(0);
		if (request == 'a') {
			hand_over(socket, &kept);
			continue;
		}
		kept = ask_helper(epoll, helper);
		if (write(socket, "r", 1) != 1)
			_exit(0);
	}
}

/* The connection is a wire without a daemon: one byte each way, one with a descriptor. */
static bool bare_lease(struct wire *wire, const char *device)
{
	char reply;

	(void)device;
	if (write(wire->fd, "a", 1) != 1)
		err(1, "bare acquire");
	int fd = receive_fd(wire->fd);
	if (fd < 0)
		errx(1, "bare acquire: no descriptor");
	close(fd);
	if (write(wire->fd, "r", 1) != 1 || read(wire->fd, &reply, 1) != 1)
		err(1, "bare release");
	return true;
}

static void pair(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		err(1, "socketpair");
}

struct bare {
	struct wire wire;
	pid_t pids[2];
	size_t n_pids;
};

/* A server at the other end of the wire: the bare one, or one with a helper. */
static void bare_start(struct bare *bare, const char *node, bool has_helper)
{
	int ends[2], within[2] = { -1, -1 };

	pair(ends);
	if (has_helper)
		pair(within);
	bare->n_pids = has_helper ? 2 : 1;
	for (size_t i = 0; i < bare->n_pids; i++) {
		bare->pids[i] = fork();
		if (bare->pids[i] < 0)
			err(1, "fork");
		if (bare->pids[i] > 0)
			continue;
		close(ends[0]);
		close(within[i]);
		if (i == 1)
			helper_main(within[0], node);
		else if (has_helper)
			shaped_server(ends[1], within[1]);
		else
			bare_server(ends[1], node);
	}
	close(ends[1]);
	close(within[0]);
	close(within[1]);
	bare->wire = (struct wire){ .fd = ends[0], .group_fd = -1 };
}

/* It has the group open until then. */
static void bare_end(struct bare *bare)
{
	wire_close(&bare->wire);
	for (size_t i = 0; i < bare->n_pids; i++)
		waitpid(bare->pids[i], NULL, 0);
}

static const double GOAL = 3;

/* The name of the bench, and what it measures. */
static const char *bench = "acquire", *unit = "us";

static void print_row(const struct sample_case *sample, const char *label, double bare)
{
	double ratio = sample->median / bare;

	printf("%-38s%10.1f%10.1f%10.1f%9.1f%s\n", sample->name, sample->min, sample->median,
		sample->max, ratio,
		ratio > GOAL && strcmp(label, "vfiod") == 0 ? "  (goal: at most 3)" : "");
	printf("plot\t%s\t%s\t%.2f\t%.2f\t%.2f\t%.1f\n", bench, label, ratio, sample->min / bare,
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
	static const int widths[EFFORT_KINDS] = { 10, 10, 13 };

	printf("%-38s", who);
	for (int kind = 0; kind < EFFORT_KINDS; kind++)
		if (shares[kind] < 0)
			printf("%*s", widths[kind], "-");
		else
			printf("%*.1f", widths[kind], shares[kind]);
	printf("\n");
}

/* Of this process, its peer, and the peer's children as one. */
static bool count_effort(const char *const names[3], const pid_t pids[], size_t n_pids,
	bool (*lease)(struct wire *wire, const char *device), struct wire *wire, const char *device)
{
	struct effort mine, theirs[MAX_PROCESSES];
	double shares[EFFORT_KINDS], children[EFFORT_KINDS] = { 0 };
	bool is_well = true;

	for (size_t i = 0; i < n_pids; i++)
		effort_begin(&theirs[i], pids[i]);
	effort_begin(&mine, 0);
	for (size_t i = 0; is_well && i < n_counted; i++)
		is_well = lease(wire, device);
	effort_end(&mine, (double)n_counted, shares);
	print_effort(names[0], shares);
	for (size_t i = 0; i < n_pids; i++) {
		effort_end(&theirs[i], (double)n_counted, shares);
		if (i == 0)
			print_effort(names[1], shares);
		for (int kind = 0; i > 0 && kind < EFFORT_KINDS; kind++)
			children[kind] += shares[kind];
	}
	if (n_pids > 1)
		print_effort(names[2], children);
	return is_well;
}

typedef bool (*lease_fn)(struct wire *wire, const char *device);

/* A round of one of the three. The first lease finds the group closed, and is not counted. */
static bool run_round(
	struct sample_case *sample, size_t n, lease_fn lease, struct wire *wire, const char *device)
{
	if (!lease(wire, device))
		return false;
	for (size_t i = 0; i < n; i++) {
		double begin = now_us();
		if (!lease(wire, device))
			return false;
		sample_add(sample, now_us() - begin);
	}
	sample_end_round(sample, bench);
	return true;
}

static void run_bare_round(struct sample_case *sample, size_t n, const char *node, bool has_helper)
{
	struct bare bare;

	bare_start(&bare, node, has_helper);
	run_round(sample, n, bare_lease, &bare.wire, NULL);
	bare_end(&bare);
}

static void count_bare_effort(const char *const names[3], const char *node, bool has_helper)
{
	struct bare bare;

	bare_start(&bare, node, has_helper);
	bare_lease(&bare.wire, NULL);
	count_effort(names, bare.pids, bare.n_pids, bare_lease, &bare.wire, NULL);
	bare_end(&bare);
}

int main(int argc, char *argv[])
{
	static struct sample_case bare = { .name = "bare: 1 open, 1 descriptor sent" };
	static struct sample_case shaped = { .name = "the same by epoll and a helper" };
	static struct sample_case broker = { .name = "vfiod: Acquire, Release" };
	static const char *const names[][3] = {
		{ "bare: client", "bare: server", NULL },
		{ "by a helper: client", "by a helper: server", "by a helper: helper" },
		{ "vfiod: client", "vfiod: daemon", "vfiod: doormen" },
	};
	pid_t pids[MAX_PROCESSES];
	struct wire wire;

	bool is_counted = argc == 5 && strcmp(argv[4], "counted") == 0;

	is_stand_in = argc == 5 && strcmp(argv[4], "stand-in") == 0;
	if (argc != 4 && !is_counted && !is_stand_in)
		errx(2, "see tests/bench/acquire.c");
	if (is_counted) {
		bench = "acquire-counted";
		unit = "1,000 instr.";
	}
	if (is_stand_in) {
		bench = "acquire-here";
		n_broker = n_counted = N_BARE;
	}
	const char *device = argv[2], *node = argv[3];
	wire_open(&wire, argv[1], geteuid());
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		run_bare_round(&bare, N_BARE, node, false);
		run_bare_round(&shaped, n_broker, node, true);
		if (!run_round(&broker, n_broker, wire_lease, &wire, device))
			return 1;
	}
	sample_finish(&bare);
	sample_finish(&shaped);
	sample_finish(&broker);
	char title[64];

	snprintf(title, sizeof(title), "one group's fd and its end, %s", unit);
	printf("%-41s%7s%10s%10s%9s\n", title, "min", "median", "max", "ratio");
	print_row(&bare, "bare", bare.median);
	print_row(&shaped, "helper", bare.median);
	print_row(&broker, "vfiod", bare.median);

	printf("\n%-38s%10s%10s%13s\n", "for one lease", "calls", "switches",
		is_counted ? unit : "CPU us");
	count_bare_effort(names[0], node, false);
	count_bare_effort(names[1], node, true);
	size_t n_pids = find_daemon(&wire, pids);
	if (!wire_lease(&wire, device) ||
		!count_effort(names[2], pids, n_pids, wire_lease, &wire, device))
		return 1;
	wire_close(&wire);
	return 0;
}
