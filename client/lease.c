#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void group_clear(struct granted_group *group)
{
	if (group->fd >= 0)
		close(group->fd);
	for (size_t i = 0; i < group->n_devices; i++)
		free(group->devices[i]);
	free(group->devices);
}

struct vfiod_lease *lease_free(struct vfiod_lease *lease)
{
	if (!lease)
		return NULL;
	LIST_REMOVE(lease, link);
	for (size_t i = 0; i < lease->n_groups; i++)
		group_clear(&lease->groups[i]);
	free(lease->groups);
	free(lease->name);
	free(lease->token);
	free(lease);
	return NULL;
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
		group->devices[i] = strdup(json_object_get_string(device));
		if (!group->devices[i])
			return -ENOMEM;
		group->n_devices++;
	}
	return 0;
}

static int group_read(struct json_object *object, struct message *message, bool is_brokered,
	struct granted_group *group)
{
	int64_t number = field_int(object, "number", -1);

	if (number < 0 || number > INT_MAX)
		return -EPROTO;
	group->number = (int)number;
	if (!is_brokered) {
		group->fd = message_take_fd(message, field_int(object, "groupFileDescriptor", -1));
		if (group->fd < 0)
			return -EPROTO;
	}
	return devices_read(json_object_object_get(object, "devices"), group);
}

static int groups_read(struct json_object *array, struct message *message, bool is_brokered,
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
		r = group_read(json_object_array_get_idx(array, i), message, is_brokered,
			&lease->groups[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The lease as the reply says, apart from the list that it is in. */
static int grant_read(struct json_object *parameters, struct message *message, bool is_brokered,
	struct vfiod_lease *lease)
{
	const char *name = field_string(parameters, "lease");
	const char *token = field_string(parameters, "token");

	if (!name || !token)
		return -EPROTO;
	lease->name = strdup(name);
	lease->token = strdup(token);
	if (!lease->name || !lease->token)
		return -ENOMEM;
	return groups_read(
		json_object_object_get(parameters, "groups"), message, is_brokered, lease);
}

int lease_from_grant(struct json_object *parameters, struct message *message, bool is_brokered,
	struct vfiod_lease **lease_out)
{
	struct lease_list nowhere = LIST_HEAD_INITIALIZER(nowhere);
	struct vfiod_lease *lease = calloc(1, sizeof *lease);
	int r;

	*lease_out = NULL;
	if (!lease)
		return -ENOMEM;
	LIST_INSERT_HEAD(&nowhere, lease, link);
	r = grant_read(parameters, message, is_brokered, lease);
	if (r < 0) {
		lease_free(lease);
		return r;
	}
	LIST_REMOVE(lease, link);
	*lease_out = lease;
	return 0;
}

const char *vfiod_lease_name(const struct vfiod_lease *lease)
{
	return lease->name;
}

const char *vfiod_lease_token(const struct vfiod_lease *lease)
{
	return lease->token;
}

size_t vfiod_lease_n_groups(const struct vfiod_lease *lease)
{
	return lease->n_groups;
}

int vfiod_lease_group_number(const struct vfiod_lease *lease, size_t index)
{
	return index < lease->n_groups ? lease->groups[index].number : -EINVAL;
}

int vfiod_lease_group_fd(const struct vfiod_lease *lease, size_t index)
{
	if (index >= lease->n_groups)
		return -EINVAL;
	return lease->groups[index].fd >= 0 ? lease->groups[index].fd : -EBADF;
}

int vfiod_lease_steal_group_fd(struct vfiod_lease *lease, size_t index)
{
	int fd = vfiod_lease_group_fd(lease, index);

	if (fd >= 0)
		lease->groups[index].fd = -1;
	return fd;
}

size_t vfiod_lease_n_devices(const struct vfiod_lease *lease, size_t group_index)
{
	return group_index < lease->n_groups ? lease->groups[group_index].n_devices : 0;
}

const char *vfiod_lease_device(
	const struct vfiod_lease *lease, size_t group_index, size_t device_index)
{
	if (device_index >= vfiod_lease_n_devices(lease, group_index))
		return NULL;
	return lease->groups[group_index].devices[device_index];
}
