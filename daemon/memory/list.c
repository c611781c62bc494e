#include "daemon/memory/list.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * Entries that there is room for when there are `n`: told by n alone. Steps of what malloc gives,
 * which has 8 bytes of every 16 for itself once, and larger ones where moving is dear.
 */
static unsigned capacity_for(unsigned n)
{
	if (n == 0)
		return 0;
	unsigned step = n <= 64 ? 4 : n <= 512 ? 32 : 256;
	return (n + 1) / step * step + step - 2;
}

size_t list_memory(unsigned n)
{
	return capacity_for(n) * sizeof(uint32_t);
}

/* The place of the first entry that is not before `frame`. */
static unsigned find(const uint32_t *entries, unsigned n, unsigned frame)
{
	uint32_t key = frame << LIST_COUNT_BITS;
	const uint32_t *base = entries;

	/* Without a branch: where it goes cannot be foretold. */
	while (n > 1) {
		unsigned half = n / 2;
		base += base[half - 1] < key ? half : 0;
		n -= half;
	}
	return (unsigned)(base - entries) + (n == 1 && *base < key);
}

/* How many entries lie in [first, end), and where they begin. */
static unsigned find_all(
	const uint32_t *entries, unsigned n, unsigned first, unsigned end, unsigned *at)
{
	*at = find(entries, n, first);
	unsigned there = 0;
	while (*at + there < n && list_frame(entries[*at + there]) < end)
		there++;
	return there;
}

unsigned list_missing(const uint32_t *entries, unsigned n, unsigned first, unsigned end)
{
	unsigned at;
	return end - first - find_all(entries, n, first, end, &at);
}

static bool is_any_full(const uint32_t *entries, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		if (list_count(entries[i]) == LIST_COUNT_MAX)
			return true;
	return false;
}

/* From the back, so that it is done in place: what is still to be read is never behind. */
static void merge(
	uint32_t *entries, unsigned n, unsigned at, unsigned there, unsigned first, unsigned end)
{
	unsigned from = at + there, to = at + end - first;

	memmove(&entries[to], &entries[from], (n - from) * sizeof(*entries));
	for (unsigned frame = end; frame-- > first;) {
		to--;
		if (from > at && list_frame(entries[from - 1]) == frame)
			entries[to] = entries[--from] + 1;
		else
			entries[to] = frame << LIST_COUNT_BITS | 1;
	}
}

int list_add(uint32_t **entries, unsigned n, unsigned max, unsigned first, unsigned end)
{
	unsigned at;

	if (end - first > max)
		return -EAGAIN;
	unsigned there = find_all(*entries, n, first, end, &at);
	unsigned n_new = end - first - there;
	if (n + n_new > max || is_any_full(*entries, at, at + there))
		return -EAGAIN;
	if (capacity_for(n + n_new) > capacity_for(n)) {
		uint32_t *grown = realloc(*entries, list_memory(n + n_new));
		if (!grown)
			return -ENOMEM;
		*entries = grown;
	}
	merge(*entries, n, at, there, first, end);
	return (int)n_new;
}

unsigned list_remove(uint32_t **entries, unsigned n, unsigned first, unsigned end)
{
	unsigned at;
	unsigned there = find_all(*entries, n, first, end, &at);
	unsigned to = at;

	assert(there == end - first);
	for (unsigned from = at; from < at + there; from++)
		if (list_count((*entries)[from]) > 1)
			(*entries)[to++] = (*entries)[from] - 1;
	memmove(&(*entries)[to], &(*entries)[at + there], (n - at - there) * sizeof(**entries));
	unsigned gone = at + there - to;
	if (gone == n) {
		free(*entries);
		*entries = NULL;
	} else if (capacity_for(n - gone) < capacity_for(n)) {
		/* Does not fail in practice; and if it did, there would only be more room. */
		uint32_t *shrunk = realloc(*entries, list_memory(n - gone));
		if (shrunk)
			*entries = shrunk;
	}
	return gone;
}
