#include "proto/interface.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Where a value is: a chain up to the root, so that only an offender's path costs anything. */
struct place {
	const struct place *parent; /* NULL: the root, which has no name */
	const char *name;           /* NULL: an array's element */
	size_t index;
};

struct path {
	char *text;
	size_t size, length;
};

static int check_value(const struct varlink_type *type, struct json_object *value,
	const struct place *place, struct path *path);

/* Appends what fits. The path is sent to the client, so no UTF-8 sequence is cut in two. */
static void path_append(struct path *path, const char *text)
{
	size_t length = strlen(text);
	size_t room = path->size > 0 ? path->size - 1 - path->length : 0;

	if (length > room) {
		length = room;
		while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
			length--;
		path->size = path->length + length + 1; /* nothing after what was cut */
	}
	if (path->size == 0)
		return;
	memcpy(path->text + path->length, text, length);
	path->length += length;
	path->text[path->length] = '\0';
}

static void path_write(struct path *path, const struct place *place)
{
	char index[32];

	if (!place->parent)
		return;
	path_write(path, place->parent);
	if (place->name) {
		if (place->parent->parent)
			path_append(path, ".");
		path_append(path, place->name);
	} else {
		snprintf(index, sizeof(index), "[%zu]", place->index);
		path_append(path, index);
	}
}

static int offend(const struct place *place, struct path *path)
{
	path_write(path, place);
	return -EINVAL;
}

static int offend_in(const struct place *parent, const char *name, struct path *path)
{
	struct place place = { .parent = parent, .name = name };

	return offend(&place, path);
}

/*
 * json-c saturates what does not fit, to INT64_MIN or UINT64_MAX (which reads as INT64_MAX),
 * and does not say so: the extremes are refused, whether they were meant or not.
 */
static bool is_int(struct json_object *value)
{
	int64_t n;

	if (!json_object_is_type(value, json_type_int))
		return false;
	n = json_object_get_int64(value);
	return n != INT64_MIN && n != INT64_MAX;
}

static bool is_float(struct json_object *value)
{
	if (json_object_is_type(value, json_type_int))
		return is_int(value);
	return json_object_is_type(value, json_type_double) &&
	       isfinite(json_object_get_double(value));
}

static bool is_string(struct json_object *value)
{
	return json_object_is_type(value, json_type_string) &&
	       strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value);
}

static const struct varlink_field *find_field(const struct varlink_type *type, const char *name)
{
	for (size_t i = 0; i < type->n_fields; i++) {
		if (strcmp(type->fields[i].name, name) == 0)
			return &type->fields[i];
	}
	return NULL;
}

/* What is there comes first: a misspelt name says more than the missing right one. */
static int check_struct(const struct varlink_type *type, struct json_object *value,
	const struct place *place, struct path *path)
{
	struct json_object_iterator at, end;

	if (!json_object_is_type(value, json_type_object))
		return offend(place, path);
	end = json_object_iter_end(value);
	for (at = json_object_iter_begin(value); !json_object_iter_equal(&at, &end);
		json_object_iter_next(&at)) {
		const char *name = json_object_iter_peek_name(&at);
		struct place inner = { .parent = place, .name = name };
		const struct varlink_field *field = find_field(type, name);

		if (!field)
			return offend(&inner, path);
		if (check_value(field->type, json_object_iter_peek_value(&at), &inner, path) < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < type->n_fields; i++) {
		const struct varlink_field *field = &type->fields[i];

		if (!field->type->nullable && !json_object_object_get_ex(value, field->name, NULL))
			return offend_in(place, field->name, path);
	}
	return 0;
}

static int check_array(const struct varlink_type *type, struct json_object *value,
	const struct place *place, struct path *path)
{
	if (!json_object_is_type(value, json_type_array))
		return offend(place, path);
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		struct place inner = { .parent = place, .index = i };

		if (check_value(type->element, json_object_array_get_idx(value, i), &inner, path) <
			0)
			return -EINVAL;
	}
	return 0;
}

static int check_map(const struct varlink_type *type, struct json_object *value,
	const struct place *place, struct path *path)
{
	struct json_object_iterator at, end;

	if (!json_object_is_type(value, json_type_object))
		return offend(place, path);
	end = json_object_iter_end(value);
	for (at = json_object_iter_begin(value); !json_object_iter_equal(&at, &end);
		json_object_iter_next(&at)) {
		struct place inner = { .parent = place, .name = json_object_iter_peek_name(&at) };

		if (check_value(type->element, json_object_iter_peek_value(&at), &inner, path) < 0)
			return -EINVAL;
	}
	return 0;
}

/* The value's depth bounds the recursion, not the type's, which may contain itself. */
static int check_value(const struct varlink_type *type, struct json_object *value,
	const struct place *place, struct path *path)
{
	bool fits = false;

	if (!value)
		return type->nullable ? 0 : offend(place, path);
	switch (type->kind) {
	case VARLINK_BOOL:
		fits = json_object_is_type(value, json_type_boolean);
		break;
	case VARLINK_INT:
		fits = is_int(value);
		break;
	case VARLINK_FLOAT:
		fits = is_float(value);
		break;
	case VARLINK_STRING:
		fits = is_string(value);
		break;
	case VARLINK_OBJECT:
		fits = json_object_is_type(value, json_type_object);
		break;
	case VARLINK_ENUM:
		fits = is_string(value) && find_field(type, json_object_get_string(value));
		break;
	case VARLINK_STRUCT:
		return check_struct(type, value, place, path);
	case VARLINK_ARRAY:
		return check_array(type, value, place, path);
	case VARLINK_MAP:
		return check_map(type, value, place, path);
	case VARLINK_NAMED:
		return check_value(type->element, value, place, path);
	}
	return fits ? 0 : offend(place, path);
}

int varlink_check(
	const struct varlink_type *type, struct json_object *value, char *path, size_t path_size)
{
	const struct place root = { .parent = NULL };
	struct path to = { .text = path, .size = path_size };

	if (path_size > 0)
		path[0] = '\0';
	return check_value(type, value, &root, &to);
}
