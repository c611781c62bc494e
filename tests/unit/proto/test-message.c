/* What a message says: calls and replies, read strictly, written exactly. */
#include "proto/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct json_object *json(const char *text)
{
	struct json_object *object = json_tokener_parse(text);

	assert_non_null(object);
	return object;
}

static void test_call_read(void **state)
{
	struct json_object *message =
		json("{\"method\":\"a.b.C\",\"parameters\":{\"x\":1},\"more\":true}");
	struct varlink_call call;

	(void)state;
	assert_int_equal(varlink_call_read(message, &call), 0);
	assert_string_equal(call.method, "a.b.C");
	assert_int_equal(json_object_object_length(call.parameters), 1);
	assert_true(call.more);
	assert_false(call.oneway);
	assert_false(call.upgrade);
	varlink_call_clear(&call);
	varlink_call_clear(&call);
	json_object_put(message);
}

static void test_call_flags(void **state)
{
	static const char *const texts[] = { "{\"method\":\"m\",\"oneway\":true}",
		"{\"method\":\"m\",\"upgrade\":true,\"more\":false}",
		"{\"more\":false,\"oneway\":false,\"upgrade\":false,\"method\":\"m\"}" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct json_object *message = json(texts[i]);
		struct varlink_call call;

		assert_int_equal(varlink_call_read(message, &call), 0);
		assert_false(call.more);
		assert_int_equal(call.oneway, i == 0);
		assert_int_equal(call.upgrade, i == 1);
		varlink_call_clear(&call);
		json_object_put(message);
	}
}

/* Absent, null and {} are the same. */
static void test_call_without_parameters(void **state)
{
	static const char *const texts[] = { "{\"method\":\"m\"}",
		"{\"method\":\"m\",\"parameters\":null}", "{\"method\":\"m\",\"parameters\":{}}" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct json_object *message = json(texts[i]);
		struct varlink_call call;

		assert_int_equal(varlink_call_read(message, &call), 0);
		assert_true(json_object_is_type(call.parameters, json_type_object));
		assert_int_equal(json_object_object_length(call.parameters), 0);
		varlink_call_clear(&call);
		assert_null(call.parameters);
		json_object_put(message);
	}
}

static void test_call_refused(void **state)
{
	static const char *const texts[] = { "{}", "[]", "1", "\"m\"", "{\"parameters\":{}}",
		"{\"method\":null}", "{\"method\":1}", "{\"method\":\"\"}",
		"{\"method\":\"a\\u0000b\"}", "{\"method\":\"m\",\"extra\":1}",
		"{\"method\":\"m\",\"extra\":null}", "{\"method\":\"m\",\"\":1}",
		"{\"method\":\"m\",\"parameters\":[]}", "{\"method\":\"m\",\"parameters\":\"\"}",
		"{\"method\":\"m\",\"parameters\":false}", "{\"method\":\"m\",\"more\":1}",
		"{\"method\":\"m\",\"more\":null}", "{\"method\":\"m\",\"oneway\":\"true\"}",
		"{\"method\":\"m\",\"upgrade\":{}}",
		"{\"method\":\"m\",\"more\":true,\"oneway\":true}",
		"{\"method\":\"m\",\"more\":true,\"upgrade\":true}",
		"{\"method\":\"m\",\"oneway\":true,\"upgrade\":true}",
		"{\"method\":\"m\",\"more\":true,\"oneway\":true,\"upgrade\":true}",
		"{\"method\":\"m\",\"continues\":true}", "{\"method\":\"m\",\"error\":\"e\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_object *message = json(texts[i]);
		struct varlink_call call;

		memset(&call, 0xff, sizeof(call));
		if (varlink_call_read(message, &call) != -EBADMSG)
			fail_msg("accepted: %s", texts[i]);
		assert_null(call.method);
		varlink_call_clear(&call);
		json_object_put(message);
	}
}

static void test_split(void **state)
{
	char interface[6];

	(void)state;
	assert_string_equal(varlink_method_split("a.b.C", interface, sizeof(interface)), "C");
	assert_string_equal(interface, "a.b");
	assert_string_equal(varlink_method_split("abc.d.E", interface, sizeof(interface)), "E");
	assert_string_equal(interface, "abc.d");
	assert_null(varlink_method_split("abc.de.F", interface, sizeof(interface)));
	assert_null(varlink_method_split("C", interface, sizeof(interface)));
	assert_null(varlink_method_split("", interface, sizeof(interface)));
	assert_null(varlink_method_split(".C", interface, sizeof(interface)));
	assert_null(varlink_method_split("a.", interface, sizeof(interface)));
	assert_null(varlink_method_split(".", interface, sizeof(interface)));
	assert_null(varlink_method_split("a.b", interface, 0));
}

