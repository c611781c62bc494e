/* A space: how it begins and ends, and the memory and groups in it. */
#include "client/space.h"

#include "client/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct request request_new(const struct vfiod_space *space)
{
	struct request request = { .parameters = json_object_new_object(), .is_whole = true };

	if (space)
		request_add(&request, "space", json_object_new_string(space->token));
	request.is_whole &= request.parameters != NULL;
	return request;
}

void request_add(struct request *request, const char *key, struct json_object *value)
{
	request->is_whole = object_add(request->parameters, key, value) && request->is_whole;
}

int request_send(struct vfiod *vfiod, struct request *request, const char *method, const int *fds,
	size_t n_fds, struct message *message, struct json_object **reply)
{
	int r = vfiod_begin(vfiod, false);

	if (r == 0 && !request->is_whole)
		r = vfiod_fail(vfiod, -ENOMEM, "out of memory");
	if (r < 0) {
		json_object_put(request->parameters);
		return r;
	}
	return vfiod_exchange(vfiod, method, request->parameters, fds, n_fds, message, reply);
}

int reply_nonsense(struct vfiod *vfiod, const char *method)
{
	vfiod->is_unusable = true;
	return vfiod_fail(
		vfiod, -EPROTO, "vfiod answered %s with something that makes no sense", method);
}

static int request_run(struct vfiod *vfiod, struct request *request, const char *method)
{
	struct message message;
	struct json_object *reply;
	int r = request_send(vfiod, request, method, NULL, 0, &message, &reply);

	if (r == 0)
		message_clear(&message);
	return r;
}

/* In the handle's list. NULL: no memory, or no name or token. */
static struct vfiod_space *space_new(struct vfiod *vfiod, const char *name, const char *token)
{
	struct vfiod_space *space = name && token ? calloc(1, sizeof *space) : NULL;

	if (!space)
		return NULL;
	LIST_INSERT_HEAD(&vfiod->spaces, space, link);
	space->name = strdup(name);
	space->token = strdup(token);
	if (space->name && space->token)
		return space;
	vfiod_space_free(space);
	return NULL;
}

void vfiod_space_free(struct vfiod_space *space)
{
	if (!space)
		return;
	LIST_REMOVE(space, link);
	free(space->name);
	free(space->token);
	free(space);
}

int vfiod_space_create(struct vfiod *vfiod, int pidfd, unsigned max_groups_per_container,
	struct vfiod_space **space)
{
	static const char method[] = "org.vfiod.Space.Create";
	struct request request = request_new(NULL);
	struct message message;
	struct json_object *reply;
	int r;

	*space = NULL;
	if (pidfd >= 0)
		request_add(&request, "holderFileDescriptor", json_object_new_int(0));
	if (max_groups_per_container > 0)
		request_add(&request, "maxGroupsPerContainer",
			json_object_new_int64(max_groups_per_container));
	r = request_send(vfiod, &request, method, &pidfd, pidfd >= 0, &message, &reply);
	if (r < 0)
		return r;
	*space = space_new(vfiod, field_string(reply, "name"), field_string(reply, "space"));
	if (!*space)
		r = reply_nonsense(vfiod, method);
	message_clear(&message);
	return r;
}

int vfiod_space_open(struct vfiod *vfiod, const char *token, struct vfiod_space **space)
{
	static const char method[] = "org.vfiod.Space.Describe";
	struct request request = request_new(NULL);
	struct message message;
	struct json_object *reply;
	int r;

	*space = NULL;
	request_add(&request, "space", json_object_new_string(token));
	r = request_send(vfiod, &request, method, NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	*space = space_new(vfiod, field_string(reply, "name"), token);
	if (!*space)
		r = reply_nonsense(vfiod, method);
	message_clear(&message);
	return r;
}

int vfiod_space_destroy(struct vfiod *vfiod, struct vfiod_space *space)
{
	struct request request = request_new(space);
	struct message message;
	struct json_object *reply, *lingering;
	int r;

	vfiod_space_free(space);
	r = request_send(vfiod, &request, "org.vfiod.Space.Destroy", NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(reply, "lingering", &lingering) &&
		json_object_is_type(lingering, json_type_array))
		r = json_object_array_length(lingering) > 0;
	message_clear(&message);
	return r;
}

const char *vfiod_space_name(const struct vfiod_space *space)
{
	return space->name;
}

const char *vfiod_space_token(const struct vfiod_space *space)
{
	return space->token;
}

int vfiod_space_add_memory(struct vfiod *vfiod, struct vfiod_space *space, int fd, uint32_t *memory)
{
	static const char method[] = "org.vfiod.Space.AddMemory";
	struct request request = request_new(space);
	struct message message;
	struct json_object *reply;
	int64_t number;
	int r;

	request_add(&request, "memoryFileDescriptor", json_object_new_int(0));
	r = request_send(vfiod, &request, method, &fd, 1, &message, &reply);
	if (r < 0)
		return r;
	number = field_int(reply, "memory", -1);
	if (number < 0 || number > UINT32_MAX)
		r = reply_nonsense(vfiod, method);
	else
		*memory = (uint32_t)number;
	message_clear(&message);
	return r;
}

int vfiod_space_remove_memory(struct vfiod *vfiod, struct vfiod_space *space, uint32_t memory)
{
	struct request request = request_new(space);

	request_add(&request, "memory", json_object_new_int64(memory));
	return request_run(vfiod, &request, "org.vfiod.Space.RemoveMemory");
}

int vfiod_space_attach(
	struct vfiod *vfiod, struct vfiod_space *space, const char *lease_token, int group)
{
	static const char method[] = "org.vfiod.Space.Attach";
	struct request request = request_new(space);
	struct message message;
	struct json_object *reply;
	int64_t container;
	int r;

	request_add(&request, "token", json_object_new_string(lease_token));
	request_add(&request, "group", json_object_new_int(group));
	r = request_send(vfiod, &request, method, NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	container = field_int(reply, "container", -1);
	r = container < 0 || container > INT32_MAX ? reply_nonsense(vfiod, method) : (int)container;
	message_clear(&message);
	return r;
}

int vfiod_space_detach(struct vfiod *vfiod, struct vfiod_space *space, int group)
{
	struct request request = request_new(space);

	request_add(&request, "group", json_object_new_int(group));
	return request_run(vfiod, &request, "org.vfiod.Space.Detach");
}

int vfiod_space_reset_device(
	struct vfiod *vfiod, struct vfiod_space *space, int group, const char *device, bool bus)
{
	struct request request = request_new(space);

	request_add(&request, "group", json_object_new_int(group));
	request_add(&request, "device", json_object_new_string(device));
	if (bus)
		request_add(&request, "scope", json_object_new_string("bus"));
	return request_run(vfiod, &request, "org.vfiod.Space.ResetDevice");
}

int vfiod_space_get_device(
	struct vfiod *vfiod, struct vfiod_space *space, int group, const char *device)
{
	static const char method[] = "org.vfiod.Space.GetDevice";
	struct request request = request_new(space);
	struct message message;
	struct json_object *reply;
	int r;

	request_add(&request, "group", json_object_new_int(group));
	request_add(&request, "device", json_object_new_string(device));
	r = request_send(vfiod, &request, method, NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	r = message_take_fd(&message, field_int(reply, "deviceFileDescriptor", -1));
	if (r < 0)
		r = reply_nonsense(vfiod, method);
	message_clear(&message);
	return r;
}
