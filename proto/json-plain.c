#include "proto/json-plain.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool read_value(const char **at, struct json_object **value);

static char skip_to(const char **at)
{
	while (**at == ' ' || **at == '\t' || **at == '\r' || **at == '\n')
		++*at;
	return **at;
}

/* The string's length; *at was at its first quote, and is behind its last. */
static size_t read_quoted(const char **at, const char **string)
{
	const char *end = strchr(*at + 1, '"');

	*string = *at + 1;
	*at = end + 1;
	return (size_t)(end - *string);
}

static bool read_string(const char **at, struct json_object **value)
{
	const char *string;
	size_t length = read_quoted(at, &string);

	*value = json_object_new_string_len(string, (int)length);
	return *value;
}

static bool read_number(const char **at, struct json_object **value)
{
	bool is_negative = **at == '-';
	int64_t number = 0;

	for (*at += is_negative; **at >= '0' && **at <= '9'; ++*at)
		number = number * 10 + (**at - '0');
	*value = json_object_new_int64(is_negative ? -number : number);
	return *value;
}

static bool read_word(const char **at, struct json_object **value)
{
	char first = **at;

	*at += first == 'f' ? strlen("false") : strlen("true");
	*value = first == 'n' ? NULL : json_object_new_boolean(first == 't');
	return first == 'n' || *value;
}

/* What comes again counts, as with json-c. Takes the value over. */
static bool add_member(
	struct json_object *object, const char *key, size_t length, struct json_object *value)
{
	char name[64];
	bool fits = length < sizeof(name);
	char *copy = fits ? name : malloc(length + 1);

	if (copy) {
		memcpy(copy, key, length);
		copy[length] = '\0';
	}
	bool is_added = copy && json_object_object_add(object, copy, value) == 0;
	if (!is_added)
		json_object_put(value);
	if (!fits)
		free(copy);
	return is_added;
}

static bool read_member(const char **at, struct json_object *object)
{
	struct json_object *value;
	const char *key;

	size_t length = read_quoted(at, &key);
	skip_to(at);
	++*at; /* : */
	skip_to(at);
	return read_value(at, &value) && add_member(object, key, length, value);
}

static bool read_element(const char **at, struct json_object *array)
{
	struct json_object *value;

	if (!read_value(at, &value))
		return false;
	if (json_object_array_add(array, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool read_container(const char **at, struct json_object **value)
{
	bool is_object = **at == '{', is_well;

	*value = is_object ? json_object_new_object() : json_object_new_array();
	is_well = *value;
	++*at;
	while (is_well && skip_to(at) != '}' && **at != ']') {
		is_well = is_object ? read_member(at, *value) : read_element(at, *value);
		if (is_well && skip_to(at) == ',') {
			++*at;
			skip_to(at);
		}
	}
	if (is_well) {
		++*at;
		return true;
	}
	json_object_put(*value);
	*value = NULL;
	return false;
}

static bool read_value(const char **at, struct json_object **value)
{
	switch (**at) {
	case '{':
	case '[':
		return read_container(at, value);
	case '"':
		return read_string(at, value);
	case 't':
	case 'f':
	case 'n':
		return read_word(at, value);
	default:
		return read_number(at, value);
	}
}

struct json_object *json_read_plain(const char *text)
{
	struct json_object *object;

	skip_to(&text);
	return read_value(&text, &object) ? object : NULL;
}
