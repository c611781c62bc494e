#include "proto/transport.h"
#include "proto/input.h"
#include "proto/json.h"
#include "proto/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Parts taken by one transport_receive_text(): more than any message has that a socket holds, and a
 * peer that sends byte after byte does not keep us for longer.
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
	struct input input;
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
	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		r = -errno;
		goto fail;
	}
	new->fd = fd;
	new->limits = *limits;
	if (!limits->close_fds)
		new->limits.close_fds = close_all_fds;
	new->input.close_fds = new->limits.close_fds;
	output_init(&new->output);
	*transport = new;
	return 0;
fail:
	free(new);
	if (fd >= 0 && !limits->leaves_fds)
		close(fd);
	return r;
}

int transport_dissolve(struct transport *transport)
{
	int fd = transport->fd;

	input_clear(&transport->input);
	output_clear(&transport->output);
	free(transport);
	return fd;
}

struct transport *transport_free(struct transport *transport)
{
	if (transport)
		close(transport_dissolve(transport));
	return NULL;
}

int transport_fd(const struct transport *transport)
{
	return transport->fd;
}

void close_all_fds(const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void message_close_fds(struct message *message)
{
	close_fds_fn close_fds = message->close_fds ? message->close_fds : close_all_fds;

	close_fds(message->fds, message->n_fds);
	free(message->fds);
	message->fds = NULL;
	message->n_fds = 0;
}

void message_forget(struct message *message)
{
	json_object_put(message->json);
	message->json = NULL;
}

void message_clear(struct message *message)
{
	message_close_fds(message);
	message_forget(message);
	free(message->text);
	message->text = NULL;
}

int message_read(struct message *message, size_t max_depth, size_t max_values)
{
	return json_read_bounded(
		message->text, message->length, max_depth, max_values, &message->json);
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

/* The whole message is there: hands it over. */
static int transport_finish_input(struct transport *transport, struct message *message)
{
	struct input *input = &transport->input;

	if (input->length == 1)
		return -EBADMSG;
	if (input->n_fds > 0) {
		message->fds = malloc(input->n_fds * sizeof(*message->fds));
		if (!message->fds)
			return -ENOMEM;
		memcpy(message->fds, input->fds, input->n_fds * sizeof(*message->fds));
	}
	message->text = input->bytes;
	message->length = input->length - 1;
	message->n_fds = input->n_fds;
	message->close_fds = input->close_fds;
	input->bytes = NULL;
	input->length = input->capacity = input->n_fds = 0;
	return 1;
}

static int transport_receive_parts(struct transport *transport, struct message *message)
{
	struct input *input = &transport->input;
	size_t max_bytes = transport->limits.max_message_bytes;

	for (int part = 0;; part++) {
		int r;

		if (input->n_fds > transport->limits.max_fds)
			return -E2BIG;
		if (input_is_whole(input))
			return transport_finish_input(transport, message);
		if (input->length > max_bytes)
			return -EMSGSIZE;
		if (part == MAX_PARTS)
			return 0;
		r = transport->limits.leaves_fds
			    ? input_receive_plain(input, transport->fd, max_bytes)
			    : input_receive_part(input, transport->fd, max_bytes);
		if (r != 1)
			return r;
	}
}

int transport_receive_text(struct transport *transport, struct message *message)
{
	int r;

	*message = (struct message){ .text = NULL };
	r = transport_receive_parts(transport, message);
	if (r < 0)
		input_clear(&transport->input);
	return r;
}

int transport_take_text(struct transport *transport, size_t length, struct message *message)
{
	struct input *input = &transport->input;

	*message = (struct message){ .text = NULL };
	if (length - 1 > transport->limits.max_message_bytes)
		return -EMSGSIZE;
	input->bytes = malloc(length);
	if (!input->bytes)
		return -ENOMEM;
	input->capacity = length;
	ssize_t n = recv(transport->fd, input->bytes, length, MSG_DONTWAIT);
	int r = n < 0 ? -errno : (size_t)n < length ? -EBADMSG : 1;
	input->length = n < 0 ? 0 : (size_t)n;
	if (r == 1)
		r = transport_finish_input(transport, message);
	if (r < 0)
		input_clear(input);
	return r;
}

int transport_receive(struct transport *transport, struct message *message)
{
	int r = transport_receive_text(transport, message);

	if (r != 1)
		return r;
	r = message_read(message, transport->limits.max_depth, JSON_MAX_VALUES);
	if (r < 0) {
		message_clear(message);
		return r;
	}
	free(message->text);
	message->text = NULL;
	return 1;
}

const struct input *transport_input(const struct transport *transport)
{
	return &transport->input;
}

size_t transport_max_message(const struct transport *transport)
{
	return transport->limits.max_message_bytes;
}

int transport_add_input(
	struct transport *transport, const char *bytes, size_t length, const int *fds, size_t n_fds)
{
	int r = input_add(&transport->input, bytes, length, fds, n_fds);

	if (r < 0)
		transport->limits.close_fds(fds, n_fds);
	return r;
}

int transport_send_closing(struct transport *transport, struct json_object *json, const int *fds,
	size_t n_fds, close_fds_fn close_fds)
{
	size_t length;
	const char *text = json_object_to_json_string_length(
		json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);

	if (!text) {
		(close_fds ? close_fds : transport->limits.close_fds)(fds, n_fds);
		return -ENOMEM;
	}
	return transport_send_text(transport, text, length, fds, n_fds, close_fds);
}

int transport_send_text(struct transport *transport, const char *text, size_t length,
	const int *fds, size_t n_fds, close_fds_fn close_fds)
{
	if (!close_fds)
		close_fds = transport->limits.close_fds;
	return output_add(&transport->output, text, length, transport->limits.max_output_bytes, fds,
		n_fds, close_fds);
}

int transport_send(
	struct transport *transport, struct json_object *json, const int *fds, size_t n_fds)
{
	return transport_send_closing(transport, json, fds, n_fds, NULL);
}

int transport_flush(struct transport *transport)
{
	return output_send(&transport->output, transport->fd);
}

size_t transport_output_bytes(const struct transport *transport)
{
	return transport->output.n_bytes;
}

size_t transport_memory_bytes(const struct transport *transport)
{
	return transport->input.capacity + output_memory_bytes(&transport->output);
}
