#include "daemon/service/iova.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void addresses(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t iova;
	} cases[] = {
		{ "0x0", 0 },
		{ "0x1", 1 },
		{ "0xfee00000", 0xfee00000 },
		{ "0xFee0000a", 0xfee0000a },
		{ "0x00000000fee00000", 0xfee00000 },
		{ "0x123456789abcdef0", 0x123456789abcdef0 },
		{ "0xABCDEF", 0xabcdef },
		{ "0xffffffffffffffff", UINT64_MAX },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t iova = 42;
		assert_int_equal(iova_parse(cases[i].text, &iova), 0);
		assert_true(iova == cases[i].iova);
	}
}

static void no_addresses(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "0", "0x", "x1", "1000", "0X1", "0x ", " 0x1",
		"0x1 ", "0x 1", "+0x1", "-0x1", "0x-1", "0x+1", "0x1g", "0xg", "0x1,", "0x1.0",
		"0x10000000000000000", "0x00000000000000001", "0x0x1", "0x1\n", "0x\xef\xbc\x91" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint64_t iova = 42;
		assert_int_equal(iova_parse(texts[i], &iova), -EINVAL);
		assert_true(iova == 42);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(no_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
