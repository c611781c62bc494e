/*
 * vfiod-privileged: what takes a capability, done for vfiod alone (message.h). It keeps nothing:
 * each connection is served by a child of its own, so one that a client lets wait delays no other,
 * and whichever of these processes is killed, vfiod asks the next. Keepers that were started
 * outlive them.
 */
#pragma once

struct privilege_server {
	const char *unit;   /* only processes of this unit are served; NULL: of any */
	const char *keeper; /* the program */
};

/* Accepts connections, of its own user only, until a signal ends it. -errno: it cannot. */
int privilege_serve(int listening, const struct privilege_server *server);
