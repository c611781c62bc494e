/* The parser of .varlink files, and the three files that are compiled in. */
#include "proto/interface.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct varlink_interface *parse(const char *text)
{
	struct varlink_interface *interface;
	char error[200];
	int r = varlink_interface_parse(text, &interface, error, sizeof(error));

	if (r < 0)
		fail_msg("%s", error);
	assert_string_equal(error, "");
	return interface;
}

static void refused(const char *text, const char *wanted)
{
	struct varlink_interface *interface = (void *)1;
	char error[200];

	assert_int_equal(varlink_interface_parse(text, &interface, error, sizeof(error)), -EBADMSG);
	assert_null(interface);
	assert_string_equal(error, wanted);
}

static void test_all_kinds(void **state)
{
	struct varlink_interface *interface =
		parse("interface a.b\n"
		      "type T (b: bool, i: int, f: float, s: string, o: object, e: (x, y),\n"
		      "  c: (in: int), a: []string, m: [string]?int, n: ?T, an: ?[]E)\n"
		      "type E (one)\n"
		      "type Empty ()\n"
		      "method M()->()\n"
		      "error R(errno: int)\n");
	const struct varlink_field *f = interface->types[0].type->fields;

	(void)state;
	assert_string_equal(interface->name, "a.b");
	assert_int_equal(interface->n_types, 3);
	assert_int_equal(interface->types[0].type->kind, VARLINK_STRUCT);
	assert_int_equal(interface->types[0].type->n_fields, 11);
	assert_int_equal(f[0].type->kind, VARLINK_BOOL);
	assert_int_equal(f[1].type->kind, VARLINK_INT);
	assert_int_equal(f[2].type->kind, VARLINK_FLOAT);
	assert_int_equal(f[3].type->kind, VARLINK_STRING);
	assert_int_equal(f[4].type->kind, VARLINK_OBJECT);
	assert_int_equal(f[5].type->kind, VARLINK_ENUM);
	assert_string_equal(f[5].type->fields[1].name, "y");
	assert_null(f[5].type->fields[1].type);
	assert_int_equal(f[6].type->kind, VARLINK_STRUCT);
	assert_int_equal(f[7].type->kind, VARLINK_ARRAY);
	assert_int_equal(f[7].type->element->kind, VARLINK_STRING);
	assert_int_equal(f[8].type->kind, VARLINK_MAP);
	assert_true(f[8].type->element->nullable);
	assert_false(f[8].type->nullable);
	assert_int_equal(f[9].type->kind, VARLINK_NAMED);
	assert_true(f[9].type->nullable);
	assert_ptr_equal(f[9].type->element, interface->types[0].type);
	assert_string_equal(f[9].type->type_name, "T");
	assert_true(f[10].type->nullable);
	assert_ptr_equal(f[10].type->element->element, interface->types[1].type);
	assert_int_equal(interface->types[1].type->kind, VARLINK_ENUM);
	assert_int_equal(interface->types[2].type->kind, VARLINK_STRUCT);
	assert_int_equal(interface->types[2].type->n_fields, 0);
	assert_string_equal(interface->methods[0].name, "M");
	assert_int_equal(interface->methods[0].in->kind, VARLINK_STRUCT);
	assert_int_equal(interface->methods[0].out->n_fields, 0);
	assert_false(interface->methods[0].requires_more);
	assert_non_null(varlink_interface_method(interface, "M"));
	assert_null(varlink_interface_method(interface, "R"));
	assert_ptr_equal(varlink_interface_error(interface, "R"), interface->errors[0].type);
	assert_null(varlink_interface_error(interface, "T"));
	varlink_interface_free(interface);
}

static void test_comments(void **state)
{
	struct varlink_interface *interface = parse("# far away\n"
						    "\n"
						    "# One\n"
						    "#two \n"
						    "#\n"
						    "#  three\r\n"
						    "interface a.b # at the side\n"
						    "# gone\n"
						    "\n"
						    "type T ( # aside\n"
						    "  # of a\n"
						    "\t# and more\n"
						    "  a: int, # not of b\n"
						    "  b: int\n"
						    ")\n"
						    "# Streams.\n"
						    "# [Requires 'more' flag]\n"
						    "method M() -> ()\n"
						    "# Fails.\n"
						    "error E ()\n"
						    "# at the end");

	(void)state;
	assert_string_equal(interface->comment, "One\ntwo\n\n three");
	assert_null(interface->types[0].comment);
	assert_string_equal(interface->types[0].type->fields[0].comment, "of a\nand more");
	assert_null(interface->types[0].type->fields[1].comment);
	assert_string_equal(interface->methods[0].comment, "Streams.\n[Requires 'more' flag]");
	assert_true(interface->methods[0].requires_more);
	assert_string_equal(interface->errors[0].comment, "Fails.");
	varlink_interface_free(interface);
}

