/* Acquire: how a lease begins. */
#include "client/error.h"
#include "client/handle.h"
#include "client/selector.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int selectors_add(struct vfiod *vfiod, struct json_object *parameters,
	const char *const devices[], size_t n_devices)
{
	struct json_object *selectors = json_object_new_array();

	if (!object_add(parameters, "selectors", selectors))
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n_devices; i++) {
		struct json_object *selector;
		const char *what;

		if (selector_new(devices[i], &selector, &what) == -EINVAL)
			return vfiod_fail(vfiod, -EINVAL, "%s: %s", devices[i], what);
		if (!selector || json_object_array_add(selectors, selector) < 0) {
			json_object_put(selector);
			return vfiod_fail(vfiod, -ENOMEM, "out of memory");
		}
	}
	return 0;
}

/* The flags of which there may be one. */
static const unsigned modes = VFIOD_ACQUIRE_BROKERED | VFIOD_ACQUIRE_GROUP | VFIOD_ACQUIRE_CDEV;

/* The mode that is asked for; NULL: what the daemon does by itself. */
static const char *mode_name(unsigned flags)
{
	return flags & VFIOD_ACQUIRE_BROKERED ? "brokered"
	       : flags & VFIOD_ACQUIRE_GROUP  ? "group"
	       : flags & VFIOD_ACQUIRE_CDEV   ? "cdev"
					      : NULL;
}

static bool is_stream(const struct vfiod_acquire_options *options)
{
	return options->flags & VFIOD_ACQUIRE_WATCH;
}

static int acquire_send(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	const struct vfiod_acquire_options *options)
{
	const struct deadline forever = deadline_in(-1);
	struct json_object *parameters;
	bool has_holder = options->flags & VFIOD_ACQUIRE_FOLLOW, added;
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
	added = object_add(parameters, "waitSeconds", json_object_new_int64(options->wait_seconds));
	if (added && has_holder)
		added = object_add(parameters, "holderFileDescriptor", json_object_new_int(0));
	if (added && mode_name(options->flags))
		added = object_add(
			parameters, "mode", json_object_new_string(mode_name(options->flags)));
	if (added && options->memory_bytes > 0)
		added = object_add(parameters, "memoryBytes",
			json_object_new_int64((int64_t)options->memory_bytes));
	if (!added) {
		json_object_put(parameters);
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	}
	return vfiod_send(vfiod, "org.vfiod.Broker.Acquire", parameters, is_stream(options),
		&options->pidfd, has_holder ? 1 : 0, &forever);
}

/* The reply that grants; a lease that we cannot take ends with the connection or the holder. */
static int grant_take(struct vfiod *vfiod, const struct varlink_reply *reply,
	struct message *message, const struct vfiod_acquire_options *options,
	struct vfiod_lease **lease)
{
	int r = -EPROTO;

	if (reply->continues == is_stream(options))
		r = lease_from_grant(reply->parameters, message, options->flags & modes, lease);

	if (r < 0) {
		vfiod->is_unusable = true;
		return vfiod_fail(vfiod, r,
			r == -ENOMEM ? "out of memory"
				     : "vfiod granted a lease that makes no sense");
	}
	(*lease)->follows = options->flags & VFIOD_ACQUIRE_FOLLOW;
	LIST_INSERT_HEAD(&vfiod->leases, *lease, link);
	if (is_stream(options))
		vfiod->stream = *lease;
	return 0;
}

/* "queued"; whatever else a newer daemon may say before it grants is not for us. */
static void queued_tell(const struct vfiod_acquire_options *options, struct json_object *parameters)
{
	const char *event = field_string(parameters, "event");
	int64_t position = field_int(parameters, "position", -1);

	if (options->on_queued && event && strcmp(event, "queued") == 0 && position >= 0 &&
		position <= UINT_MAX)
		options->on_queued((unsigned)position, options->userdata);
}

/* One reply to Acquire: 1 when it grants, 0 when there is more to wait for, -errno. */
static int acquire_reply(struct vfiod *vfiod, const struct vfiod_acquire_options *options,
	struct vfiod_lease **lease)
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
		r = grant_take(vfiod, &reply, &message, options, lease);
		r = r < 0 ? r : 1;
	} else if (event && strcmp(event, "ended") == 0) {
		const char *reason = field_string(reply.parameters, "reason");
		r = vfiod_fail(vfiod, -EREMOTEIO, "the request has ended: %s",
			reason ? reason : "vfiod does not say why");
		vfiod->is_unusable = reply.continues;
	} else if (!reply.continues || !is_stream(options)) {
		vfiod->is_unusable = true;
		r = vfiod_fail(vfiod, -EPROTO, "vfiod answered without granting or refusing");
	} else {
		queued_tell(options, reply.parameters);
	}
	message_clear(&message);
	return r;
}

