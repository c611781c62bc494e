#include "proto/interface.h"
#include "proto/lexer.h"
#include "proto/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NESTING 16 /* of types written into one another */

/* A name of a type, to be looked up when all declarations are known. */
struct reference {
	struct varlink_type *type;
	int line;
};

struct parser {
	struct lexer lexer;
	struct varlink_interface *interface;
	struct reference *references;
	size_t n_references;
	unsigned int nesting;
	char *error;
	size_t error_size;
};

static int parse_type(struct parser *parser, struct varlink_type **type);

static int __attribute__((format(printf, 3, 4)))
fail_at(struct parser *parser, int line, const char *format, ...)
{
	char text[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	snprintf(parser->error, parser->error_size, "line %d: %s", line, text);
	return -EBADMSG;
}

static int fail_expected(struct parser *parser, const char *wanted)
{
	const struct lexer *lexer = &parser->lexer;

	if (lexer->kind == TOKEN_END)
		return fail_at(parser, lexer->line, "expected %s, found the end", wanted);
	if (lexer->kind == TOKEN_INVALID)
		return fail_at(parser, lexer->line, "expected %s, found byte 0x%02x", wanted,
			(unsigned char)*lexer->start);
	return fail_at(parser, lexer->line, "expected %s, found '%.*s'", wanted,
		lexer->length < 64 ? (int)lexer->length : 64, lexer->start);
}

static int expect(struct parser *parser, int kind, const char *wanted)
{
	if (parser->lexer.kind != kind)
		return fail_expected(parser, wanted);
	lexer_next(&parser->lexer);
	return 0;
}

/* One more element at the end of an array, zeroed; NULL: no memory, the array is as before. */
static void *array_add(void **array, size_t *n, size_t size)
{
	char *grown = reallocarray(*array, *n + 1, size);

	if (!grown)
		return NULL;
	*array = grown;
	return memset(grown + size * (*n)++, 0, size);
}
#define ARRAY_ADD(array, n)                                                                        \
	((__typeof__(array))array_add((void **)&(array), &(n), sizeof(*(array))))

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* [A-Za-z]([_]?[A-Za-z0-9])* */
static bool is_field_name(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool joins = name[i] == '_' && i + 1 < length && is_alnum(name[i + 1]);

		if (!is_alnum(name[i]) && !joins)
			return false;
	}
	return true; /* the lexer starts names with a letter */
}

/* [A-Z][A-Za-z0-9]* */
static bool is_member_name(const char *name, size_t length)
{
	if (name[0] < 'A' || name[0] > 'Z')
		return false;
	return is_field_name(name, length) && !memchr(name, '_', length);
}

/* [A-Za-z]([-]*[A-Za-z0-9])*(\.[A-Za-z0-9]([-]*[A-Za-z0-9])*)+ */
static bool is_interface_name(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool starts = i == 0 || name[i - 1] == '.';
		bool ends = i + 1 == length || name[i + 1] == '.';

		if (!is_alnum(name[i]) && !(name[i] == '-' && !starts && !ends) &&
			!(name[i] == '.' && !starts && i + 1 < length))
			return false;
	}
	return memchr(name, '.', length);
}

/* Takes the token if it is a name that `is_valid` likes; and its comment, unless NULL. */
static int parse_name(struct parser *parser, bool (*is_valid)(const char *, size_t),
	const char *wanted, char **name, char **comment)
{
	struct lexer *lexer = &parser->lexer;

	if (lexer->kind != TOKEN_NAME || !is_valid(lexer->start, lexer->length))
		return fail_expected(parser, wanted);
	if (comment && lexer_comment(lexer, comment) < 0)
		return -ENOMEM;
	*name = strndup(lexer->start, lexer->length);
	if (!*name)
		return -ENOMEM;
	lexer_next(lexer);
	return 0;
}

static int parse_field(struct parser *parser, struct varlink_type *type)
{
	struct varlink_field *field = ARRAY_ADD(type->fields, type->n_fields);
	int line = parser->lexer.line;
	bool is_enum;
	int r;

	if (!field)
		return -ENOMEM;
	r = parse_name(parser, is_field_name, "the name of a field", &field->name, &field->comment);
	if (r < 0)
		return r;
	for (size_t i = 0; i + 1 < type->n_fields; i++) {
		if (strcmp(type->fields[i].name, field->name) == 0)
			return fail_at(parser, line, "'%.64s' is there twice", field->name);
	}
	is_enum = parser->lexer.kind != ':';
	if (type->n_fields == 1 && is_enum)
		type->kind = VARLINK_ENUM;
	if (is_enum != (type->kind == VARLINK_ENUM))
		return fail_at(parser, line, "some fields have a type and some have none");
	if (is_enum)
		return 0;
	lexer_next(&parser->lexer);
	return parse_type(parser, &field->type);
}

