#include "proto/transport.h"
#include "proto/json.h"
#include "proto/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The least that is peeked at: most calls fit. */
#define PEEK_MIN 512
/*
 * Parts taken by one transport_receive(). Peeks double, so 32 parts are more than any message
 * that is there has, and a peer that sends byte after byte does not keep us for longer.
 */
#define MAX_PARTS 32

const struct transport_limits transport_default_limits = {
	.max_message_bytes = (size_t)1 << 20,
	.max_output_bytes = (size_t)4 << 20,
	.max_depth = 32,
	.max_fds = 16,
};

struct transport {
	int fd;
	struct transport_limits limits;
	/* The message that is arriving. */
	char *input;
	size_t input_length, input_capacity;
	int input_fds[TRANSPORT_MAX_FDS];
	size_t n_input_fds;
	struct output output;
};

int transport_new(int fd, const struct transport_limits *limits, struct transport **transport)
{
	struct transport *new = calloc(1, sizeof(*new));
	int flags = fcntl(fd, F_GETFL);
	int r = -ENOMEM;

	*transport = NULL;
	if (!new)
		goto fail;
	r = -EINVAL;
	if (limits->max_message_bytes >= INT_MAX || limits->max_depth >= INT_MAX)
		goto fail;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		r = -errno;
		goto fail;
	}
	new->fd = fd;
	new->limits = *limits;
	output_init(&new->output);
	*transport = new;
	return 0;
fail:
	free(new);
	if (fd >= 0)
		close(fd);
	return r;
}

static void close_all(const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

/* Forgets the message that was arriving, buffer and all: an idle connection keeps no large one. */
static void transport_drop_input(struct transport *transport)
{
	close_all(transport->input_fds, transport->n_input_fds);
	transport->n_input_fds = 0;
	free(transport->input);
	transport->input = NULL;
	transport->input_length = transport->input_capacity = 0;
}

struct transport *transport_free(struct transport *transport)
{
	if (!transport)
		return NULL;
	transport_drop_input(transport);
	output_clear(&transport->output);
	close(transport->fd);
	free(transport);
	return NULL;
}

int transport_fd(const struct transport *transport)
{
	return transport->fd;
}

void message_close_fds(struct message *message)
{
	for (size_t i = 0; i < message->n_fds; i++) {
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	}
	message->n_fds = 0;
}

void message_clear(struct message *message)
{
	message_close_fds(message);
	json_object_put(message->json);
	message->json = NULL;
}

int message_take_fd(struct message *message, int64_t index)
{
	int fd;

	if (index < 0 || (uint64_t)index >= message->n_fds)
		return -EINVAL;
	fd = message->fds[index];
	message->fds[index] = -1;
	return fd >= 0 ? fd : -EINVAL;
}

/* The descriptors that came with one recvmsg(2); the control buffer had room for no more. */
static size_t collect_fds(struct msghdr *header, int fds[TRANSPORT_MAX_FDS])
{
	size_t n_fds = 0;

	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
		control = CMSG_NXTHDR(header, control)) {
		size_t size = control->cmsg_len - CMSG_LEN(0);

		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + n_fds, CMSG_DATA(control), size);
		n_fds += size / sizeof(int);
	}
	return n_fds;
}

/* Keeps or closes all of the fds. is_first: they came with the first byte of the message. */
static int transport_accept_fds(
	struct transport *transport, const int *fds, size_t n_fds, bool is_first, bool is_truncated)
{
	int r = 0;

	if (is_truncated || (n_fds > 0 && !is_first))
		r = -EBADMSG;
	else if (n_fds > transport->limits.max_fds)
		r = -E2BIG;
	if (r < 0) {
		close_all(fds, n_fds);
		transport_drop_input(transport);
		return r;
	}
	if (n_fds > 0)
		memcpy(transport->input_fds, fds, n_fds * sizeof(*fds));
	transport->n_input_fds += n_fds;
	return 0;
}

