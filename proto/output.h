/*
 * What a transport still has to send: a queue of messages with their descriptors.
 * It owns the descriptors from output_add() until they are sent.
 */
#pragma once

#include "proto/transport.h"

#include <stddef.h>
#include <sys/queue.h>

struct output_message;
struct output {
	STAILQ_HEAD(output_queue, output_message) messages;
	size_t n_bytes; /* not yet sent, NULs counted */
	size_t n_messages;
};

void output_init(struct output *output);
void output_clear(struct output *output); /* closes what was not sent */
size_t output_memory_bytes(const struct output *output);

/*
 * Copies text[length] and adds the NUL. 0, -ENOBUFS if more than max_bytes would wait, -EINVAL
 * for more than TRANSPORT_MAX_FDS, -ENOMEM; the fds are taken over in any case, and closed by
 * close_fds().
 */
int output_add(struct output *output, const char *text, size_t length, size_t max_bytes,
	const int *fds, size_t n_fds, close_fds_fn close_fds);

/* 0: all is sent. 1: more when the socket takes more (poll it). -errno of sendmsg(2). */
int output_send(struct output *output, int socket);
