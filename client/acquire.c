/* Acquire and Release: how a lease begins, and how its holder ends it. */
#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* After Release has answered, the stream's last reply is on its way, or something is wrong. */
#define STREAM_END_MS 10000

/* {"device": …}, or {"group": 7} for "group:7". NULL and *error. */
static struct json_object *selector_new(const char *name, int *error)
{
	static const char prefix[] = "group:";
	struct json_object *selector = json_object_new_object();
	bool added;

	*error = -ENOMEM;
	if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
		const char *digits = name + sizeof prefix - 1;
		char *end;
		long number;

		errno = 0;
		number = strtol(digits, &end, 10);
		if (*digits < '0' || *digits > '9' || *end || errno || number > INT_MAX) {
			*error = -EINVAL;
			json_object_put(selector);
			return NULL;
		}
		added = object_add(selector, "group", json_object_new_int((int)number));
	} else {
		added = object_add(selector, "device", json_object_new_string(name));
	}
	if (added)
		return selector;
	json_object_put(selector);
	return NULL;
}

static int selectors_add(struct vfiod *vfiod, struct json_object *parameters,
	const char *const devices[], size_t n_devices)
{
	struct json_object *selectors = json_object_new_array();

	if (!object_add(parameters, "selectors", selectors))
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n_devices; i++) {
		int error;
		struct json_object *selector = selector_new(devices[i], &error);

		if (!selector && error == -EINVAL)
			return vfiod_fail(
				vfiod, error, "%s: not the number of a group", devices[i]);
		if (!selector || json_object_array_add(selectors, selector) < 0) {
			json_object_put(selector);
			return vfiod_fail(vfiod, -ENOMEM, "out of memory");
		}
	}
	return 0;
}

/* How a lease is asked for. */
struct wish {
	unsigned wait_seconds;
	int pidfd;      /* of the process that it follows; -1: none */
	bool is_stream; /* the handle becomes the lease's stream */
	bool is_brokered;
	vfiod_queued_fn on_queued;
	void *userdata;
};

static int acquire_send(
	struct vfiod *vfiod, const char *const devices[], size_t n_devices, const struct wish *wish)
{
	const struct deadline forever = deadline_in(-1);
	struct json_object *parameters;
	bool has_holder = wish->pidfd >= 0, added;
	int r;

	if (n_devices == 0)
		return vfiod_fail(vfiod, -EINVAL, "no device was named");
	parameters = json_object_new_object();
	if (!parameters)
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	r = selectors_add(vfiod, parameters, devices, n_devices);
	if (r < 0) {
		json_object_put(parameters);
		return r;
	}
	added = object_add(parameters, "waitSeconds", json_object_new_int64(wish->wait_seconds));
	if (added && has_holder)
		added = object_add(parameters, "holderFileDescriptor", json_object_new_int(0));
	if (added && wish->is_brokered)
		added = object_add(parameters, "mode", json_object_new_string("brokered"));
	if (!added) {
		json_object_put(parameters);
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	}
	return vfiod_send(vfiod, "org.vfiod.Broker.Acquire", parameters, wish->is_stream,
		&wish->pidfd, has_holder ? 1 : 0, &forever);
}

/* The reply that grants; a lease that we cannot take ends with the connection or the holder. */
static int grant_take(struct vfiod *vfiod, const struct varlink_reply *reply,
	struct message *message, const struct wish *wish, struct vfiod_lease **lease)
{
	int r = -EPROTO;

	if (reply->continues == wish->is_stream)
		r = lease_from_grant(reply->parameters, message, wish->is_brokered, lease);

	if (r < 0) {
		vfiod->is_unusable = true;
		return vfiod_fail(vfiod, r,
			r == -ENOMEM ? "out of memory"
				     : "vfiod granted a lease that makes no sense");
	}
	LIST_INSERT_HEAD(&vfiod->leases, *lease, link);
	if (wish->is_stream)
		vfiod->stream = *lease;
	return 0;
}

