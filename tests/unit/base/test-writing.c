#include "daemon/base/fields.h"
#include "daemon/base/record.h"
#include "daemon/base/writing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_text(void **state)
{
	(void)state;
	_cleanup_writing_ struct writing writing = { 0 };

	writing_open(&writing, NULL, '{');
	writing_open(&writing, "none", '[');
	writing_close(&writing, ']');
	writing_open(&writing, "some", '[');
	writing_number(&writing, NULL, 0);
	writing_number(&writing, NULL, INT64_MIN);
	writing_open(&writing, NULL, '{');
	writing_bool(&writing, "a", true);
	writing_bool(&writing, "b", false);
	writing_close(&writing, '}');
	writing_close(&writing, ']');
	writing_unsigned(&writing, "most", UINT64_MAX);
	writing_string(&writing, "text", "a \"b\" \\ /\n\x1f \xc3\xa4");
	writing_string(&writing, "", "");
	writing_close(&writing, '}');
	assert_false(writing.has_failed);
	assert_int_equal(writing.length, strlen(writing.bytes));
	assert_string_equal(writing.bytes,
		"{\"none\":[],\"some\":[0,-9223372036854775808,{\"a\":true,\"b\":false}],"
		"\"most\":\"18446744073709551615\","
		"\"text\":\"a \\\"b\\\" \\\\ /\\u000a\\u001f \xc3\xa4\",\"\":\"\"}");
}

/* What is written is what is read, however long it is. */
static void test_read(void **state)
{
	(void)state;
	static char text[5000], read[sizeof(text)];

	for (size_t length = 0; length < sizeof(text); length += 1 + length / 3) {
		_cleanup_writing_ struct writing writing = { 0 };
		_cleanup_json_ struct json_object *json = NULL;

		for (size_t i = 0; i < length; i++)
			text[i] = (char)(1 + i % 127);
		text[length] = '\0';
		writing_open(&writing, NULL, '{');
		writing_string(&writing, "text", text);
		writing_number(&writing, "number", INT64_MAX);
		writing_unsigned(&writing, "unsigned", length);
		writing_close(&writing, '}');
		assert_int_equal(record_parse(writing.bytes, writing.length, &json), 0);
		struct fields fields = { .object = json };
		fields_get_string(&fields, "text", read, sizeof(read));
		assert_string_equal(read, text);
		assert_int_equal(fields_get_number(&fields, "number", INT64_MAX), INT64_MAX);
		assert_int_equal(fields_get_unsigned(&fields, "unsigned"), length);
		assert_null(fields.problem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
