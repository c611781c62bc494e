/*
 * What a doorman is asked: one packet of a SOCK_SEQPACKET pair. His answer is a record
 * (job-wire.h): DONE with `result`, 0 or REFUSED, and the group's fd. Nobody outside of this room
 * includes this.
 */
#pragma once

#include "daemon/bind/doorman.h"

enum { DOORMAN_REQUEST_MAX = 65536 };

/* Of the packet for this plan, in bytes. */
size_t doorman_request_size(const struct plan *plan);
/* Does not wait. 0 or -errno. */
int doorman_request_send(int socket, const struct plan *plan, enum doorman_wish wish);
/* Waits. 0 with *plan, which has the group's number and its members' syspaths, or -errno. */
int doorman_request_receive(int socket, struct plan **plan, enum doorman_wish *wish);

/* The child's part: answers until nobody is there to ask. doorman.c forks. */
_Noreturn void doorman_child(const struct sysfs_ops *ops, int socket);
