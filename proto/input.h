/*
 * What arrives on a connection: the bytes of one message, and its descriptors, which ride on
 * its first byte.
 *
 * A program that serves strangers must not even close their descriptors: close(2) asks the
 * server of a FUSE file, lingers with a TCP socket (SO_LINGER), and flushes what the driver likes.
 * And the last reference to one that was merely sent is dropped by who takes its bytes, or
 * closes the socket. So there are two ways: input_receive_part() receives descriptors, and
 * input_receive_plain() leaves all of them in the socket, for another process to take.
 */
#pragma once

#include "proto/transport.h"

#include <stdbool.h>
#include <stddef.h>

#define INPUT_PART_MAX ((size_t)32 << 10) /* bytes that one call adds */

struct input {
	char *bytes;
	size_t length, capacity;
	int fds[TRANSPORT_MAX_FDS]; /* owned */
	size_t n_fds;
	close_fds_fn close_fds; /* NULL: close(2) */
};

/* Forgets the message, buffer and all: an idle connection keeps no large one. Closes the fds. */
void input_clear(struct input *input);
/* Its NUL is the last of its bytes: no part goes beyond the message. */
bool input_is_whole(const struct input *input);
/* As if it had been received; 0 or -ENOMEM, and then the fds are the caller's still. */
int input_add(struct input *input, const char *bytes, size_t length, const int *fds, size_t n_fds);

/*
 * Adds what there is of the message that arrives, at most to its NUL, or to one byte beyond
 * max_bytes. 1: something, 0: nothing now, -ECONNRESET: the peer has closed, -EBADMSG: descriptors
 * in its middle, or more than fitted, or -errno; what came with them stays in `fds`.
 */
int input_receive_part(struct input *input, int socket, size_t max_bytes);
/*
 * The same where no descriptor is queued in the socket. Otherwise takes nothing, and says
 * TRANSPORT_HAS_FDS.
 */
int input_receive_plain(struct input *input, int socket, size_t max_bytes);
/* What is in a socket. */
struct sight {
	size_t length;         /* seen */
	size_t message_length; /* of that, the message's, its NUL counted; 0: it has no end there */
	bool has_fds;          /* descriptors are queued, with it or further behind */
	bool has_more;         /* there may be something behind the message */
};
/* Looks, and takes nothing. `bytes` are for what is seen. 1, or as input_receive_part(). */
int input_look(int socket, char *bytes, size_t size, struct sight *sight);
/*
 * Throws away what is queued in a socket whose receiving side was shut down: 0, nothing is left,
 * or TRANSPORT_HAS_FDS.
 */
int input_drain(int socket);