static void test_reply_read(void **state)
{
	struct json_object *message = json("{\"parameters\":{\"x\":1},\"continues\":true}");
	struct varlink_reply reply;

	(void)state;
	assert_int_equal(varlink_reply_read(message, &reply), 0);
	assert_null(reply.error);
	assert_int_equal(json_object_object_length(reply.parameters), 1);
	assert_true(reply.continues);
	json_object_put(message);

	message = json("{\"error\":\"a.b.E\",\"parameters\":null,\"continues\":false}");
	assert_int_equal(varlink_reply_read(message, &reply), 0);
	assert_string_equal(reply.error, "a.b.E");
	assert_null(reply.parameters);
	assert_false(reply.continues);
	json_object_put(message);

	message = json("{}");
	assert_int_equal(varlink_reply_read(message, &reply), 0);
	assert_null(reply.error);
	assert_null(reply.parameters);
	json_object_put(message);
}

static void test_reply_refused(void **state)
{
	static const char *const texts[] = { "[]", "{\"error\":null}", "{\"error\":\"\"}",
		"{\"error\":1}", "{\"error\":\"a\\u0000\"}", "{\"error\":\"e\",\"continues\":true}",
		"{\"parameters\":[]}", "{\"parameters\":1}", "{\"continues\":1}",
		"{\"continues\":null}", "{\"extra\":1}", "{\"method\":\"m\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_object *message = json(texts[i]);
		struct varlink_reply reply;

		if (varlink_reply_read(message, &reply) != -EBADMSG)
			fail_msg("accepted: %s", texts[i]);
		assert_null(reply.error);
		json_object_put(message);
	}
}

static void built(struct json_object *object, const char *wanted)
{
	assert_non_null(object);
	assert_string_equal(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), wanted);
	json_object_put(object);
}

static void test_build(void **state)
{
	(void)state;
	built(varlink_call_build("a.b.C", json("{\"x\":1}"), false, false),
		"{\"method\":\"a.b.C\",\"parameters\":{\"x\":1}}");
	built(varlink_call_build("a.b.C", NULL, true, false),
		"{\"method\":\"a.b.C\",\"parameters\":{},\"more\":true}");
	built(varlink_call_build("a.b.C", NULL, false, true),
		"{\"method\":\"a.b.C\",\"parameters\":{},\"oneway\":true}");
	built(varlink_reply_build(json("{\"x\":1}"), true),
		"{\"parameters\":{\"x\":1},\"continues\":true}");
	built(varlink_reply_build(NULL, false), "{\"parameters\":{}}");
	built(varlink_error_build("a.b.E", json("{\"x\":1}")),
		"{\"error\":\"a.b.E\",\"parameters\":{\"x\":1}}");
	built(varlink_error_build("a.b.E", NULL), "{\"error\":\"a.b.E\",\"parameters\":{}}");
}

/* The builders own their parameters, and only once. */
static void test_build_takes_over(void **state)
{
	struct json_object *parameters = json("{\"x\":1}");
	struct json_object *reply = varlink_reply_build(json_object_get(parameters), false);

	(void)state;
	assert_int_equal(json_object_put(reply), 1);
	assert_int_equal(json_object_put(parameters), 1);
}

/* What one end builds, the other reads. */
static void test_round_trip(void **state)
{
	struct json_object *message = varlink_call_build("a.b.C", json("{\"x\":1}"), true, false);
	struct varlink_call call;
	struct varlink_reply reply;

	(void)state;
	assert_int_equal(varlink_call_read(message, &call), 0);
	assert_true(call.more);
	varlink_call_clear(&call);
	json_object_put(message);

	message = varlink_error_build("a.b.E", NULL);
	assert_int_equal(varlink_reply_read(message, &reply), 0);
	assert_string_equal(reply.error, "a.b.E");
	json_object_put(message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_read),
		cmocka_unit_test(test_call_flags),
		cmocka_unit_test(test_call_without_parameters),
		cmocka_unit_test(test_call_refused),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_reply_read),
		cmocka_unit_test(test_reply_refused),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_build_takes_over),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
