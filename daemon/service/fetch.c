/* Children that handle what clients send besides bytes, seen from the loop. */
#include "daemon/base/child.h"
#include "daemon/base/log.h"
#include "daemon/base/packet.h"
#include "daemon/base/util.h"
#include "daemon/service/fetch-wire.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

/*
 * Those that may be there at a time. An honest client's ends at once; one that does not is killed
 * after this time, and counts for as long as the kernel does not let it go. Connections that
 * have to be closed have places of their own.
 */
static const double FETCH_SECONDS = 20;
enum { USER_FETCHES = 4, USER_CHILDREN = 8, ALL_FETCHES = 128, ALL_CHILDREN = 160 };

struct fetch {
	LIST_ENTRY(fetch) of_service;
	struct user *user;       /* held */
	struct session *session; /* NULL: it has gone, or there was none */
	int connection;          /* of a session that has gone: ours to close; else -1 */
	int channel, pidfd;
	ev_io readable, ended;
	ev_timer deadline;
};

bool fetch_is_possible(const struct user *user)
{
	return user->n_fetches < USER_FETCHES && user->service->n_fetches < ALL_FETCHES;
}

bool burial_is_possible(const struct user *user)
{
	return user->n_fetches < USER_CHILDREN && user->service->n_fetches < ALL_CHILDREN;
}

static int fetch_receive(struct fetch *fetch);

struct fetch *fetch_free(struct fetch *fetch)
{
	struct service *service = fetch->user->service;

	ev_io_stop(service->loop, &fetch->readable);
	ev_io_stop(service->loop, &fetch->ended);
	ev_timer_stop(service->loop, &fetch->deadline);
	if (fetch->session)
		fetch->session->fetch = NULL;
	fetch->session = NULL;
	/* What is still queued in it would be closed with it, by us. */
	while (fetch->channel >= 0 && fetch_receive(fetch) == 1)
		;
	if (fetch->channel >= 0)
		close(fetch->channel);
	if (fetch->pidfd >= 0)
		close(fetch->pidfd);
	LIST_REMOVE(fetch, of_service);
	service->n_fetches--;
	fetch->user->n_fetches--;
	user_release(fetch->user);
	free(fetch);
	return NULL;
}

/* The session goes on, whatever the child still does. */
static void fetch_tell(struct fetch *fetch, int result)
{
	struct session *session = fetch->session;

	ev_io_stop(fetch->user->service->loop, &fetch->readable);
	if (!session)
		return;
	fetch->session = NULL;
	session->fetch = NULL;
	session_fetched(session, result);
}

/* 1, or -errno. The descriptors are the transport's, or closed. */
static int fetch_add(
	struct fetch *fetch, const struct fetched *fetched, const int *passing, size_t n)
{
	int fds[TRANSPORT_MAX_FDS];
	size_t next = 0;

	for (size_t i = 0; i < fetched->n_fds; i++)
		fds[i] = fetched->passes[i] && next < n ? passing[next++] : -1;
	close_client_fds(passing + next, n - next);
	if (!fetch->session) {
		close_client_fds(fds, fetched->n_fds);
		return 1;
	}
	int r = transport_add_input(
		fetch->session->transport, fetched->bytes, fetched->n_bytes, fds, fetched->n_fds);
	return r < 0 ? r : 1;
}

static int fetch_receive(struct fetch *fetch)
{
	static struct fetched fetched;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control;
	struct iovec vector = { .iov_base = &fetched, .iov_len = sizeof(fetched) };
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int passing[TRANSPORT_MAX_FDS];
	size_t n_passing = 0;

	ssize_t n = recvmsg(fetch->channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n <= 0)
		return -ECHILD;
	const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
	if (rights && rights->cmsg_type == SCM_RIGHTS) {
		n_passing = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(passing, CMSG_DATA(rights), n_passing * sizeof(int));
	}
	int r = fetched.result;
	if (header.msg_flags & MSG_CTRUNC)
		r = -EMFILE;
	if (r == 1)
		return fetch_add(fetch, &fetched, passing, n_passing);
	close_client_fds(passing, n_passing);
	return r;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct fetch *fetch = io->data;
	int r = fetch_receive(fetch);
	if (r != -EAGAIN)
		fetch_tell(fetch, r);
}

