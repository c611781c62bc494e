#include "client/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/*
 * The daemon is trusted further than it trusts its clients: Leases answers in one message
 * whatever their number, and a lease hands over as many groups as the kernel lets pass.
 */
static const struct transport_limits limits = {
	.max_message_bytes = 16 << 20,
	.max_output_bytes = 4 << 20,
	.max_depth = 32,
	.max_fds = TRANSPORT_MAX_FDS,
};

#define TELL_MS 200

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct deadline deadline_in(int timeout_ms)
{
	struct deadline deadline = { .is_finite = timeout_ms >= 0 };

	if (deadline.is_finite)
		deadline.at_ms = now_ms() + timeout_ms;
	return deadline;
}

int deadline_left(const struct deadline *deadline)
{
	int64_t left;

	if (!deadline->is_finite)
		return -1;
	left = deadline->at_ms - now_ms();
	return left > 0 ? (int)left : 0; /* it was made of an int: it fits one */
}

/* connect(2) of a unix socket blocks only while the listener's backlog is full. */
int socket_connect(const char *path, int *fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	if (!*path)
		return -ENOENT;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	/* After EINTR nothing is connected and nothing pending: unix_stream_connect(), Linux. */
	do
		r = connect(*fd, (struct sockaddr *)&address, sizeof address);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	r = -errno;
	close(*fd);
	*fd = -1;
	return r;
}

int handle_transport(struct vfiod *vfiod, int fd)
{
	return transport_new(fd, &limits, &vfiod->transport);
}

int vfiod_open(const char *socket, struct vfiod **vfiod_out)
{
	struct vfiod *vfiod;
	int fd, r;

	*vfiod_out = NULL;
	if (!socket)
		socket = secure_getenv("VFIOD_SOCKET");
	if (!socket)
		socket = VFIOD_SOCKET;
	vfiod = calloc(1, sizeof *vfiod);
	if (!vfiod)
		return -ENOMEM;
	vfiod->old = -1;
	LIST_INIT(&vfiod->leases);
	LIST_INIT(&vfiod->spaces);
	vfiod->socket = strdup(socket);
	r = vfiod->socket ? socket_connect(socket, &fd) : -ENOMEM;
	if (r == 0)
		r = handle_transport(vfiod, fd);
	if (r < 0) {
		vfiod_close(vfiod);
		return r;
	}
	vfiod_error_clear(vfiod);
	*vfiod_out = vfiod;
	return 0;
}

void vfiod_close(struct vfiod *vfiod)
{
	struct vfiod_lease *lease;
	struct vfiod_space *space;

	if (!vfiod)
		return;
	while ((space = LIST_FIRST(&vfiod->spaces)))
		vfiod_space_free(space);
	while ((lease = LIST_FIRST(&vfiod->leases)))
		lease_free(lease);
	transport_free(vfiod->transport);
	if (vfiod->old >= 0)
		close(vfiod->old);
	free(vfiod->socket);
	free(vfiod->error_name);
	free(vfiod->error_parameters);
	free(vfiod);
}

int vfiod_get_fd(const struct vfiod *vfiod)
{
	return transport_fd(vfiod->transport);
}

int vfiod_begin(struct vfiod *vfiod, bool may_stream)
{
	if (vfiod->is_busy)
		return -EBUSY; /* what the outer call says stays */
	vfiod_error_clear(vfiod);
	if (vfiod->is_unusable)
		return vfiod_fail(vfiod, -ECONNRESET,
			"this connection was given up after a failure; open another");
	if (vfiod->stream && !may_stream)
		return vfiod_fail(vfiod, -EBUSY,
			"this connection is the stream of lease %s; open another",
			vfiod->stream->name);
	return 0;
}