static void test_names(void **state)
{
	static const char *const good[] = { "interface a.b", "interface A-b.c--d.0e",
		"interface x.y type T (a_b: int, type: int)",
		"interface a.b type Interface2 (interface: string, error: string)",
		"interface a.b method M(a:int)->(b:int)" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		varlink_interface_free(parse(good[i]));
	refused("interface a", "line 1: expected a name with dots, found 'a'");
	refused("interface a.", "line 1: expected a name with dots, found 'a.'");
	refused("interface a..b", "line 1: expected a name with dots, found 'a..b'");
	refused("interface a.-b", "line 1: expected a name with dots, found 'a.-b'");
	refused("interface a-.b", "line 1: expected a name with dots, found 'a-.b'");
	refused("interface a.b_c", "line 1: expected a name with dots, found 'a.b_c'");
	refused("interface a.b\n\ntype t ()", "line 3: expected a name in CamelCase, found 't'");
	refused("interface a.b type T_x ()", "line 1: expected a name in CamelCase, found 'T_x'");
	refused("interface a.b type T (a__b: int)",
		"line 1: expected the name of a field, found 'a__b'");
	refused("interface a.b type T (a_: int)",
		"line 1: expected the name of a field, found 'a_'");
	refused("interface a.b type T (direct-relaxable, b)",
		"line 1: expected the name of a field, found 'direct-relaxable'");
	refused("interface a.b type T (a: int,\n a: int)", "line 2: 'a' is there twice");
	refused("interface a.b type T ()\nerror T ()", "line 2: 'T' is declared twice");
	refused("interface a.b method T()->()\nerror T ()", "line 2: 'T' is declared twice");
}

static void test_malformed(void **state)
{
	(void)state;
	refused("", "line 1: expected 'interface', found the end");
	refused("# only a comment", "line 1: expected 'interface', found the end");
	refused("interface a.b\n# \xff", "line 2: not UTF-8");
	refused("interface a.b \xe2\x82\xac",
		"line 1: expected 'method', 'type' or 'error', found byte 0xe2");
	refused("interface a.b\nerror X\n", "line 3: expected '(', found the end");
	refused("interface a.b\nerror X (a)", "line 2: fields need types here");
	refused("interface a.b method M(a) -> ()", "line 1: fields need types here");
	refused("interface a.b method M() ()", "line 1: expected '->', found '('");
	refused("interface a.b method M() - ()", "line 1: expected '->', found byte 0x2d");
	refused("interface a.b type T (a: any)", "line 1: expected a type, found 'any'");
	refused("interface a.b type T (a: ??int)", "line 1: expected a type, found '?'");
	refused("interface a.b type T (a: int,)",
		"line 1: expected the name of a field, found ')'");
	refused("interface a.b type T (a: int b: int)", "line 1: expected ',' or ')', found 'b'");
	refused("interface a.b type T (a: int, b)",
		"line 1: some fields have a type and some have none");
	refused("interface a.b type T (a, b: int)",
		"line 1: some fields have a type and some have none");
	refused("interface a.b type T (a: [int]int)",
		"line 1: expected ']' or 'string]', found 'int'");
	refused("interface a.b type T (a: [string int)", "line 1: expected ']', found 'int'");
	refused("interface a.b type T int", "line 1: expected '(', found 'int'");
	refused("interface a.b\n\n\ntype T (a:\n Nothing)",
		"line 5: type 'Nothing' is not declared");
	/* An error is no type. */
	refused("interface a.b error E () type T (a: E)", "line 1: type 'E' is not declared");
}

static void test_nesting_bound(void **state)
{
	char text[256];

	(void)state;
	for (size_t n = 15; n <= 16; n++) {
		static const char brackets[] = "[][][][][][][][][][][][][][][][]";

		snprintf(text, sizeof(text), "interface a.b type T (a: %.*sint)", (int)(2 * n),
			brackets);
		if (n == 15)
			varlink_interface_free(parse(text));
		else
			refused(text, "line 1: types nested too deep");
	}
}

/* Every beginning of a real file is parsed or refused; the sanitizers see the rest. */
static void test_every_truncation(void **state)
{
	const char *text = varlink_files[0].text;
	size_t length = strlen(text), n_good = 0;

	(void)state;
	for (size_t i = 0; i <= length; i++) {
		struct varlink_interface *interface;
		char *part = strndup(text, i);
		char error[8];
		int r = varlink_interface_parse(part, &interface, error, sizeof(error));

		assert_true(r == 0 || r == -EBADMSG);
		n_good += r == 0;
		varlink_interface_free(interface);
		free(part);
	}
	assert_in_range(n_good, 2, length / 2);
}

static void check_portable_type(const char *where, const struct varlink_type *type)
{
	bool is_container = type->kind == VARLINK_ARRAY || type->kind == VARLINK_MAP;

	if (is_container) {
		const struct varlink_type *element = type->element;

		if (element->kind == VARLINK_ARRAY || element->kind == VARLINK_MAP ||
			element->kind == VARLINK_STRUCT || element->kind == VARLINK_ENUM)
			fail_msg("%s: a container of an unnamed type is not portable", where);
		check_portable_type(where, element);
	}
	if (type->kind == VARLINK_OBJECT)
		fail_msg("%s: 'object' says nothing", where);
}

static void check_fields(const char *where, const struct varlink_type *type, bool is_ours)
{
	for (size_t i = 0; i < type->n_fields; i++) {
		const struct varlink_field *field = &type->fields[i];
		char inner[200];

		snprintf(inner, sizeof(inner), "%s.%s", where, field->name);
		if (!field->type)
			continue;
		if (is_ours && !field->comment)
			fail_msg("%s has no comment", inner);
		check_portable_type(inner, field->type);
		check_fields(inner, field->type, is_ours);
	}
}

static void check_declarations(
	const struct varlink_declaration *declarations, size_t n, bool is_ours)
{
	for (size_t i = 0; i < n; i++) {
		if (!declarations[i].comment)
			fail_msg("%s has no comment", declarations[i].name);
		check_fields(declarations[i].name, declarations[i].type, is_ours);
	}
}

/*
 * An enum's values have no comments of their own: lines " value, value: text" of the type's
 * comment explain them. How many lines name `value`; *n_names counts all that are named.
 */
static size_t count_explanations(const char *comment, const char *value, size_t *n_names)
{
	size_t n = 0;

	*n_names = 0;
	for (const char *line = strstr(comment, "\n "); line; line = strstr(line + 1, "\n ")) {
		const char *at = line + 2;
		const char *end = at + strcspn(at, ":\n");

		if (*end != ':')
			fail_msg("'%.*s': explains no value", (int)(end - at), at);
		while (at < end) {
			size_t length = strcspn(at, ",:");

			n += length == strlen(value) && strncmp(at, value, length) == 0;
			*n_names += 1;
			at += length;
			at += strspn(at, ", :");
		}
	}
	return n;
}

static void check_enums(const struct varlink_interface *interface)
{
	for (size_t i = 0; i < interface->n_types; i++) {
		const struct varlink_declaration *declaration = &interface->types[i];
		const struct varlink_type *type = declaration->type;
		size_t n_names;

		for (size_t j = 0; type->kind == VARLINK_ENUM && j < type->n_fields; j++) {
			const char *value = type->fields[j].name;

			if (count_explanations(declaration->comment, value, &n_names) != 1)
				fail_msg("%s.%s is not explained", declaration->name, value);
			assert_int_equal(n_names, type->n_fields); /* and nothing that it has not */
		}
	}
}

/* A comment just before ')' is what some parsers cannot take. */
static void check_closing_comments(const char *text)
{
	bool after_comment = false;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *first = line + strspn(line, " \t");

		assert_false(after_comment && *first == ')');
		after_comment = *first == '#';
	}
}

