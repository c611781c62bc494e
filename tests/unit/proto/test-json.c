/* JSON text is read as strictly as it is written, which json-c alone does not do. */
#include "proto/json.h"
#include "proto/utf8.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The characters without a NUL. */
static void put(char *to, const char *characters)
{
	while (*characters)
		*to++ = *characters++;
}

/* From a copy that ends where the text ends, so that the sanitizer sees a byte too many. */
static int read_sized(const char *text, size_t length, size_t depth)
{
	struct json_object *object = NULL;
	char *copy = malloc(length ? length : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, length);
	r = json_read(copy, length, depth, &object);
	free(copy);
	if (r == 0)
		assert_true(json_object_is_type(object, json_type_object));
	json_object_put(object);
	return r;
}

/* The value, in an object. */
static int read_value(const char *value)
{
	char text[300];

	snprintf(text, sizeof(text), "{\"k\":%s}", value);
	return read_sized(text, strlen(text), 8);
}

static void test_good(void **state)
{
	static const char *const values[] = { "null", "true", "false", "0", "-0", "10", "-1", "1.5",
		"-0.0", "1e5", "1E+5", "1.25e-5", "\"\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"",
		"\"\\u0000\"", "\"\x7f\"", "[]", "[ ]", "{}", "[1, 2 ,3]",
		" {\"a\" : 1 , \"b\":[]} ", "\t\n\r 1", "1e999", "123456789012345678901234567890" };

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (read_value(values[i]) != 0)
			fail_msg("refused: %s", values[i]);
	}
	assert_int_equal(read_sized(" {} \n", 5, 1), 0);
}

static void test_bad(void **state)
{
	static const char *const values[] = { "", "nul", "True", "NaN", "nan", "Infinity",
		"-Infinity", "01", "-01", "00", "+1", "-", ".5", "1.", "1.e5", "1e", "1e+", "0x10",
		"'a'", "\"", "\"a", "\"\\\"", "\"\\q\"", "\"\\u12\"", "\"\\u12g4\"", "\"\x01\"",
		"\"\n\"", "\"\\", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "{\"a\"",
		"{\"a\":", "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}",
		"[}", "1 1", "1//x", "/**/1", "\v1", "\f1", "\xef\xbb\xbf[]" };

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (read_value(values[i]) != -EBADMSG)
			fail_msg("accepted: %s", values[i]);
	}
}

static void test_top_level(void **state)
{
	static const char *const texts[] = { "", " ", "[]", "1", "null", "\"a\"", "{", "}", "{}{}",
		"{}x", "{} 1", "{},", "x{}", "\xef\xbb\xbf{}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (read_sized(texts[i], strlen(texts[i]), 8) != -EBADMSG)
			fail_msg("accepted: %s", texts[i]);
	}
	/* A NUL is no white space. */
	assert_int_equal(read_sized("{}\0", 3, 8), -EBADMSG);
	assert_int_equal(read_sized("{\0}", 3, 8), -EBADMSG);
}

static void test_nul_in_key(void **state)
{
	(void)state;
	assert_int_equal(read_value("{\"a\\u0000b\":1}"), -EBADMSG);
	assert_int_equal(read_value("{\"\\u0000\":1}"), -EBADMSG);
	assert_int_equal(read_value("{\"a\\u0001b\":1}"), 0);
	assert_int_equal(read_value("{\"a\":\"\\u0000b\"}"), 0);
}

static void test_utf8(void **state)
{
	static const char *const good[] = { "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2",
		"\xc2\x41", "\xc2\xc0", "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x82\x41", "\xe2\x28\xa1",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98",
		"\xf0\x9f\x98\x41", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff" };
	char value[16];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(utf8_sequence(good[i], strlen(good[i])), strlen(good[i]));
		snprintf(value, sizeof(value), "\"%s\"", good[i]);
		assert_int_equal(read_value(value), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(utf8_sequence(bad[i], strlen(bad[i])), 0);
		snprintf(value, sizeof(value), "\"%s\"", bad[i]);
		if (read_value(value) != -EBADMSG)
			fail_msg("accepted bad sequence %zu", i);
		snprintf(value, sizeof(value), "{\"%s\":1}", bad[i]);
		assert_int_equal(read_value(value), -EBADMSG);
	}
	assert_int_equal(utf8_sequence("", 0), 0);
}

static void test_depth(void **state)
{
	static const char deep[] = "{\"a\":[{\"b\":[1]}]}"; /* four deep */

	(void)state;
	assert_int_equal(read_sized("{}", 2, 1), 0);
	assert_int_equal(read_sized("{}", 2, 0), -EBADMSG);
	assert_int_equal(read_sized(deep, strlen(deep), 4), 0);
	assert_int_equal(read_sized(deep, strlen(deep), 3), -EBADMSG);
	/* Beside one another is not inside one another. */
	assert_int_equal(read_sized("{\"a\":[],\"b\":[],\"c\":{}}", 22, 2), 0);
}

static void test_very_deep(void **state)
{
	size_t n = 1000000;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, '[', n);
	put(text, "{\"a\":");
	assert_int_equal(read_sized(text, n, 32), -EBADMSG);
	free(text);
}

/* {"k":[0,0,…]}: the object, the array and n zeros. */
static int read_zeros(size_t n)
{
	size_t length = 6 + 2 * n - 1 + 2;
	char *text = malloc(length);
	int r;

	assert_non_null(text);
	put(text, "{\"k\":[");
	for (size_t i = 6; i < length - 2; i++)
		text[i] = i % 2 ? ',' : '0';
	put(text + length - 2, "]}");
	r = read_sized(text, length, 2);
	free(text);
	return r;
}

static void test_number_of_values(void **state)
{
	(void)state;
	assert_int_equal(read_zeros(JSON_MAX_VALUES - 2), 0);
	assert_int_equal(read_zeros(JSON_MAX_VALUES - 1), -EMSGSIZE);
}

static void test_every_truncation(void **state)
{
	static const char text[] =
		"{\"method\":\"a.b.C\",\"parameters\":{\"x\":[1,-2.5e3,true,false,null,"
		"\"\\u00e4\xe2\x82\xac\\n\",{}]},\"more\":true}";

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		assert_int_equal(read_sized(text, i, 8), -EBADMSG);
	assert_int_equal(read_sized(text, sizeof(text) - 1, 8), 0);
}

static void test_duplicates(void **state)
{
	struct json_object *object, *value;

	(void)state;
	assert_int_equal(json_read("{\"a\":1,\"a\":2}", 13, 1, &object), 0);
	assert_int_equal(json_object_object_length(object), 1);
	assert_true(json_object_object_get_ex(object, "a", &value));
	assert_int_equal(json_object_get_int64(value), 2);
	json_object_put(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_top_level),
		cmocka_unit_test(test_nul_in_key),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_very_deep),
		cmocka_unit_test(test_number_of_values),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_duplicates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
