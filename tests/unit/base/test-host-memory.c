#include "daemon/base/host-memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static void bits_of_x86(void **state)
{
	(void)state;
	assert_int_equal(
		cpuinfo_address_bits("processor\t: 0\n"
				     "address sizes\t: 46 bits physical, 48 bits virtual\n"
				     "power management:\n\nprocessor\t: 1\n"
				     "address sizes\t: 39 bits physical, 48 bits virtual\n"),
		46);
	assert_int_equal(cpuinfo_address_bits("\naddress sizes : 32 bits physical"), 32);
	assert_int_equal(cpuinfo_address_bits("\naddress sizes : 52 bits physical"), 52);
}

static void elsewhere_or_nonsense(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"processor : 0\nBogoMIPS : 50.00\n",
		"\naddress sizes",
		"\naddress sizes\t: bits physical",
		"\naddress sizes : 31 bits physical",
		"\naddress sizes : 53 bits physical",
		"\naddress sizes : 4294967342 bits physical",
		"\nflags : address sizes : 46 bits physical",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(cpuinfo_address_bits(texts[i]), 0);
}

static void this_host(void **state)
{
	(void)state;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	assert_true(host_memory_bytes() > 0);
	assert_true(host_memory_bytes() / page <= host_n_frames());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_of_x86),
		cmocka_unit_test(elsewhere_or_nonsense),
		cmocka_unit_test(this_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
