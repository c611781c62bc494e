/* What goes between the daemon and a child that handles a client's descriptors (fetch.c). */
#pragma once

#include "proto/input.h"

#include <stdint.h>

/* One record from the child: a part of a message, with those of its descriptors that pass. */
struct fetched {
	int32_t result; /* of input_receive_part() */
	uint32_t n_bytes, n_fds;
	/* pidfds and memory; the others are closed, as nothing takes any other kind */
	bool passes[TRANSPORT_MAX_FDS];
	char bytes[INPUT_PART_MAX];
};

/*
 * In the child, whose CHILD_FD is a socket over which the connection comes, with a byte
 * (base/packet.h). `before`: what has arrived of the message; NULL: the connection is only to be
 * closed.
 */
_Noreturn void fetch_child(const struct input *before, size_t max_bytes, int channel);
