/* Against a naive model: an array of pages, each with the number of its mapping. */
#include "daemon/memory/mappings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE UINT64_C(4096)
#define N_PAGES 300U
#define NONE UINT32_MAX

static uint64_t random_state;
static uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state % bound);
}

/* Addresses wrap nowhere, but end with the last one that there is. */
static uint64_t address_of(uint32_t page)
{
	return (uint64_t)0 - (N_PAGES - page) * PAGE;
}

static void compare(const struct mappings *mappings, const uint32_t *model)
{
	size_t n = 0;

	for (uint32_t i = 0; i < N_PAGES; i++) {
		const struct mapping *there =
			mappings_overlap(mappings, address_of(i), address_of(i) + (PAGE - 1));
		assert_int_equal(there ? there->number : NONE, model[i]);
		n += there && there->iova == address_of(i);
	}
	assert_int_equal(n, mappings->n);
	for (size_t i = 1; i < mappings->n; i++)
		assert_true(mapping_last(mappings->list[i - 1]) < mappings->list[i]->iova);
}

static void insert(struct mappings *mappings, uint32_t *model, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++)
		if (model[i] != NONE)
			return;
	struct mapping *mapping = mappings_make(mappings);
	assert_non_null(mapping);
	assert_ptr_equal(mappings_by_number(mappings, mapping->number), mapping);
	mapping->iova = address_of(first);
	mapping->length = (end - first) * PAGE;
	mappings_insert(mappings, mapping);
	for (uint32_t i = first; i < end; i++)
		model[i] = mapping->number;
}

/* Whether one would be split, and by which end, as the model sees it. */
static bool splits(const uint32_t *model, uint32_t first, uint32_t end)
{
	return (first > 0 && model[first] != NONE && model[first - 1] == model[first]) ||
	       (end < N_PAGES && model[end] != NONE && model[end - 1] == model[end]);
}

static void remove_within(struct mappings *mappings, uint32_t *model, uint32_t first, uint32_t end)
{
	size_t begin, behind;
	const struct mapping *split = mappings_within(mappings, address_of(first),
		address_of(first) + ((end - first) * PAGE - 1), &begin, &behind);

	assert_int_equal(split != NULL, splits(model, first, end));
	if (split)
		return;
	while (behind > begin) {
		struct mapping *mapping = mappings->list[--behind];
		uint32_t number = mapping->number;
		mappings_drop(mappings, mapping, behind);
		assert_null(mappings_by_number(mappings, number));
	}
	for (uint32_t i = first; i < end; i++)
		model[i] = NONE;
}

static void test_against_the_model(void **state)
{
	(void)state;
	struct mappings mappings = { 0 };
	uint32_t model[N_PAGES];

	random_state = 0x9e3779b97f4a7c15;
	memset(model, 0xff, sizeof(model));
	for (unsigned i = 0; i < 3000; i++) {
		uint32_t first = random_below(N_PAGES);
		uint32_t length = 1 + random_below(random_below(20) + 1);
		uint32_t end = first + length < N_PAGES ? first + length : N_PAGES;

		if (random_below(2))
			insert(&mappings, model, first, end);
		else
			remove_within(&mappings, model, first, end);
		compare(&mappings, model);
	}
	mappings_clear(&mappings);
	assert_int_equal(mappings.bytes, 0);
}

static void test_numbers_are_used_again(void **state)
{
	(void)state;
	struct mappings mappings = { 0 };

	for (unsigned i = 0; i < 1000; i++) {
		struct mapping *one = mappings_make(&mappings), *other = mappings_make(&mappings);
		assert_true(one->number < 16 && other->number < 16);
		assert_int_not_equal(one->number, other->number);
		mappings_drop(&mappings, one, SIZE_MAX);
		mappings_drop(&mappings, other, SIZE_MAX);
	}
	assert_null(mappings_by_number(&mappings, 0));
	assert_null(mappings_by_number(&mappings, UINT32_MAX));
	mappings_clear(&mappings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_the_model),
		cmocka_unit_test(test_numbers_are_used_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
