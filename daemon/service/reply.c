/* What a call answers, and its end. */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

void call_uncount(struct call *call)
{
	call->session->call_bytes -= call->counted_bytes;
	call->counted_bytes = 0;
}

void call_free(struct call *call)
{
	struct session *session = call->session;
	if (session->current == call)
		session->current = NULL;
	waiting_forget(session);
	transaction_end(call);
	call_uncount(call);
	varlink_call_clear(&call->varlink);
	message_clear(&call->message);
	free(call);
}

/* A tree, or a text. */
struct answer {
	struct json_object *json;
	const struct writing *text;
};

static int answer_put(
	const struct call *call, const struct answer *answer, const int *fds, size_t n_fds)
{
	struct transport *transport = call->session->transport;

	return answer->json ? transport_send_closing(
				      transport, answer->json, fds, n_fds, call->close_fds)
			    : transport_send_text(transport, answer->text->bytes,
				      answer->text->length, fds, n_fds, call->close_fds);
}

/* True: it is in the connection's output, or was sent. */
static bool answer_send(
	struct call *call, const struct answer *answer, const int *fds, size_t n_fds)
{
	struct session *session = call->session;
	close_fds_fn close_fds = call->close_fds ? call->close_fds : close_client_fds;
	bool is_whole = answer->json || (answer->text && !answer->text->has_failed);
	int r = is_whole ? 0 : -ENOMEM;

	bool wants = r == 0 && !session->is_dead && !call->varlink.oneway;
	if (wants)
		r = answer_put(call, answer, fds, n_fds);
	else
		close_fds(fds, n_fds);
	inflight_publish(session);
	if (r < 0)
		session_kill(
			session, r == -ENOBUFS ? "it does not read its replies" : strerror(-r));
	session_charge(session);
	return wants && r == 0;
}

static bool call_send(struct call *call, struct json_object *reply, const int *fds, size_t n_fds)
{
	bool is_sent = answer_send(call, &(struct answer){ .json = reply }, fds, n_fds);

	json_object_put(reply);
	return is_sent;
}

static void call_end(struct call *call)
{
	struct session *session = call->session;

	call_free(call);
	session->is_answering = false;
	if (!session->is_dead)
		session_flush(session);
	if (session->is_readable)
		turn_want(session);
}

static void call_goes_on(struct session *session)
{
	session->is_answering = false;
	if (!session->is_dead && !session->waits_for_room)
		session_flush(session);
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

void reply_begin(struct writing *reply)
{
	*reply = (struct writing){ 0 };
	writing_open(reply, NULL, '{');
	writing_open(reply, "parameters", '{');
}

bool call_reply_text(
	struct call *call, struct writing *reply, bool continues, const int *fds, size_t n_fds)
{
	struct session *session = call->session;

	writing_close(reply, '}');
	if (continues)
		writing_bool(reply, "continues", true);
	writing_close(reply, '}');
	bool is_queued = answer_send(call, &(struct answer){ .text = reply }, fds, n_fds);
	writing_clear(reply);
	if (continues)
		call_goes_on(session);
	else
		call_end(call);
	return is_queued;
}

bool call_reply_more(
	struct call *call, struct json_object *parameters, const int *fds, size_t n_fds)
{
	struct session *session = call->session;
	bool is_queued = call_send(call, varlink_reply_build(parameters, true), fds, n_fds);
	call_goes_on(session);
	return is_queued;
}

void call_continue_later(struct call *call)
{
	call->session->has_drained = true;
	turn_want(call->session);
}

void call_error(struct call *call, const char *error, struct json_object *parameters)
{
	tally_add(&call->session->service->metrics.errors, error);
	call_send(call, varlink_error_build(error, parameters), NULL, 0);
	call_end(call);
}

/* For the administrator, too; as much as the user may have written there. */
static void refusal_log(struct session *session, const struct refusal *refusal)
{
	bool is_limit = refusal->kind == REFUSAL_LIMIT_EXCEEDED;
	char text[REFUSAL_TEXT_SIZE], group[16], uid[16], pid[16];
	const char *const of_limit[] = { "MESSAGE_ID", MESSAGE_LIMIT_EXCEEDED, "VFIOD_ACCOUNT",
		refusal->account, "VFIOD_UID", uid, "VFIOD_PID", pid, NULL };
	const char *const of_take[] = { "MESSAGE_ID", MESSAGE_TAKE_FAILED, "VFIOD_GROUP", group,
		"VFIOD_DEVICE", refusal->device, NULL };

	if ((!is_limit && refusal->kind != REFUSAL_TAKE_FAILED) || !user_may_log(session->user))
		return;
	snprintf(group, sizeof(group), "%d", refusal->group);
	snprintf(uid, sizeof(uid), "%u", (unsigned)session->subject.uid);
	snprintf(pid, sizeof(pid), "%d", (int)session->subject.pid);
	refusal_describe(refusal, text, sizeof(text));
	log_fields(LOG_WARNING, is_limit ? of_limit : of_take,
		"refused to pid %d (%s) of uid %u: %s", (int)session->subject.pid,
		session->subject.command, (unsigned)session->subject.uid, text);
}

void call_refuse(struct call *call, const struct refusal *refusal)
{
	refusal_log(call->session, refusal);
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
