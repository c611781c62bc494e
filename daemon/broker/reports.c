#include "daemon/broker/reports.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The first that ends at this address or behind it, or is in a later container. */
static size_t reports_find(const struct reports *reports, uint64_t container, uint64_t iova)
{
	size_t begin = 0, end = reports->n;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;
		const struct reported *reported = reports->list[middle];

		if (reported->container < container ||
			(reported->container == container && reported_last(reported) < iova))
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

void reports_overlapping(const struct reports *reports, uint64_t container, uint64_t first,
	uint64_t last, size_t *begin, size_t *end)
{
	*begin = reports_find(reports, container, first);
	*end = reports_find(reports, container, last);
	if (*end < reports->n && reports->list[*end]->container == container &&
		reports->list[*end]->iova <= last)
		(*end)++;
}

void reports_within(const struct reports *reports, uint64_t container, uint64_t first,
	uint64_t last, size_t *begin, size_t *end)
{
	reports_overlapping(reports, container, first, last, begin, end);
	if (*begin < *end && reports->list[*begin]->iova < first)
		(*begin)++;
	if (*begin < *end && reported_last(reports->list[*end - 1]) > last)
		(*end)--;
}

int reports_reserve(struct reports *reports)
{
	if (reports->n < reports->size)
		return 0;
	size_t size = reports->size > 0 ? reports->size * 2 : 16;
	struct reported **list = realloc(reports->list, size * sizeof(struct reported *));
	if (!list)
		return -ENOMEM;
	reports->list = list;
	reports->size = size;
	return 0;
}

void reports_insert(struct reports *reports, struct reported *reported)
{
	size_t at = reports_find(reports, reported->container, reported->iova);

	assert(reports->n < reports->size);
	memmove(&reports->list[at + 1], &reports->list[at],
		(reports->n - at) * sizeof(struct reported *));
	reports->list[at] = reported;
	reports->n++;
}

void reports_remove(struct reports *reports, size_t begin, size_t end)
{
	if (begin == end)
		return;
	memmove(&reports->list[begin], &reports->list[end],
		(reports->n - end) * sizeof(struct reported *));
	reports->n -= end - begin;
}
