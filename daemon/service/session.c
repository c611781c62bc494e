/* A connection: what comes in, whose turn it is, what goes out, and its end. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/observing.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/parts.h"
#include "proto/input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* What a descriptor counts in max-memory-per-user: of those there are fewer than of bytes. */
static const size_t FD_BYTES = 16384;

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
	ev_io_stop(loop, &session->reader);
	ev_io_stop(loop, &session->writer);
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
	if (why && user_may_log(session->user))
		log_info("connection of pid %d (%s), uid %u closed: %s", (int)session->subject.pid,
			session->subject.command, (unsigned)session->subject.uid, why);
	session_stop_watching(session);
	ev_timer_start(session->service->loop, &session->reaper);
}

/* What is queued in it goes with it, which takes a while if descriptors are. */
static void session_close(struct session *session)
{
	int connection = transport_dissolve(session->transport);
	if (!fetch_adopt(session, connection))
		dismiss(session->user, connection);
}

struct session *session_free(struct session *session)
{
	if (!session)
		return NULL;
	struct service *service = session->service;
	struct call *call;

	session->is_dead = true;
	session_stop_watching(session);
	ev_timer_stop(service->loop, &session->reaper);
	if (session->current) {
		if (session->current->cancel)
			session->current->cancel(session->current);
		call_free(session->current);
	}
	while ((call = TAILQ_FIRST(&session->waiting))) {
		TAILQ_REMOVE(&session->waiting, call, of_session);
		call_free(call);
	}
	spaces_disconnect(service->broker, session);
	acquisitions_disconnect(session);
	reporter_free(session->reporter);
	session_close(session);
	subject_clear(&session->subject);
	TAILQ_REMOVE(&service->sessions, session, of_service);
	session->user->memory_bytes -= session->memory_bytes;
	session_uncount(session);
	user_release(session->user);
	free(session);
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
	size_t bytes = session->waiting_bytes + transport_memory_bytes(session->transport) +
		       transport_input(session->transport)->n_fds * FD_BYTES;

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

static void restart(struct ev_loop *loop, ev_timer *timer, double seconds)
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
	if (r == 0) {
		ev_io_stop(loop, &session->writer);
		ev_timer_stop(loop, &session->unread);
	} else {
		ev_io_start(loop, &session->writer);
		if (transport_output_bytes(session->transport) < before ||
			!ev_is_active(&session->unread))
			restart(loop, &session->unread, bounds_of(session)->output_timeout_seconds);
	}
	session_charge(session);
	/* Half-closed, and everything that it asked before is answered. */
	if (r == 0 && session->at_eof && !session->current && TAILQ_EMPTY(&session->waiting))
		session_kill(session, NULL);
}

/* What had to wait has been sent. */
static void on_writable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct session *session = io->data;

	session_flush(session);
	if (transport_output_bytes(session->transport) == 0 && session->current) {
		session->has_drained = true;
		turn_want(session);
	}
}

/* --- what comes in ---------------------------------------------------------------------- */

/* Both ways, and not only its own: what it was sent is lost (net/unix/af_unix.c, unix_poll). */
static bool peer_has_closed(const struct session *session)
{
	return poll_now(transport_fd(session->transport), 0) != 0;
}

/* What came before the end is answered, where there is still somebody to read it. */
static void session_end_of_input(struct session *session)
{
	const struct call *call = session->current;
	if (call && ((call->method && call->method->lasts) || peer_has_closed(session)))
		session_kill(session, NULL);
}

static const char *receive_error(int r)
{
	switch (r) {
	case -EBADMSG:
		return "it does not speak Varlink";
	case -EMSGSIZE:
		return "a message is longer than max-message, or has more than max-values";
	case -E2BIG:
		return "a message has more descriptors than max-descriptors";
	case -ECHILD:
		return "its descriptors could not be received";
	default:
		return strerror(-r);
	}
}

static int session_queue(struct session *session, struct message *message)
{
	struct call *call = calloc(1, sizeof(*call));
	if (!call) {
		message_clear(message);
		return -ENOMEM;
	}
	call->session = session;
	call->message = *message;
	TAILQ_INSERT_TAIL(&session->waiting, call, of_session);
	session->n_waiting++;
	call->counted_bytes = message->length + message->n_fds * FD_BYTES;
	session->waiting_bytes += call->counted_bytes;
	return 0;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct session *session = io->data;
	session->is_readable = true;
	turn_want(session);
}

