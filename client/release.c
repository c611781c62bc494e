/* Release: how the holder of a lease ends it. */
#include "client/handle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* After Release has answered, the stream's last reply is on its way, or something is wrong. */
#define STREAM_END_MS 10000

/* Calls Release on a handle that is free: 0, 1 when a group lingers, -errno. */
static int release_call(struct vfiod *vfiod, const char *token)
{
	struct json_object *parameters = json_object_new_object(), *reply, *lingering;
	struct message message;
	int r;

	if (!object_add(parameters, "token", json_object_new_string(token))) {
		json_object_put(parameters);
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	}
	r = vfiod_exchange(
		vfiod, "org.vfiod.Broker.Release", parameters, NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(reply, "lingering", &lingering) &&
		json_object_is_type(lingering, json_type_array))
		r = json_object_array_length(lingering) > 0;
	message_clear(&message);
	return r;
}

/* Reads the stream of a lease that was released to its end; its events no longer matter. */
static void stream_drain(struct vfiod *vfiod)
{
	const struct deadline deadline = deadline_in(STREAM_END_MS);

	while (vfiod->stream) {
		struct message message = { 0 };
		struct varlink_reply reply;

		if (vfiod_receive(vfiod, &message, &reply, &deadline) < 0)
			return;
		if (!reply.continues)
			vfiod->stream = NULL;
		message_clear(&message);
	}
}

/*
 * Replies are in order, so a stream's own connection cannot carry its Release: a second one
 * does. If that fails, closing the stream ends the lease all the same.
 */
static int release_stream(struct vfiod *vfiod, const char *token)
{
	struct vfiod *second;
	int r = vfiod_open(vfiod->socket, &second);

	if (r < 0) {
		vfiod_fail(vfiod, r, "cannot connect to %s a second time: %s", vfiod->socket,
			strerrordesc_np(-r));
	} else {
		r = release_call(second, token);
		if (r < 0) {
			vfiod_error_clear(vfiod);
			vfiod_fail(vfiod, r, "%s", vfiod_strerror(second));
			vfiod->error_name = second->error_name;
			vfiod->error_parameters = second->error_parameters;
			second->error_name = second->error_parameters = NULL;
		}
		vfiod_close(second);
	}
	return r;
}

static int release_stream_and_drain(struct vfiod *vfiod, const char *token)
{
	int r = release_stream(vfiod, token);

	if (r >= 0 || r == -ENOKEY)
		stream_drain(vfiod);
	if (vfiod->stream) {
		vfiod->stream = NULL;
		vfiod->is_unusable = true;
		shutdown(transport_fd(vfiod->transport), SHUT_RDWR);
	} else if (r == -ENOKEY) {
		/* It ended by itself while we asked: nothing is left to release. */
		vfiod_error_clear(vfiod);
		r = 0;
	}
	return r;
}

int vfiod_release(struct vfiod *vfiod, struct vfiod_lease *lease)
{
	char *token = lease->token;
	bool is_stream = vfiod->stream == lease, is_ended = lease->is_ended;
	int r = 0;

	/* Nobody waits for this answer any more: vfiod_resume() begins anew. */
	if (vfiod->asked == lease) {
		vfiod->asked = NULL;
		vfiod->is_resuming = false;
	}
	lease->token = NULL;
	lease_free(lease);
	if (!is_ended) {
		vfiod_error_clear(vfiod);
		if (is_stream)
			r = release_stream_and_drain(vfiod, token);
		else if (vfiod->stream || vfiod->is_busy || vfiod->is_unusable)
			r = release_stream(vfiod, token);
		else
			r = release_call(vfiod, token);
	}
	free(token);
	return r;
}
