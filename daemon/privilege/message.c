#include "daemon/privilege/message.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

_Static_assert(sizeof(struct privilege_reply) != sizeof(struct open_file_seen) &&
		       sizeof(struct privilege_reply) != sizeof(struct device_facts),
	"answers are told apart by their lengths");

union fd_message {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

uint64_t privilege_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int privilege_send(int socket, const void *message, size_t size, int fd, int flags)
{
	struct iovec part = { .iov_base = (void *)message, .iov_len = size };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };
	union fd_message control = { .space = { 0 } };

	if (fd >= 0) {
		packet.msg_control = control.space;
		packet.msg_controllen = sizeof(control.space);
		struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	for (;;) {
		if (sendmsg(socket, &packet, flags | MSG_NOSIGNAL) >= 0)
			return 0; /* a packet goes whole or not at all: unix(7) */
		if (errno != EINTR)
			return -errno;
	}
}

ssize_t privilege_receive(int socket, void *message, size_t size, int *fd, int flags)
{
	struct iovec part = { .iov_base = message, .iov_len = size };
	union fd_message control;
	struct msghdr packet = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		/* CMSG_SPACE() would have room for two. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(socket, &packet, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	if (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		if (*fd >= 0)
			close(steal_fd(fd));
		return -EBADMSG;
	}
	return n;
}
