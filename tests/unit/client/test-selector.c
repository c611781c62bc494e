/* What devices are named by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <json-c/json.h>

#include "client/selector.h"

static void is(const char *name, const char *json)
{
	struct json_object *selector;
	const char *what;

	assert_int_equal(selector_new(name, &selector, &what), 0);
	assert_string_equal(json_object_to_json_string_ext(selector, JSON_C_TO_STRING_PLAIN), json);
	json_object_put(selector);
}

static void is_wrong(const char *name)
{
	struct json_object *selector;
	const char *what = NULL;

	assert_int_equal(selector_new(name, &selector, &what), -EINVAL);
	assert_null(selector);
	assert_non_null(what);
}

static void test_selectors(void **state)
{
	(void)state;
	is("0000:01:00.0", "{\"device\":\"0000:01:00.0\"}");
	is("enp3s0", "{\"device\":\"enp3s0\"}");
	is("group:7", "{\"group\":7}");
	is("any:pci:id=8086:10ed numa:0", "{\"match\":[\"pci:id=8086:10ed numa:0\"]}");
	is("any:pci:id=8086:10ed  near:1", "{\"match\":[\"pci:id=8086:10ed\"],\"nearNumaNode\":1}");
	is("any:pool:nics", "{\"pool\":\"nics\"}");
	is("any:pool:nics near:0", "{\"pool\":\"nics\",\"nearNumaNode\":0}");
	/* What else is wrong with a match, vfiod says. */
	is("any:near", "{\"match\":[\"near\"]}");
	is_wrong("group:");
	is_wrong("group:7x");
	is_wrong("group:99999999999");
	is_wrong("any:");
	is_wrong("any:near:1");
	is_wrong("any:pool:");
	is_wrong("any:pool:nics near:");
	is_wrong("any:pool:nics near:-1");
	assert_true(selector_is_any("any:bus:pci"));
	assert_false(selector_is_any("any"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_selectors) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
