/* Descriptors between vfioctl and its children. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "client/vfioctl/run.h"

union rights {
	struct cmsghdr header;
	char space[CMSG_SPACE(RUN_MAX_FDS * sizeof(int))];
};

int fds_send(int socket, const void *data, size_t size, const int *fds, size_t n_fds)
{
	struct iovec vector = { (void *)data, size };
	union rights rights = { 0 };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	ssize_t n;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	do
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int fds_receive_any(int socket, void *data, size_t size, int *fds)
{
	struct iovec vector = { data, size };
	union rights rights;
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = sizeof rights.space };
	struct cmsghdr *header;
	size_t n_fds;
	ssize_t n;

	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	header = n == (ssize_t)size ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS || (message.msg_flags & MSG_CTRUNC))
		return -1;
	n_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(header), n_fds * sizeof(int));
	return (int)n_fds;
}

bool fds_receive(int socket, void *data, size_t size, int *fds, size_t n_fds)
{
	int all[RUN_MAX_FDS];

	if (fds_receive_any(socket, data, size, all) != (int)n_fds)
		return false;
	memcpy(fds, all, n_fds * sizeof *fds);
	return true;
}
