#include "daemon/memory/keeper-parts.h"

#include "daemon/base/child.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* To end when there is nothing left to do. */
static const double END_SECONDS = 10;
/* One that SIGKILL does not end within this is in the kernel, and not waited for. */
static const double KILL_SECONDS = 5;

void keeper_set_deadline(struct keeper *keeper, double seconds)
{
	ev_timer_stop(keeper->loop, &keeper->deadline);
	/* Since now, not since the loop last looked at the clock. */
	ev_now_update(keeper->loop);
	ev_timer_set(&keeper->deadline, seconds, 0);
	ev_timer_start(keeper->loop, &keeper->deadline);
}

static void signal_kill(const struct keeper *keeper)
{
	/* Does nothing to one that has ended. */
	int r = keeper->pidfd >= 0 ? privilege_signal(keeper->pidfd, SIGKILL) : 0;
	if (r < 0 && r != -ESRCH)
		log_warning("keeper %d cannot be killed: %s", (int)keeper->pid, strerror(-r));
}

void keeper_kill(struct keeper *keeper, const char *why)
{
	if (keeper->state >= KEEPER_DYING)
		return;
	keeper->state = KEEPER_DYING;
	snprintf(keeper->why, sizeof(keeper->why), "%s", why);
	ev_io_stop(keeper->loop, &keeper->readable);
	signal_kill(keeper);
	keeper_set_deadline(keeper, keeper->has_ended ? 0 : KILL_SECONDS);
}

void keeper_end(struct keeper *keeper)
{
	if (keeper->state >= KEEPER_ENDING)
		return;
	keeper->state = KEEPER_ENDING;
	ev_io_stop(keeper->loop, &keeper->readable);
	shutdown(keeper->socket, SHUT_RDWR);
	keeper_set_deadline(keeper, keeper->has_ended ? 0 : END_SECONDS);
}

static void tell_gone(struct keeper *keeper, int status)
{
	char text[256];

	if (*keeper->why)
		snprintf(text, sizeof(text), "its keeper %s: %s",
			keeper->pid > 0 ? "was killed" : "could not be started", keeper->why);
	else if (status >= 0 && WIFSIGNALED(status))
		snprintf(
			text, sizeof(text), "its keeper was killed by signal %d", WTERMSIG(status));
	else if (status >= 0)
		snprintf(text, sizeof(text), "its keeper has ended with status %d",
			WEXITSTATUS(status));
	else if (keeper->has_ended)
		snprintf(text, sizeof(text), "its keeper has ended");
	else
		snprintf(text, sizeof(text), "its keeper does not end");
	keeper->state = KEEPER_GONE;
	ev_io_stop(keeper->loop, &keeper->readable);
	ev_child_stop(keeper->loop, &keeper->ended);
	ev_io_stop(keeper->loop, &keeper->reported);
	ev_io_stop(keeper->loop, &keeper->left);
	ev_timer_stop(keeper->loop, &keeper->deadline);
	keeper->listener.gone(keeper, *keeper->why ? -1 : status, text, keeper->userdata);
}

/* Its last words come first: which holes it was about to fill, or that it is done. */
static void has_ended(struct keeper *keeper, int status)
{
	keeper->has_ended = true;
	keeper->status = status;
	ev_child_stop(keeper->loop, &keeper->ended);
	ev_io_stop(keeper->loop, &keeper->reported);
	ev_io_stop(keeper->loop, &keeper->left);
	if (!ev_is_active(&keeper->readable) || !poll_now(keeper->socket, POLLIN))
		tell_gone(keeper, keeper->status);
}

static void on_ended(struct ev_loop *loop, ev_child *watcher, int revents)
{
	(void)loop;
	(void)revents;
	has_ended(watcher->data, watcher->rstatus);
}

static void on_left(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)loop;
	(void)revents;
	has_ended(watcher->data, -1);
}

static void begin(struct keeper *keeper);

static void has_started(struct keeper *keeper, const struct keeper_report *heard)
{
	keeper->pid = heard->pid;
	keeper->pidfd = heard->pidfd;
	/* It was too late. */
	if (keeper->state == KEEPER_DYING)
		signal_kill(keeper);
	else if (keeper->has_hello)
		begin(keeper);
}

