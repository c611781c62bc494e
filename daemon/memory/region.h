/*
 * A region: the counts of 2¹⁸ frames (1 GiB). Nobody outside of this room includes this.
 */
#pragma once

#include "daemon/memory/chunk.h"

#include <stdbool.h>

#define REGION_BITS 18
#define REGION_FRAMES (1U << REGION_BITS)

/* All zero: nothing is covered. */
struct region {
	uint32_t count;   /* intervals that cover it whole */
	uint32_t covered; /* frames that others cover; of a list, its length */
	bool is_chunked;
	union {
		uint32_t *list; /* list.h */
		struct chunk *chunks;
	};
};

/*
 * Adds an interval [first, end) that is not the whole of it: how many frames of it were not covered
 * by others, the region's own count apart. Or, with nothing changed, -ENOMEM, -EOVERFLOW.
 */
int region_add(struct region *region, unsigned first, unsigned end);
/* Removes one that was added just so: how many frames others do not cover now. */
unsigned region_remove(struct region *region, unsigned first, unsigned end);
/* How many frames others do not cover; it may be the whole. */
unsigned region_missing(const struct region *region, unsigned first, unsigned end);

/* Has something been added that a remove of this, which is not the whole, would take away? */
bool region_has(const struct region *region, unsigned first, unsigned end);

void region_clear(struct region *region);
size_t region_memory(const struct region *region); /* besides itself */
