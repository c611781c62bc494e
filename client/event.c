#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

void vfiod_lease_on_event(struct vfiod_lease *lease, vfiod_event_fn on_event, void *userdata)
{
	lease->on_event = on_event;
	lease->userdata = userdata;
}

/* The callback may release the lease: nothing of it is touched afterwards. */
static void event_deliver(struct vfiod_lease *lease, enum vfiod_event event, const char *text)
{
	if (lease->on_event)
		lease->on_event(lease, event, text ? text : "", lease->userdata);
}

/* 1 when it was an event that this library knows, 0 otherwise. */
static int stream_continue(struct vfiod_lease *lease, struct json_object *parameters)
{
	const char *event = field_string(parameters, "event");

	if (event && strcmp(event, "releaseRequested") == 0)
		event_deliver(lease, VFIOD_RELEASE_REQUESTED, field_string(parameters, "reason"));
	else if (event && strcmp(event, "deviceGone") == 0)
		event_deliver(lease, VFIOD_DEVICE_GONE, field_string(parameters, "device"));
	else
		return 0;
	return 1;
}

/* Its last reply, be it `ended` or an error, ends the lease, and the handle is free. */
static int stream_end(struct vfiod *vfiod, const struct varlink_reply *reply)
{
	struct vfiod_lease *lease = vfiod->stream;
	char why[SENTENCE_SIZE];

	vfiod->stream = NULL;
	lease->is_ended = true;
	if (reply->error) {
		error_sentence(reply->error, reply->parameters, why, sizeof why);
		event_deliver(lease, VFIOD_ENDED, why);
	} else {
		event_deliver(lease, VFIOD_ENDED, field_string(reply->parameters, "reason"));
	}
	return 1;
}

/*
 * One message that is already there. 1: an event was delivered, 0: there was none that counts,
 * -EAGAIN: there is no message, or -errno.
 */
static int dispatch_one(struct vfiod *vfiod)
{
	struct message message = { 0 };
	struct varlink_reply reply;
	int r = vfiod_receive_now(vfiod, &message, &reply);

	if (r < 0)
		return r;
	if (!vfiod->stream) {
		vfiod->is_unusable = true;
		r = vfiod_fail(vfiod, -EPROTO, "vfiod sent what nobody had asked for");
	} else if (reply.continues) {
		r = stream_continue(vfiod->stream, reply.parameters);
	} else {
		r = stream_end(vfiod, &reply);
	}
	message_clear(&message);
	return r;
}

int vfiod_dispatch(struct vfiod *vfiod, int timeout_ms)
{
	const struct deadline deadline = deadline_in(timeout_ms);
	int n_events = 0, r = vfiod_begin(vfiod, true);

	while (r >= 0) {
		r = dispatch_one(vfiod);
		if (r > 0)
			n_events += r;
		if (r != -EAGAIN || n_events > 0)
			continue;
		r = vfiod_wait(vfiod, POLLIN, &deadline);
		if (r == -ETIMEDOUT)
			return 0;
	}
	/* A failure after events is told by the next call: the handle remembers it. */
	return n_events > 0 ? n_events : r;
}
