/* The forms of a chunk and of a region, where one ends and the next begins, and where counts end.
 */
#include "daemon/memory/coverage.h"
#include "daemon/memory/list.h"
#include "daemon/memory/region.h"
#include "tests/unit/memory/failing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void add(struct chunk *chunk, unsigned first, unsigned end, int n_new)
{
	assert_int_equal(chunk_missing(chunk, first, end), n_new);
	assert_int_equal(chunk_add(chunk, first, end), n_new);
	assert_true(chunk_has(chunk, first, end));
}

static void test_one_interval_has_no_memory(void **state)
{
	(void)state;
	struct chunk chunk = { 0 };

	assert_false(chunk_has(&chunk, 3, 4));
	add(&chunk, 100, 400, 300);
	add(&chunk, 100, 400, 0);
	assert_int_equal(chunk.form, CHUNK_SPAN);
	assert_int_equal(chunk_memory(&chunk), 0);
	assert_int_equal(chunk_missing(&chunk, 0, 101), 100);
	assert_int_equal(chunk_missing(&chunk, 399, 402), 2);
	assert_int_equal(chunk_missing(&chunk, 400, 512), 112);
	assert_int_equal(chunk_missing(&chunk, 0, 50), 50);
	/* Part of it was not added. */
	assert_false(chunk_has(&chunk, 100, 399));
	assert_int_equal(chunk_remove(&chunk, 100, 400), 0);
	assert_int_equal(chunk_remove(&chunk, 100, 400), 300);
	assert_int_equal(chunk.form, CHUNK_EMPTY);
}

static void test_a_span_opens_into_a_list_or_planes(void **state)
{
	(void)state;

	for (unsigned length = 24; length <= 25; length++) {
		struct chunk chunk = { 0 };
		for (unsigned i = 0; i < 5; i++)
			add(&chunk, 10, 10 + length, i == 0 ? (int)length : 0);
		add(&chunk, 12, 13, 0);
		assert_int_equal(chunk.form, length == 24 ? CHUNK_LIST : CHUNK_PLANES);
		assert_int_equal(chunk_remove(&chunk, 12, 13), 0);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(
				chunk_remove(&chunk, 10, 10 + length), i == 4 ? length : 0);
		assert_int_equal(chunk.form, CHUNK_EMPTY);
	}
}

static void test_as_many_planes_as_the_greatest_count_needs(void **state)
{
	(void)state;
	struct chunk chunk = { 0 };

	add(&chunk, 0, 300, 300);
	add(&chunk, 400, 401, 1);
	for (unsigned count = 2; count <= 300; count++) {
		add(&chunk, 0, 300, 0);
		assert_int_equal(chunk.form, CHUNK_PLANES);
		assert_int_equal(chunk.n_planes, planes_needed(count));
	}
	/* They go with it, as far as they are not cheaper as a list. */
	for (unsigned count = 300; count > 1; count--) {
		assert_int_equal(chunk.n_planes, planes_needed(count));
		assert_int_equal(chunk_remove(&chunk, 0, 300), 0);
	}
	assert_int_equal(chunk_remove(&chunk, 0, 300), 300);
	assert_int_equal(chunk.form, CHUNK_LIST);
	assert_int_equal(chunk_remove(&chunk, 400, 401), 1);
	assert_int_equal(chunk_memory(&chunk), 0);
}

/* The last count passes, and one more is refused with nothing changed, in each form. */
static void test_counts_end(void **state)
{
	(void)state;
	struct chunk chunk = { 0 };

	add(&chunk, 7, 9, 2);
	chunk.span.count = UINT32_MAX - 1;
	add(&chunk, 7, 9, 0);
	assert_int_equal(chunk_add(&chunk, 7, 9), -EOVERFLOW);
	/* It is too much for a list. */
	assert_int_equal(chunk_add(&chunk, 8, 10), -EOVERFLOW);
	assert_int_equal(chunk_missing(&chunk, 9, 10), 1);
	assert_int_equal(chunk.form, CHUNK_PLANES);
	assert_int_equal(chunk.n_planes, 32);
	assert_int_equal(chunk_remove(&chunk, 7, 9), 0);
	add(&chunk, 8, 10, 1);
	assert_int_equal(planes_count(chunk.planes, chunk.n_planes, 7), UINT32_MAX - 1);
	assert_int_equal(planes_count(chunk.planes, chunk.n_planes, 8), UINT32_MAX);
	assert_int_equal(planes_count(chunk.planes, chunk.n_planes, 9), 1);
	chunk_clear(&chunk);

	add(&chunk, 0, 1, 1);
	add(&chunk, 1, 2, 1);
	assert_int_equal(chunk.form, CHUNK_LIST);
	chunk.list[0] |= LIST_COUNT_MAX;
	add(&chunk, 0, 1, 0);
	assert_int_equal(chunk.form, CHUNK_PLANES);
	assert_int_equal(planes_count(chunk.planes, chunk.n_planes, 0), LIST_COUNT_MAX + 1);
	chunk_clear(&chunk);
}

