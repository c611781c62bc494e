/*
 * What a doorman is asked: one packet of a SOCK_SEQPACKET pair. His answer are records
 * (job-wire.h): a NODE for each that is wanted, and DONE with `result`, 0 or REFUSED, and the
 * group's fd. Nobody outside of this room includes this.
 */
#pragma once

#include "daemon/bind/doorman.h"

enum { DOORMAN_REQUEST_MAX = 65536 };

/* Of the packet for this plan, in bytes. */
size_t doorman_request_size(const struct plan *plan);
/* Does not wait. 0 or -errno. */
int doorman_request_send(int socket, const struct plan *plan, enum doorman_wish wish);
/*
 * Waits. 0 with *plan, which has the group's number, its members' syspaths, and what
 * plan_hands_out() and nodes_may_be_kept() want to know of them; or -errno.
 */
int doorman_request_receive(int socket, struct plan **plan, enum doorman_wish *wish);

/* The child's part: answers until nobody is there to ask. doorman.c forks. */
_Noreturn void doorman_child(const struct sysfs_ops *ops, int socket);