static const char *embedded_text(const char *name)
{
	for (size_t i = 0; i < n_varlink_files; i++) {
		if (strcmp(varlink_files[i].name, name) == 0)
			return varlink_files[i].text;
	}
	fail_msg("%s is not there", name);
	return NULL;
}

static void test_embedded(void **state)
{
	static const char *const names[] = { "org.varlink.service", "org.vfiod.Admin",
		"org.vfiod.Broker" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *text = embedded_text(names[i]);
		struct varlink_interface *interface = parse(text);

		assert_string_equal(interface->name, names[i]);
		assert_ptr_equal(interface->text, text);
		varlink_interface_free(interface);
	}
}

static void test_embedded_commented_and_portable(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_varlink_files; i++) {
		struct varlink_interface *interface = parse(varlink_files[i].text);
		bool is_ours = strncmp(interface->name, "org.vfiod.", 10) == 0;

		assert_non_null(interface->comment);
		assert_true(interface->n_methods > 0);
		for (size_t j = 0; j < interface->n_methods; j++) {
			const struct varlink_method *method = &interface->methods[j];

			if (!method->comment)
				fail_msg("%s has no comment", method->name);
			check_fields(method->name, method->in, is_ours);
			check_fields(method->name, method->out, is_ours);
		}
		check_declarations(interface->types, interface->n_types, is_ours);
		check_declarations(interface->errors, interface->n_errors, is_ours);
		check_enums(interface);
		check_closing_comments(varlink_files[i].text);
		varlink_interface_free(interface);
	}
}

static void test_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_varlink_files; i++) {
		struct varlink_interface *interface = parse(varlink_files[i].text);

		if (strcmp(interface->name, "org.vfiod.Broker") == 0) {
			assert_true(varlink_interface_method(interface, "List")->requires_more);
			assert_true(varlink_interface_method(interface, "Monitor")->requires_more);
			assert_false(varlink_interface_method(interface, "Acquire")->requires_more);
			assert_non_null(varlink_interface_error(interface, "GroupBusy"));
			assert_non_null(varlink_interface_error(interface, "NoSuchLease"));
		}
		varlink_interface_free(interface);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),
		cmocka_unit_test(test_comments),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_nesting_bound),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_embedded),
		cmocka_unit_test(test_embedded_commented_and_portable),
		cmocka_unit_test(test_streams),
	};

	assert_null(varlink_interface_free(NULL));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
