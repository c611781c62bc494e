/*
 * Packets of a SOCK_SEQPACKET socket between processes of vfiod's, each with one descriptor or
 * none.
 */
#pragma once

#include <sys/types.h>

/*
 * fd: -1, or goes with it, and stays the caller's. Whole or not at all, and never SIGPIPE.
 * 0 or -errno; -EPIPE, -ECONNRESET: nobody listens any more.
 */
int packet_send(int socket, const void *message, size_t size, int fd, int flags);
/*
 * The next one's length, at most `size`; 0 at the end; or -errno. -EMSGSIZE: it was longer;
 * -EMFILE: not all of its descriptors could be had. *fd: -1, or the descriptor that came with it,
 * the caller's.
 */
ssize_t packet_receive(int socket, void *message, size_t size, int *fd, int flags);
