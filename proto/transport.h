/*
 * One end of a Varlink connection: whole JSON messages with their descriptors,
 * over a non-blocking AF_UNIX stream socket. No loop of its own: daemon and
 * client wait for the fd in their own ways.
 *
 * A message is a UTF-8 JSON object and one NUL. Its descriptors ride on its
 * first byte, and one sendmsg(2) carries one message: so that the descriptors of
 * a second message are never taken for those of the first, the socket is peeked
 * at up to the NUL and exactly that message is received.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define TRANSPORT_MAX_FDS 253 /* SCM_MAX_FD of the kernel */

/* Closes those that are not negative. */
typedef void (*close_fds_fn)(const int *fds, size_t n_fds);
void close_all_fds(const int *fds, size_t n_fds); /* by close(2) */

struct transport_limits {
	size_t max_message_bytes; /* a message that arrives, its NUL not counted */
	size_t max_output_bytes;  /* queued and not yet sent */
	size_t max_depth;         /* of JSON nesting; {} is 1 deep */
	size_t max_fds;           /* with one message that arrives */
	/* Descriptors are left in the socket (proto/input.h says why). The service does so. */
	bool leaves_fds;
	/* How those are closed that came and that nobody took, or were sent. NULL: close(2). */
	close_fds_fn close_fds;
};
extern const struct transport_limits transport_default_limits; /* 1 MiB, 4 MiB, 32, 16 */

struct transport;

/*
 * Takes the fd over (also on failure, but not if leaves_fds), makes it non-blocking and
 * close-on-exec. 0 or -errno.
 */
int transport_new(int fd, const struct transport_limits *limits, struct transport **transport);
struct transport *transport_free(struct transport *transport); /* closes; NULL-safe */
/* Frees all but the fd, which is the caller's then. */
int transport_dissolve(struct transport *transport);
int transport_fd(const struct transport *transport);

/* A message that arrived. Descriptors are owned by it until taken out; -1: there is none. */
struct message {
	char *text; /* as it came, terminated; owned. NULL after transport_receive() */
	size_t length;
	struct json_object *json; /* an object; owned. NULL before message_read() */
	int *fds;                 /* owned; NULL where there are none */
	size_t n_fds;
	close_fds_fn close_fds; /* the transport's; NULL: close(2) */
};
/* The text's JSON: 0, or as transport_receive() fails. The text stays. */
int message_read(struct message *message, size_t max_depth, size_t max_values);
void message_forget(struct message *message);    /* the JSON; it can be read again */
void message_clear(struct message *message);     /* closes what is left in it */
void message_close_fds(struct message *message); /* the descriptors that are left in it */
/* Takes descriptor `index` out: the fd, or -EINVAL if there is none (or it was taken). */
int message_take_fd(struct message *message, int64_t index);

/*
 * At most one message, and a bounded number of system calls. 1: one is in *message (more may
 * be waiting: call again). 0: none whole yet, wait for POLLIN (level-triggered: what a peer
 * sends byte by byte may be there already). Otherwise *message is empty:
 * -ECONNRESET: the peer has closed (a message cut off in its middle included).
 * -EBADMSG: not UTF-8, not JSON (json.h), not an object, an empty message, beyond max_depth,
 * descriptors in its middle or more than fitted (MSG_CTRUNC; all are closed).
 * -EMSGSIZE: beyond max_message_bytes or JSON_MAX_VALUES. -E2BIG: beyond max_fds.
 * -ENOMEM or another errno of recvmsg(2). After a negative result only transport_free() makes
 * sense. Of duplicate keys in an object the last one counts.
 */
int transport_receive(struct transport *transport, struct message *message);

/*
 * The same, before anything looks at the text: JSON in memory is many times as large. With
 * leaves_fds: TRANSPORT_HAS_FDS, if descriptors are queued in the socket; then somebody else has
 * to input_receive_part() and transport_add_input() before this can go on.
 */
#define TRANSPORT_HAS_FDS 2
int transport_receive_text(struct transport *transport, struct message *message);
/*
 * The message of so many bytes, NUL counted, that input_look() has seen, without descriptors. 1, or
 * as transport_receive_text() fails.
 */
int transport_take_text(struct transport *transport, size_t length, struct message *message);
struct input;
const struct input *transport_input(const struct transport *transport);
size_t transport_max_message(const struct transport *transport);
/* 0 or -ENOMEM; the fds are taken over in any case. */
int transport_add_input(struct transport *transport, const char *bytes, size_t length,
	const int *fds, size_t n_fds);

/*
 * Queues a message; `json` is only read, `fds` are taken over, also on failure (closed once
 * sent). 0, -ENOBUFS beyond max_output_bytes, -EINVAL beyond TRANSPORT_MAX_FDS, -ENOMEM.
 * Bytes that are not UTF-8 become '?'. Nothing is written before transport_flush().
 */
int transport_send(
	struct transport *transport, struct json_object *json, const int *fds, size_t n_fds);
/* The same with descriptors that are closed in a way of their own; NULL: that of the limits. */
int transport_send_closing(struct transport *transport, struct json_object *json, const int *fds,
	size_t n_fds, close_fds_fn close_fds);
/* The same of a text that is JSON; NULL as above. */
int transport_send_text(struct transport *transport, const char *text, size_t length,
	const int *fds, size_t n_fds, close_fds_fn close_fds);
/*
 * 0: all is sent. 1: wait for POLLOUT. -errno: the connection is dead; -EPERM where the peer
 * refuses descriptors (SO_PASSRIGHTS): nothing of that message was sent.
 */
int transport_flush(struct transport *transport);
size_t transport_output_bytes(const struct transport *transport);
size_t transport_memory_bytes(const struct transport *transport); /* buffers of both directions */
