/*
 * Closing the connection of a client. What is queued in it goes with it, and the last reference to
 * a descriptor there is dropped by who closes: so if there is one, a child does.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"
#include "proto/input.h"

#include <string.h>
#include <sys/socket.h>

enum { MAX_PARKED = 512 };

/* Waits for a child to be possible. */
struct parked {
	LIST_ENTRY(parked) of_user;
	int connection;
};

/* Waits for systemd, which has it, too. */
struct departure {
	LIST_ENTRY(departure) of_service;
	struct user *user; /* held */
	int connection;
};

void connection_prepare(int fd)
{
	static const int yes = 1;
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes));
}

static void park(struct user *user, int connection)
{
	struct parked *parked = malloc(sizeof(*parked));
	if (!parked) {
		/* Better a descriptor lost than a daemon that hangs. */
		log_error("no memory to close a connection of uid %u", (unsigned)user->uid);
		return;
	}
	parked->connection = connection;
	LIST_INSERT_HEAD(&user->parked, parked, of_user);
	user_hold(user);
	user->service->n_parked++;
}

void dismiss_parked(struct user *user)
{
	struct parked *parked;
	while ((parked = LIST_FIRST(&user->parked)) && burial_is_possible(user) &&
		burial_start(user, parked->connection) == 0) {
		LIST_REMOVE(parked, of_user);
		free(parked);
		user->service->n_parked--;
		user_release(user);
	}
}

static void bury(struct user *user, int connection)
{
	if (!burial_is_possible(user) || burial_start(user, connection) < 0)
		park(user, connection);
}

static struct departure *departure_free(struct departure *departure)
{
	LIST_REMOVE(departure, of_service);
	departure->user->service->n_parked--;
	user_release(departure->user);
	free(departure);
	return NULL;
}

static void on_gone(bool is_gone, void *userdata)
{
	(void)is_gone; /* if systemd does not answer for so long, it is not waited for */
	struct departure *departure = userdata;
	struct user *user = user_hold(departure->user);
	int connection = departure->connection;

	departure_free(departure);
	bury(user, connection);
	user_release(user);
}

/* Not before systemd has closed its own: the last one must not be that. False: there is none. */
static bool depart(struct user *user, int connection)
{
	struct store *store = user->service->hooks.store;
	struct departure *departure = store_is_there(store) ? malloc(sizeof(*departure)) : NULL;

	if (!departure)
		return false;
	departure->user = user_hold(user);
	departure->connection = connection;
	LIST_INSERT_HEAD(&user->service->departures, departure, of_service);
	user->service->n_parked++;
	if (store_when_kept(store, on_gone, departure) == 0)
		return true;
	departure_free(departure);
	return false;
}

void dismiss(struct user *user, int connection)
{
	dismiss_parked(user);
	/* The peer sees the end at once, and can queue nothing more (unix_stream_sendmsg). */
	shutdown(connection, SHUT_RDWR);
	if (input_drain(connection) == 0)
		close(connection);
	else if (!depart(user, connection))
		bury(user, connection);
}

bool dismiss_is_behind(const struct service *service)
{
	return service->n_parked >= MAX_PARKED;
}

/* Their descriptors are not closed: the daemon ends, and then the kernel does it. */
void dismiss_forget(struct user *user)
{
	struct parked *parked;
	while ((parked = LIST_FIRST(&user->parked))) {
		LIST_REMOVE(parked, of_user);
		free(parked);
		user->service->n_parked--;
	}
}

void departures_forget(struct service *service)
{
	struct departure *departure;
	while ((departure = LIST_FIRST(&service->departures))) {
		store_forget(service->hooks.store, departure);
		departure_free(departure);
	}
}
