/*
 * A Varlink interface, parsed from its .varlink file: the files are the single
 * source, so parameters are checked, interfaces described and org.vfiod(7)
 * written from what this parser makes of them.
 *
 * Source: the Varlink interface definition (varlink.org/Interface-Definition).
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

enum varlink_kind {
	VARLINK_BOOL,
	VARLINK_INT, /* int64; the two extremes are refused: json-c saturates to them silently */
	VARLINK_FLOAT,
	VARLINK_STRING, /* no NUL inside */
	VARLINK_OBJECT,
	VARLINK_ENUM,   /* names in fields[] */
	VARLINK_STRUCT, /* fields[] */
	VARLINK_ARRAY,  /* of element */
	VARLINK_MAP,    /* string → element */
	VARLINK_NAMED,  /* type_name, resolved to element */
};

struct varlink_type {
	enum varlink_kind kind;
	bool nullable; /* ?T */
	struct varlink_field *fields;
	size_t n_fields;
	struct varlink_type *element; /* VARLINK_NAMED: borrowed from its declaration */
	char *type_name;
};

struct varlink_field {
	char *name;
	char *comment;             /* lines above it, '#' and one blank removed; NULL */
	struct varlink_type *type; /* NULL for the names of an enum */
};

struct varlink_method {
	char *name, *comment;
	struct varlink_type *in, *out; /* VARLINK_STRUCT */
	bool requires_more;            /* its comment has "[Requires 'more' flag]" */
	const void *server;            /* for who serves it; NULL at first */
};

/* A `type` or an `error`. */
struct varlink_declaration {
	char *name, *comment;
	struct varlink_type *type;
};

struct varlink_interface {
	char *name, *comment;
	const char *text; /* the file, borrowed */
	struct varlink_method *methods;
	size_t n_methods;
	struct varlink_declaration *types, *errors;
	size_t n_types, n_errors;
};

/*
 * 0, -ENOMEM, or -EBADMSG with "line 12: …" in error[]. `text` must outlive the interface.
 */
int varlink_interface_parse(
	const char *text, struct varlink_interface **interface, char *error, size_t error_size);
struct varlink_interface *varlink_interface_free(struct varlink_interface *interface);
const struct varlink_method *varlink_interface_method(
	const struct varlink_interface *interface, const char *name); /* NULL */
const struct varlink_type *varlink_interface_error(
	const struct varlink_interface *interface, const char *name); /* NULL */

/*
 * Does the value (NULL = JSON null) fit the type? 0, or -EINVAL with the first offender in
 * path[]: "selectors[0].group", "unknownField". Missing fields fit if they are nullable.
 */
int varlink_check(
	const struct varlink_type *type, struct json_object *value, char *path, size_t path_size);

/* The interface files that are compiled in: name and text. n_… entries. */
struct varlink_file {
	const char *name, *text;
};
extern const struct varlink_file varlink_files[];
extern const size_t n_varlink_files;