/* "queued"; whatever else a newer daemon may say before it grants is not for us. */
static void queued_tell(const struct wish *wish, struct json_object *parameters)
{
	const char *event = field_string(parameters, "event");
	int64_t position = field_int(parameters, "position", -1);

	if (wish->on_queued && event && strcmp(event, "queued") == 0 && position >= 0 &&
		position <= UINT_MAX)
		wish->on_queued((unsigned)position, wish->userdata);
}

/* One reply to Acquire: 1 when it grants, 0 when there is more to wait for, -errno. */
static int acquire_reply(struct vfiod *vfiod, const struct wish *wish, struct vfiod_lease **lease)
{
	const struct deadline forever = deadline_in(-1);
	struct message message = { 0 };
	struct varlink_reply reply;
	const char *event;
	int r = vfiod_receive(vfiod, &message, &reply, &forever);

	if (r < 0)
		return r;
	event = field_string(reply.parameters, "event");
	if (reply.error) {
		r = vfiod_fail_reply(vfiod, &reply);
	} else if (event && strcmp(event, "granted") == 0) {
		r = grant_take(vfiod, &reply, &message, wish, lease);
		r = r < 0 ? r : 1;
	} else if (event && strcmp(event, "ended") == 0) {
		const char *reason = field_string(reply.parameters, "reason");
		r = vfiod_fail(vfiod, -EREMOTEIO, "the request has ended: %s",
			reason ? reason : "vfiod does not say why");
		vfiod->is_unusable = reply.continues;
	} else if (!reply.continues || !wish->is_stream) {
		vfiod->is_unusable = true;
		r = vfiod_fail(vfiod, -EPROTO, "vfiod answered without granting or refusing");
	} else {
		queued_tell(wish, reply.parameters);
	}
	message_clear(&message);
	return r;
}

static int acquire(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	const struct wish *wish, struct vfiod_lease **lease)
{
	int r;

	*lease = NULL;
	r = vfiod_begin(vfiod, false);
	if (r == 0)
		r = acquire_send(vfiod, devices, n_devices, wish);
	if (r < 0)
		return r;
	/* The callback of the queue may not call. */
	vfiod->is_busy = true;
	while (r == 0)
		r = acquire_reply(vfiod, wish, lease);
	vfiod->is_busy = false;
	return r < 0 ? r : 0;
}

int vfiod_acquire(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease)
{
	const struct wish wish = { .wait_seconds = wait_seconds, .pidfd = -1, .is_stream = true };

	return acquire(vfiod, devices, n_devices, &wish, lease);
}

int vfiod_acquire_brokered(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease)
{
	const struct wish wish = { .wait_seconds = wait_seconds, .pidfd = -1, .is_brokered = true };

	return acquire(vfiod, devices, n_devices, &wish, lease);
}

static int acquire_for(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	const struct wish *wish, struct vfiod_lease **lease)
{
	if (wish->pidfd < 0) {
		*lease = NULL;
		return vfiod_fail(vfiod, -EINVAL, "not a pidfd: %d", wish->pidfd);
	}
	return acquire(vfiod, devices, n_devices, wish, lease);
}

int vfiod_acquire_for(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, int pidfd, struct vfiod_lease **lease)
{
	const struct wish wish = { .wait_seconds = wait_seconds, .pidfd = pidfd };

	return acquire_for(vfiod, devices, n_devices, &wish, lease);
}

int vfiod_acquire_watching(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, int pidfd, vfiod_queued_fn on_queued, void *userdata,
	struct vfiod_lease **lease)
{
	const struct wish wish = {
		.wait_seconds = wait_seconds,
		.pidfd = pidfd,
		.is_stream = true,
		.on_queued = on_queued,
		.userdata = userdata,
	};

	return acquire_for(vfiod, devices, n_devices, &wish, lease);
}

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