static void test_a_region_where_a_count_is_full(void **state)
{
	(void)state;
	struct region region = { 0 };

	assert_int_equal(region_add(&region, 1000, 3000), 2000);
	assert_true(region.is_chunked);
	region.chunks[4].count = UINT32_MAX;
	assert_int_equal(region_add(&region, 600, 3000), -EOVERFLOW);
	assert_int_equal(region.covered, 2000);
	assert_int_equal(region_missing(&region, 600, 1000), 400);
	assert_false(region_has(&region, 600, 3000));
	assert_true(region_has(&region, 1000, 3000));
	region.chunks[4].count = 1;
	assert_int_equal(region_remove(&region, 1000, 3000), 2000);
	assert_false(region.is_chunked);
	assert_int_equal(region_memory(&region), 0);
}

/* However runs come and go: not 8 KiB for a few frames. */
static void test_a_region_becomes_a_list_again(void **state)
{
	(void)state;

	for (unsigned length = 65; length <= 511; length++) {
		struct region region = { 0 };
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(region_add(&region, i * 1024, i * 1024 + length), length);
		assert_true(region.is_chunked);
		for (unsigned i = 19; i > 0; i--)
			assert_int_equal(
				region_remove(&region, i * 1024, i * 1024 + length), length);
		assert_false(region.is_chunked);
		assert_true(region_memory(&region) <= 8UL * length);
		assert_true(region_has(&region, 0, length));
		assert_int_equal(region_remove(&region, 0, length), length);
		assert_int_equal(region_memory(&region), 0);
	}
}

static void test_whole_chunks_are_never_listed(void **state)
{
	(void)state;
	struct region region = { 0 };

	/* Two neighbours that look like a chunk. */
	assert_int_equal(region_add(&region, 0, 60), 60);
	assert_int_equal(region_add(&region, 60, 512), 452);
	assert_false(region.is_chunked);
	assert_false(region_has(&region, 0, 512));
	assert_int_equal(region_add(&region, 0, 512), 0);
	assert_true(region_has(&region, 0, 512));
	assert_int_equal(region_remove(&region, 60, 512), 0);
	assert_int_equal(region_remove(&region, 0, 512), 452);
	assert_int_equal(region_remove(&region, 0, 60), 60);
}

/* The largest host that a run can tell of: run_make() has 44 bits for a frame. */
static void test_2_to_the_44_frames(void **state)
{
	(void)state;
	const uint64_t all = UINT64_C(1) << 44;
	struct coverage *coverage = coverage_new(all);
	uint64_t n_new;

	assert_null(coverage_new(all + 1));
	assert_int_equal(coverage_add(coverage, all - 1, 1, &n_new), 0);
	assert_int_equal(n_new, 1);
	assert_int_equal(coverage_add(coverage, 0, all, &n_new), 0);
	assert_int_equal(n_new, all - 1);
	assert_int_equal(coverage_total(coverage), all);
	assert_int_equal(coverage_add(coverage, all - 1, 2, &n_new), -ERANGE);
	assert_false(coverage_has(coverage, all - 1, 2));
	assert_int_equal(coverage_add(coverage, 1, all - 2, &n_new), 0);
	assert_int_equal(n_new, 0);
	assert_int_equal(coverage_remove(coverage, 0, all), 1);
	assert_int_equal(coverage_missing(coverage, 0, all), 1);
	assert_int_equal(coverage_remove(coverage, 1, all - 2), all - 2);
	assert_int_equal(coverage_remove(coverage, all - 1, 1), 1);
	assert_int_equal(coverage_total(coverage), 0);
	coverage_free(coverage);
}

/* All or none over several levels and blocks, at each allocation. */
static void test_none_where_memory_is_short(void **state)
{
	(void)state;
	const uint64_t block = UINT64_C(1) << 27, first = block - REGION_FRAMES - 700;
	struct coverage *coverage = coverage_new(4 * block);
	uint64_t n_new, length = 2 * block + 2 * (uint64_t)REGION_FRAMES + 1400;
	unsigned k = 0;
	int r;

	assert_int_equal(coverage_add(coverage, first + 5, 1, &n_new), 0);
	do {
		fail_allocation(++k);
		r = coverage_add(coverage, first, length, &n_new);
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(n_new, 0);
			assert_int_equal(coverage_total(coverage), 1);
			assert_int_equal(coverage_missing(coverage, first, length), length - 1);
			assert_false(coverage_has(coverage, first, length));
		}
	} while (r < 0);
	fail_allocation(0);
	assert_true(k > 3);
	assert_int_equal(n_new, length - 1);
	assert_int_equal(coverage_remove(coverage, first, length), length - 1);
	assert_int_equal(coverage_remove(coverage, first + 5, 1), 1);
	coverage_free(coverage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_interval_has_no_memory),
		cmocka_unit_test(test_a_span_opens_into_a_list_or_planes),
		cmocka_unit_test(test_as_many_planes_as_the_greatest_count_needs),
		cmocka_unit_test(test_counts_end),
		cmocka_unit_test(test_a_region_where_a_count_is_full),
		cmocka_unit_test(test_a_region_becomes_a_list_again),
		cmocka_unit_test(test_whole_chunks_are_never_listed),
		cmocka_unit_test(test_2_to_the_44_frames),
		cmocka_unit_test(test_none_where_memory_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
