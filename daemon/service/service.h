/*
 * The service: the socket, the sessions on it, and the methods of org.vfiod.*.
 * It knows the broker and JSON; the broker knows neither sockets nor JSON.
 */
#pragma once

#include "daemon/base/store.h"
#include "daemon/broker/broker.h"

#include <ev.h>

struct service;

/* What main.c knows. */
struct service_hooks {
	const char *configuration; /* the file's name, NULL for none */
	struct store *store;       /* outlives the service */
	const char *state;         /* the directory for vfiod.prom, NULL for none */
	bool owns_socket;          /* nobody else listens at the socket (systemd does at its own) */
};

/*
 * Serves on a listening AF_UNIX stream socket, which is taken over (also on failure), until
 * service_free(). 0 or -errno; -EBADMSG: an interface file that is compiled in does not parse.
 */
int service_new(struct ev_loop *loop, struct broker *broker, int listen_fd,
	const struct service_hooks *hooks, struct service **service);
/* Closes all sessions, which ends leases that live with them. NULL-safe. */
struct service *service_free(struct service *service);
/*
 * The next vfiod is to find all connections as they are: service_free() closes none. After
 * broker_leave().
 */
void service_leave(struct service *service);
/* No new connections; those that are there go on. */
void service_stop_listening(struct service *service);
/* The broker's news, for monitors; main.c connects it. */
void service_on_news(const struct broker_news *news, void *service);

/*
 * A listening socket at `path` (an old one is removed, a live one is -EADDRINUSE), mode 0666:
 * policy decides, not the mode. Its descriptor or -errno.
 */
int service_listen(const char *path);
