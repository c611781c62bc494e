#include "daemon/memory/chunk.h"

#include "daemon/memory/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What makes list and planes change over, a plane: a list has 4 bytes a frame, a plane 64 in all.
 */
#define LIST_MAX 24U
/* Planes become a list again only below this, lest it goes to and fro. */
#define LIST_AGAIN 12U

void chunk_clear(struct chunk *chunk)
{
	if (chunk->form == CHUNK_LIST)
		free(chunk->list);
	else if (chunk->form == CHUNK_PLANES)
		free(chunk->planes);
	chunk->form = CHUNK_EMPTY;
	chunk->covered = 0;
}

/* --- from one form to another ---------------------------------------------------------------- */

static void set_planes(struct chunk *chunk, plane *planes, unsigned n_planes)
{
	if (chunk->form == CHUNK_LIST)
		free(chunk->list);
	chunk->form = CHUNK_PLANES;
	chunk->planes = planes;
	chunk->n_planes = (uint8_t)n_planes;
}

static void set_list(struct chunk *chunk, uint32_t *list)
{
	if (chunk->form == CHUNK_PLANES)
		free(chunk->planes);
	chunk->form = CHUNK_LIST;
	chunk->list = list;
}

/* How many planes the counts of a span or a list need. */
static unsigned planes_wanted(const struct chunk *chunk)
{
	uint32_t all = chunk->form == CHUNK_SPAN ? chunk->span.count : 0;

	for (unsigned i = 0; chunk->form == CHUNK_LIST && i < chunk->covered; i++)
		all |= list_count(chunk->list[i]);
	return planes_needed(all);
}

/* From a span or a list. */
static int to_planes(struct chunk *chunk)
{
	unsigned n = planes_wanted(chunk);
	plane *planes = calloc(n, sizeof(*planes));

	if (!planes)
		return -ENOMEM;
	if (chunk->form == CHUNK_SPAN)
		for (unsigned i = chunk->span.first; i < chunk->span.end; i++)
			planes_set(planes, n, i, chunk->span.count);
	else
		for (unsigned i = 0; i < chunk->covered; i++)
			planes_set(
				planes, n, list_frame(chunk->list[i]), list_count(chunk->list[i]));
	set_planes(chunk, planes, n);
	return 0;
}

int chunk_list(const struct chunk *chunk, uint32_t *entries, unsigned base)
{
	unsigned n = 0, first = 0;

	if (chunk->form == CHUNK_LIST) {
		for (; n < chunk->covered; n++)
			entries[n] = chunk->list[n] + (base << LIST_COUNT_BITS);
		return (int)n;
	}
	if (chunk->form == CHUNK_SPAN) {
		if (chunk->span.count > LIST_COUNT_MAX)
			return -E2BIG;
		for (unsigned i = chunk->span.first; i < chunk->span.end; i++)
			entries[n++] = (base + i) << LIST_COUNT_BITS | chunk->span.count;
		return (int)n;
	}
	if (chunk->form == CHUNK_EMPTY)
		return 0;
	if (chunk->n_planes > LIST_COUNT_BITS)
		return -E2BIG;
	while ((first = planes_next(chunk->planes, chunk->n_planes, first)) < CHUNK_FRAMES) {
		entries[n++] = (base + first) << LIST_COUNT_BITS |
			       planes_count(chunk->planes, chunk->n_planes, first);
		first++;
	}
	return (int)n;
}

/* From a span or planes: 0, -ENOMEM, or -E2BIG. */
static int to_list(struct chunk *chunk)
{
	uint32_t *list = calloc(1, list_memory(chunk->covered));
	if (!list)
		return -ENOMEM;
	int r = chunk_list(chunk, list, 0);
	if (r < 0) {
		free(list);
		return r;
	}
	set_list(chunk, list);
	return 0;
}

/* Something else than the span comes. */
static int span_open(struct chunk *chunk)
{
	int r = chunk->covered <= LIST_MAX ? to_list(chunk) : -E2BIG;
	return r == -E2BIG ? to_planes(chunk) : r;
}

/* --- the chunk ------------------------------------------------------------------------------ */

static bool is_span(const struct chunk *chunk, unsigned first, unsigned end)
{
	return chunk->form == CHUNK_SPAN && chunk->span.first == first && chunk->span.end == end;
}

