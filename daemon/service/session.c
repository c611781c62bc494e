#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

void session_kill(struct session *session, const char *why)
{
	if (session->is_dead)
		return;
	session->is_dead = true;
	if (why)
		log_info("connection of pid %d (%s), uid %u closed: %s", (int)session->subject.pid,
			session->subject.command, (unsigned)session->subject.uid, why);
	ev_io_stop(session->service->loop, &session->reader);
	ev_io_stop(session->service->loop, &session->writer);
	ev_timer_start(session->service->loop, &session->reaper);
}

struct session *session_free(struct session *session)
{
	if (!session)
		return NULL;
	struct service *service = session->service;
	struct call *call;

	session->is_dead = true;
	ev_io_stop(service->loop, &session->reader);
	ev_io_stop(service->loop, &session->writer);
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
	acquisitions_disconnect(session);
	transport_free(session->transport);
	subject_clear(&session->subject);
	TAILQ_REMOVE(&service->sessions, session, of_service);
	service->n_sessions--;
	free(session);
	return NULL;
}

static void on_reap(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	session_free(timer->data);
}

static void session_flush(struct session *session)
{
	int r = transport_flush(session->transport);
	if (r < 0) {
		session_kill(session, r == -EPIPE || r == -ECONNRESET ? NULL : strerror(-r));
	} else if (r == 1) {
		ev_io_start(session->service->loop, &session->writer);
	} else {
		ev_io_stop(session->service->loop, &session->writer);
		if (session->current && session->current->drained)
			session->current->drained(session->current);
	}
	/* Half-closed, and everything that it asked before is answered. */
	if (!session->is_dead && session->at_eof && !session->current &&
		TAILQ_EMPTY(&session->waiting) && transport_output_bytes(session->transport) == 0)
		session_kill(session, NULL);
}

/* The calls that wait: as many as answer at once. Bounded by max-calls. */
static void session_run(struct session *session)
{
	struct call *call;
	while (!session->is_dead && !session->current && (call = TAILQ_FIRST(&session->waiting))) {
		TAILQ_REMOVE(&session->waiting, call, of_session);
		session->n_waiting--;
		session->current = call;
		call_run(call);
	}
	if (!session->is_dead)
		session_flush(session);
}

static void on_writable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	session_run(io->data);
}

/* Both ways, and not only its own: what it was sent is lost (net/unix/af_unix.c, unix_poll). */
static bool peer_has_closed(const struct session *session)
{
	struct pollfd poll_fd = { .fd = transport_fd(session->transport) };
	return poll(&poll_fd, 1, 0) != 0;
}

static void session_at_eof(struct session *session)
{
	session->at_eof = true;
	ev_io_stop(session->service->loop, &session->reader);
	/* What came before the end is answered, where there is still somebody to read it. */
	if (session->current && (session->current->method->lasts || peer_has_closed(session)))
		session_kill(session, NULL);
	else
		session_run(session);
}

static const char *receive_error(int r)
{
	switch (r) {
	case -EBADMSG:
		return "it does not speak Varlink";
	case -EMSGSIZE:
		return "a message is longer than max-message";
	case -E2BIG:
		return "a message has too many descriptors";
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
	int r = varlink_call_read(call->message.json, &call->varlink);
	if (r < 0) {
		message_clear(&call->message);
		free(call);
		return r;
	}
	TAILQ_INSERT_TAIL(&session->waiting, call, of_session);
	session->n_waiting++;
	return 0;
}

/* One message each time the loop comes round: the others have their turn in between. */
static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct session *session = io->data;
	const struct config *config = broker_config(session->service->broker);
	struct message message;

	int r = transport_receive(session->transport, &message);
	if (r == 0)
		return;
	if (r == -ECONNRESET) {
		session_at_eof(session);
		return;
	}
	if (r == 1)
		r = session_queue(session, &message);
	if (r < 0) {
		session_kill(session, receive_error(r));
		return;
	}
	if (session->n_waiting > config->max_calls) {
		session_kill(session, "more calls wait than max-calls");
		return;
	}
	session_run(session);
}