/* "(a: int, b: string)" or "(a, b)" */
static int parse_fields(struct parser *parser, struct varlink_type *type)
{
	int r = expect(parser, '(', "'('");

	if (r < 0)
		return r;
	type->kind = VARLINK_STRUCT;
	if (parser->lexer.kind != ')') {
		for (;;) {
			r = parse_field(parser, type);
			if (r < 0)
				return r;
			if (parser->lexer.kind != ',')
				break;
			lexer_next(&parser->lexer);
		}
	}
	return expect(parser, ')', "',' or ')'");
}

/* "[]T" or "[string]T" */
static int parse_container(struct parser *parser, struct varlink_type *type)
{
	int r;

	lexer_next(&parser->lexer);
	type->kind = VARLINK_ARRAY;
	if (lexer_is(&parser->lexer, "string")) {
		type->kind = VARLINK_MAP;
		lexer_next(&parser->lexer);
	}
	r = expect(parser, ']', type->kind == VARLINK_MAP ? "']'" : "']' or 'string]'");
	if (r < 0)
		return r;
	return parse_type(parser, &type->element);
}

static int parse_simple(struct parser *parser, struct varlink_type *type)
{
	static const char *const names[] = {
		[VARLINK_BOOL] = "bool",
		[VARLINK_INT] = "int",
		[VARLINK_FLOAT] = "float",
		[VARLINK_STRING] = "string",
		[VARLINK_OBJECT] = "object",
	};
	struct reference *reference;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (lexer_is(&parser->lexer, names[i])) {
			type->kind = (enum varlink_kind)i;
			lexer_next(&parser->lexer);
			return 0;
		}
	}
	type->kind = VARLINK_NAMED;
	reference = ARRAY_ADD(parser->references, parser->n_references);
	if (!reference)
		return -ENOMEM;
	reference->type = type;
	reference->line = parser->lexer.line;
	return parse_name(parser, is_member_name, "a type", &type->type_name, NULL);
}

static int parse_type(struct parser *parser, struct varlink_type **out)
{
	struct varlink_type *type = *out = calloc(1, sizeof(*type));
	int r;

	if (!type)
		return -ENOMEM;
	if (parser->nesting >= MAX_NESTING)
		return fail_at(parser, parser->lexer.line, "types nested too deep");
	parser->nesting++;
	if (parser->lexer.kind == '?') {
		type->nullable = true;
		lexer_next(&parser->lexer);
	}
	if (parser->lexer.kind == '(')
		r = parse_fields(parser, type);
	else if (parser->lexer.kind == '[')
		r = parse_container(parser, type);
	else
		r = parse_simple(parser, type);
	parser->nesting--;
	return r;
}

/* What a declaration, a method or an error has in its parentheses. */
static int parse_body(struct parser *parser, bool may_be_enum, struct varlink_type **type)
{
	int line = parser->lexer.line;
	int r;

	*type = calloc(1, sizeof(**type));
	if (!*type)
		return -ENOMEM;
	r = parse_fields(parser, *type);
	if (r < 0)
		return r;
	if ((*type)->kind == VARLINK_ENUM && !may_be_enum)
		return fail_at(parser, line, "fields need types here");
	return 0;
}

static bool is_declared(const struct varlink_interface *interface, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < interface->n_methods; i++)
		n += strcmp(interface->methods[i].name, name) == 0;
	for (size_t i = 0; i < interface->n_types; i++)
		n += strcmp(interface->types[i].name, name) == 0;
	for (size_t i = 0; i < interface->n_errors; i++)
		n += strcmp(interface->errors[i].name, name) == 0;
	return n > 1; /* itself is one */
}

/* The name after "method", "type" or "error"; all three share one set of names. */
static int parse_member_name(struct parser *parser, char **name)
{
	int line = parser->lexer.line;
	int r = parse_name(parser, is_member_name, "a name in CamelCase", name, NULL);

	if (r < 0)
		return r;
	if (is_declared(parser->interface, *name))
		return fail_at(parser, line, "'%.64s' is declared twice", *name);
	return 0;
}

