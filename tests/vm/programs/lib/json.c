/*
 * json KEY…
 *
 * The value at this path in the first line of stdin: a string as it is, null as an empty line, all
 * else as JSON. Scenarios ask so often that starting an interpreter for it would be much of their
 * time.
 */
#include "tests/vm/programs/program.h"

#include <json-c/json.h>

#include <stdbool.h>
#include <string.h>

static struct json_object *step(struct json_object *value, const char *key)
{
	struct json_object *next = NULL;

	if (json_object_is_type(value, json_type_array)) {
		size_t length = json_object_array_length(value);
		if (length == 0)
			errx(EXIT_SYSTEM, "nothing at '%s': the array is empty", key);
		return json_object_array_get_idx(value, program_number(key, length - 1));
	}
	if (!json_object_is_type(value, json_type_object) ||
		!json_object_object_get_ex(value, key, &next))
		errx(EXIT_SYSTEM, "there is no '%s' in %s", key, json_object_to_json_string(value));
	return next;
}

static void print_quoted(const char *text)
{
	struct json_object *string = json_object_new_string(text);
	fputs(json_object_to_json_string_ext(string, JSON_C_TO_STRING_NOSLASHESCAPE), stdout);
	json_object_put(string);
}

/* With a blank behind each comma and colon, and no others. */
static void print(struct json_object *value)
{
	const char *between = "";

	switch (json_object_get_type(value)) {
	case json_type_array:
		putchar('[');
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			fputs(between, stdout);
			print(json_object_array_get_idx(value, i));
			between = ", ";
		}
		putchar(']');
		break;
	case json_type_object:
		putchar('{');
		json_object_object_foreach (value, key, member) {
			fputs(between, stdout);
			print_quoted(key);
			fputs(": ", stdout);
			print(member);
			between = ", ";
		}
		putchar('}');
		break;
	case json_type_string:
		print_quoted(json_object_get_string(value));
		break;
	default:
		fputs(value ? json_object_to_json_string(value) : "null", stdout);
	}
}

int main(int argc, char *argv[])
{
	char *line = NULL;
	size_t size = 0;

	if (getline(&line, &size, stdin) < 0)
		errx(EXIT_SYSTEM, "there is no line");
	struct json_object *root = json_tokener_parse(line), *value = root;
	if (!root && strncmp(line, "null", 4) != 0)
		errx(EXIT_SYSTEM, "not JSON: %s", line);
	for (int i = 1; i < argc; i++)
		value = step(value, argv[i]);
	if (json_object_is_type(value, json_type_string))
		fputs(json_object_get_string(value), stdout);
	else if (value)
		print(value);
	putchar('\n');
	json_object_put(root);
	free(line);
	return 0;
}