int session_new(struct service *service, int fd)
{
	const struct config *config = broker_config(service->broker);
	struct transport_limits limits = transport_default_limits;
	struct session *session = calloc(1, sizeof(*session));

	if (!session) {
		close(fd);
		return -ENOMEM;
	}
	limits.max_message_bytes = config->max_message_bytes;
	limits.max_output_bytes = config->max_output_bytes;
	int r = peer_identify(fd, &session->subject);
	if (r < 0)
		close(fd);
	else
		r = transport_new(fd, &limits, &session->transport);
	if (r < 0) {
		subject_clear(&session->subject);
		free(session);
		return r;
	}
	session->service = service;
	TAILQ_INIT(&session->waiting);
	LIST_INIT(&session->acquisitions);
	ev_io_init(&session->reader, on_readable, fd, EV_READ);
	ev_io_init(&session->writer, on_writable, fd, EV_WRITE);
	ev_timer_init(&session->reaper, on_reap, 0, 0);
	session->reader.data = session->writer.data = session->reaper.data = session;
	TAILQ_INSERT_TAIL(&service->sessions, session, of_service);
	service->n_sessions++;
	ev_io_start(service->loop, &session->reader);
	return 0;
}

/* --- calls -------------------------------------------------------------------------- */

void call_free(struct call *call)
{
	struct session *session = call->session;
	if (session->current == call)
		session->current = NULL;
	varlink_call_clear(&call->varlink);
	message_clear(&call->message);
	free(call);
}

/* True: it is in the connection's output, or was sent. */
static bool call_send(struct call *call, struct json_object *reply, const int *fds, size_t n_fds)
{
	struct session *session = call->session;
	int r = reply ? 0 : -ENOMEM;

	bool wants = r == 0 && !session->is_dead && !call->varlink.oneway;
	if (wants) {
		r = transport_send(session->transport, reply, fds, n_fds);
	} else {
		for (size_t i = 0; i < n_fds; i++)
			close(fds[i]);
	}
	json_object_put(reply);
	if (r < 0)
		session_kill(
			session, r == -ENOBUFS ? "it does not read its replies" : strerror(-r));
	return wants && r == 0;
}

static void call_end(struct call *call)
{
	struct session *session = call->session;
	bool has_more = !TAILQ_EMPTY(&session->waiting);

	call_free(call);
	if (session->is_dead)
		return;
	session_flush(session);
	/* From a listener, not from session_run(): go on when the loop comes round. */
	if (has_more && !session->is_dead)
		ev_feed_event(session->service->loop, &session->writer, EV_CUSTOM);
}

void call_reply(struct call *call, struct json_object *parameters)
{
	call_reply_fds(call, parameters, NULL, 0);
}

bool call_reply_fds(struct call *call, struct json_object *parameters, const int *fds, size_t n_fds)
{
	bool is_queued = call_send(call, varlink_reply_build(parameters, false), fds, n_fds);
	call_end(call);
	return is_queued;
}

bool call_reply_more(
	struct call *call, struct json_object *parameters, const int *fds, size_t n_fds)
{
	struct session *session = call->session;
	bool is_queued = call_send(call, varlink_reply_build(parameters, true), fds, n_fds);
	if (!session->is_dead && !ev_is_active(&session->writer)) {
		/* drained() is for output that had to wait, not for what goes out at once. */
		void (*drained)(struct call *) = call->drained;
		call->drained = NULL;
		session_flush(session);
		call->drained = drained;
	}
	return is_queued;
}

void call_continue_later(struct call *call)
{
	if (!call->session->is_dead)
		ev_io_start(call->session->service->loop, &call->session->writer);
}

void call_error(struct call *call, const char *error, struct json_object *parameters)
{
	call_send(call, varlink_error_build(error, parameters), NULL, 0);
	call_end(call);
}

void call_refuse(struct call *call, const struct refusal *refusal)
{
	struct json_object *parameters;
	const char *error = refusal_to_varlink(refusal, &parameters);
	call_error(call, error, parameters);
}

void call_fail(struct call *call, int error, const char *origin)
{
	struct refusal refusal;
	refuse(&refusal, REFUSAL_SYSTEM, "%s", origin);
	refusal.errnum = error;
	call_refuse(call, &refusal);
}

void call_invalid(struct call *call, const char *parameter)
{
	struct refusal refusal;
	refuse(&refusal, REFUSAL_INVALID_PARAMETER, "%s", parameter);
	call_refuse(call, &refusal);
}