static void on_ended(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct fetch *fetch = io->data;
	struct user *user = user_hold(fetch->user);
	struct session *session;

	/* What it said last may still be unread. */
	if (fetch->session)
		fetch_tell(fetch, fetch_receive(fetch));
	int connection = steal_fd(&fetch->connection);
	fetch_free(fetch);
	if (connection >= 0)
		dismiss(user, connection);
	dismiss_parked(user);
	TAILQ_FOREACH (session, &user->service->sessions, of_service)
		if (session->wants_fetch)
			turn_want(session);
	user_release(user);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct fetch *fetch = timer->data;

	pidfd_send_signal(fetch->pidfd, SIGKILL, NULL, 0);
	if (user_may_log(fetch->user))
		log_warning("descriptors that uid %u sent do not close: the child that has them "
			    "is killed, and harms nobody if it cannot be",
			(unsigned)fetch->user->uid);
	fetch_tell(fetch, -ECHILD);
}

/* Forks; `before` as fetch_child() has it. */
static int fetch_new(struct user *user, const struct input *before, size_t max_bytes,
	int connection, struct fetch **fetchp)
{
	struct service *service = user->service;
	int pair[2];

	*fetchp = NULL;
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	if (!fetch)
		return -ENOMEM;
	fetch->user = user_hold(user);
	fetch->connection = fetch->channel = fetch->pidfd = -1;
	LIST_INSERT_HEAD(&service->fetches, fetch, of_service);
	service->n_fetches++;
	user->n_fetches++;
	ev_init(&fetch->readable, on_readable);
	ev_init(&fetch->ended, on_ended);
	ev_timer_init(&fetch->deadline, on_deadline, FETCH_SECONDS, 0);
	fetch->readable.data = fetch->ended.data = fetch->deadline.data = fetch;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int r = -errno;
		fetch_free(fetch);
		return r;
	}
	fetch->channel = pair[0];
	pid_t pid = child_fork();
	if (pid == 0)
		fetch_child(before, max_bytes, pair[1]);
	close(pair[1]);
	int r = pid < 0 ? pid : 0;
	if (r == 0) {
		fetch->pidfd = pidfd_open(pid, 0);
		r = fetch->pidfd < 0 ? -errno
				     : packet_send(fetch->channel, "", 1, connection, MSG_DONTWAIT);
	}
	if (r < 0) {
		/* The child, if there is one, gets no connection, and ends. */
		fetch_free(fetch);
		return r;
	}
	ev_io_set(&fetch->readable, fetch->channel, EV_READ);
	ev_io_set(&fetch->ended, fetch->pidfd, EV_READ);
	if (before)
		ev_io_start(service->loop, &fetch->readable);
	ev_io_start(service->loop, &fetch->ended);
	ev_now_update(service->loop);
	ev_timer_start(service->loop, &fetch->deadline);
	*fetchp = fetch;
	return 0;
}

int fetch_start(struct session *session)
{
	struct fetch *fetch;
	int r = fetch_new(session->user, transport_input(session->transport),
		transport_max_message(session->transport), transport_fd(session->transport),
		&fetch);
	if (!fetch)
		return r;
	fetch->session = session;
	session->fetch = fetch;
	return 0;
}

bool fetch_adopt(struct session *session, int connection)
{
	struct fetch *fetch = session->fetch;
	if (!fetch)
		return false;
	fetch->connection = connection;
	fetch->session = NULL;
	session->fetch = NULL;
	shutdown(connection, SHUT_RDWR);
	return true;
}

int burial_start(struct user *user, int connection)
{
	struct fetch *fetch;
	int r = fetch_new(user, NULL, 0, connection, &fetch);
	if (!fetch)
		return r;
	/* Not the last reference: the child keeps one until it hears that this has gone. */
	close(connection);
	shutdown(fetch->channel, SHUT_WR);
	return 0;
}

/* What they hold is left to the kernel: the daemon ends. */
void fetches_stop(struct service *service)
{
	struct fetch *fetch;
	while ((fetch = LIST_FIRST(&service->fetches))) {
		pidfd_send_signal(fetch->pidfd, SIGKILL, NULL, 0);
		fetch_free(fetch);
	}
}
