#include "daemon/bind/job-wire.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union fd_message {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

/* What it says, without what only some of them have. */
static size_t record_size(const struct record *record)
{
	bool is_short = record->kind != RECORD_KNOWN && record->refusal.kind == REFUSAL_NONE;
	return is_short ? offsetof(struct record, host_driver) : sizeof(*record);
}

int record_send(int socket, const struct record *record, int fd, int flags)
{
	struct iovec part = { .iov_base = (void *)record, .iov_len = record_size(record) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union fd_message control = { .space = { 0 } };

	if (fd >= 0) {
		message.msg_control = control.space;
		message.msg_controllen = sizeof(control.space);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	for (;;) {
		ssize_t n = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
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

static bool record_is_ours(const struct record *record)
{
	const struct refusal *refusal = &record->refusal;

	return record->kind >= RECORD_STEP && record->kind < RECORD_MAX_ && record->member >= -1 &&
	       record->step >= STEP_NONE && record->step < STEP_MAX_ && record->result <= REFUSED &&
	       is_terminated(record->host_driver, sizeof(record->host_driver)) &&
	       is_terminated(record->host_override, sizeof(record->host_override)) &&
	       is_terminated(record->claim, sizeof(record->claim)) &&
	       is_terminated(record->target, sizeof(record->target)) &&
	       is_terminated(record->module, sizeof(record->module)) &&
	       is_terminated(refusal->device, sizeof(refusal->device)) &&
	       is_terminated(refusal->text, sizeof(refusal->text));
}

int record_receive(int socket, struct record *record, int *fd, int flags)
{
	struct iovec part = { .iov_base = record, .iov_len = sizeof(*record) };
	union fd_message control;
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	*fd = -1;
	memset(record, 0, sizeof(*record));
	do
		n = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;

	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	if (n == 0)
		return 0;
	bool is_ours = (size_t)n == record_size(record) && !(message.msg_flags & MSG_TRUNC) &&
		       record_is_ours(record);
	bool is_lost = message.msg_flags & MSG_CTRUNC;
	if (is_ours && !is_lost)
		return 1;
	if (*fd >= 0)
		close(steal_fd(fd));
	return is_ours ? -EMFILE : -EPROTO;
}
