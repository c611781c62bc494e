/* Lists of ranges of I/O virtual addresses: sorted, apart from each other. Pure. */
#pragma once

#include "daemon/base/refusal.h"

#include <stdbool.h>

struct iova_list {
	struct iova_range *ranges; /* owned */
	size_t n;
};

/* From ranges in any order, which may touch or overlap. 0, -ENOMEM or -EINVAL (one ends before it
 * begins). */
int iova_list_set(struct iova_list *list, const struct iova_range *ranges, size_t n);
/* What is in both. 0 or -ENOMEM: *list is as before then. */
int iova_list_intersect(struct iova_list *list, const struct iova_list *with);
/* Is all of [first, last] in it? */
bool iova_list_contains(const struct iova_list *list, uint64_t first, uint64_t last);
void iova_list_clear(struct iova_list *list);
