#include "daemon/memory/chunk.h"

#include "daemon/memory/list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What makes list and planes change over, a plane: a list has 4 bytes a frame, a plane 64 in all.
 */
#define LIST_MAX 24U
/* Planes become a list again only below this, lest it goes to and fro. */
#define LIST_AGAIN 12U
/* Counts end at 2³² - 1. */
#define MAX_PLANES 32U

void chunk_clear(struct chunk *chunk)
{
	free(chunk->list);
	chunk->list = NULL;
	chunk->n_planes = 0;
	chunk->covered = 0;
}

/* --- planes --------------------------------------------------------------------------------- */

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
static uint64_t word_covered(const struct chunk *chunk, unsigned word)
{
	uint64_t covered = 0;
	for (unsigned i = 0; i < chunk->n_planes; i++)
		covered |= chunk->planes[i][word];
	return covered;
}

/* Does a count of [first, end) have all bits set? */
static bool planes_full(const struct chunk *chunk, unsigned first, unsigned end)
{
	for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t full = word_mask(word, first, end);
		for (unsigned i = 0; i < chunk->n_planes; i++)
			full &= chunk->planes[i][word];
		if (full)
			return true;
	}
	return false;
}

static int planes_grow(struct chunk *chunk)
{
	if (chunk->n_planes == MAX_PLANES)
		return -EOVERFLOW;
	void *grown = realloc(chunk->planes, (chunk->n_planes + 1U) * sizeof(*chunk->planes));
	if (!grown)
		return -ENOMEM;
	chunk->planes = grown;
	memset(chunk->planes[chunk->n_planes++], 0, sizeof(*chunk->planes));
	return 0;
}

/* Saves memory, so where that fails it stays as it is. */
static void planes_shrink(struct chunk *chunk)
{
	static const uint64_t zero[CHUNK_WORDS];
	unsigned n = chunk->n_planes;

	while (n > 1 && memcmp(chunk->planes[n - 1], zero, sizeof(zero)) == 0)
		n--;
	if (n == chunk->n_planes)
		return;
	void *shrunk = realloc(chunk->planes, n * sizeof(*chunk->planes));
	if (!shrunk)
		return;
	chunk->planes = shrunk;
	chunk->n_planes = (uint8_t)n;
}

static int planes_add(struct chunk *chunk, unsigned first, unsigned end)
{
	int n_new = 0;

	if (planes_full(chunk, first, end)) {
		int r = planes_grow(chunk);
		if (r < 0)
			return r;
	}
	for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t carry = word_mask(word, first, end);
		n_new += __builtin_popcountll(carry & ~word_covered(chunk, word));
		for (unsigned i = 0; carry; i++) {
			uint64_t *bits = &chunk->planes[i][word], sum = *bits ^ carry;
			carry &= *bits;
			*bits = sum;
		}
	}
	return n_new;
}

static unsigned planes_remove(struct chunk *chunk, unsigned first, unsigned end)
{
	unsigned gone = 0;

	for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t mask = word_mask(word, first, end), borrow = mask;
		for (unsigned i = 0; borrow && i < chunk->n_planes; i++) {
			uint64_t *bits = &chunk->planes[i][word], difference = *bits ^ borrow;
			borrow &= ~*bits;
			*bits = difference;
		}
		gone += (unsigned)__builtin_popcountll(mask & ~word_covered(chunk, word));
	}
	planes_shrink(chunk);
	return gone;
}

static unsigned planes_missing(const struct chunk *chunk, unsigned first, unsigned end)
{
	unsigned missing = 0;

	for (unsigned word = first / 64; word <= (end - 1) / 64; word++)
		missing += (unsigned)__builtin_popcountll(
			word_mask(word, first, end) & ~word_covered(chunk, word));
	return missing;
}

/* --- from one form to another ---------------------------------------------------------------- */

/* How many planes the counts of a list need. */
static unsigned planes_needed(const struct chunk *chunk)
{
	unsigned all = 1;
	for (unsigned i = 0; i < chunk->covered; i++)
		all |= list_count(chunk->list[i]);
	return 32 - (unsigned)__builtin_clz(all);
}

