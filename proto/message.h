/*
 * What a Varlink message says: calls and replies, read strictly and written
 * exactly as facts about the wire demand (no extra top-level key, no null error,
 * `continues` only in answer to `more`).
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

struct varlink_call {
	const char *method;             /* borrowed from the message */
	struct json_object *parameters; /* borrowed; never NULL: absent and null are {} */
	bool more, oneway, upgrade;
	struct json_object *empty; /* what `parameters` is when there were none; owned */
};
/*
 * 0, -ENOMEM, or -EBADMSG: no method, an unknown top-level key, a key of the wrong type, or two
 * of more, oneway and upgrade. `message` must outlive the call. On failure *call is empty.
 */
int varlink_call_read(struct json_object *message, struct varlink_call *call);
void varlink_call_clear(struct varlink_call *call);

/* The part before the last dot, copied into interface[]; returns the part after it, or NULL. */
const char *varlink_method_split(const char *method, char *interface, size_t size);

struct varlink_reply {
	const char *error;              /* NULL for success; borrowed */
	struct json_object *parameters; /* borrowed, may be NULL */
	bool continues;
};
/* As strict: 0, or -EBADMSG (an error that continues included). */
int varlink_reply_read(struct json_object *message, struct varlink_reply *reply);

/* All take `parameters` over (NULL = {}), also on failure, and return a new object, or NULL: no
 * memory. */
struct json_object *varlink_call_build(
	const char *method, struct json_object *parameters, bool more, bool oneway);
struct json_object *varlink_reply_build(struct json_object *parameters, bool continues);
struct json_object *varlink_error_build(const char *error, struct json_object *parameters);
