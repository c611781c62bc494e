/* Does a value fit its type? Each kind, its edges, and the path of the first offender. */
#include "proto/interface.h"
#include "proto/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const idl =
	"interface a.b\n"
	"type Tree (left: ?Tree, children: ?[]Tree, size: int)\n"
	"type Colour (red, green)\n"
	"type All (b: ?bool, i: ?int, f: ?float, s: ?string, o: ?object, e: ?Colour,\n"
	"  a: ?[]int, n: ?[]?int, m: ?[string]int, in: ?(x: int, y: ?int), t: ?Tree,\n"
	"  longer: ?[string]string)\n"
	"type Needs (a: int, b: string, c: ?int)\n"
	"type Empty ()\n";

static int setup(void **state)
{
	struct varlink_interface *interface;
	char error[100];

	if (varlink_interface_parse(idl, &interface, error, sizeof(error)) < 0)
		return -1;
	*state = interface;
	return 0;
}

static int teardown(void **state)
{
	varlink_interface_free(*state);
	return 0;
}

/* NULL: it fits; else the path of what does not, for which `size` bytes are given. */
static void check_sized(
	void **state, const char *name, const char *text, const char *wanted, size_t size)
{
	const struct varlink_interface *interface = *state;
	const struct varlink_type *type = NULL;
	struct json_object *value;
	char path[256] = "untouched";
	int r;

	for (size_t i = 0; i < interface->n_types; i++) {
		if (strcmp(interface->types[i].name, name) == 0)
			type = interface->types[i].type;
	}
	assert_non_null(type);
	assert_int_equal(json_read(text, strlen(text), 1000, &value), 0);
	r = varlink_check(type, value, path, size);
	json_object_put(value);
	if (r == 0 && wanted)
		fail_msg("%s fits", text);
	if (r != 0 && !wanted)
		fail_msg("%s does not fit: %s", text, path);
	assert_int_equal(r, wanted ? -EINVAL : 0);
	assert_string_equal(path, wanted ? wanted : "");
}

static void check(void **state, const char *name, const char *text, const char *wanted)
{
	check_sized(state, name, text, wanted, 256);
}

static void test_simple(void **state)
{
	check(state, "All", "{}", NULL);
	check(state, "All", "{\"b\":true}", NULL);
	check(state, "All", "{\"b\":null}", NULL);
	check(state, "All", "{\"b\":1}", "b");
	check(state, "All", "{\"b\":\"true\"}", "b");
	check(state, "All", "{\"s\":\"\"}", NULL);
	check(state, "All", "{\"s\":\"\xe2\x82\xac\"}", NULL);
	check(state, "All", "{\"s\":1}", "s");
	check(state, "All", "{\"s\":[\"x\"]}", "s");
	check(state, "All", "{\"o\":{\"what\":[1,{}]}}", NULL);
	check(state, "All", "{\"o\":[]}", "o");
	check(state, "All", "{\"o\":\"{}\"}", "o");
}

static void test_int(void **state)
{
	check(state, "All", "{\"i\":0}", NULL);
	check(state, "All", "{\"i\":-0}", NULL);
	check(state, "All", "{\"i\":9223372036854775806}", NULL);
	check(state, "All", "{\"i\":9223372036854775807}", "i");
	check(state, "All", "{\"i\":9223372036854775808}", "i");
	check(state, "All", "{\"i\":18446744073709551615}", "i");
	check(state, "All", "{\"i\":18446744073709551616}", "i");
	check(state, "All", "{\"i\":99999999999999999999999999}", "i");
	check(state, "All", "{\"i\":-9223372036854775807}", NULL);
	check(state, "All", "{\"i\":-9223372036854775808}", "i");
	check(state, "All", "{\"i\":-9223372036854775809}", "i");
	check(state, "All", "{\"i\":1.0}", "i");
	check(state, "All", "{\"i\":1e3}", "i");
	check(state, "All", "{\"i\":\"1\"}", "i");
	check(state, "All", "{\"i\":true}", "i");
}

static void test_float(void **state)
{
	check(state, "All", "{\"f\":1.5}", NULL);
	check(state, "All", "{\"f\":-2}", NULL);
	check(state, "All", "{\"f\":1e308}", NULL);
	check(state, "All", "{\"f\":1e309}", "f");
	check(state, "All", "{\"f\":-1e309}", "f");
	check(state, "All", "{\"f\":99999999999999999999999999}", "f");
	check(state, "All", "{\"f\":\"1\"}", "f");
}

static void test_nul_in_string(void **state)
{
	check(state, "All", "{\"s\":\"a\\u0000\"}", "s");
	check(state, "All", "{\"s\":\"\\u0000\"}", "s");
	check(state, "All", "{\"e\":\"red\\u0000\"}", "e");
	check(state, "All", "{\"longer\":{\"k\":\"a\\u0000b\"}}", "longer.k");
}

static void test_enum(void **state)
{
	check(state, "All", "{\"e\":\"red\"}", NULL);
	check(state, "All", "{\"e\":\"green\"}", NULL);
	check(state, "All", "{\"e\":\"Red\"}", "e");
	check(state, "All", "{\"e\":\"\"}", "e");
	check(state, "All", "{\"e\":0}", "e");
}

