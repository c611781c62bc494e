#include "daemon/service/vmstat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void counted(void **state)
{
	(void)state;
	assert_int_equal(vmstat_pinned_pages("nr_free_pages 5\nnr_foll_pin_acquired 17000\n"
					     "nr_foll_pin_released 616\nnr_x 1\n"),
		16384);
	assert_int_equal(vmstat_pinned_pages("nr_foll_pin_acquired 0\nnr_foll_pin_released 0"), 0);
	/* What one CPU has released, another may not have told yet that it was acquired. */
	assert_int_equal(
		vmstat_pinned_pages("nr_foll_pin_acquired 3\nnr_foll_pin_released 10\n"), 0);
}

static void not_said(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"nr_free_pages 5\n",
		"nr_foll_pin_acquired 3\n",
		"nr_foll_pin_released 3\n",
		"xnr_foll_pin_acquired 3\nxnr_foll_pin_released 3\n",
		"nr_foll_pin_acquired_more 3\nnr_foll_pin_released 3\n",
		"nr_foll_pin_acquired \nnr_foll_pin_released x\n",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(vmstat_pinned_pages(texts[i]), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted),
		cmocka_unit_test(not_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
