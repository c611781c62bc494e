/* A .varlink file → its interface; and whether values fit what it declares. */
#include "proto/interface.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *values[4];

static void make_values(void)
{
	static const char *const texts[] = {
		"{}",
		"{\"a\":1,\"b\":[{}],\"c\":{\"a\":\"b\",\"x\":null}}",
		"{\"a\":\"one\",\"b\":true,\"c\":[[1],[\"a\"]]}",
		"{\"a\":{\"a\":{\"a\":{}}},\"b\":1.5,\"c\":[]}",
	};
	for (size_t i = 0; i < 4; i++)
		values[i] = json_tokener_parse(texts[i]);
}

static void check_type(const struct varlink_type *type)
{
	char path[24];

	for (size_t i = 0; i < 4; i++) {
		int r = varlink_check(type, values[i], path, sizeof(path));
		must(r == 0 || r == -EINVAL, "%d", r);
		must(r == 0 || strlen(path) < sizeof(path), "a path without an end");
		/* Struct or enum: only an object can be the first. */
		must(r != 0 || type->kind == VARLINK_STRUCT, "an object fits an enum");
	}
}

static void check_declarations(const struct varlink_declaration *declarations, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		must(declarations[i].name && *declarations[i].name, "no name");
		check_type(declarations[i].type);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct varlink_interface *interface = NULL;
	char error[160];
	char *text = fuzz_text(data, size);

	if (!values[0])
		make_values();
	int r = varlink_interface_parse(text, &interface, error, sizeof(error));
	if (r == 0) {
		for (size_t i = 0; i < interface->n_methods; i++) {
			const struct varlink_method *method = &interface->methods[i];
			must(varlink_interface_method(interface, method->name) == method,
				"%s twice", method->name);
			check_type(method->in);
			check_type(method->out);
		}
		check_declarations(interface->types, interface->n_types);
		check_declarations(interface->errors, interface->n_errors);
		varlink_interface_free(interface);
	} else {
		must(r == -EBADMSG && strncmp(error, "line ", 5) == 0, "%d: %s", r, error);
		must(fuzz_is_printable(error), "%s", error);
	}
	free(text);
	return 0;
}
