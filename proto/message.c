#include "proto/message.h"

#include <errno.h>
#include <string.h>

/* A JSON string that is not empty and has no NUL inside; NULL otherwise. */
static const char *read_name(struct json_object *value)
{
	const char *name;

	if (!json_object_is_type(value, json_type_string))
		return NULL;
	name = json_object_get_string(value);
	return name[0] && strlen(name) == (size_t)json_object_get_string_len(value) ? name : NULL;
}

static bool read_bool(struct json_object *value, bool *flag)
{
	if (!json_object_is_type(value, json_type_boolean))
		return false;
	*flag = json_object_get_boolean(value);
	return true;
}

/* An object, or null, which is the same as none. */
static bool read_parameters(struct json_object *value, struct json_object **parameters)
{
	*parameters = value;
	return !value || json_object_is_type(value, json_type_object);
}

static bool call_read_member(struct varlink_call *call, const char *key, struct json_object *value)
{
	if (strcmp(key, "method") == 0)
		return (call->method = read_name(value)) != NULL;
	if (strcmp(key, "parameters") == 0)
		return read_parameters(value, &call->parameters);
	if (strcmp(key, "more") == 0)
		return read_bool(value, &call->more);
	if (strcmp(key, "oneway") == 0)
		return read_bool(value, &call->oneway);
	if (strcmp(key, "upgrade") == 0)
		return read_bool(value, &call->upgrade);
	return false;
}

int varlink_call_read(struct json_object *message, struct varlink_call *call)
{
	struct varlink_call read = { .method = NULL };

	*call = read;
	if (!json_object_is_type(message, json_type_object))
		return -EBADMSG;
	json_object_object_foreach (message, key, value) {
		if (!call_read_member(&read, key, value))
			return -EBADMSG;
	}
	if (!read.method || read.more + read.oneway + read.upgrade > 1)
		return -EBADMSG;
	if (!read.parameters) {
		read.parameters = read.empty = json_object_new_object();
		if (!read.empty)
			return -ENOMEM;
	}
	*call = read;
	return 0;
}

void varlink_call_clear(struct varlink_call *call)
{
	json_object_put(call->empty);
	memset(call, 0, sizeof(*call));
}

const char *varlink_method_split(const char *method, char *interface, size_t size)
{
	const char *dot = strrchr(method, '.');
	size_t length = dot ? (size_t)(dot - method) : 0;

	if (length == 0 || length >= size || !dot[1])
		return NULL;
	memcpy(interface, method, length);
	interface[length] = '\0';
	return dot + 1;
}

int varlink_reply_read(struct json_object *message, struct varlink_reply *reply)
{
	struct varlink_reply read = { .error = NULL };

	*reply = read;
	if (!json_object_is_type(message, json_type_object))
		return -EBADMSG;
	json_object_object_foreach (message, key, value) {
		bool fits = false;

		if (strcmp(key, "error") == 0)
			fits = (read.error = read_name(value)) != NULL;
		else if (strcmp(key, "parameters") == 0)
			fits = read_parameters(value, &read.parameters);
		else if (strcmp(key, "continues") == 0)
			fits = read_bool(value, &read.continues);
		if (!fits)
			return -EBADMSG;
	}
	if (read.error && read.continues)
		return -EBADMSG;
	*reply = read;
	return 0;
}

/* Adds what it takes over; a value of NULL is memory that was wanting. */
static bool add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

/*
 * {name_key: name, "parameters": …, flag: true}; without name_key and flag where they are NULL.
 * `parameters` are always there: absent and {} mean the same, but not every peer knows.
 */
static struct json_object *build(
	const char *name_key, const char *name, struct json_object *parameters, const char *flag)
{
	struct json_object *object = json_object_new_object();
	bool built = object;

	if (built && name_key)
		built = add(object, name_key, json_object_new_string(name));
	if (!built) {
		json_object_put(parameters);
		json_object_put(object);
		return NULL;
	}
	built = add(object, "parameters", parameters ? parameters : json_object_new_object());
	if (built && flag)
		built = add(object, flag, json_object_new_boolean(true));
	if (!built) {
		json_object_put(object);
		return NULL;
	}
	return object;
}

struct json_object *varlink_call_build(
	const char *method, struct json_object *parameters, bool more, bool oneway)
{
	return build("method", method, parameters, more ? "more" : oneway ? "oneway" : NULL);
}

struct json_object *varlink_reply_build(struct json_object *parameters, bool continues)
{
	return build(NULL, NULL, parameters, continues ? "continues" : NULL);
}

struct json_object *varlink_error_build(const char *error, struct json_object *parameters)
{
	return build("error", error, parameters, NULL);
}
