/* The connections that the vfiod before this one had. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct numbers {
	unsigned *list;
	size_t n, room;
	bool has_failed;
};

static void note(const char *name, unsigned number, void *userdata)
{
	(void)name;
	struct numbers *numbers = userdata;

	if (numbers->n == numbers->room) {
		size_t room = numbers->room ? 2 * numbers->room : 64;
		unsigned *list = reallocarray(numbers->list, room, sizeof(*list));
		if (!list) {
			numbers->has_failed = true;
			return;
		}
		numbers->list = list;
		numbers->room = room;
	}
	numbers->list[numbers->n++] = number;
}

/*
 * Its process may have ended meanwhile, and the number be another's now: then what is looked up by
 * it says nothing of the client, and rights that come from there (match on a unit) are gone.
 */
void session_describe(struct session *session)
{
	struct subject *subject = &session->subject;

	if (!session->is_undescribed)
		return;
	session->is_undescribed = false;
	peer_describe(transport_fd(session->transport), subject);
	if (subject->start_ticks == session->start_ticks)
		return;
	*subject->command = *subject->unit = '\0';
	subject->start_ticks = 0;
}

static void interrupt(struct session *session)
{
	struct json_object *parameters;
	struct refusal refusal;

	refuse(&refusal, REFUSAL_INTERRUPTED, "vfiod was restarted");
	refusal.is_restart = true;
	const char *error = refusal_to_varlink(&refusal, &parameters);
	struct json_object *reply = varlink_error_build(error, parameters);
	int r = reply ? transport_send(session->transport, reply, NULL, 0) : -ENOMEM;
	json_object_put(reply);
	inflight_publish(session);
	if (r < 0)
		session_kill(session, strerror(-r));
	else
		session_flush(session);
}

static void go_on(struct session *session, const struct inflight *inflight)
{
	bool has_stream = inflight->progress == PROGRESS_IDLE && inflight->stream != STREAM_NONE;
	int r = acquisitions_restore(session, has_stream && inflight->stream == STREAM_LEASE);

	spaces_reconnect(session->service->broker, session->connection, session);
	if (r == 0 && has_stream && inflight->stream == STREAM_MONITOR)
		r = monitor_restore(session);
	/* A stream whose lease is over: it was not told. */
	bool is_owed = inflight->progress == PROGRESS_WORKING || has_stream;
	if (r < 0)
		session_kill(session, strerror(-r));
	else if (!session->current && is_owed && !inflight->is_oneway)
		interrupt(session);
	inflight_publish(session);
	session_kept(session);
}

/* 0, or -errno: it is to be closed. */
static int restore(struct user *user, unsigned number, int fd, struct subject *subject)
{
	struct session *session;
	struct inflight inflight;

	if (!inflight_read(user->service, number, fd, &inflight))
		return -ESTALE;
	if (inflight.progress == PROGRESS_RECEIVING || inflight.progress == PROGRESS_SENDING)
		return -EINTR;
	int r = session_new(user, fd, subject, &session);
	if (r < 0)
		return r;
	session->connection = number + 1;
	session->is_undescribed = true;
	session->start_ticks = inflight.start_ticks;
	waiting_restart(session);
	go_on(session, &inflight);
	return 0;
}

/* True: it goes on. */
static bool take(struct service *service, unsigned number)
{
	char name[STORE_NAME_SIZE];
	struct subject subject;
	struct user *user = NULL;

	snprintf(name, sizeof(name), "c%u", number);
	int fd = store_take(service->hooks.store, name);
	if (fd < 0)
		return false;
	/* Who it is says the socket; the rest is looked up when it asks something. */
	int r = peer_credentials(fd, &subject);
	if (r == 0)
		r = (user = user_get(service, subject.uid)) ? 0 : -ENOMEM;
	if (r == 0)
		r = restore(user, number, fd, &subject);
	if (r < 0) {
		log_info("a connection of pid %d, uid %u does not go on: %s", (int)subject.pid,
			(unsigned)subject.uid,
			r == -EINTR ? "it was in the middle of a message" : strerror(-r));
		store_remove(service->hooks.store, name);
		subject_clear(&subject);
		if (user)
			dismiss(user, fd);
		else
			close(fd);
	}
	if (user)
		user_release(user);
	return r == 0;
}

void sessions_restore(struct service *service)
{
	struct numbers numbers = { .n = 0 };
	size_t n_restored = 0;

	store_each(service->hooks.store, 'c', note, &numbers);
	if (numbers.has_failed)
		log_error("no memory for the connections of the vfiod before this one");
	for (size_t i = 0; i < numbers.n; i++)
		n_restored += take(service, numbers.list[i]);
	if (numbers.n > 0) {
		inflight_clear_others(service);
		log_info("%zu of %zu connections go on", n_restored, numbers.n);
	}
	free(numbers.list);
}
