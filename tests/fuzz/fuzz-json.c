/* A text → json_read(): what it takes, it takes again as json-c writes it, and it is the same. */
#include "proto/json.h"
#include "proto/message.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

enum { DEPTH = 8 };

/* Calls and replies from the same object: what is borrowed is valid, what is refused is empty. */
static void read_as_message(struct json_object *object)
{
	struct varlink_call call;
	struct varlink_reply reply;
	char interface[128];

	if (varlink_call_read(object, &call) == 0) {
		must(json_object_is_type(call.parameters, json_type_object), "parameters");
		must(call.more + call.oneway + call.upgrade <= 1, "flags");
		const char *method =
			varlink_method_split(call.method, interface, sizeof(interface));
		must(!method || strlen(interface) + strlen(method) + 1 == strlen(call.method), "%s",
			call.method);
		varlink_call_clear(&call);
	}
	if (varlink_reply_read(object, &reply) == 0)
		must(!reply.error || !reply.continues, "an error that goes on");
}

/* Most is read without json-c's parser, and is the same. */
static void compare_with_library(const char *text, size_t size, struct json_object *object)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH + 1);
	struct json_object *theirs =
		tokener ? json_tokener_parse_ex(tokener, text, (int)size) : NULL;

	must(json_object_equal(object, theirs), "%.*s", (int)size, text);
	json_object_put(theirs);
	json_tokener_free(tokener);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object *object = NULL, *again = NULL;
	size_t length;
	int r = json_read((const char *)data, size, DEPTH, &object);

	if (r != 0) {
		must(r == -EBADMSG || r == -EMSGSIZE, "%d", r);
		return 0;
	}
	must(json_object_is_type(object, json_type_object), "no object");
	compare_with_library((const char *)data, size, object);
	const char *text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
	r = json_read(text, length, DEPTH, &again);
	must(r == 0, "%d: %s", r, text);
	must(json_object_equal(object, again), "%s", text);
	read_as_message(object);
	json_object_put(again);
	json_object_put(object);
	return 0;
}