static void on_unfinished(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	session_kill(timer->data, "a message did not come whole within message-timeout");
}

/* A child takes the descriptors. Until then, nothing is read. */
static int session_fetch(struct session *session)
{
	ev_io_stop(session->service->loop, &session->reader);
	session->wants_fetch = !fetch_is_possible(session->user);
	return session->wants_fetch ? 0 : fetch_start(session);
}

void session_fetched(struct session *session, int result)
{
	if (session->is_dead)
		return;
	if (result < 0 && result != -ECONNRESET) {
		session_kill(session, receive_error(result));
		return;
	}
	ev_io_start(session->service->loop, &session->reader);
	/* It may be whole now, with nothing left to read. */
	session->is_readable = true;
	turn_want(session);
}

/* A part of a message is there, or waits for a child: not for ever. */
static void session_watch_unfinished(struct session *session)
{
	struct ev_loop *loop = session->service->loop;
	bool is_unfinished = transport_input(session->transport)->length > 0 || session->fetch ||
			     session->wants_fetch;

	if (!is_unfinished)
		ev_timer_stop(loop, &session->unfinished);
	else if (!ev_is_active(&session->unfinished))
		restart(loop, &session->unfinished, bounds_of(session)->message_timeout_seconds);
}

/* One message at most. */
static void session_receive(struct session *session)
{
	struct message message;

	int r = transport_receive_text(session->transport, &message);
	if (r == TRANSPORT_HAS_FDS) {
		r = session_fetch(session);
	} else if (r == 1) {
		ev_timer_stop(session->service->loop, &session->unfinished);
		r = session_queue(session, &message);
	} else if (r == -ECONNRESET) {
		session->at_eof = true;
		ev_io_stop(session->service->loop, &session->reader);
		r = 0;
	}
	if (r < 0)
		session_kill(session, receive_error(r));
	else if (session->n_waiting > bounds_of(session)->calls)
		session_kill(session, "more calls wait than max-calls");
	if (session->is_dead)
		return;
	session_watch_unfinished(session);
	session_charge(session);
}

/* --- turns ------------------------------------------------------------------------------ */

static void session_run_next(struct session *session)
{
	struct call *call = TAILQ_FIRST(&session->waiting);

	TAILQ_REMOVE(&session->waiting, call, of_session);
	session->n_waiting--;
	session->current = call;
	int r = call_run(call);
	if (r < 0)
		session_kill(session, receive_error(r));
}

void session_turn(struct session *session)
{
	if (session->wants_fetch && fetch_is_possible(session->user)) {
		session->wants_fetch = false;
		session->is_readable = true;
		ev_io_start(session->service->loop, &session->reader);
	}
	if (session->is_readable && !session->fetch && !session->wants_fetch && !session->at_eof) {
		session->is_readable = false;
		session_receive(session);
	}
	if (session->is_dead)
		return;

	struct call *call = session->current;
	if (call && session->resumes) {
		session->resumes = false;
		if (call_run(call) < 0)
			session_kill(session, "out of memory");
	} else if (call && session->has_drained) {
		session->has_drained = false;
		if (call->drained && transport_output_bytes(session->transport) == 0)
			call->drained(call);
	} else if (!call && !TAILQ_EMPTY(&session->waiting)) {
		session_run_next(session);
	}
	if (session->is_dead)
		return;
	if (session->at_eof)
		session_end_of_input(session);
	if (!session->is_dead)
		session_flush(session);
	if (!session->is_dead && !session->current && !TAILQ_EMPTY(&session->waiting))
		turn_want(session);
}

int session_new(struct user *user, int fd, struct subject *subject)
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
	TAILQ_INIT(&session->waiting);
	LIST_INIT(&session->acquisitions);
	ev_io_init(&session->reader, on_readable, fd, EV_READ);
	ev_io_init(&session->writer, on_writable, fd, EV_WRITE);
	ev_timer_init(&session->reaper, on_reap, 0, 0);
	ev_init(&session->unfinished, on_unfinished);
	ev_init(&session->unread, on_unread);
	session->reader.data = session->writer.data = session->reaper.data = session;
	session->unfinished.data = session->unread.data = session;
	TAILQ_INSERT_TAIL(&service->sessions, session, of_service);
	ev_io_start(service->loop, &session->reader);
	return 0;
}
