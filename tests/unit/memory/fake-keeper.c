#include "fake-keeper.h"

#include "daemon/base/packet.h"
#include "daemon/base/util.h"
#include "daemon/privilege/message.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>

struct fake_host fake_host;

static void end(struct fake_keeper *keeper)
{
	ev_io_stop(fake_host.loop, &keeper->readable);
	if (keeper->socket >= 0)
		close(steal_fd(&keeper->socket));
	kill(keeper->pid, SIGKILL);
}

static void answer_sync(struct fake_keeper *keeper, const struct wire_sync *sync)
{
	struct wire_state state = {
		.nonce = sync->nonce,
		.version = fake_host.version,
		.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
		.has_book = keeper->has_book,
	};
	if (!fake_host.is_silent)
		fake_send(keeper, &state, WIRE_STATE, sizeof(state), -1);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)loop;
	(void)revents;
	struct fake_keeper *keeper = watcher->data;
	union wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds;

	ssize_t n = wire_receive(keeper->socket, &message, fds, &n_fds, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		end(keeper);
		return;
	}
	if (message.header.type == WIRE_SYNC) {
		answer_sync(keeper, &message.sync);
		return;
	}
	keeper->has_book |= message.header.type == WIRE_START;
	fake_host.answer(keeper, &message.request, fds, n_fds);
	while (n_fds > 0)
		close(fds[--n_fds]);
}

/* It has nothing of this process open, or closed sockets would stay open. */
_Noreturn static void child_run(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(0, ~0U, 0);
	for (;;)
		pause();
}

static pid_t spawn(const char *path, enum keeper_role role, const struct subject *client,
	int socket, int *report)
{
	(void)path;
	(void)client;
	if (fake_host.spawn_fails)
		return fake_host.spawn_fails;
	assert(fake_host.n_keepers < FAKE_KEEPERS_MAX);
	struct fake_keeper *keeper = &fake_host.keepers[fake_host.n_keepers++];
	pid_t pid = fork();
	if (pid == 0)
		child_run();
	*keeper = (struct fake_keeper){
		.role = role,
		.pid = pid,
		.socket = fcntl(socket, F_DUPFD_CLOEXEC, 0),
	};
	ev_io_init(&keeper->readable, on_readable, keeper->socket, EV_READ);
	keeper->readable.data = keeper;
	ev_io_start(fake_host.loop, &keeper->readable);
	if (!fake_host.is_silent)
		fake_hello(keeper, WIRE_VERSION);
	if (fake_host.is_elsewhere) {
		int pair[2];
		int r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
		assert(r == 0);
		*report = pair[0];
		fake_host.report = pair[1];
		return 0;
	}
	return pid;
}

static int limit_locked(int pidfd, pid_t pid, uint64_t bytes)
{
	(void)pidfd;
	(void)pid;
	fake_host.locked_limit = bytes;
	return 0;
}

static int64_t locked(pid_t pid)
{
	(void)pid;
	return fake_host.locked;
}

static int open_container(void)
{
	if (fake_host.no_container)
		return fake_host.no_container;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int open_iommufd(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int headroom(const struct subject *client, struct cgroup_headroom *room)
{
	(void)client;
	*room = (struct cgroup_headroom){
		.bytes = fake_host.no_room ? 0 : UINT64_MAX,
		.max = 1 << 20,
		.current = 1 << 20,
		.cgroup = "/client",
	};
	return 0;
}

const struct keeper_ops fake_ops = {
	.spawn = spawn,
	.limit_locked = limit_locked,
	.locked = locked,
	.open_container = open_container,
	.open_iommufd = open_iommufd,
	.headroom = headroom,
};

static void report(const struct privilege_reply *reply, int fd)
{
	int r = packet_send(fake_host.report, reply, sizeof(*reply), fd, 0);
	assert(r == 0);
}

void fake_report_failed(int result)
{
	report(&(struct privilege_reply){ .result = result }, -1);
}

void fake_report_started(void)
{
	pid_t pid = fake_host.keepers[fake_host.n_keepers - 1].pid;
	int pidfd = pidfd_open(pid, 0);

	assert(pidfd >= 0);
	report(&(struct privilege_reply){ .pid = pid }, pidfd);
	close(pidfd);
}

void fake_report_ended(int status)
{
	report(&(struct privilege_reply){ .result = status }, -1);
}

void fake_report_close(void)
{
	if (fake_host.report >= 0)
		close(fake_host.report);
	fake_host.report = -1;
}

void fake_host_init(struct ev_loop *loop, fake_answer answer)
{
	fake_host = (struct fake_host){
		.loop = loop, .answer = answer, .version = WIRE_VERSION, .report = -1
	};
}

void fake_host_clear(void)
{
	fake_report_close();
	for (size_t i = 0; i < fake_host.n_keepers; i++)
		if (fake_host.keepers[i].socket >= 0)
			end(&fake_host.keepers[i]);
}

void fake_send(struct fake_keeper *keeper, void *message, uint32_t type, size_t length, int fd)
{
	struct wire_header *header = message;

	*header = (struct wire_header){ .type = type, .length = (uint32_t)length };
	int r = wire_send(keeper->socket, message, &fd, fd >= 0, 0);
	assert(r == 0 || r == -EPIPE || r == -ECONNRESET);
}

void fake_hello(struct fake_keeper *keeper, uint32_t version)
{
	struct wire_hello hello = {
		.version = version,
		.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
	};
	fake_send(keeper, &hello, WIRE_HELLO, sizeof(hello), -1);
}

void fake_done(struct fake_keeper *keeper, const struct wire_done *done, int fd)
{
	struct wire_done copy = *done;
	fake_send(keeper, &copy, WIRE_DONE, sizeof(copy), fd);
}

void fake_runs(struct fake_keeper *keeper, uint64_t book_offset, const frame_run *runs, size_t n)
{
	struct wire_runs message = { .book_offset = book_offset };

	memcpy(message.runs, runs, n * sizeof(*runs));
	fake_send(keeper, &message, WIRE_RUNS, offsetof(struct wire_runs, runs) + n * sizeof(*runs),
		-1);
}

void fake_die(struct fake_keeper *keeper)
{
	end(keeper);
}
