#include "daemon/memory/iova.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
	const struct iova_range *a = left, *b = right;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* Sorted ones become apart: how many are left. */
static size_t merge(struct iova_range *ranges, size_t n)
{
	size_t n_merged = 0;

	for (size_t i = 0; i < n; i++) {
		struct iova_range *last = n_merged > 0 ? &ranges[n_merged - 1] : NULL;

		if (!last || (last->last != UINT64_MAX && ranges[i].first > last->last + 1))
			ranges[n_merged++] = ranges[i];
		else if (ranges[i].last > last->last)
			last->last = ranges[i].last;
	}
	return n_merged;
}

int iova_list_set(struct iova_list *list, const struct iova_range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ranges[i].last < ranges[i].first)
			return -EINVAL;
	struct iova_range *copy = reallocarray(NULL, n > 0 ? n : 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (n > 0)
		memcpy(copy, ranges, n * sizeof(*copy));
	qsort(copy, n, sizeof(*copy), compare);
	iova_list_clear(list);
	*list = (struct iova_list){ .ranges = copy, .n = merge(copy, n) };
	return 0;
}

int iova_list_intersect(struct iova_list *list, const struct iova_list *with)
{
	/* Each step below ends one of the ranges. */
	struct iova_range *both = reallocarray(NULL, list->n + with->n + 1, sizeof(*both));
	size_t n = 0;

	if (!both)
		return -ENOMEM;
	for (size_t i = 0, j = 0; i < list->n && j < with->n;) {
		const struct iova_range *a = &list->ranges[i], *b = &with->ranges[j];
		struct iova_range common = {
			.first = a->first > b->first ? a->first : b->first,
			.last = a->last < b->last ? a->last : b->last,
		};

		if (common.first <= common.last)
			both[n++] = common;
		if (a->last < b->last)
			i++;
		else
			j++;
	}
	iova_list_clear(list);
	*list = (struct iova_list){ .ranges = both, .n = n };
	return 0;
}

bool iova_list_contains(const struct iova_list *list, uint64_t first, uint64_t last)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->ranges[i].first <= first && last <= list->ranges[i].last)
			return true;
	return false;
}

void iova_list_clear(struct iova_list *list)
{
	free(list->ranges);
	*list = (struct iova_list){ 0 };
}