/* Takes up to n bytes from the socket, for which there is room. 1: some, 0: none now, -errno. */
static int transport_take(struct transport *transport, size_t n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control;
	struct iovec vector = {
		.iov_base = transport->input + transport->input_length,
		.iov_len = n,
	};
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fds[TRANSPORT_MAX_FDS];
	ssize_t received = recvmsg(transport->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int r;

	if (received < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
	if (received == 0)
		return -ECONNRESET;
	r = transport_accept_fds(transport, fds, collect_fds(&header, fds),
		transport->input_length == 0, header.msg_flags & MSG_CTRUNC);
	if (r < 0)
		return r;
	transport->input_length += (size_t)received;
	return 1;
}

/* Room for n more bytes; at least doubled, so that a message is not copied again and again. */
static int transport_reserve_input(struct transport *transport, size_t n)
{
	size_t capacity = transport->input_length + n;
	char *grown;

	if (capacity <= transport->input_capacity)
		return 0;
	if (capacity < 2 * transport->input_capacity)
		capacity = 2 * transport->input_capacity;
	grown = realloc(transport->input, capacity);
	if (!grown)
		return -ENOMEM;
	transport->input = grown;
	transport->input_capacity = capacity;
	return 0;
}

/*
 * Receives a part of one message: peeks at as much as there is of it already, so that all the
 * peeking costs no more than the message is long, however it arrives and whatever follows it.
 * 1: there may be more, 0: not now, -errno.
 */
static int transport_receive_part(struct transport *transport)
{
	size_t left = transport->limits.max_message_bytes + 1 - transport->input_length;
	size_t want = transport->input_length > PEEK_MIN ? transport->input_length : PEEK_MIN;
	const char *start, *nul;
	ssize_t peeked;
	int r;

	if (want > left)
		want = left;
	r = transport_reserve_input(transport, want);
	if (r < 0)
		return r;
	start = transport->input + transport->input_length;
	/* Without room for control data the kernel installs no descriptor here. */
	peeked = recv(transport->fd, (char *)start, want, MSG_PEEK | MSG_DONTWAIT);
	if (peeked < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
	if (peeked == 0)
		return -ECONNRESET;
	nul = memchr(start, '\0', (size_t)peeked);
	want = nul ? (size_t)(nul - start) + 1 : (size_t)peeked;
	/*
	 * The first byte comes alone: the kernel hands descriptors over with any byte of the
	 * write that they belong to, so this is how to know that they are the first byte's.
	 */
	if (transport->input_length == 0) {
		r = transport_take(transport, 1);
		if (r <= 0 || want == 1)
			return r;
		want--;
	}
	return transport_take(transport, want);
}

/* The whole message is there: hands it over, or says what is wrong with it. */
static int transport_finish_input(struct transport *transport, struct message *message)
{
	int r = json_read(transport->input, transport->input_length - 1,
		transport->limits.max_depth, &message->json);

	if (r == 0) {
		memcpy(message->fds, transport->input_fds,
			transport->n_input_fds * sizeof(*message->fds));
		message->n_fds = transport->n_input_fds;
		transport->n_input_fds = 0;
	}
	transport_drop_input(transport);
	return r < 0 ? r : 1;
}

int transport_receive(struct transport *transport, struct message *message)
{
	message->json = NULL;
	message->n_fds = 0;
	for (int part = 0; part < MAX_PARTS; part++) {
		int r = transport_receive_part(transport);

		if (r <= 0)
			return r;
		/* A part never goes beyond the message, so a NUL is the last of its bytes. */
		if (transport->input[transport->input_length - 1] == '\0')
			return transport_finish_input(transport, message);
		if (transport->input_length > transport->limits.max_message_bytes)
			return -EMSGSIZE;
	}
	return 0;
}

int transport_send(
	struct transport *transport, struct json_object *json, const int *fds, size_t n_fds)
{
	size_t length;
	const char *text = json_object_to_json_string_length(
		json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);

	if (!text) {
		close_all(fds, n_fds);
		return -ENOMEM;
	}
	return output_add(
		&transport->output, text, length, transport->limits.max_output_bytes, fds, n_fds);
}

int transport_flush(struct transport *transport)
{
	return output_send(&transport->output, transport->fd);
}

size_t transport_output_bytes(const struct transport *transport)
{
	return transport->output.n_bytes;
}