static int parse_method(struct parser *parser, char *comment)
{
	struct varlink_interface *interface = parser->interface;
	struct varlink_method *method = ARRAY_ADD(interface->methods, interface->n_methods);
	int r;

	if (!method) {
		free(comment);
		return -ENOMEM;
	}
	method->comment = comment;
	method->requires_more = comment && strstr(comment, "[Requires 'more' flag]");
	r = parse_member_name(parser, &method->name);
	if (r < 0)
		return r;
	r = parse_body(parser, false, &method->in);
	if (r < 0)
		return r;
	r = expect(parser, TOKEN_ARROW, "'->'");
	if (r < 0)
		return r;
	return parse_body(parser, false, &method->out);
}

static int parse_declaration(struct parser *parser, struct varlink_declaration **array, size_t *n,
	bool may_be_enum, char *comment)
{
	struct varlink_declaration *declaration = ARRAY_ADD(*array, *n);
	int r;

	if (!declaration) {
		free(comment);
		return -ENOMEM;
	}
	declaration->comment = comment;
	r = parse_member_name(parser, &declaration->name);
	if (r < 0)
		return r;
	return parse_body(parser, may_be_enum, &declaration->type);
}

static int parse_member(struct parser *parser)
{
	struct varlink_interface *interface = parser->interface;
	struct lexer *lexer = &parser->lexer;
	bool is_method = lexer_is(lexer, "method");
	bool is_type = lexer_is(lexer, "type");
	char *comment;

	if (!is_method && !is_type && !lexer_is(lexer, "error"))
		return fail_expected(parser, "'method', 'type' or 'error'");
	if (lexer_comment(lexer, &comment) < 0)
		return -ENOMEM;
	lexer_next(lexer);
	if (is_method)
		return parse_method(parser, comment);
	if (is_type)
		return parse_declaration(
			parser, &interface->types, &interface->n_types, true, comment);
	return parse_declaration(parser, &interface->errors, &interface->n_errors, false, comment);
}

static int resolve_references(struct parser *parser)
{
	const struct varlink_interface *interface = parser->interface;

	for (size_t i = 0; i < parser->n_references; i++) {
		struct varlink_type *type = parser->references[i].type;

		for (size_t j = 0; j < interface->n_types && !type->element; j++) {
			if (strcmp(interface->types[j].name, type->type_name) == 0)
				type->element = interface->types[j].type;
		}
		if (!type->element)
			return fail_at(parser, parser->references[i].line,
				"type '%.64s' is not declared", type->type_name);
	}
	return 0;
}

/* The text is sent to whoever asks for it, comments and all, so all of it has to be UTF-8. */
static int check_encoding(struct parser *parser, const char *text)
{
	const char *end = text + strlen(text);
	int line = 1;

	while (text < end) {
		size_t length = utf8_sequence(text, (size_t)(end - text));

		if (length == 0)
			return fail_at(parser, line, "not UTF-8");
		line += *text == '\n';
		text += length;
	}
	return 0;
}

static int parse_interface(struct parser *parser, const char *text)
{
	struct varlink_interface *interface = parser->interface;
	struct lexer *lexer = &parser->lexer;
	int r = check_encoding(parser, text);

	if (r < 0)
		return r;
	*lexer = (struct lexer){ .at = text, .line = 1 };
	lexer_next(lexer);
	if (!lexer_is(lexer, "interface"))
		return fail_expected(parser, "'interface'");
	if (lexer_comment(lexer, &interface->comment) < 0)
		return -ENOMEM;
	lexer_next(lexer);
	r = parse_name(parser, is_interface_name, "a name with dots", &interface->name, NULL);
	while (r == 0 && lexer->kind != TOKEN_END)
		r = parse_member(parser);
	return r < 0 ? r : resolve_references(parser);
}

int varlink_interface_parse(
	const char *text, struct varlink_interface **interface, char *error, size_t error_size)
{
	struct parser parser = { .error = error, .error_size = error_size };
	int r;

	*interface = NULL;
	if (error_size > 0)
		error[0] = '\0';
	parser.interface = calloc(1, sizeof(*parser.interface));
	if (!parser.interface)
		return -ENOMEM;
	parser.interface->text = text;
	r = parse_interface(&parser, text);
	free(parser.references);
	if (r < 0) {
		varlink_interface_free(parser.interface);
		return r;
	}
	*interface = parser.interface;
	return 0;
}
