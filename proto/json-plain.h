/* Private to proto: JSON as almost all of it is. */
#pragma once

#include <json-c/json.h>

/*
 * The object of a text that is known to be one JSON object, and plain: without a backslash, and its
 * numbers are integers of 18 digits at most. A third of what json-c's parser takes, which makes a
 * locale of its own for each text. NULL: no memory.
 */
struct json_object *json_read_plain(const char *text);
