#include "daemon/base/fields.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int field_add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

int field_add_string(struct json_object *object, const char *key, const char *value)
{
	return field_add(object, key, json_object_new_string(value));
}

int field_add_bool(struct json_object *object, const char *key, bool value)
{
	return field_add(object, key, json_object_new_boolean(value));
}

int field_add_number(struct json_object *object, const char *key, int64_t value)
{
	return field_add(object, key, json_object_new_int64(value));
}

int field_add_unsigned(struct json_object *object, const char *key, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return field_add_string(object, key, text);
}

struct json_object *fields_get(struct fields *fields, const char *key, enum json_type type)
{
	struct json_object *value = NULL;

	if (json_object_object_get_ex(fields->object, key, &value) &&
		json_object_is_type(value, type))
		return value;
	if (!fields->problem)
		fields->problem = key;
	return NULL;
}

void fields_get_string(struct fields *fields, const char *key, char *to, size_t size)
{
	struct json_object *value = fields_get(fields, key, json_type_string);

	to[0] = '\0';
	/* A NUL inside would make another string of it. */
	if (value &&
		((size_t)json_object_get_string_len(value) !=
				strlen(json_object_get_string(value)) ||
			string_copy(to, size, json_object_get_string(value)) < 0) &&
		!fields->problem)
		fields->problem = key;
}

bool fields_get_bool(struct fields *fields, const char *key)
{
	return json_object_get_boolean(fields_get(fields, key, json_type_boolean));
}

int64_t fields_get_number(struct fields *fields, const char *key, int64_t max)
{
	int64_t number = json_object_get_int64(fields_get(fields, key, json_type_int));

	if (number >= 0 && number <= max)
		return number;
	if (!fields->problem)
		fields->problem = key;
	return 0;
}

uint64_t fields_get_unsigned(struct fields *fields, const char *key)
{
	char text[32], *end;

	fields_get_string(fields, key, text, sizeof(text));
	errno = 0;
	uint64_t value = strtoumax(text, &end, 10);
	if ((errno || *end || *text < '0' || *text > '9') && !fields->problem)
		fields->problem = key;
	return value;
}

/* One of the names of an enum that starts at 0. */
int fields_get_name(struct fields *fields, const char *key, const char *(*name_of)(int), int n)
{
	char name[32];

	fields_get_string(fields, key, name, sizeof(name));
	for (int i = 0; i < n; i++)
		if (strcmp(name, name_of(i)) == 0)
			return i;
	if (!fields->problem)
		fields->problem = key;
	return 0;
}

void fields_note(struct fields *fields, const struct fields *inner)
{
	if (!fields->problem)
		fields->problem = inner->problem;
}
