/*
 * The child that handles a client's descriptors. Only it ever has them; it keeps nothing else of
 * the daemon's, so if the kernel does not let it go (a FUSE server that never answers a FLUSH) that
 * harms nobody. It closes them by ending: an ending process does not linger with TCP sockets
 * (net/ipv4/af_inet.c, inet_release).
 */
#include "daemon/base/child.h"
#include "daemon/base/packet.h"
#include "daemon/base/util.h"
#include "daemon/service/fetch-wire.h"
#include "daemon/service/parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void send_fetched(const struct fetched *fetched, const int *passing, size_t n_passing)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control;
	struct iovec vector = {
		.iov_base = (void *)fetched,
		.iov_len = offsetof(struct fetched, bytes) + fetched->n_bytes,
	};
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (n_passing > 0) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n_passing * sizeof(int));
		memcpy(CMSG_DATA(&control.header), passing, n_passing * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(n_passing * sizeof(int));
	}
	/* The daemon has gone: then nobody wants to know. */
	(void)sendmsg(CHILD_FD, &header, MSG_NOSIGNAL);
}

static void fetch(int connection, const struct input *before, size_t max_bytes)
{
	static struct fetched fetched;
	struct input input = *before;
	int passing[TRANSPORT_MAX_FDS];
	size_t n_passing = 0;

	input.n_fds = 0;
	fetched.result = input_receive_part(&input, connection, max_bytes);
	if (fetched.result == 1) {
		fetched.n_bytes = (uint32_t)(input.length - before->length);
		memcpy(fetched.bytes, input.bytes + before->length, fetched.n_bytes);
		fetched.n_fds = (uint32_t)input.n_fds;
		for (size_t i = 0; i < input.n_fds; i++) {
			fetched.passes[i] = fd_is_pidfd(input.fds[i]) || fd_is_memory(input.fds[i]);
			if (fetched.passes[i])
				passing[n_passing++] = input.fds[i];
		}
	}
	send_fetched(&fetched, passing, n_passing);
}

void fetch_child(const struct input *before, size_t max_bytes, int channel)
{
	if (child_isolate("vfiod-fetch", channel) < 0)
		_exit(1);
	char byte;
	int connection;
	if (packet_receive(CHILD_FD, &byte, sizeof(byte), &connection, 0) > 0 && connection >= 0 &&
		before)
		fetch(connection, before, max_bytes);
	else
		/* Ours has to be the last reference: the daemon says when its own has gone. */
		(void)recv(CHILD_FD, &byte, sizeof(byte), 0);
	_exit(0);
}
