#include "proto/output.h"
#include "proto/transport.h"
#include "proto/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Bytes that one output_send() sends: who reads as fast as we write keeps us for no longer.
 * More than a socket holds by default, so others hardly notice.
 */
#define SEND_MAX ((size_t)256 << 10)

struct output_message {
	STAILQ_ENTRY(output_message) link;
	size_t length, n_sent;
	int *fds;
	size_t n_fds;
	close_fds_fn close_fds;
	char text[];
};

static void output_message_free(struct output_message *message)
{
	message->close_fds(message->fds, message->n_fds);
	free(message->fds);
	free(message);
}

void output_init(struct output *output)
{
	STAILQ_INIT(&output->messages);
	output->n_bytes = output->n_messages = 0;
}

size_t output_memory_bytes(const struct output *output)
{
	return output->n_bytes + output->n_messages * sizeof(struct output_message);
}

void output_clear(struct output *output)
{
	struct output_message *message;

	while ((message = STAILQ_FIRST(&output->messages))) {
		STAILQ_REMOVE_HEAD(&output->messages, link);
		output_message_free(message);
	}
	output->n_bytes = output->n_messages = 0;
}

/*
 * Names that the host gives (a command, a hardware string) need not be UTF-8, and a peer drops
 * who sends it anything else: what is not becomes '?'. Such bytes only occur in strings.
 */
static void make_utf8(char *text, size_t length)
{
	size_t step;

	for (size_t i = 0; i < length; i += step) {
		step = utf8_sequence(text + i, length - i);
		if (step == 0) {
			text[i] = '?';
			step = 1;
		}
	}
}

static struct output_message *output_message_new(
	const char *text, size_t length, const int *fds, size_t n_fds)
{
	struct output_message *message = malloc(sizeof(*message) + length + 1);

	if (!message)
		return NULL;
	*message = (struct output_message){ .length = length + 1, .n_fds = n_fds };
	if (n_fds > 0) {
		message->fds = malloc(n_fds * sizeof(*fds));
		if (!message->fds) {
			free(message);
			return NULL;
		}
		memcpy(message->fds, fds, n_fds * sizeof(*fds));
	}
	memcpy(message->text, text, length);
	message->text[length] = '\0';
	make_utf8(message->text, length);
	return message;
}

int output_add(struct output *output, const char *text, size_t length, size_t max_bytes,
	const int *fds, size_t n_fds, close_fds_fn close_fds)
{
	struct output_message *message;
	int r = -ENOBUFS;

	if (output->n_bytes > max_bytes || length >= max_bytes - output->n_bytes)
		goto refuse;
	r = -EINVAL;
	if (n_fds > TRANSPORT_MAX_FDS)
		goto refuse;
	r = -ENOMEM;
	message = output_message_new(text, length, fds, n_fds);
	if (!message)
		goto refuse;
	message->close_fds = close_fds;
	STAILQ_INSERT_TAIL(&output->messages, message, link);
	output->n_bytes += message->length;
	output->n_messages++;
	return 0;
refuse:
	close_fds(fds, n_fds);
	return r;
}

/* One sendmsg. The kernel puts the descriptors on the first byte that it takes. */
static ssize_t output_message_send(const struct output_message *message, int socket)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control;
	struct iovec vector = {
		.iov_base = (char *)message->text + message->n_sent,
		.iov_len = message->length - message->n_sent,
	};
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (message->n_fds > 0) {
		size_t size = message->n_fds * sizeof(int);

		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(&control.header), message->fds, size);
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(size);
	}
	return sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A part is sent: the descriptors went with it, if it was the first. */
static void output_sent(struct output *output, struct output_message *message, size_t n)
{
	message->close_fds(message->fds, message->n_fds);
	message->n_fds = 0;
	message->n_sent += n;
	output->n_bytes -= n;
	if (message->n_sent < message->length)
		return;
	STAILQ_REMOVE_HEAD(&output->messages, link);
	output->n_messages--;
	output_message_free(message);
}

int output_send(struct output *output, int socket)
{
	struct output_message *message;
	size_t n_sent = 0;

	while ((message = STAILQ_FIRST(&output->messages))) {
		ssize_t n;

		if (n_sent >= SEND_MAX)
			return 1;
		n = output_message_send(message, socket);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 1;
		if (n < 0)
			return -errno;
		output_sent(output, message, (size_t)n);
		n_sent += (size_t)n;
	}
	return 0;
}
