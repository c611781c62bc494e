/* A keeper that an earlier daemon has started: is it the one, and has it done with that daemon? */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/memory/keeper-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>

/* Is it still the process that it was? Its pidfd, or -1: that has ended. Or -errno. */
static int find_process(pid_t pid, unsigned long long start_ticks, int *found)
{
	unsigned long long ticks;

	*found = -1;
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	/* EINVAL: the number is a thread's now (kernel/pid.c, pidfd_open). */
	if (pidfd < 0)
		return errno == ESRCH || errno == EINVAL ? 0 : -errno;
	int r = process_start_time(pid, &ticks);
	if (r == -ENOENT || r == -ESRCH)
		return 0;
	if (r == 0 && ticks == start_ticks)
		*found = steal_fd(&pidfd);
	return r;
}

static int start_sync(struct keeper *keeper, double seconds)
{
	struct wire_sync sync = { .header = { WIRE_SYNC, sizeof(sync) } };

	ssize_t n = getrandom(&sync.nonce, sizeof(sync.nonce), 0);
	if (n != sizeof(sync.nonce))
		return n < 0 ? -errno : -EIO;
	keeper->nonce = sync.nonce;
	keeper->state = KEEPER_SYNCING;
	keeper_set_deadline(keeper, seconds > START_SECONDS ? seconds : START_SECONDS);
	/* If it has ended meanwhile, that is seen. */
	int r = wire_send(keeper->socket, &sync, NULL, 0, MSG_DONTWAIT);
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

int keeper_adopt(struct ev_loop *loop, const struct keeper_ops *ops, enum keeper_role role,
	pid_t pid, unsigned long long start_ticks, int socket, int book, double seconds,
	const struct keeper_listener *listener, void *userdata, struct keeper **keeper)
{
	*keeper = NULL;
	struct keeper *made = keeper_make(loop, ops, role, listener, userdata);
	if (!made) {
		fd_bury(socket);
		return -ENOMEM;
	}
	made->socket = socket;
	made->pid = pid;
	made->limited_to = UINT64_MAX; /* nobody knows */
	int r = find_process(pid, start_ticks, &made->pidfd);
	if (r == 0 && (made->book = fcntl(book, F_DUPFD_CLOEXEC, 0)) < 0)
		r = -errno;
	if (r == 0 && made->pidfd >= 0)
		r = start_sync(made, seconds);
	if (r < 0) {
		keeper_leave(made);
		return r;
	}
	ev_io_set(&made->readable, made->socket, EV_READ);
	ev_io_set(&made->left, made->pidfd, EV_READ);
	if (made->pidfd >= 0) {
		ev_io_start(loop, &made->readable);
		ev_io_start(loop, &made->left);
	} else {
		made->has_ended = true;
		made->status = -1;
		keeper_set_deadline(made, 0);
	}
	*keeper = made;
	return 0;
}
