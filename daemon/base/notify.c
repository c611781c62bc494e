/* A queue before the service manager's socket. */
#include "daemon/base/notify.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

static const int LAST_WORDS_MS = 1000;

struct datagram {
	STAILQ_ENTRY(datagram) link;
	int fd; /* owned; -1: none */
	char text[];
};

struct notify {
	struct ev_loop *loop;
	struct sockaddr_un address;
	socklen_t address_length;
	int socket;
	ev_io writable;
	STAILQ_HEAD(datagram_queue, datagram) waiting;
};

static void datagram_free(struct datagram *datagram)
{
	if (datagram->fd >= 0)
		close(datagram->fd);
	free(datagram);
}

static int send_now(int socket, const char *text, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec vector = { .iov_base = (char *)text, .iov_len = strlen(text) };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (fd >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	ssize_t n;
	do
		n = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* A manager that was replaced listens at the same place. */
static int send_or_connect(struct notify *notify, const char *text, int fd)
{
	int r = send_now(notify->socket, text, fd);

	if (r != -ECONNREFUSED && r != -ENOTCONN)
		return r;
	if (connect(notify->socket, (struct sockaddr *)&notify->address, notify->address_length) <
		0)
		return -errno;
	return send_now(notify->socket, text, fd);
}

static void send_waiting(struct notify *notify)
{
	struct datagram *datagram;

	while ((datagram = STAILQ_FIRST(&notify->waiting))) {
		int r = send_or_connect(notify, datagram->text, datagram->fd);
		if (r == -EAGAIN)
			return;
		if (r < 0)
			log_error("telling the service manager: %s", strerror(-r));
		STAILQ_REMOVE_HEAD(&notify->waiting, link);
		datagram_free(datagram);
	}
}

static void on_writable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)revents;
	struct notify *notify = io->data;

	send_waiting(notify);
	if (STAILQ_EMPTY(&notify->waiting))
		ev_io_stop(loop, io);
}

static int enqueue(struct notify *notify, const char *text, int fd)
{
	size_t size = strlen(text) + 1;
	struct datagram *datagram = calloc(1, sizeof(*datagram) + size);

	if (!datagram)
		return -ENOMEM;
	datagram->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && datagram->fd < 0) {
		int r = -errno;
		free(datagram);
		return r;
	}
	memcpy(datagram->text, text, size);
	STAILQ_INSERT_TAIL(&notify->waiting, datagram, link);
	ev_io_start(notify->loop, &notify->writable);
	return 0;
}

int notify_send(struct notify *notify, const char *text, int fd)
{
	int r = -EAGAIN;

	if (STAILQ_EMPTY(&notify->waiting))
		r = send_or_connect(notify, text, fd);
	return r == -EAGAIN ? enqueue(notify, text, fd) : r;
}

/* As sd_notify(3) has it: a path, or '@' and an abstract name. */
static int read_address(struct notify *notify)
{
	const char *name = getenv("NOTIFY_SOCKET");

	if (!name || (*name != '/' && *name != '@'))
		return -EOPNOTSUPP;
	notify->address.sun_family = AF_UNIX;
	if (string_copy(notify->address.sun_path, sizeof(notify->address.sun_path), name) < 0)
		return -EOPNOTSUPP;
	size_t length = strlen(name);
	if (*name == '@')
		notify->address.sun_path[0] = '\0';
	else
		length++;
	notify->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return 0;
}

int notify_new(struct ev_loop *loop, struct notify **notifyp)
{
	*notifyp = NULL;
	struct notify *notify = calloc(1, sizeof(*notify));
	if (!notify)
		return -ENOMEM;
	notify->loop = loop;
	notify->socket = -1;
	STAILQ_INIT(&notify->waiting);
	ev_init(&notify->writable, on_writable);
	int r = read_address(notify);
	if (r == 0)
		notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (r == 0 &&
		(notify->socket < 0 || connect(notify->socket, (struct sockaddr *)&notify->address,
					       notify->address_length) < 0))
		r = -errno;
	if (r < 0) {
		notify_free(notify);
		return r;
	}
	ev_io_set(&notify->writable, notify->socket, EV_WRITE);
	notify->writable.data = notify;
	*notifyp = notify;
	return 0;
}

struct notify *notify_free(struct notify *notify)
{
	struct datagram *datagram;

	if (!notify)
		return NULL;
	struct pollfd room = { .fd = notify->socket, .events = POLLOUT };
	while (!STAILQ_EMPTY(&notify->waiting) && poll(&room, 1, LAST_WORDS_MS) > 0)
		send_waiting(notify);
	while ((datagram = STAILQ_FIRST(&notify->waiting))) {
		STAILQ_REMOVE_HEAD(&notify->waiting, link);
		datagram_free(datagram);
	}
	ev_io_stop(notify->loop, &notify->writable);
	if (notify->socket >= 0)
		close(notify->socket);
	free(notify);
	return NULL;
}