static void test_containers(void **state)
{
	check(state, "All", "{\"a\":[]}", NULL);
	check(state, "All", "{\"a\":[1,2]}", NULL);
	check(state, "All", "{\"a\":[1,\"2\",\"3\"]}", "a[1]");
	check(state, "All", "{\"a\":[1,null]}", "a[1]");
	check(state, "All", "{\"a\":{}}", "a");
	check(state, "All", "{\"n\":[1,null]}", NULL);
	check(state, "All", "{\"m\":{}}", NULL);
	check(state, "All", "{\"m\":{\"x\":1,\"y\":2}}", NULL);
	check(state, "All", "{\"m\":{\"x\":1,\"y\":\"2\"}}", "m.y");
	check(state, "All", "{\"m\":{\"x\":null}}", "m.x");
	check(state, "All", "{\"m\":[]}", "m");
	check(state, "All", "{\"in\":{\"x\":1}}", NULL);
	check(state, "All", "{\"in\":{\"x\":1,\"z\":1}}", "in.z");
	check(state, "All", "{\"in\":{\"y\":1}}", "in.x");
}

static void test_fields(void **state)
{
	check(state, "Needs", "{\"a\":1,\"b\":\"\"}", NULL);
	check(state, "Needs", "{\"b\":\"\",\"a\":1,\"c\":null}", NULL);
	check(state, "Needs", "{}", "a");
	check(state, "Needs", "{\"a\":1}", "b");
	check(state, "Needs", "{\"a\":null,\"b\":\"\"}", "a");
	/* A misspelt name is named before the right one that is missing. */
	check(state, "Needs", "{\"a\":1,\"bb\":\"\"}", "bb");
	check(state, "Needs", "{\"A\":1,\"b\":\"\"}", "A");
	check(state, "Needs", "{\"\":1}", "");
	check(state, "Needs", "{\"a\":1,\"b\":\"\",\"x\":null}", "x");
	check(state, "Empty", "{}", NULL);
	check(state, "Empty", "{\"a\":null}", "a");
	/* Of duplicate keys the last one counts. */
	check(state, "Needs", "{\"a\":\"x\",\"a\":1,\"b\":\"\"}", NULL);
	check(state, "Needs", "{\"a\":1,\"a\":\"x\",\"b\":\"\"}", "a");
}

static void test_recursive(void **state)
{
	check(state, "Tree", "{\"size\":1,\"left\":{\"size\":2,\"left\":{\"size\":3}}}", NULL);
	check(state, "Tree", "{\"size\":1,\"left\":{\"size\":2,\"left\":{}}}", "left.left.size");
	check(state, "Tree",
		"{\"size\":1,\"children\":[{\"size\":2},{\"size\":3,\"children\":[4]}]}",
		"children[1].children[0]");
	check(state, "All", "{\"t\":{\"size\":1,\"left\":{\"size\":2.5}}}", "t.left.size");
}

static void test_path_is_cut(void **state)
{
	check_sized(state, "All", "{\"abcdef\":1}", "abcdef", 7);
	check_sized(state, "All", "{\"abcdef\":1}", "abcde", 6);
	check_sized(state, "All", "{\"abcdef\":1}", "", 1);
	/* Between characters, so that the reply stays UTF-8. */
	check_sized(state, "All", "{\"a\xe2\x82\xac\":1}", "a\xe2\x82\xac", 5);
	check_sized(state, "All", "{\"a\xe2\x82\xac\":1}", "a", 4);
	check_sized(state, "All", "{\"a\xe2\x82\xac\":1}", "a", 3);
	check_sized(state, "All", "{\"\xf0\x9f\x98\x80\":1}", "", 4);
	/* Nothing follows what was cut. */
	check_sized(state, "All", "{\"m\":{\"\xe2\x82\xac\":\"\"}}", "m.", 4);
	check_sized(state, "All", "{\"longer\":{\"\xe2\x82\xac\":1}}", "longer.", 9);
	check_sized(state, "All", "{\"a\":[\"\"]}", "a[", 3);
}

static void test_no_path_wanted(void **state)
{
	const struct varlink_interface *interface = *state;
	char guard = 'x';

	assert_int_equal(varlink_check(interface->types[0].type, NULL, &guard, 0), -EINVAL);
	assert_int_equal(varlink_check(interface->types[0].type, NULL, NULL, 0), -EINVAL);
	assert_int_equal(guard, 'x');
}

static void test_root(void **state)
{
	const struct varlink_interface *interface = *state;
	struct json_object *value = json_object_new_array();
	char path[10] = "x";

	/* null is no struct, and neither is an array. */
	assert_int_equal(
		varlink_check(interface->types[0].type, NULL, path, sizeof(path)), -EINVAL);
	assert_string_equal(path, "");
	assert_int_equal(
		varlink_check(interface->types[0].type, value, path, sizeof(path)), -EINVAL);
	json_object_put(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_simple),
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_float),
		cmocka_unit_test(test_nul_in_string),
		cmocka_unit_test(test_enum),
		cmocka_unit_test(test_containers),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_recursive),
		cmocka_unit_test(test_path_is_cut),
		cmocka_unit_test(test_no_path_wanted),
		cmocka_unit_test(test_root),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