/* Who has started it will say no more. */
static void hear_no_more(struct keeper *keeper, int result)
{
	ev_io_stop(keeper->loop, &keeper->reported);
	close(steal_fd(&keeper->report));
	if (keeper->pidfd >= 0) {
		ev_io_set(&keeper->left, keeper->pidfd, EV_READ);
		ev_io_start(keeper->loop, &keeper->left);
		return;
	}
	if (!*keeper->why)
		snprintf(keeper->why, sizeof(keeper->why), "%s", strerror(-result));
	tell_gone(keeper, -1);
}

static void on_reported(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)loop;
	(void)revents;
	struct keeper *keeper = watcher->data;
	struct keeper_report heard;

	int r = privilege_hear_keeper(keeper->report, &heard);
	if (r == -EAGAIN)
		return;
	if (r > 0 && heard.what == KEEPER_STARTED && keeper->pidfd < 0)
		has_started(keeper, &heard);
	else if (r > 0 && heard.what == KEEPER_ENDED && keeper->pidfd >= 0)
		has_ended(keeper, heard.result);
	else if (r > 0 && heard.what == KEEPER_FAILED)
		hear_no_more(keeper, heard.result);
	else
		hear_no_more(keeper, r < 0 ? r : -ECONNRESET);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct keeper *keeper = timer->data;

	if (keeper->has_ended)
		tell_gone(keeper, keeper->status);
	else if (keeper->state == KEEPER_DYING)
		tell_gone(keeper, -1);
	else
		keeper_kill(keeper, keeper->state == KEEPER_STARTING ? "it did not start in time"
				    : keeper->state == KEEPER_ENDING ? "it did not end in time"
								     : "it did not answer in time");
}

/* What it is asked first of all; else it is ready. */
static void begin(struct keeper *keeper)
{
	struct wire_request start = { .header.type = WIRE_START };

	ev_timer_stop(keeper->loop, &keeper->deadline);
	keeper->state = KEEPER_IDLE;
	if (keeper->book < 0) {
		keeper->listener.ready(keeper, keeper->userdata);
		return;
	}
	int fds[] = { keeper->book, -1 };
	size_t n_fds = 1;
	if (keeper->role == KEEPER_SPACE_IOMMUFD)
		fds[n_fds++] = keeper->ops->open_iommufd();
	if (n_fds > 1 && fds[1] < 0)
		keeper_kill(keeper, "/dev/iommu cannot be opened for it");
	else if (keeper_ask(keeper, &start, fds, n_fds, START_SECONDS) == 0)
		keeper->state = KEEPER_BEGINNING;
	close(steal_fd(&keeper->book));
	if (fds[1] >= 0)
		close(fds[1]);
}

static void on_hello(struct keeper *keeper, const struct wire_hello *hello)
{
	if (keeper->state != KEEPER_STARTING || hello->version != WIRE_VERSION ||
		hello->page_bytes != (uint32_t)sysconf(_SC_PAGESIZE)) {
		keeper_kill(keeper, "it is of another version than vfiod");
		return;
	}
	keeper->has_hello = true;
	if (keeper->pidfd >= 0)
		begin(keeper);
}

static void on_state(struct keeper *keeper, const struct wire_state *state)
{
	if (state->version != WIRE_VERSION ||
		state->page_bytes != (uint32_t)sysconf(_SC_PAGESIZE)) {
		keeper_kill(keeper, "it is of another version than vfiod, which cannot ask it what "
				    "it has");
		return;
	}
	if (state->has_book && keeper->book >= 0)
		close(steal_fd(&keeper->book));
	begin(keeper);
}

/* The last call: the listener may free the keeper. */
static void answer(
	struct keeper *keeper, const struct wire_done *done, const struct wire_info *info, int fd)
{
	/* The holes are known, and filled next. */
	if (keeper->asked == WIRE_POPULATE && done->result == WIRE_HOLES) {
		keeper->listener.done(keeper, done, NULL, fd, keeper->userdata);
		return;
	}
	ev_timer_stop(keeper->loop, &keeper->deadline);
	bool is_start = keeper->state == KEEPER_BEGINNING;
	keeper->state = KEEPER_IDLE;
	if (is_start)
		keeper->listener.ready(keeper, keeper->userdata);
	else
		keeper->listener.done(keeper, done, info, fd, keeper->userdata);
}

static void on_done(struct keeper *keeper, const struct wire_done *done, int *fd)
{
	if (keeper->state == KEEPER_BEGINNING && done->result != 0) {
		keeper_kill(keeper, "it cannot begin");
		return;
	}
	if (keeper->asked == WIRE_INFO && done->result == 0 && !keeper->has_done) {
		keeper->done = *done;
		keeper->has_done = true;
		return;
	}
	answer(keeper, done, NULL, steal_fd(fd));
}

