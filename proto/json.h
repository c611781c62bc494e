/*
 * JSON text, read as strictly as RFC 8259 writes it. json-c makes the objects, but takes more
 * than JSON even when asked to be strict (0.16: NaN, -01, "1.", raw control characters,
 * overlong UTF-8) and cuts a key at \u0000, so the text is checked before json-c sees it.
 */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

/*
 * What one text may hold: an empty object costs json-c some 800 bytes and its sender three,
 * so the number of values bounds the memory, not the length.
 */
#define JSON_MAX_VALUES 65536

/*
 * 0 and an object in *object, which the caller puts; -EBADMSG: not UTF-8, not JSON, not an
 * object, nested deeper than max_depth ({} is 1 deep), something after it, or a NUL in a key;
 * -EMSGSIZE: more than JSON_MAX_VALUES; -ENOMEM. Of duplicate keys the last one counts, for
 * every reader alike. Linear in `length`.
 */
int json_read(const char *text, size_t length, size_t max_depth, struct json_object **object);
/* The same with fewer values, for who serves strangers: 20,000 of them cost milliseconds, too. */
int json_read_bounded(const char *text, size_t length, size_t max_depth, size_t max_values,
	struct json_object **object);
