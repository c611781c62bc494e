/*
 * Datagrams for the service manager (sd_notify(3)), in their order, with descriptors. sd_notify()
 * waits when the manager is busy and its socket's queue (net.unix.max_dgram_qlen) is full; these
 * wait here instead, and go from the loop.
 */
#pragma once

#include <ev.h>

struct notify;

/* 0, -EOPNOTSUPP: nobody listens ($NOTIFY_SOCKET), or -errno. */
int notify_new(struct ev_loop *loop, struct notify **notify);
/* What waits still goes, if the manager takes it within a second. NULL-safe. */
struct notify *notify_free(struct notify *notify);
/* `fd` is the caller's still, -1: none. 0: it is on its way; -errno: it is not. */
int notify_send(struct notify *notify, const char *text, int fd);
