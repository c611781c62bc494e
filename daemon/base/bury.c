/* Closing what takes long to close: a child does. */
#include "daemon/base/child.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define FDS_AT_ONCE 253 /* SCM_MAX_FD of the kernel */

/*
 * In the child. Its copies of all that the daemon has go first. What it is for is queued in its
 * socket, and goes with that when it ends: when the daemon has closed its own.
 */
_Noreturn static void wait_and_end(int socket)
{
	struct pollfd other_end = { .fd = CHILD_FD };

	if (child_isolate("vfiod-bury", socket) == 0)
		while (poll(&other_end, 1, -1) < 0 && errno == EINTR)
			;
	_exit(0);
}

static int send_fds(int socket, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
	} control = { .bytes = { 0 } };
	char byte = 0;
	struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
	return sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* A child has a reference to each; it ends when this socket is closed. Or -errno. */
static int grave_dig(const int *fds, size_t n_fds)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	_cleanup_close_ int socket = pair[0];
	pid_t pid = child_fork();
	if (pid == 0)
		wait_and_end(pair[1]);
	close(pair[1]);
	int r = pid < 0 ? pid : send_fds(socket, fds, n_fds);
	return r < 0 ? r : steal_fd(&socket);
}

static void bury_some(const int *fds, size_t n_fds)
{
	_cleanup_close_ int grave = grave_dig(fds, n_fds);

	if (grave < 0) {
		log_error("%zu descriptors of memory stay open, there is no child to close them: "
			  "%s",
			n_fds, strerror(-grave));
		return;
	}
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

void fds_bury(const int *fds, size_t n_fds)
{
	int some[FDS_AT_ONCE];
	size_t n = 0;

	for (size_t i = 0; i < n_fds; i++) {
		if (fds[i] >= 0)
			some[n++] = fds[i];
		if (n == FDS_AT_ONCE || (n > 0 && i + 1 == n_fds)) {
			bury_some(some, n);
			n = 0;
		}
	}
}

void fd_bury(int fd)
{
	fds_bury(&fd, 1);
}