/* The span comes again, or the first thing at all: how many frames are new. */
static int span_add(struct chunk *chunk, unsigned first, unsigned end)
{
	if (chunk->form == CHUNK_SPAN) {
		if (chunk->span.count == UINT32_MAX)
			return -EOVERFLOW;
		chunk->span.count++;
		return 0;
	}
	chunk->form = CHUNK_SPAN;
	chunk->span.first = (uint16_t)first;
	chunk->span.end = (uint16_t)end;
	chunk->span.count = 1;
	return (int)(end - first);
}

/* To a list, which may have to become planes. */
static int list_or_planes_add(struct chunk *chunk, unsigned first, unsigned end)
{
	unsigned max = LIST_MAX;

	if (chunk->covered + end - first > max)
		max *= planes_wanted(chunk);
	int n_new = list_add(&chunk->list, chunk->covered, max, first, end);
	if (n_new != -EAGAIN)
		return n_new;
	int r = to_planes(chunk);
	return r < 0 ? r : planes_add(&chunk->planes, &chunk->n_planes, first, end);
}

int chunk_add(struct chunk *chunk, unsigned first, unsigned end)
{
	int n_new = 0;

	if (chunk->form == CHUNK_EMPTY || is_span(chunk, first, end)) {
		n_new = span_add(chunk, first, end);
	} else {
		if (chunk->form == CHUNK_SPAN)
			n_new = span_open(chunk);
		if (n_new == 0 && chunk->form == CHUNK_LIST)
			n_new = list_or_planes_add(chunk, first, end);
		else if (n_new == 0)
			n_new = planes_add(&chunk->planes, &chunk->n_planes, first, end);
	}
	if (n_new > 0)
		chunk->covered = (uint16_t)(chunk->covered + n_new);
	return n_new;
}

unsigned chunk_remove(struct chunk *chunk, unsigned first, unsigned end)
{
	unsigned gone = 0;

	if (chunk->form == CHUNK_SPAN)
		gone = --chunk->span.count == 0 ? chunk->covered : 0;
	else if (chunk->form == CHUNK_LIST)
		gone = list_remove(&chunk->list, chunk->covered, first, end);
	else if (chunk->form == CHUNK_PLANES)
		gone = planes_remove(&chunk->planes, &chunk->n_planes, first, end);
	chunk->covered = (uint16_t)(chunk->covered - gone);
	if (chunk->covered == 0)
		chunk_clear(chunk);
	else if (chunk->form == CHUNK_PLANES && chunk->covered <= LIST_AGAIN * chunk->n_planes)
		to_list(chunk);
	return gone;
}

static unsigned span_missing(const struct chunk *chunk, unsigned first, unsigned end)
{
	unsigned from = first > chunk->span.first ? first : chunk->span.first;
	unsigned to = end < chunk->span.end ? end : chunk->span.end;

	return end - first - (to > from ? to - from : 0);
}

unsigned chunk_missing(const struct chunk *chunk, unsigned first, unsigned end)
{
	switch (chunk->form) {
	case CHUNK_SPAN:
		return span_missing(chunk, first, end);
	case CHUNK_LIST:
		return list_missing(chunk->list, chunk->covered, first, end);
	case CHUNK_PLANES:
		return planes_missing(chunk->planes, chunk->n_planes, first, end);
	default:
		return end - first;
	}
}

bool chunk_has(const struct chunk *chunk, unsigned first, unsigned end)
{
	return chunk->form == CHUNK_SPAN ? is_span(chunk, first, end)
					 : chunk_missing(chunk, first, end) == 0;
}

int chunk_put(struct chunk *chunk, unsigned frame, uint32_t count)
{
	int r = chunk_add(chunk, frame, frame + 1);
	if (r < 0)
		return r;
	if (chunk->form == CHUNK_SPAN)
		chunk->span.count = count;
	else if (chunk->form == CHUNK_LIST)
		chunk->list[chunk->covered - 1] = frame << LIST_COUNT_BITS | count;
	else
		return planes_put(&chunk->planes, &chunk->n_planes, frame, count);
	return 0;
}

size_t chunk_memory(const struct chunk *chunk)
{
	if (chunk->form == CHUNK_LIST)
		return list_memory(chunk->covered);
	return chunk->form == CHUNK_PLANES ? chunk->n_planes * sizeof(*chunk->planes) : 0;
}