/* May it say this now? */
static bool is_expected(const struct keeper *keeper, uint32_t type, size_t n_fds)
{
	bool gives = keeper->state == KEEPER_ASKED &&
		     (keeper->asked == WIRE_GIVE_MEMORY || keeper->asked == WIRE_GET_DEVICE);
	if (n_fds > (type == WIRE_DONE && gives))
		return false;
	switch (type) {
	case WIRE_HELLO:
		return keeper->state == KEEPER_STARTING;
	case WIRE_RUNS:
		return keeper->state == KEEPER_ASKED &&
		       (keeper->asked == WIRE_PREPARE || keeper->asked == WIRE_READ ||
			       keeper->asked == WIRE_UNMAP || keeper->asked == WIRE_BOOK);
	case WIRE_ITEMS:
		return keeper->state == KEEPER_ASKED && keeper->asked == WIRE_LIST &&
		       keeper->listener.items;
	case WIRE_DONE:
		return (keeper->state == KEEPER_ASKED && !keeper->has_done) ||
		       keeper->state == KEEPER_BEGINNING;
	case WIRE_INFO:
		return keeper->state == KEEPER_ASKED && keeper->has_done;
	default:
		return false;
	}
}

/* One message a call: a long stream of runs does not keep others waiting. */
static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)loop;
	(void)revents;
	struct keeper *keeper = watcher->data;
	union wire_message message;
	int fds[WIRE_FDS_MAX] = { -1, -1 };
	size_t n_fds;

	ssize_t n = wire_receive(keeper->socket, &message, fds, &n_fds, MSG_DONTWAIT);
	/* A reset is what it left unread; it is said once, and before what it sent. */
	if (n == -EAGAIN || n == -ECONNRESET)
		return;
	if (n == 0 && keeper->has_ended) {
		tell_gone(keeper, keeper->status);
		return;
	}
	if (n == 0) {
		/* It has ended, or is about to: how, its exit status will tell. */
		keeper_end(keeper);
		return;
	}
	uint32_t type = n < 0 ? 0 : message.header.type;
	if (keeper->state == KEEPER_SYNCING) {
		/* A device may come with what is passed over. */
		fds_bury(fds, n < 0 ? 0 : n_fds);
		if (type == WIRE_STATE && message.state.nonce == keeper->nonce)
			on_state(keeper, &message.state);
		return;
	}
	if (n < 0 || !is_expected(keeper, type, n_fds) ||
		(type == WIRE_INFO && (size_t)n != sizeof(message.info))) {
		if (n > 0)
			fds_bury(fds, n_fds);
		keeper_kill(keeper, "it does not speak the protocol");
		return;
	}
	if (type == WIRE_HELLO) {
		on_hello(keeper, &message.hello);
	} else if (type == WIRE_RUNS) {
		keeper->listener.runs(keeper, &message.runs,
			((size_t)n - offsetof(struct wire_runs, runs)) / sizeof(frame_run),
			keeper->userdata);
	} else if (type == WIRE_ITEMS) {
		keeper->listener.items(keeper, message.items.items,
			((size_t)n - offsetof(struct wire_items, items)) / sizeof(struct wire_item),
			keeper->userdata);
	} else if (type == WIRE_INFO) {
		struct wire_done done = keeper->done;
		keeper->has_done = false;
		answer(keeper, &done, &message.info, -1);
	} else {
		on_done(keeper, &message.done, &fds[0]);
	}
}

struct keeper *keeper_make(struct ev_loop *loop, const struct keeper_ops *ops,
	enum keeper_role role, const struct keeper_listener *listener, void *userdata)
{
	struct keeper *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	*made = (struct keeper){
		.loop = loop,
		.ops = ops,
		.role = role,
		.listener = *listener,
		.userdata = userdata,
		.socket = -1,
		.pidfd = -1,
		.book = -1,
		.report = -1,
	};
	ev_init(&made->readable, on_readable);
	ev_init(&made->ended, on_ended);
	ev_init(&made->reported, on_reported);
	ev_init(&made->left, on_left);
	ev_init(&made->deadline, on_deadline);
	made->readable.data = made->ended.data = made->reported.data = made->left.data =
		made->deadline.data = made;
	return made;
}

