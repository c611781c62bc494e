/* Who is let in. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static const double ACCEPT_AGAIN_SECONDS = 0.1;
/* At one time the loop comes round: who storms the door must not make others wait behind him. */
enum { ACCEPTS = 16 };
/* Descriptors that are not for connections of users: administrators', groups', children's. */
static const rlim_t OTHER_DESCRIPTORS = 256;
/* The same in systemd's store: processes that leases follow, keepers. At most a quarter of it. */
static const size_t OTHER_STORED = 1024;

static void accept_later(struct service *service)
{
	/* Left in the queue they would wake the loop for ever. */
	ev_io_stop(service->loop, &service->acceptor);
	ev_timer_stop(service->loop, &service->accept_again);
	ev_timer_set(&service->accept_again, ACCEPT_AGAIN_SECONDS, 0);
	ev_timer_start(service->loop, &service->accept_again);
}

static void on_accept_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	struct service *service = timer->data;
	if (service->listen_fd >= 0)
		ev_io_start(loop, &service->acceptor);
}

/* Which bound keeps this user out: NULL, none. */
static const char *bound_reached(const struct user *user, unsigned *max)
{
	const struct service *service = user->service;
	const struct bounds *bounds = &broker_config(service->broker)->bounds;

	*max = bounds->connections_per_user;
	if (user->n_sessions >= *max)
		return "max-connections-per-user";
	*max = bounds->connections;
	if (*max > service->max_sessions)
		*max = (unsigned)service->max_sessions;
	if (service->n_sessions >= *max)
		return "max-connections";
	/* What is beyond systemd's store it drops without a word: it is not let in. */
	*max = (unsigned)service->n_sessions;
	const struct store *store = service->hooks.store;
	return store_is_there(store) && store_room(store) <= service->stored_others
		       ? "max-connections"
		       : NULL;
}

/*
 * An error that answers no call; who has called already takes it for the answer. A new socket takes
 * it at once.
 */
static void send_refusal(int fd, const struct refusal *refusal)
{
	struct json_object *parameters;
	const char *error = refusal_to_varlink(refusal, &parameters);
	struct json_object *reply = varlink_error_build(error, parameters);
	const char *text = reply ? json_object_to_json_string(reply) : NULL;
	if (text)
		(void)send(fd, text, strlen(text) + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	json_object_put(reply);
}

static void turn_away(struct user *user, int fd, const char *limit, unsigned max)
{
	struct refusal refusal;

	refuse_too_many(&refusal, limit, max);
	send_refusal(fd, &refusal);
	if (user_may_log(user))
		log_warning("a connection of uid %u was refused: %s (%u) are open",
			(unsigned)user->uid, limit, max);
	dismiss(user, fd);
}

static void let_in(struct user *user, int fd)
{
	struct service *service = user->service;
	struct session *session;
	struct subject subject;
	unsigned max;
	const char *limit = bound_reached(user, &max);

	/* Only an administrator gets past: is there any whom the rules name? */
	if (limit && user->uid != 0 && broker_config(service->broker)->n_admins == 0) {
		turn_away(user, fd, limit, max);
		return;
	}
	int r = peer_identify(fd, &subject);
	if (r == 0 && limit && !policy_is_admin(broker_config(service->broker), &subject)) {
		turn_away(user, fd, limit, max);
		subject_clear(&subject);
		return;
	}
	if (r == 0) {
		r = session_new(user, fd, &subject, &session);
		if (r < 0)
			subject_clear(&subject);
		else
			inflight_begin(session);
	}
	if (r < 0) {
		if (user_may_log(user))
			log_warning("a connection was refused: %s", strerror(-r));
		dismiss(user, fd);
	}
}

/* 0, or -errno of accept(2). */
static int accept_one(struct service *service)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	int fd = accept4(service->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	connection_prepare(fd);
	struct user *user = NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
		user = user_get(service, credentials.uid);
	if (!user) {
		close(fd);
		return -ENOMEM;
	}
	let_in(user, fd);
	user_release(user);
	return 0;
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct service *service = io->data;
	int r = 0;

	for (int i = 0; i < ACCEPTS && r == 0; i++) {
		if (dismiss_is_behind(service)) {
			accept_later(service);
			return;
		}
		r = accept_one(service);
	}
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS) {
		if (!service->accept_failed)
			log_warning("no new connections for a moment: %s", strerror(-r));
		accept_later(service);
	}
	service->accept_failed = r != 0 && r != -EAGAIN && r != -EWOULDBLOCK;
}

/* As many descriptors as we may have. */
static void raise_descriptors(struct service *service)
{
	struct rlimit limit;
	unsigned wanted = broker_config(service->broker)->bounds.connections;

	service->max_sessions = wanted;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return;
	service->max_sessions = limit.rlim_cur > 2 * OTHER_DESCRIPTORS
					? limit.rlim_cur - OTHER_DESCRIPTORS
					: limit.rlim_cur / 2;
	if (service->max_sessions < wanted)
		log_warning(
			"max-connections is %u, but with %llu descriptors only %zu can be served: "
			"raise LimitNOFILE=",
			wanted, (unsigned long long)limit.rlim_cur, service->max_sessions);
}

/* Some room of the store is not for connections. */
static void divide_store(struct service *service)
{
	size_t all = store_room(service->hooks.store) + service->n_sessions;

	service->stored_others = all / 4 < OTHER_STORED ? all / 4 : OTHER_STORED;
	if (!store_is_there(service->hooks.store))
		return;
	if (service->max_sessions > all - service->stored_others)
		service->max_sessions = all - service->stored_others;
	unsigned wanted = broker_config(service->broker)->bounds.connections;
	if (service->max_sessions < wanted)
		log_warning(
			"max-connections is %u, but only %zu outlive a restart: raise --fd-store, "
			"and with it FileDescriptorStoreMax= and LimitNOFILE=",
			wanted, service->max_sessions);
}

void accept_start(struct service *service)
{
	raise_descriptors(service);
	divide_store(service);
	ev_io_init(&service->acceptor, on_connection, service->listen_fd, EV_READ);
	/* After the turns: somebody may have left. */
	ev_set_priority(&service->acceptor, EV_MINPRI);
	ev_init(&service->accept_again, on_accept_again);
	service->acceptor.data = service->accept_again.data = service;
	ev_io_start(service->loop, &service->acceptor);
}

void accept_stop(struct service *service)
{
	ev_io_stop(service->loop, &service->acceptor);
	ev_timer_stop(service->loop, &service->accept_again);
	if (service->listen_fd < 0)
		return;
	/* Who has connected and is not served yet goes with the last descriptor of the socket. */
	if (service->hooks.owns_socket) {
		shutdown(service->listen_fd, SHUT_RDWR);
		while (accept_one(service) == 0)
			;
	}
	close(steal_fd(&service->listen_fd));
}
