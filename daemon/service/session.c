/* A connection: whose turn it is, what goes out, and its end. What comes in: session-input.c. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/observing.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/parts.h"
#include "proto/input.h"

#include <errno.h>
#include <string.h>

static const struct bounds *bounds_of(const struct session *session)
{
	return &broker_config(session->service->broker)->bounds;
}

bool session_is_admin(const struct session *session)
{
	return policy_is_admin(broker_config(session->service->broker), &session->subject);
}

static void session_stop_watching(struct session *session)
{
	struct ev_loop *loop = session->service->loop;

	turn_forget(session);
	watch_remove(session);
	ev_timer_stop(loop, &session->unfinished);
	ev_timer_stop(loop, &session->unread);
}

/* At once: who comes in its place may be at the door already. */
static void session_uncount(struct session *session)
{
	if (!session->is_counted)
		return;
	session->is_counted = false;
	session->service->n_sessions--;
	session->user->n_sessions--;
}

void session_kill(struct session *session, const char *why)
{
	if (session->is_dead)
		return;
	session->is_dead = true;
	session_uncount(session);
	if (why && user_may_log(session->user)) {
		session_describe(session);
		log_info("connection of pid %d (%s), uid %u closed: %s", (int)session->subject.pid,
			session->subject.command, (unsigned)session->subject.uid, why);
	}
	session_stop_watching(session);
	ev_timer_start(session->service->loop, &session->reaper);
}

/* What is queued in it goes with it, which takes a while if descriptors are. */
static void session_close(struct session *session)
{
	bool is_left =
		session->service->is_leaving && store_is_there(session->service->hooks.store);
	int connection = transport_dissolve(session->transport);

	if (is_left) {
		if (session->fetch)
			fetch_free(session->fetch);
		close(connection);
		return;
	}
	if (!fetch_adopt(session, connection))
		dismiss(session->user, connection);
}

struct session *session_free(struct session *session)
{
	if (!session)
		return NULL;
	struct service *service = session->service;

	session->is_dead = true;
	session_stop_watching(session);
	ev_timer_stop(service->loop, &session->reaper);
	if (session->current) {
		if (session->current->cancel)
			session->current->cancel(session->current);
		call_free(session->current);
	}
	spaces_disconnect(service->broker, session);
	acquisitions_disconnect(session);
	reporter_free(session->reporter);
	inflight_end(session);
	session_close(session);
	subject_clear(&session->subject);
	TAILQ_REMOVE(&service->sessions, session, of_service);
	session->user->memory_bytes -= session->memory_bytes;
	session_uncount(session);
	user_release(session->user);
	free(session);
	trim_note(&service->trim);
	return NULL;
}

static void on_reap(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	session_free(timer->data);
}

void session_charge(struct session *session)
{
	struct user *user = session->user;
	size_t bytes = session->call_bytes + transport_memory_bytes(session->transport) +
		       transport_input(session->transport)->n_fds * FD_COUNTS_BYTES;

	user->memory_bytes += bytes - session->memory_bytes;
	session->memory_bytes = bytes;
	if (user->memory_bytes > bounds_of(session)->memory_per_user_bytes &&
		!session_is_admin(session))
		session_kill(session, "its user's connections hold more than max-memory-per-user");
}

/* --- what goes out ---------------------------------------------------------------------- */

static void on_unread(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	session_kill(timer->data, "it has not read anything for output-timeout");
}

void timer_restart(struct ev_loop *loop, ev_timer *timer, double seconds)
{
	ev_timer_stop(loop, timer);
	ev_timer_set(timer, seconds, 0);
	ev_timer_start(loop, timer);
}

void session_flush(struct session *session)
{
	struct ev_loop *loop = session->service->loop;
	size_t before = transport_output_bytes(session->transport);
	int r = transport_flush(session->transport);

	if (r < 0) {
		session_kill(session, r == -EPIPE || r == -ECONNRESET ? NULL : strerror(-r));
		return;
	}
	inflight_publish(session);
	watch_output(session, r != 0);
	if (r == 0) {
		ev_timer_stop(loop, &session->unread);
	} else {
		if (transport_output_bytes(session->transport) < before ||
			!ev_is_active(&session->unread))
			timer_restart(
				loop, &session->unread, bounds_of(session)->output_timeout_seconds);
	}
	session_charge(session);
	/* Half-closed, and everything that it asked before is answered. */
	if (r == 0 && session->at_eof && !session->current)
		session_kill(session, NULL);
}

void session_has_room(struct session *session)
{
	if (session->is_dead || !session->waits_for_room)
		return;
	session_flush(session);
	/* What had to wait has been sent. */
	if (transport_output_bytes(session->transport) == 0 && session->current) {
		session->has_drained = true;
		turn_want(session);
	}
}

/* --- turns ------------------------------------------------------------------------------ */

static void session_run(struct session *session, struct message *message)
{
	struct call *call = session_call(session, message);

	session_charge(session);
	int r = !call ? -ENOMEM : session->is_dead ? 0 : call_run(call);
	if (r < 0)
		session_kill(session, session_error(r));
}

/* The next message, if it is there, and its call. */
static void session_next(struct session *session)
{
	struct message message;
	int r = session_receive(session, &message);

	if (r == 1)
		session_run(session, &message);
	else if (r < 0)
		session_kill(session, session_error(r));
	else
		session_charge(session);
}

static void session_go_on(struct session *session)
{
	struct call *call = session->current;

	if (session->resumes) {
		session->resumes = false;
		if (call_run(call) < 0)
			session_kill(session, "out of memory");
	} else if (session->has_drained) {
		session->has_drained = false;
		if (call->drained && transport_output_bytes(session->transport) == 0)
			call->drained(call);
	}
}

void session_turn(struct session *session)
{
	if (session->wants_fetch && fetch_is_possible(session->user)) {
		session->wants_fetch = false;
		session->is_readable = true;
	}
	if (session->current)
		session_go_on(session);
	else if (session_may_receive(session))
		session_next(session);
	if (!session->is_dead && session->current)
		session_look_behind(session);
	if (!session->is_dead)
		session_flush(session);
	if (!session->is_dead && !session->current && session_may_receive(session))
		turn_want(session);
}

int session_new(struct user *user, int fd, struct subject *subject, struct session **sessionp)
{
	struct service *service = user->service;
	const struct bounds *bounds = &broker_config(service->broker)->bounds;
	struct transport_limits limits = {
		.max_message_bytes = bounds->message_bytes,
		.max_output_bytes = bounds->output_bytes,
		.max_depth = bounds->depth,
		.max_fds = bounds->descriptors,
		.leaves_fds = true,
		.close_fds = close_client_fds,
	};
	struct session *session = calloc(1, sizeof(*session));

	int r = session ? transport_new(fd, &limits, &session->transport) : -ENOMEM;
	if (r < 0) {
		free(session);
		return r;
	}
	session->service = service;
	session->user = user_hold(user);
	session->subject = *subject;
	session->is_counted = !session_is_admin(session);
	if (session->is_counted) {
		service->n_sessions++;
		user->n_sessions++;
	}
	LIST_INIT(&session->acquisitions);
	ev_timer_init(&session->reaper, on_reap, 0, 0);
	session_init_input(session);
	ev_init(&session->unread, on_unread);
	session->reaper.data = session->unread.data = session;
	TAILQ_INSERT_TAIL(&service->sessions, session, of_service);
	*sessionp = session;
	return 0;
}

void session_kept(struct session *session)
{
	int r = session->is_dead ? 0 : watch_add(session);
	if (r < 0)
		session_kill(session, strerror(-r));
}
