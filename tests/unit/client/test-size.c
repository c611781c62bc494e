/* Sizes for people: where one unit ends and the next begins. */
#include "client/size.h"

#include <errno.h>
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

static void sizes_are_read_as_the_configuration_does(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1 },
		{ "4K", 0, 4096 },
		{ "512M", 0, 536870912 },
		{ "16G", 0, UINT64_C(16) << 30 },
		{ "1T", 0, UINT64_C(1) << 40 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 7 },
		{ "99999999999999999999T", -ERANGE, 7 },
		{ "18014398509481983K", 0, UINT64_MAX - 1023 },
		{ "18014398509481984K", -ERANGE, 7 },
		{ "16777216T", -ERANGE, 7 },
		{ "", -EINVAL, 7 },
		{ "G", -EINVAL, 7 },
		{ "-1", -EINVAL, 7 },
		{ "+1", -EINVAL, 7 },
		{ " 1", -EINVAL, 7 },
		{ "1 G", -EINVAL, 7 },
		{ "1g", -EINVAL, 7 },
		{ "1GiB", -EINVAL, 7 },
		{ "1.5G", -EINVAL, 7 },
		{ "0x10", -EINVAL, 7 },
		{ "infinity", -EINVAL, 7 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t bytes = 7; /* stays where nothing was read */

		assert_int_equal(size_parse(cases[i].text, &bytes), cases[i].result);
		assert_true(bytes == cases[i].bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_the_largest_unit),
		cmocka_unit_test(sizes_are_read_as_the_configuration_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
