#include "daemon/memory/planes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

unsigned planes_needed(uint32_t count)
{
	return 32 - (unsigned)__builtin_clz(count | 1);
}

/* The frames of [first, end) that are in this word, as bits. */
static uint64_t word_mask(unsigned word, unsigned first, unsigned end)
{
	unsigned begin = word * 64;
	uint64_t mask = UINT64_MAX;

	if (first > begin)
		mask &= UINT64_MAX << (first - begin);
	if (end < begin + 64)
		mask &= UINT64_MAX >> (begin + 64 - end);
	return mask;
}

/* For which frames is any bit set? */
static uint64_t word_covered(const plane *planes, unsigned n, unsigned word)
{
	uint64_t covered = 0;
	for (unsigned i = 0; i < n; i++)
		covered |= planes[i][word];
	return covered;
}

/* Does a count of [first, end) have all bits set? */
static bool is_any_full(const plane *planes, unsigned n, unsigned first, unsigned end)
{
	for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t full = word_mask(word, first, end);
		for (unsigned i = 0; i < n; i++)
			full &= planes[i][word];
		if (full)
			return true;
	}
	return false;
}

static int grow(plane **planes, uint8_t *n)
{
	if (*n == PLANES_MAX)
		return -EOVERFLOW;
	plane *grown = realloc(*planes, (*n + 1U) * sizeof(**planes));
	if (!grown)
		return -ENOMEM;
	*planes = grown;
	memset(grown[(*n)++], 0, sizeof(*grown));
	return 0;
}

/* Saves memory, so where that fails it stays as it is. */
static void shrink(plane **planes, uint8_t *n)
{
	static const plane zero;
	uint8_t left = *n;

	while (left > 1 && memcmp((*planes)[left - 1], zero, sizeof(zero)) == 0)
		left--;
	if (left == *n)
		return;
	plane *shrunk = realloc(*planes, left * sizeof(**planes));
	if (!shrunk)
		return;
	*planes = shrunk;
	*n = left;
}

int planes_add(plane **planes, uint8_t *n, unsigned first, unsigned end)
{
	int n_new = 0;

	if (is_any_full(*planes, *n, first, end)) {
		int r = grow(planes, n);
		if (r < 0)
			return r;
	}
	for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t carry = word_mask(word, first, end);
		n_new += __builtin_popcountll(carry & ~word_covered(*planes, *n, word));
		for (unsigned i = 0; carry; i++) {
			uint64_t *bits = &(*planes)[i][word], sum = *bits ^ carry;
			carry &= *bits;
			*bits = sum;
		}
	}
	return n_new;
}

unsigned planes_remove(plane **planes, uint8_t *n, unsigned first, unsigned end)
{
	unsigned gone = 0;

	for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t mask = word_mask(word, first, end), borrow = mask;
		for (unsigned i = 0; borrow && i < *n; i++) {
			uint64_t *bits = &(*planes)[i][word], difference = *bits ^ borrow;
			borrow &= ~*bits;
			*bits = difference;
		}
		gone += (unsigned)__builtin_popcountll(mask & ~word_covered(*planes, *n, word));
	}
	shrink(planes, n);
	return gone;
}

unsigned planes_missing(const plane *planes, unsigned n, unsigned first, unsigned end)
{
	unsigned missing = 0;

	for (unsigned word = first / 64; word <= (end - 1) / 64; word++)
		missing += (unsigned)__builtin_popcountll(
			word_mask(word, first, end) & ~word_covered(planes, n, word));
	return missing;
}

void planes_set(plane *planes, unsigned n, unsigned frame, uint32_t count)
{
	uint64_t bit = UINT64_C(1) << frame % 64;

	for (unsigned i = 0; i < n; i++) {
		uint64_t *bits = &planes[i][frame / 64];
		*bits = count >> i & 1 ? *bits | bit : *bits & ~bit;
	}
}

int planes_put(plane **planes, uint8_t *n, unsigned frame, uint32_t count)
{
	while (*n < planes_needed(count)) {
		int r = grow(planes, n);
		if (r < 0)
			return r;
	}
	planes_set(*planes, *n, frame, count);
	return 0;
}

uint32_t planes_count(const plane *planes, unsigned n, unsigned frame)
{
	uint32_t count = 0;
	for (unsigned i = 0; i < n; i++)
		count |= (uint32_t)(planes[i][frame / 64] >> frame % 64 & 1) << i;
	return count;
}

unsigned planes_next(const plane *planes, unsigned n, unsigned from)
{
	for (unsigned word = from / 64; word < PLANE_WORDS; word++) {
		uint64_t covered =
			word_covered(planes, n, word) & word_mask(word, from, PLANE_FRAMES);
		if (covered)
			return word * 64 + (unsigned)__builtin_ctzll(covered);
	}
	return PLANE_FRAMES;
}
