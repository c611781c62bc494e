#include "client/handle.h"
#include "proto/json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 32 /* as the daemon reads it */

static int parameters_read(struct vfiod *vfiod, const char *text, struct json_object **parameters)
{
	int r;

	*parameters = NULL;
	if (!text)
		return 0;
	r = json_read(text, strlen(text), MAX_DEPTH, parameters);
	if (r == -ENOMEM)
		return vfiod_fail(vfiod, r, "out of memory");
	if (r < 0)
		return vfiod_fail(vfiod, -EINVAL, "the parameters are not a JSON object");
	return 0;
}

/* 0 or what the callback says; afterwards the message's descriptors are its own or closed. */
static int reply_deliver(struct message *message, const struct varlink_reply *reply,
	vfiod_reply_fn on_reply, void *userdata)
{
	const char *text = "{}";

	if (!on_reply)
		return 0;
	if (reply->parameters)
		text = json_object_to_json_string_ext(
			reply->parameters, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (!text)
		return -ENOMEM;
	return on_reply(text, message->fds, message->n_fds, userdata);
}

static int replies_read(
	struct vfiod *vfiod, bool more, int timeout_ms, vfiod_reply_fn on_reply, void *userdata)
{
	bool continues;

	do {
		struct deadline deadline = deadline_in(timeout_ms);
		struct message message = { 0 };
		struct varlink_reply reply;
		int r = vfiod_receive(vfiod, &message, &reply, &deadline);

		if (r < 0)
			return r;
		if (reply.continues && !more) {
			message_clear(&message);
			vfiod->is_unusable = true;
			return vfiod_fail(vfiod, -EPROTO, "vfiod answered a call with a stream");
		}
		if (reply.error) {
			r = vfiod_fail_reply(vfiod, &reply);
			message_clear(&message);
			return r;
		}
		continues = reply.continues;
		r = reply_deliver(&message, &reply, on_reply, userdata);
		message_clear(&message);
		if (r < 0) {
			vfiod->is_unusable = true;
			return vfiod_fail(vfiod, r, "the call was stopped by its callback");
		}
	} while (continues);
	return 0;
}

int vfiod_exchange(struct vfiod *vfiod, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds, struct message *message, struct json_object **reply_out)
{
	const struct deadline forever = deadline_in(-1);
	struct varlink_reply reply = { 0 };
	int r = vfiod_send(vfiod, method, parameters, false, fds, n_fds, &forever);

	*message = (struct message){ 0 };
	if (r == 0)
		r = vfiod_receive(vfiod, message, &reply, &forever);
	if (r < 0)
		return r;
	if (reply.continues) {
		vfiod->is_unusable = true;
		r = vfiod_fail(vfiod, -EPROTO, "vfiod answered a call with a stream");
	} else if (reply.error) {
		r = vfiod_fail_reply(vfiod, &reply);
	}
	if (r < 0)
		message_clear(message);
	*reply_out = reply.parameters;
	return r;
}

bool object_add(struct json_object *object, const char *key, struct json_object *value)
{
	if (object && value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

int vfiod_call(struct vfiod *vfiod, const char *method, const char *parameters, bool more,
	const int *fds, size_t n_fds, int timeout_ms, vfiod_reply_fn on_reply, void *userdata)
{
	struct deadline deadline = deadline_in(timeout_ms);
	struct json_object *object;
	int r = vfiod_begin(vfiod, false);

	if (r < 0)
		return r;
	r = parameters_read(vfiod, parameters, &object);
	if (r < 0)
		return r;
	vfiod->is_busy = true;
	r = vfiod_send(vfiod, method, object, more, fds, n_fds, &deadline);
	if (r == 0)
		r = replies_read(vfiod, more, timeout_ms, on_reply, userdata);
	vfiod->is_busy = false;
	return r;
}
