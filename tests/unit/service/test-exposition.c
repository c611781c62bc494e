/* The text format of Prometheus, to the byte. */
#include "daemon/service/exposition.h"
#include "daemon/service/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_written(FILE *to, char **text, const char *expected)
{
	fclose(to);
	assert_string_equal(*text, expected);
	free(*text);
}

static void test_family(void **state)
{
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	metric_family(to, "calls_total", METRIC_COUNTER, "Calls.");
	metric_sample(to, "calls_total", "method", "a", 0);
	metric_sample(to, "calls_total", "method", "b", UINT64_MAX);
	metric_single(to, "groups", METRIC_GAUGE, "Groups.", 41);
	assert_written(to, &text,
		"# HELP calls_total Calls.\n"
		"# TYPE calls_total counter\n"
		"calls_total{method=\"a\"} 0\n"
		"calls_total{method=\"b\"} 18446744073709551615\n"
		"# HELP groups Groups.\n"
		"# TYPE groups gauge\n"
		"groups 41\n");
}

/* Exposition formats, "Comments, help text, and type information". */
static void test_escaping(void **state)
{
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	metric_family(to, "x", METRIC_GAUGE, "a \"b\" \\ c\nd");
	metric_sample(to, "x", "account", "unit:\\x2d\"\n}", 1);
	assert_written(to, &text,
		"# HELP x a \"b\" \\\\ c\\nd\n"
		"# TYPE x gauge\n"
		"x{account=\"unit:\\\\x2d\\\"\\n}\"} 1\n");
}

static void test_tally(void **state)
{
	struct tally tally = { 0 };
	char names[TALLY_MAX + 10][8], again[] = "n0";

	(void)state;
	for (size_t round = 0; round < 2; round++)
		for (size_t i = 0; i < TALLY_MAX + 10; i++) {
			snprintf(names[i], sizeof(names[i]), "n%zu", i);
			tally_add(&tally, names[i]);
		}
	/* By what it says, not where it is. */
	tally_add(&tally, again);
	assert_int_equal(tally.n, TALLY_MAX);
	assert_int_equal(tally.entries[0].count, 3);
	assert_int_equal(tally.entries[TALLY_MAX - 2].count, 2);
	assert_string_equal(tally.entries[TALLY_MAX - 1].name, "other");
	assert_int_equal(tally.entries[TALLY_MAX - 1].count, 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_tally),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