static int to_planes(struct chunk *chunk)
{
	unsigned n_planes = planes_needed(chunk);
	uint64_t(*planes)[CHUNK_WORDS] = calloc(n_planes, sizeof(*planes));

	if (!planes)
		return -ENOMEM;
	for (unsigned i = 0; i < chunk->covered; i++) {
		unsigned frame = list_frame(chunk->list[i]), count = list_count(chunk->list[i]);
		for (unsigned j = 0; j < n_planes; j++)
			planes[j][frame / 64] |= (uint64_t)(count >> j & 1) << frame % 64;
	}
	free(chunk->list);
	chunk->planes = planes;
	chunk->n_planes = (uint8_t)n_planes;
	return 0;
}

static uint32_t planes_count(const struct chunk *chunk, unsigned frame)
{
	uint32_t count = 0;
	for (unsigned i = 0; i < chunk->n_planes; i++)
		count |= (uint32_t)(chunk->planes[i][frame / 64] >> frame % 64 & 1) << i;
	return count;
}

/* Of planes with few frames left. Saves memory, so where there is none it stays as it is. */
static void to_list(struct chunk *chunk)
{
	unsigned n = 0;

	if (chunk->covered == 0) {
		chunk_clear(chunk);
		return;
	}
	if (chunk->n_planes > LIST_COUNT_BITS)
		return;
	uint32_t *list = malloc(list_memory(chunk->covered));
	if (!list)
		return;
	for (unsigned word = 0; word < CHUNK_WORDS; word++)
		for (uint64_t left = word_covered(chunk, word); left; left &= left - 1) {
			unsigned frame = word * 64 + (unsigned)__builtin_ctzll(left);
			list[n++] = frame << LIST_COUNT_BITS | planes_count(chunk, frame);
		}
	free(chunk->planes);
	chunk->n_planes = 0;
	chunk->list = list;
}

/* --- the chunk ------------------------------------------------------------------------------ */

int chunk_add(struct chunk *chunk, unsigned first, unsigned end)
{
	int n_new = -EAGAIN;

	if (chunk->n_planes == 0) {
		unsigned max = LIST_MAX;
		if (chunk->covered + end - first > max)
			max *= planes_needed(chunk);
		n_new = list_add(&chunk->list, chunk->covered, max, first, end);
		if (n_new == -EAGAIN) {
			int r = to_planes(chunk);
			if (r < 0)
				return r;
		}
	}
	if (n_new == -EAGAIN)
		n_new = planes_add(chunk, first, end);
	if (n_new > 0)
		chunk->covered = (uint16_t)(chunk->covered + n_new);
	return n_new;
}

unsigned chunk_remove(struct chunk *chunk, unsigned first, unsigned end)
{
	bool is_list = chunk->n_planes == 0;
	unsigned gone = is_list ? list_remove(&chunk->list, chunk->covered, first, end)
				: planes_remove(chunk, first, end);

	chunk->covered = (uint16_t)(chunk->covered - gone);
	if (!is_list && chunk->covered <= LIST_AGAIN * chunk->n_planes)
		to_list(chunk);
	return gone;
}

unsigned chunk_missing(const struct chunk *chunk, unsigned first, unsigned end)
{
	return chunk->n_planes > 0 ? planes_missing(chunk, first, end)
				   : list_missing(chunk->list, chunk->covered, first, end);
}

int chunk_put(struct chunk *chunk, unsigned frame, uint32_t count)
{
	int r = chunk_add(chunk, frame, frame + 1);
	if (r < 0)
		return r;
	if (chunk->n_planes == 0) {
		chunk->list[chunk->covered - 1] = frame << LIST_COUNT_BITS | count;
		return 0;
	}
	while (chunk->n_planes < MAX_PLANES && count >> chunk->n_planes) {
		r = planes_grow(chunk);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < chunk->n_planes; i++) {
		uint64_t *bits = &chunk->planes[i][frame / 64], bit = UINT64_C(1) << frame % 64;
		*bits = count >> i & 1 ? *bits | bit : *bits & ~bit;
	}
	return 0;
}

size_t chunk_memory(const struct chunk *chunk)
{
	return chunk->n_planes > 0 ? chunk->n_planes * sizeof(*chunk->planes)
				   : list_memory(chunk->covered);
}
