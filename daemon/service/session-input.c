/*
 * What comes in on a connection. A message stays in its socket until it is whole and its turn has
 * come, so that a restart finds it there (inflight.h). What cannot wait there is taken as it comes:
 * a message that its sender cannot send whole (a socket holds so much and no more), and one with
 * descriptors, which a child receives.
 */
#include "daemon/base/util.h"
#include "daemon/service/parts.h"
#include "proto/input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/*
 * How long the rest of a message is waited for before what there is of it is taken. Its sender's
 * buffer may be full with it, however short it is (SO_SNDBUF), and nobody tells us.
 */
static const double PATIENCE_SECONDS = 1;

static const struct bounds *bounds_of(const struct session *session)
{
	return &broker_config(session->service->broker)->bounds;
}

const char *session_error(int r)
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

bool session_may_receive(const struct session *session)
{
	return session->is_readable && !session->fetch && !session->wants_fetch && !session->at_eof;
}

struct call *session_call(struct session *session, struct message *message)
{
	struct call *call = new_zeroed(sizeof(*call));
	if (!call) {
		message_clear(message);
		return NULL;
	}
	call->session = session;
	call->message = *message;
	call->counted_bytes = message->length + message->n_fds * FD_COUNTS_BYTES;
	session->call_bytes += call->counted_bytes;
	session->current = call;
	return call;
}

void session_has_input(struct session *session, bool is_last)
{
	if (session->is_dead)
		return;
	session->is_readable = session->has_news = true;
	session->has_hung_up |= is_last;
	turn_want(session);
}

/* --- behind a call that is at work ---------------------------------------------------------- */

/* Both ways, and not only its own: what it was sent is lost (net/unix/af_unix.c, unix_poll). */
static bool peer_has_closed(const struct session *session)
{
	return poll_now(transport_fd(session->transport), 0) != 0;
}

/* What came before the end is answered, where there is still somebody to read it. */
void session_look_behind(struct session *session)
{
	const struct method *method = session->current->method;
	unsigned max = bounds_of(session)->calls;

	if (session->has_hung_up && ((method && method->lasts) || peer_has_closed(session)))
		session_kill(session, NULL);
	if (session->is_dead || !session->has_news)
		return;
	session->has_news = false;
	if (waiting_count(session, max) > max)
		session_kill(session, "more calls wait than max-calls");
}

/* --- a message ---------------------------------------------------------------------------------
 */

static void session_begin_receiving(struct session *session)
{
	session->is_receiving = true;
	inflight_publish(session);
}

/* A child takes the descriptors. Until then, nothing is read. */
static int session_fetch(struct session *session)
{
	session->takes_parts = true;
	session->wants_fetch = !fetch_is_possible(session->user);
	if (session->wants_fetch)
		return 0;
	session_begin_receiving(session);
	return fetch_start(session);
}

void session_fetched(struct session *session, int result)
{
	if (session->is_dead)
		return;
	if (result < 0 && result != -ECONNRESET) {
		session_kill(session, session_error(result));
		return;
	}
	/* It may be whole now, with nothing left to read. */
	session->is_readable = true;
	turn_want(session);
}

/* 1: *message; 0: not whole yet, TRANSPORT_HAS_FDS, or -errno. */
static int session_take_parts(struct session *session, struct message *message)
{
	session_begin_receiving(session);
	int r = transport_receive_text(session->transport, message);
	if (r == 0)
		session->is_readable = poll_now(transport_fd(session->transport), POLLIN) != 0;
	if (r == 1)
		session->takes_parts = false;
	return r;
}

/* The same, taking nothing but a whole message. */
static int session_take_whole(struct session *session, struct message *message)
{
	static char bytes[INPUT_PART_MAX];
	struct sight sight;
	int r = input_look(transport_fd(session->transport), bytes, sizeof(bytes), &sight);

	if (r == 0)
		session->is_readable = session->has_hung_up;
	if (r <= 0)
		return r;
	if (sight.has_fds)
		return TRANSPORT_HAS_FDS;
	if (sight.message_length > 0) {
		session->is_readable = session->has_news = sight.has_more || session->has_hung_up;
		session_begin_receiving(session);
		return transport_take_text(session->transport, sight.message_length, message);
	}
	if (sight.length > bounds_of(session)->message_bytes)
		return -EMSGSIZE;
	if (session->has_hung_up)
		return -ECONNRESET; /* cut off */
	session->is_partial = true;
	session->takes_parts = session->is_impatient || sight.length == sizeof(bytes);
	session->is_readable = session->takes_parts;
	return 0;
}

static void on_unfinished(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	struct session *session = timer->data;
	double left = bounds_of(session)->message_timeout_seconds - PATIENCE_SECONDS;

	if (session->is_impatient || left <= 0) {
		session_kill(session, "a message did not come whole within message-timeout");
		return;
	}
	session->is_impatient = session->is_readable = true;
	turn_want(session);
	timer_restart(loop, timer, left);
}

/* A part of a message is there, or waits for a child: not for ever. */
static void session_watch_unfinished(struct session *session, bool is_unfinished)
{
	double patience = bounds_of(session)->message_timeout_seconds;

	if (!is_unfinished) {
		ev_timer_stop(session->service->loop, &session->unfinished);
		session->is_impatient = false;
	} else if (!ev_is_active(&session->unfinished)) {
		if (patience > PATIENCE_SECONDS)
			patience = PATIENCE_SECONDS;
		timer_restart(session->service->loop, &session->unfinished, patience);
	}
}

int session_receive(struct session *session, struct message *message)
{
	session->is_partial = session->takes_parts;
	int r = session->takes_parts ? session_take_parts(session, message)
				     : session_take_whole(session, message);
	bool is_unfinished = r == 0 && session->is_partial;

	if (r == TRANSPORT_HAS_FDS) {
		is_unfinished = true;
		r = session_fetch(session);
	} else if (r == -ECONNRESET) {
		session->at_eof = true;
		r = 0;
	}
	if (r >= 0)
		session_watch_unfinished(session, is_unfinished);
	return r;
}

void session_init_input(struct session *session)
{
	ev_init(&session->unfinished, on_unfinished);
	session->unfinished.data = session;
}