static int acquire(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	const struct vfiod_acquire_options *options, struct vfiod_lease **lease)
{
	int r = acquire_send(vfiod, devices, n_devices, options);

	if (r < 0)
		return r;
	/* The callback of the queue may not call. */
	vfiod->is_busy = true;
	while (r == 0)
		r = acquire_reply(vfiod, options, lease);
	vfiod->is_busy = false;
	return r < 0 ? r : 0;
}

/* The options as this library knows them. `ours` is zero. */
static int options_copy(struct vfiod *vfiod, const struct vfiod_acquire_options *options,
	struct vfiod_acquire_options *ours)
{
	const unsigned known = VFIOD_ACQUIRE_FOLLOW | VFIOD_ACQUIRE_WATCH | modes;
	const unsigned char *bytes = (const unsigned char *)options;

	if (!options)
		return 0;
	if (options->size < sizeof *ours) /* the first that there was */
		return vfiod_fail(vfiod, -EINVAL, "options of an acquire without their size");
	/* As copy_struct_from_user() of the kernel: what we do not know must not be asked for. */
	for (size_t i = sizeof *ours; i < options->size; i++)
		if (bytes[i])
			return vfiod_fail(vfiod, -E2BIG,
				"options of an acquire that this libvfiod does not know");
	*ours = *options;
	if (ours->flags & ~known)
		return vfiod_fail(vfiod, -EINVAL, "flags of an acquire that are not known");
	if (__builtin_popcount(ours->flags & modes) > 1)
		return vfiod_fail(vfiod, -EINVAL, "an acquire has one mode, not several");
	if (ours->flags & VFIOD_ACQUIRE_FOLLOW && ours->pidfd < 0)
		return vfiod_fail(vfiod, -EINVAL, "not a pidfd: %d", ours->pidfd);
	if (ours->on_queued && !(ours->flags & VFIOD_ACQUIRE_WATCH))
		return vfiod_fail(vfiod, -EINVAL, "who does not watch is not told of the queue");
	return memory_check(vfiod, ours->memory_bytes);
}

int vfiod_acquire_with(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	const struct vfiod_acquire_options *options, struct vfiod_lease **lease)
{
	struct vfiod_acquire_options ours = { 0 };
	int r;

	*lease = NULL;
	r = vfiod_begin(vfiod, false);
	if (r == 0)
		r = options_copy(vfiod, options, &ours);
	return r < 0 ? r : acquire(vfiod, devices, n_devices, &ours, lease);
}

int vfiod_acquire(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease)
{
	const struct vfiod_acquire_options options = {
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_WATCH,
		.wait_seconds = wait_seconds,
	};

	return vfiod_acquire_with(vfiod, devices, n_devices, &options, lease);
}

int vfiod_acquire_brokered(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease)
{
	const struct vfiod_acquire_options options = {
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_BROKERED,
		.wait_seconds = wait_seconds,
	};

	return vfiod_acquire_with(vfiod, devices, n_devices, &options, lease);
}

int vfiod_acquire_cdev(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease)
{
	const struct vfiod_acquire_options options = {
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_WATCH | VFIOD_ACQUIRE_CDEV,
		.wait_seconds = wait_seconds,
	};

	return vfiod_acquire_with(vfiod, devices, n_devices, &options, lease);
}

int vfiod_acquire_for(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, int pidfd, struct vfiod_lease **lease)
{
	const struct vfiod_acquire_options options = {
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_FOLLOW,
		.pidfd = pidfd,
		.wait_seconds = wait_seconds,
	};

	return vfiod_acquire_with(vfiod, devices, n_devices, &options, lease);
}

int vfiod_acquire_watching(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, int pidfd, vfiod_queued_fn on_queued, void *userdata,
	struct vfiod_lease **lease)
{
	const struct vfiod_acquire_options options = {
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_FOLLOW | VFIOD_ACQUIRE_WATCH,
		.pidfd = pidfd,
		.wait_seconds = wait_seconds,
		.on_queued = on_queued,
		.userdata = userdata,
	};

	return vfiod_acquire_with(vfiod, devices, n_devices, &options, lease);
}
