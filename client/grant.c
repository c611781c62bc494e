/* The reply that grants a lease: what it says, and the descriptors that came with it. */
#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* In which mode a lease was granted; a daemon that does not say knows two. */
enum mode { MODE_NONE, MODE_GROUP, MODE_CDEV, MODE_BROKERED };

static enum mode mode_of(struct json_object *parameters, unsigned flags)
{
	const char *name = field_string(parameters, "mode");

	if (!name)
		return flags & VFIOD_ACQUIRE_BROKERED ? MODE_BROKERED : MODE_GROUP;
	return strcmp(name, "group") == 0      ? MODE_GROUP
	       : strcmp(name, "cdev") == 0     ? MODE_CDEV
	       : strcmp(name, "brokered") == 0 ? MODE_BROKERED
					       : MODE_NONE;
}

/* Is it what was asked for? Who asked for nothing gets descriptors, of either kind. */
static bool mode_fits(enum mode mode, unsigned flags)
{
	if (flags & VFIOD_ACQUIRE_BROKERED)
		return mode == MODE_BROKERED;
	return (mode == MODE_GROUP && !(flags & VFIOD_ACQUIRE_CDEV)) ||
	       (mode == MODE_CDEV && !(flags & VFIOD_ACQUIRE_GROUP));
}

static int devices_read(struct json_object *array, struct granted_group *group)
{
	size_t n;

	if (!json_object_is_type(array, json_type_array))
		return -EPROTO;
	n = json_object_array_length(array);
	group->devices = calloc(n ? n : 1, sizeof *group->devices);
	if (!group->devices)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *device = json_object_array_get_idx(array, i);

		if (!json_object_is_type(device, json_type_string))
			return -EPROTO;
		group->devices[i].fd = -1;
		group->devices[i].name = strdup(json_object_get_string(device));
		if (!group->devices[i].name)
			return -ENOMEM;
		group->n_devices++;
	}
	return 0;
}

/* One for each device, in their order. */
static int device_fds_read(
	struct json_object *array, struct message *message, struct granted_group *group)
{
	if (!json_object_is_type(array, json_type_array) ||
		json_object_array_length(array) != group->n_devices)
		return -EPROTO;
	for (size_t i = 0; i < group->n_devices; i++) {
		struct json_object *index = json_object_array_get_idx(array, i);

		if (!json_object_is_type(index, json_type_int))
			return -EPROTO;
		group->devices[i].fd = message_take_fd(message, json_object_get_int64(index));
		if (group->devices[i].fd < 0)
			return -EPROTO;
	}
	return 0;
}

static int group_read(struct json_object *object, struct message *message, enum mode mode,
	struct granted_group *group)
{
	int64_t number = field_int(object, "number", -1);
	int r;

	if (number < 0 || number > INT_MAX)
		return -EPROTO;
	group->number = (int)number;
	if (mode == MODE_GROUP) {
		group->fd = message_take_fd(message, field_int(object, "groupFileDescriptor", -1));
		if (group->fd < 0)
			return -EPROTO;
	}
	r = devices_read(json_object_object_get(object, "devices"), group);
	if (r < 0 || mode != MODE_CDEV)
		return r;
	return device_fds_read(
		json_object_object_get(object, "deviceFileDescriptors"), message, group);
}

static int groups_read(struct json_object *array, struct message *message, enum mode mode,
	struct vfiod_lease *lease)
{
	size_t n;

	if (!json_object_is_type(array, json_type_array) || json_object_array_length(array) == 0)
		return -EPROTO;
	n = json_object_array_length(array);
	lease->groups = calloc(n, sizeof *lease->groups);
	if (!lease->groups)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int r;

		lease->groups[i].fd = -1;
		lease->n_groups++;
		r = group_read(
			json_object_array_get_idx(array, i), message, mode, &lease->groups[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A daemon that does not know descriptions does not say which device answers which. */
static int selected_read(struct json_object *array, struct vfiod_lease *lease)
{
	size_t n;

	if (!array)
		return 0;
	if (!json_object_is_type(array, json_type_array))
		return -EPROTO;
	n = json_object_array_length(array);
	lease->selected = calloc(n ? n : 1, sizeof *lease->selected);
	if (!lease->selected)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *device = json_object_array_get_idx(array, i);

		if (!json_object_is_type(device, json_type_string))
			return -EPROTO;
		lease->selected[i] = strdup(json_object_get_string(device));
		if (!lease->selected[i])
			return -ENOMEM;
		lease->n_selected++;
	}
	return 0;
}

/* The lease as the reply says, apart from the list that it is in. */
static int grant_read(struct json_object *parameters, struct message *message, unsigned flags,
	struct vfiod_lease *lease)
{
	const char *name = field_string(parameters, "lease");
	const char *token = field_string(parameters, "token");
	enum mode mode = mode_of(parameters, flags);
	int r;

	if (!name || !token || !mode_fits(mode, flags))
		return -EPROTO;
	lease->name = strdup(name);
	lease->token = strdup(token);
	if (!lease->name || !lease->token)
		return -ENOMEM;
	if (mode == MODE_CDEV) {
		lease->iommufd = message_take_fd(
			message, field_int(parameters, "iommufdFileDescriptor", -1));
		if (lease->iommufd < 0)
			return -EPROTO;
	}
	r = selected_read(json_object_object_get(parameters, "selected"), lease);
	return r == 0 ? groups_read(
				json_object_object_get(parameters, "groups"), message, mode, lease)
		      : r;
}

int lease_from_grant(struct json_object *parameters, struct message *message, unsigned flags,
	struct vfiod_lease **lease_out)
{
	struct lease_list nowhere = LIST_HEAD_INITIALIZER(nowhere);
	struct vfiod_lease *lease = calloc(1, sizeof *lease);
	int r;

	*lease_out = NULL;
	if (!lease)
		return -ENOMEM;
	lease->iommufd = -1;
	LIST_INSERT_HEAD(&nowhere, lease, link);
	r = grant_read(parameters, message, flags, lease);
	if (r < 0) {
		lease_free(lease);
		return r;
	}
	LIST_REMOVE(lease, link);
	*lease_out = lease;
	return 0;
}
