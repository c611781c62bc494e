/* Against a naive model: an array of counts, one for each frame. */
#include "daemon/memory/coverage.h"

#include "daemon/memory/region.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL_FRAMES (2U << REGION_BITS)

static uint64_t random_state;
static uint64_t random_below(uint64_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % bound;
}

static uint64_t add(struct coverage *coverage, uint64_t first, uint64_t n)
{
	uint64_t n_new = UINT64_MAX;
	uint64_t missing = coverage_missing(coverage, first, n);
	uint64_t before = coverage_total(coverage);
	assert_int_equal(coverage_add(coverage, first, n, &n_new), 0);
	assert_int_equal(n_new, missing);
	assert_int_equal(coverage_total(coverage), before + n_new);
	assert_int_equal(coverage_missing(coverage, first, n), 0);
	return n_new;
}

static uint64_t take_out(struct coverage *coverage, uint64_t first, uint64_t n)
{
	uint64_t before = coverage_total(coverage);
	uint64_t gone = coverage_remove(coverage, first, n);
	assert_int_equal(coverage_total(coverage), before - gone);
	assert_int_equal(coverage_missing(coverage, first, n), gone);
	return gone;
}

static void test_exact_boundaries(void **state)
{
	(void)state;
	static const uint64_t sizes[] = { 1, 2, 63, 64, 65, 511, 512, 513, 1024, REGION_FRAMES - 1,
		REGION_FRAMES, REGION_FRAMES + 1, UINT64_C(1) << 27, (UINT64_C(1) << 27) + 1 };
	struct coverage *coverage = coverage_new(UINT64_C(1) << 28);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		static const uint64_t begins[] = { 0, 1, 511, 512, 513, REGION_FRAMES - 1,
			REGION_FRAMES, (UINT64_C(1) << 27) - 1 };
		for (size_t j = 0; j < sizeof(begins) / sizeof(*begins); j++) {
			assert_int_equal(add(coverage, begins[j], sizes[i]), sizes[i]);
			assert_int_equal(add(coverage, begins[j], sizes[i]), 0);
			if (sizes[i] > 2) {
				assert_int_equal(add(coverage, begins[j] + 1, 1), 0);
				assert_int_equal(take_out(coverage, begins[j] + 1, 1), 0);
			}
			assert_int_equal(take_out(coverage, begins[j], sizes[i]), 0);
			assert_int_equal(take_out(coverage, begins[j], sizes[i]), sizes[i]);
			assert_int_equal(coverage_total(coverage), 0);
		}
	}
	coverage_free(coverage);
}

static void test_out_of_range_changes_nothing(void **state)
{
	(void)state;
	struct coverage *coverage = coverage_new(1000);
	uint64_t n_new;

	assert_int_equal(coverage_add(coverage, 0, 0, &n_new), -ERANGE);
	assert_int_equal(coverage_add(coverage, 999, 2, &n_new), -ERANGE);
	assert_int_equal(coverage_add(coverage, 1000, 1, &n_new), -ERANGE);
	assert_int_equal(coverage_add(coverage, UINT64_MAX, 2, &n_new), -ERANGE);
	assert_int_equal(coverage_total(coverage), 0);
	assert_int_equal(add(coverage, 999, 1), 1);
	assert_null(coverage_new(UINT64_MAX));
	coverage_free(coverage);
}

static void test_a_piece_over_what_lies_below_it(void **state)
{
	(void)state;
	struct coverage *coverage = coverage_new(UINT64_C(1) << 28);
	uint64_t whole = UINT64_C(1) << 28;

	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(add(coverage, i * 3 * REGION_FRAMES / 16, 7), 7);
	assert_int_equal(add(coverage, 0, whole), whole - 7000);
	/* Under it, what comes and goes is nothing new. */
	assert_int_equal(add(coverage, 12345, 678), 0);
	assert_int_equal(take_out(coverage, 0, 7), 0);
	assert_int_equal(take_out(coverage, 0, whole), whole - 6993 - 678);
	assert_int_equal(take_out(coverage, 12345, 678), 678);
	for (uint64_t i = 1; i < 1000; i++)
		assert_int_equal(take_out(coverage, i * 3 * REGION_FRAMES / 16, 7), 7);
	assert_int_equal(coverage_total(coverage), 0);
	coverage_free(coverage);
}

/* Counts that need more than one byte, and more than an entry of a list has. */
static void test_many_times_the_same(void **state)
{
	(void)state;
	struct coverage *coverage = coverage_new(REGION_FRAMES);
	enum { TIMES = 17000 };

	for (unsigned i = 0; i < TIMES; i++)
		assert_int_equal(add(coverage, 100, 3), i == 0 ? 3 : 0);
	assert_int_equal(add(coverage, 0, 512), 509);
	assert_int_equal(add(coverage, 1, 511), 0);
	for (unsigned i = 0; i < TIMES; i++)
		assert_int_equal(take_out(coverage, 100, 3), 0);
	assert_int_equal(take_out(coverage, 0, 512), 1);
	assert_int_equal(take_out(coverage, 1, 511), 511);
	coverage_free(coverage);
}

