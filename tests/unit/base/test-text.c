/* Texts put together: what fits, and what is cut off. */
#include "daemon/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void goes_on(void **state)
{
	(void)state;
	char text[32];

	char *to = text_begin(text, "group");
	to = text_put(to, text + sizeof(text), " ");
	to = text_put_number(to, text + sizeof(text), 17);
	assert_string_equal(text, "group 17");
	assert_ptr_equal(to, text + 8);
	text_put(to, text + sizeof(text), "");
	assert_string_equal(text, "group 17");
}

static void numbers(void **state)
{
	(void)state;
	char text[32];

	text_put_number(text, text + sizeof(text), 0);
	assert_string_equal(text, "0");
	text_put_number(text, text + sizeof(text), UINT64_MAX);
	assert_string_equal(text, "18446744073709551615");
}

/* Seven characters fit into eight bytes, and nothing behind them is touched. */
static void is_cut_off(void **state)
{
	(void)state;
	char text[] = "........XX";

	char *to = text_put(text, text + 8, "1234567");
	assert_string_equal(text, "1234567");
	assert_ptr_equal(to, text + 7);
	to = text_put(text, text + 8, "abcdefgh");
	assert_string_equal(text, "abcdefg");
	assert_ptr_equal(to, text + 7);
	assert_ptr_equal(text_put(to, text + 8, "more"), text + 7);
	assert_ptr_equal(text_put_number(to, text + 8, 5), text + 7);
	assert_string_equal(text, "abcdefg");
	text_put_number(text + 4, text + 8, 98765);
	assert_string_equal(text, "abcd987");
	assert_string_equal(text + 8, "XX");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on),
		cmocka_unit_test(numbers),
		cmocka_unit_test(is_cut_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