int vfiod_wait(struct vfiod *vfiod, short events, const struct deadline *deadline)
{
	struct pollfd pollfd = { .fd = transport_fd(vfiod->transport), .events = events };
	int n;

	do
		n = poll(&pollfd, 1, deadline_left(deadline));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

static int connection_lost(struct vfiod *vfiod, int error)
{
	vfiod->is_unusable = true;
	switch (error) {
	case -ECONNRESET:
	case -EPIPE:
		return vfiod_fail(vfiod, -ECONNRESET, "vfiod has closed the connection");
	case -EBADMSG:
	case -EMSGSIZE:
	case -E2BIG:
		return vfiod_fail(vfiod, -EPROTO, "what answers at %s does not speak as vfiod does",
			vfiod->socket);
	case -ETIMEDOUT:
		return vfiod_fail(vfiod, error, "vfiod did not answer in time");
	default:
		return vfiod_fail(vfiod, error, "the connection to vfiod failed: %s",
			strerrordesc_np(-error));
	}
}

/* transport_send() takes descriptors over, and those of our caller stay his. */
static int fds_copy(const int *fds, size_t n_fds, int *copies)
{
	for (size_t i = 0; i < n_fds; i++) {
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (copies[i] >= 0)
			continue;
		int r = -errno;
		while (i-- > 0)
			close(copies[i]);
		return r;
	}
	return 0;
}

static int flush(struct vfiod *vfiod, const struct deadline *deadline)
{
	int r;

	while ((r = transport_flush(vfiod->transport)) == 1) {
		r = vfiod_wait(vfiod, POLLOUT, deadline);
		if (r < 0)
			break;
	}
	return r;
}

/* Takes the call over, NULL: no memory. Nothing is sent yet. */
static int queue(struct vfiod *vfiod, const char *method, struct json_object *call, const int *fds,
	size_t n_fds)
{
	int copies[TRANSPORT_MAX_FDS], r;

	if (!call)
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	r = n_fds <= TRANSPORT_MAX_FDS ? fds_copy(fds, n_fds, copies) : -ENOBUFS;
	if (r == 0)
		r = transport_send(vfiod->transport, call, copies, n_fds);
	json_object_put(call);
	if (r < 0)
		return vfiod_fail(vfiod, r, "cannot call %s: %s", method, strerrordesc_np(-r));
	return 0;
}

int vfiod_send(struct vfiod *vfiod, const char *method, struct json_object *parameters, bool more,
	const int *fds, size_t n_fds, const struct deadline *deadline)
{
	int r = queue(
		vfiod, method, varlink_call_build(method, parameters, more, false), fds, n_fds);

	if (r < 0)
		return r;
	r = flush(vfiod, deadline);
	return r < 0 ? connection_lost(vfiod, r) : 0;
}

int vfiod_tell(struct vfiod *vfiod, const char *method, struct json_object *parameters)
{
	/* A daemon that does not read is waited for once, and then not until it reads again. */
	const bool is_behind = transport_output_bytes(vfiod->transport) > 0;
	const struct deadline deadline = deadline_in(is_behind ? 0 : TELL_MS);
	int r = queue(vfiod, method, varlink_call_build(method, parameters, false, true), NULL, 0);

	if (r < 0)
		return r;
	r = flush(vfiod, &deadline);
	if (r == -ETIMEDOUT)
		return vfiod_fail(vfiod, r, "vfiod does not read; %s is sent later", method);
	return r < 0 ? connection_lost(vfiod, r) : 0;
}

int vfiod_receive_now(struct vfiod *vfiod, struct message *message, struct varlink_reply *reply)
{
	int r = transport_receive(vfiod->transport, message);

	if (r == 0)
		return -EAGAIN;
	if (r < 0)
		return connection_lost(vfiod, r);
	r = varlink_reply_read(message->json, reply);
	if (r < 0) {
		message_clear(message);
		return connection_lost(vfiod, r);
	}
	return 0;
}

int vfiod_receive(struct vfiod *vfiod, struct message *message, struct varlink_reply *reply,
	const struct deadline *deadline)
{
	int r;

	while ((r = vfiod_receive_now(vfiod, message, reply)) == -EAGAIN) {
		r = vfiod_wait(vfiod, POLLIN, deadline);
		if (r < 0)
			return connection_lost(vfiod, r);
	}
	return r;
}