struct model {
	uint32_t counts[MODEL_FRAMES];
	struct interval {
		uint64_t first, n;
	} live[4096];
	size_t n_live;
};

static uint64_t model_add(struct model *model, uint64_t first, uint64_t n)
{
	uint64_t n_new = 0;
	for (uint64_t i = first; i < first + n; i++)
		n_new += model->counts[i]++ == 0;
	model->live[model->n_live++] = (struct interval){ first, n };
	return n_new;
}

static uint64_t model_remove(struct model *model, size_t at)
{
	struct interval interval = model->live[at];
	uint64_t gone = 0;
	for (uint64_t i = interval.first; i < interval.first + interval.n; i++)
		gone += --model->counts[i] == 0;
	model->live[at] = model->live[--model->n_live];
	return gone;
}

/* Short ones mostly, often one that is there, sometimes aligned. */
static struct interval any_interval(const struct model *model, unsigned longest)
{
	struct interval interval;

	if (model->n_live > 0 && random_below(4) == 0)
		return model->live[random_below(model->n_live)];
	interval.n = 1 + random_below(random_below(longest) + 1);
	if (random_below(8) == 0)
		interval.n = UINT64_C(512) << random_below(10);
	interval.first = random_below(MODEL_FRAMES - interval.n + 1);
	if (random_below(4) == 0)
		interval.first &= ~(interval.n - 1);
	if (random_below(4) == 0)
		/* In one corner, where they meet. */
		interval.first %= 2000;
	return interval;
}

static void run_random(uint64_t seed, unsigned longest, unsigned rounds)
{
	struct model *model = calloc(1, sizeof(*model));
	struct coverage *coverage = coverage_new(MODEL_FRAMES);
	uint64_t total = 0;

	random_state = seed;
	for (unsigned i = 0; i < rounds; i++) {
		/* Tides: it fills, and it drains. */
		bool fills = (i / 1500) % 2 == 0;
		bool adds = model->n_live == 0 ||
			    (model->n_live < 4096 && random_below(10) < (fills ? 8 : 3));
		if (adds) {
			struct interval interval = any_interval(model, longest);
			uint64_t expected = model_add(model, interval.first, interval.n);
			assert_int_equal(add(coverage, interval.first, interval.n), expected);
			total += expected;
		} else {
			size_t at = random_below(model->n_live);
			struct interval interval = model->live[at];
			uint64_t expected = model_remove(model, at);
			assert_int_equal(take_out(coverage, interval.first, interval.n), expected);
			total -= expected;
		}
		assert_int_equal(coverage_total(coverage), total);
	}
	while (model->n_live > 0) {
		struct interval interval = model->live[0];
		assert_int_equal(
			take_out(coverage, interval.first, interval.n), model_remove(model, 0));
	}
	assert_int_equal(coverage_total(coverage), 0);
	coverage_free(coverage);
	free(model);
}

static void test_like_the_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		run_random(seed, 8, 4000);
		run_random(seed + 100, 600, 4000);
	}
}

/* A few bytes for each frame, however they lie. */
static void test_memory_for_a_frame(void **state)
{
	(void)state;
	static const uint64_t steps[] = { 1, 2, 3, 8, 16, 32, 64, 100, 128, 512, 4096, 50000 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		uint64_t frames = steps[i] < 64 ? UINT64_C(1) << 19 : UINT64_C(1) << 25, n = 0;
		struct coverage *coverage = coverage_new(frames);
		for (uint64_t frame = 0; frame < frames; frame += steps[i], n++)
			add(coverage, frame, 1);
		double bytes = (double)coverage_memory(coverage) / (double)n;
		print_message("every %lu.: %.2f bytes\n", (unsigned long)steps[i], bytes);
		assert_true(bytes <= (steps[i] <= 4096 ? 8 : 32));
		for (uint64_t frame = 0; frame < frames; frame += steps[i])
			take_out(coverage, frame, 1);
		assert_int_equal(coverage_total(coverage), 0);
		coverage_free(coverage);
	}
}

/* What a client could choose that costs most: chunks, with little in them. */
static void test_memory_at_worst(void **state)
{
	(void)state;
	struct coverage *coverage = coverage_new(REGION_FRAMES);

	/* The blocks and their regions are there with the first frame. */
	add(coverage, 0, 512);
	size_t size = coverage_memory(coverage);
	take_out(coverage, 0, 512);
	assert_true(size - coverage_memory(coverage) <= 16 * UINT64_C(512));

	size_t empty = coverage_memory(coverage);
	for (uint64_t first = 0; first < REGION_FRAMES; first += 512) {
		add(coverage, first, 1);
		add(coverage, first + 7, 1);
	}
	add(coverage, 9, 65);
	assert_true(coverage_memory(coverage) - empty <= 12 * coverage_total(coverage));
	coverage_free(coverage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_boundaries),
		cmocka_unit_test(test_out_of_range_changes_nothing),
		cmocka_unit_test(test_a_piece_over_what_lies_below_it),
		cmocka_unit_test(test_many_times_the_same),
		cmocka_unit_test(test_like_the_model),
		cmocka_unit_test(test_memory_for_a_frame),
		cmocka_unit_test(test_memory_at_worst),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
