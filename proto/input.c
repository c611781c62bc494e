#include "proto/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The least that is peeked at: most calls fit. */
#define PEEK_MIN 512

void input_clear(struct input *input)
{
	close_fds_fn close_fds = input->close_fds ? input->close_fds : close_all_fds;

	close_fds(input->fds, input->n_fds);
	free(input->bytes);
	input->bytes = NULL;
	input->length = input->capacity = input->n_fds = 0;
}

bool input_is_whole(const struct input *input)
{
	return input->length > 0 && input->bytes[input->length - 1] == '\0';
}

/* Room for n more bytes; at least doubled, so that a message is not copied again and again. */
static int input_reserve(struct input *input, size_t n)
{
	size_t capacity = input->length + n;
	char *grown;

	if (capacity <= input->capacity)
		return 0;
	if (capacity < 2 * input->capacity)
		capacity = 2 * input->capacity;
	grown = realloc(input->bytes, capacity);
	if (!grown)
		return -ENOMEM;
	input->bytes = grown;
	input->capacity = capacity;
	return 0;
}

int input_add(struct input *input, const char *bytes, size_t length, const int *fds, size_t n_fds)
{
	int r = input_reserve(input, length);

	if (r < 0)
		return r;
	memcpy(input->bytes + input->length, bytes, length);
	input->length += length;
	if (n_fds > 0)
		memcpy(input->fds, fds, n_fds * sizeof(*fds));
	input->n_fds += n_fds;
	return 0;
}

static int none_or_error(ssize_t n)
{
	if (n == 0)
		return -ECONNRESET;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
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

/* Takes up to n bytes from the socket, for which there is room. 1: some, 0: none now, -errno. */
static int input_take(struct input *input, int socket, size_t n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control;
	struct iovec vector = { .iov_base = input->bytes + input->length, .iov_len = n };
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fds[TRANSPORT_MAX_FDS];
	ssize_t received = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t n_fds;

	if (received <= 0)
		return none_or_error(received);
	n_fds = collect_fds(&header, fds);
	if (input->n_fds == 0) {
		memcpy(input->fds, fds, n_fds * sizeof(*fds));
		input->n_fds = n_fds;
	} else {
		close_all_fds(fds, n_fds);
	}
	if ((header.msg_flags & MSG_CTRUNC) || (n_fds > 0 && input->length > 0))
		return -EBADMSG;
	input->length += (size_t)received;
	return 1;
}

/*
 * As much as there is of the message already, so that all the peeking costs no more than the
 * message is long, however it arrives and whatever follows it.
 */
static size_t part_size(const struct input *input, size_t max_bytes)
{
	size_t left = max_bytes + 1 - input->length;
	size_t size = input->length > PEEK_MIN ? input->length : PEEK_MIN;

	if (size > INPUT_PART_MAX)
		size = INPUT_PART_MAX;
	return size < left ? size : left;
}

/* What of the peeked bytes belongs to this message. */
static size_t of_this_message(const char *start, size_t peeked)
{
	const char *nul = memchr(start, '\0', peeked);

	return nul ? (size_t)(nul - start) + 1 : peeked;
}

int input_receive_part(struct input *input, int socket, size_t max_bytes)
{
	size_t want = part_size(input, max_bytes);
	char *start;
	ssize_t peeked;
	int r = input_reserve(input, want);

	if (r < 0)
		return r;
	start = input->bytes + input->length;
	/* Without room for control data the kernel installs no descriptor here. */
	peeked = recv(socket, start, want, MSG_PEEK | MSG_DONTWAIT);
	if (peeked <= 0)
		return none_or_error(peeked);
	want = of_this_message(start, (size_t)peeked);
	/*
	 * The first byte comes alone: the kernel hands descriptors over with any byte of the
	 * write that they belong to, so this is how to know that they are the first byte's.
	 */
	if (input->length == 0) {
		r = input_take(input, socket, 1);
		if (r <= 0 || want == 1)
			return r;
		want--;
	}
	return input_take(input, socket, want);
}

/* Peeks. The bytes that are there, or 0: none now, -errno, or with *has_fds set, if fds are. */
static ssize_t peek_plain(int socket, char *bytes, size_t size, bool *has_fds)
{
	struct iovec vector = { .iov_base = bytes, .iov_len = size };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
	ssize_t peeked = recvmsg(socket, &header, MSG_PEEK | MSG_DONTWAIT);

	if (peeked <= 0)
		return none_or_error(peeked);
	/*
	 * There is no control buffer, so this is said of descriptors, be they with what was peeked
	 * at or further behind (net/core/scm.c, scm_recv; unix_stream_read_generic walks on).
	 */
	*has_fds = header.msg_flags & MSG_CTRUNC;
	return peeked;
}

int input_receive_plain(struct input *input, int socket, size_t max_bytes)
{
	size_t want = part_size(input, max_bytes);
	bool has_fds = false;
	ssize_t n;
	int r = input_reserve(input, want);

	if (r < 0)
		return r;
	n = peek_plain(socket, input->bytes + input->length, want, &has_fds);
	if (n <= 0)
		return (int)n;
	if (has_fds)
		return TRANSPORT_HAS_FDS;
	/* What was peeked at has none, and does not get any: they are sent with new bytes. */
	n = recv(socket, input->bytes + input->length,
		of_this_message(input->bytes + input->length, (size_t)n), MSG_DONTWAIT);
	if (n <= 0)
		return none_or_error(n);
	input->length += (size_t)n;
	return 1;
}

int input_look(int socket, char *bytes, size_t size, struct sight *sight)
{
	*sight = (struct sight){ .length = 0 };
	ssize_t n = peek_plain(socket, bytes, size, &sight->has_fds);
	if (n <= 0)
		return (int)n;
	sight->length = (size_t)n;
	const char *nul = memchr(bytes, '\0', sight->length);
	if (!nul)
		return 1;
	sight->message_length = (size_t)(nul - bytes) + 1;
	sight->has_more = sight->message_length < sight->length || sight->length == size;
	return 1;
}

int input_drain(int socket)
{
	char bytes[4096];
	bool has_fds = false;
	ssize_t n;

	/* Ends: what a socket may hold is bounded, and nothing is added. */
	while ((n = peek_plain(socket, bytes, sizeof(bytes), &has_fds)) > 0 && !has_fds)
		if (recv(socket, bytes, (size_t)n, MSG_DONTWAIT) <= 0)
			break;
	return has_fds ? TRANSPORT_HAS_FDS : 0;
}
