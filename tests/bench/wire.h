/*
 * A blocking Varlink connection that costs as little as one can: no JSON is parsed, no message
 * copied. What the daemon's peers do is not what is measured. All end the program when they fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct wire {
	int fd;
	char *input; /* what has arrived and was not taken yet */
	size_t length, capacity;
	size_t taken;   /* of it: the message that wire_receive() returned last */
	int group_fd;   /* the descriptor that came last; -1 */
	char token[40]; /* of the lease */
};

/*
 * Forks what is compared with, with a socket of this type to us: 0 in it, its pid in us; *end is
 * the own end of either.
 */
pid_t peer_fork(int type, int *end);

/* As this user: the kernel tells the daemon who called connect(2). */
void wire_open(struct wire *wire, const char *socket, uid_t uid);
void wire_close(struct wire *wire);
/* A message without its NUL, which is added. */
void wire_send(struct wire *wire, const char *text);
/* The next message, valid until the next call; NULL: the peer has closed. */
const char *wire_receive(struct wire *wire);
void wire_drop_fd(struct wire *wire);
/* Acquires a device's group, drops the descriptor, and releases it. False: not granted. */
bool wire_lease(struct wire *wire, const char *device);
