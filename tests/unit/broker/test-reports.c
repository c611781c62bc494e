/* The book of one reporter, against a naive one. */
#include "daemon/base/util.h"
#include "daemon/broker/reports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CONTAINERS 3
#define ADDRESSES 24

static void assert_span(const struct reports *reports, uint64_t container, uint64_t first,
	uint64_t last, size_t begin, size_t end)
{
	size_t b, e;

	reports_overlapping(reports, container, first, last, &b, &e);
	assert_int_equal(b, begin);
	assert_int_equal(e, end);
}

static struct reported *add(
	struct reports *reports, uint64_t container, uint64_t iova, uint64_t length)
{
	struct reported *reported = calloc(1, sizeof(*reported));
	assert_non_null(reported);
	*reported = (struct reported){ .container = container, .iova = iova, .length = length };
	assert_int_equal(reports_reserve(reports), 0);
	reports_insert(reports, reported);
	return reported;
}

static void clear(struct reports *reports)
{
	for (size_t i = 0; i < reports->n; i++)
		free(reports->list[i]);
	free(reports->list);
}

static void test_edges(void **state)
{
	(void)state;
	struct reports reports = { 0 };
	size_t begin, end;

	assert_span(&reports, 0, 0, UINT64_MAX, 0, 0);
	add(&reports, 7, 100, 10);
	add(&reports, 7, 110, 10);
	add(&reports, 6, UINT64_MAX, 1);
	add(&reports, 8, 0, 1);
	assert_span(&reports, 7, 0, 99, 1, 1);
	assert_span(&reports, 7, 0, 100, 1, 2);
	assert_span(&reports, 7, 109, 110, 1, 3);
	assert_span(&reports, 7, 119, UINT64_MAX, 2, 3);
	assert_span(&reports, 7, 120, UINT64_MAX, 3, 3);
	assert_span(&reports, 6, 0, UINT64_MAX, 0, 1);
	assert_span(&reports, 6, 0, UINT64_MAX - 1, 0, 0);
	assert_span(&reports, 8, 0, 0, 3, 4);
	assert_span(&reports, 9, 0, UINT64_MAX, 4, 4);
	/* As a whole: what is cut at either end stays. */
	reports_within(&reports, 7, 101, 119, &begin, &end);
	assert_int_equal(begin, 2);
	assert_int_equal(end, 3);
	reports_within(&reports, 7, 101, 118, &begin, &end);
	assert_int_equal(begin, end);
	reports_within(&reports, 7, 103, 105, &begin, &end);
	assert_int_equal(begin, end);
	reports_within(&reports, 7, 100, 119, &begin, &end);
	assert_int_equal(end - begin, 2);
	clear(&reports);
}

/* Whatever is put in and taken out, each address has the mapping that it should. */
static void test_model(void **state)
{
	(void)state;
	struct reports reports = { 0 };
	struct reported *model[CONTAINERS][ADDRESSES] = { 0 };
	unsigned seed = 1;

	for (unsigned step = 0; step < 20000; step++) {
		seed = seed * 1103515245 + 12345;
		uint64_t container = seed >> 16 & 1 ? 0 : (seed >> 17) % CONTAINERS;
		uint64_t first = (seed >> 8) % ADDRESSES;
		uint64_t length = 1 + (seed >> 20) % (ADDRESSES - first);
		size_t begin, end;
		bool adds = seed >> 30 & 1;

		if (adds)
			reports_overlapping(
				&reports, container, first, first + length - 1, &begin, &end);
		else
			reports_within(
				&reports, container, first, first + length - 1, &begin, &end);
		for (size_t i = begin; i < end; i++) {
			struct reported *gone = reports.list[i];
			assert_int_equal(gone->container, container);
			if (!adds)
				assert_true(gone->iova >= first &&
					    reported_last(gone) < first + length);
			for (uint64_t at = gone->iova; at <= reported_last(gone); at++) {
				assert_ptr_equal(model[container][at], gone);
				model[container][at] = NULL;
			}
			free(gone);
		}
		reports_remove(&reports, begin, end);
		for (uint64_t at = first; at < first + length; at++)
			/* What is left there reaches out of the range. */
			assert_true(!model[container][at] ||
				    (!adds && (model[container][at]->iova < first ||
						      reported_last(model[container][at]) >=
							      first + length)));
		if (!adds)
			continue;
		struct reported *added = add(&reports, container, first, length);
		for (uint64_t at = first; at < first + length; at++)
			model[container][at] = added;
	}
	assert_true(reports.n > 0);
	clear(&reports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
