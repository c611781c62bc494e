#include "daemon/base/wire.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct wire_runs) <= WIRE_MAX, "runs fit into a message");
_Static_assert(sizeof(struct wire_info) <= WIRE_MAX, "so does an info");
_Static_assert(sizeof(struct wire_items) <= WIRE_MAX, "so do items");
_Static_assert(WIRE_HELLO == 1 && WIRE_SYNC == 1000 && WIRE_STATE == 1001 &&
		       sizeof(struct wire_header) == 8 && sizeof(struct wire_hello) == 16 &&
		       sizeof(struct wire_sync) == 16 && sizeof(struct wire_state) == 32,
	"what keepers and daemons of all builds understand");
/* Two kinds of message have the type WIRE_INFO, and only their lengths tell them apart. */
_Static_assert(sizeof(struct wire_info) != sizeof(struct wire_request), "info is no request");

union fds_message {
	struct cmsghdr header;
	char space[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

int wire_send(int socket, const void *message, const int *fds, size_t n_fds, int flags)
{
	const struct wire_header *head = message;
	struct iovec part = { .iov_base = (void *)message, .iov_len = head->length };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };
	union fds_message control = { .space = { 0 } };

	if (n_fds > WIRE_FDS_MAX || head->length < sizeof(*head) || head->length > WIRE_MAX)
		return -EINVAL;
	if (n_fds > 0) {
		packet.msg_control = control.space;
		packet.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	}
	for (;;) {
		ssize_t n = sendmsg(socket, &packet, flags | MSG_NOSIGNAL);
		if (n >= 0)
			return 0; /* a packet goes whole or not at all: unix(7) */
		if (errno != EINTR)
			return -errno;
	}
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

/* Is it one of the messages by type and length? */
static bool message_is_ours(const union wire_message *message, size_t length)
{
	const size_t runs = offsetof(struct wire_runs, runs);
	const size_t items = offsetof(struct wire_items, items);

	if (length < sizeof(message->header) || message->header.length != length)
		return false;
	switch (message->header.type) {
	case WIRE_HELLO:
		return length == sizeof(message->hello);
	case WIRE_RUNS:
		return length > runs && (length - runs) % sizeof(frame_run) == 0;
	case WIRE_DONE:
		return length == sizeof(message->done) &&
		       is_terminated(message->done.text, sizeof(message->done.text));
	case WIRE_INFO:
		if (length == sizeof(message->info))
			return message->info.n_ranges <= WIRE_RANGES_MAX;
		break;
	case WIRE_ITEMS:
		return length > items && (length - items) % sizeof(struct wire_item) == 0;
	case WIRE_SYNC:
		return length == sizeof(message->sync);
	case WIRE_STATE:
		return length == sizeof(message->state);
	case WIRE_LIST:
	case WIRE_MEMBER:
		break;
	default:
		if (message->header.type < WIRE_START || message->header.type > WIRE_PUNCH)
			return false;
	}
	return length == sizeof(message->request) &&
	       is_terminated(message->request.name, sizeof(message->request.name));
}

/* What came with a packet: false if there is anything else, or something was lost. */
static bool take_fds(struct msghdr *packet, int *fds, size_t *n_fds)
{
	bool is_good = !(packet->msg_flags & MSG_CTRUNC);

	*n_fds = 0;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(packet); header;
		header = CMSG_NXTHDR(packet, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
			is_good = false;
			continue;
		}
		size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds + *n_fds, CMSG_DATA(header), n * sizeof(int));
		*n_fds += n;
	}
	return is_good;
}

ssize_t wire_receive(int socket, union wire_message *message, int *fds, size_t *n_fds, int flags)
{
	struct iovec part = { .iov_base = message, .iov_len = sizeof(*message) };
	union fds_message control;
	struct msghdr packet = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	*n_fds = 0;
	do
		n = recvmsg(socket, &packet, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;

	bool is_good = take_fds(&packet, fds, n_fds);
	if (n == 0 && *n_fds == 0)
		return 0;
	if (is_good && !(packet.msg_flags & MSG_TRUNC) && message_is_ours(message, (size_t)n))
		return n;
	for (; *n_fds > 0; (*n_fds)--)
		close(fds[*n_fds - 1]);
	return -EBADMSG;
}