int keeper_new(struct ev_loop *loop, const struct keeper_ops *ops, const char *path,
	enum keeper_role role, const struct subject *client, int book,
	const struct keeper_listener *listener, void *userdata, struct keeper **keeper)
{
	int pair[2];

	*keeper = NULL;
	struct keeper *made = keeper_make(loop, ops, role, listener, userdata);
	if (!made)
		return -ENOMEM;
	if ((book >= 0 && (made->book = fcntl(book, F_DUPFD_CLOEXEC, 0)) < 0) ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int r = -errno;
		keeper_free(made);
		return r;
	}
	made->socket = pair[0];
	int r = ops->spawn(path, role, role == KEEPER_BOOK ? NULL : client, pair[1], &made->report);
	close(pair[1]);
	/* Not reaped before we are back in the loop: the pid is still this child's. */
	if (r > 0) {
		made->pid = r;
		made->pidfd = pidfd_open(made->pid, 0);
		r = made->pidfd < 0 ? -errno : 0;
		if (r < 0)
			kill(made->pid, SIGKILL);
	}
	if (r < 0) {
		keeper_free(made);
		return r;
	}
	ev_io_set(&made->readable, made->socket, EV_READ);
	ev_io_start(loop, &made->readable);
	if (made->report >= 0) {
		ev_io_set(&made->reported, made->report, EV_READ);
		ev_io_start(loop, &made->reported);
	} else {
		ev_child_set(&made->ended, made->pid, 0);
		ev_child_start(loop, &made->ended);
	}
	keeper_set_deadline(made, START_SECONDS);
	*keeper = made;
	return 0;
}

static struct keeper *clear(struct keeper *keeper)
{
	ev_io_stop(keeper->loop, &keeper->readable);
	ev_child_stop(keeper->loop, &keeper->ended);
	ev_io_stop(keeper->loop, &keeper->reported);
	ev_io_stop(keeper->loop, &keeper->left);
	ev_timer_stop(keeper->loop, &keeper->deadline);
	if (keeper->pidfd >= 0)
		close(keeper->pidfd);
	if (keeper->report >= 0)
		close(keeper->report);
	if (keeper->book >= 0)
		close(keeper->book);
	free(keeper);
	return NULL;
}

struct keeper *keeper_free(struct keeper *keeper)
{
	if (!keeper)
		return NULL;
	if (keeper->state != KEEPER_IDLE && keeper->state != KEEPER_GONE)
		signal_kill(keeper);
	/* To close it would not be enough where it is in the store. */
	if (keeper->socket >= 0)
		shutdown(keeper->socket, SHUT_RDWR);
	/* What it has sent may be queued, a device's last descriptor with it. */
	if (keeper->state == KEEPER_IDLE)
		close(keeper->socket);
	else
		fd_bury(keeper->socket);
	return clear(keeper);
}

struct keeper *keeper_leave(struct keeper *keeper)
{
	if (!keeper)
		return NULL;
	/* Not the last descriptor of it: what is queued stays. */
	close(keeper->socket);
	return clear(keeper);
}

int keeper_socket(const struct keeper *keeper)
{
	return keeper->socket;
}

int keeper_ask(struct keeper *keeper, struct wire_request *request, const int *fds, size_t n_fds,
	double seconds)
{
	if (keeper->state > KEEPER_ASKED)
		return -EPIPE;
	assert(keeper->state == KEEPER_IDLE);
	request->header.length = sizeof(*request);
	int r = wire_send(keeper->socket, request, fds, n_fds, MSG_DONTWAIT);
	if (r < 0) {
		keeper_kill(keeper, "it cannot be spoken to");
		return r;
	}
	keeper->state = KEEPER_ASKED;
	keeper->asked = request->header.type;
	keeper_set_deadline(keeper, seconds);
	return 0;
}

pid_t keeper_pid(const struct keeper *keeper)
{
	return keeper->pid;
}

int keeper_limit_locked(struct keeper *keeper, uint64_t bytes)
{
	if (keeper->state >= KEEPER_GONE || keeper->has_ended)
		return -ESRCH;
	int r = bytes == keeper->limited_to
			? 0
			: keeper->ops->limit_locked(keeper->pidfd, keeper->pid, bytes);
	/* What has failed may have been done. */
	keeper->limited_to = r == 0 ? bytes : UINT64_MAX;
	return r;
}

int64_t keeper_locked(const struct keeper *keeper)
{
	bool is_there = keeper->state < KEEPER_GONE && !keeper->has_ended;
	return is_there ? keeper->ops->locked(keeper->pid) : -ESRCH;
}
