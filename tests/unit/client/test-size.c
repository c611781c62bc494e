/* Sizes for people: where one unit ends and the next begins. */
#include "client/size.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void sizes_have_the_largest_unit(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1, "1 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 4096, "4.0 KiB" },
		{ (1 << 20) - 4096, "1020.0 KiB" },
		{ (1 << 20) - 1, "1.0 MiB" },
		{ 1 << 20, "1.0 MiB" },
		{ 33554432, "32.0 MiB" },
		{ UINT64_C(23) << 30 | 1 << 29, "23.5 GiB" },
		{ UINT64_C(1) << 40, "1.0 TiB" },
		{ UINT64_C(1) << 50, "1.0 PiB" },
		{ UINT64_C(1) << 60, "1.0 EiB" },
		{ UINT64_MAX, "16.0 EiB" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[SIZE_TEXT];

		size_describe(cases[i].bytes, text, sizeof text);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sizes_have_the_largest_unit) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
