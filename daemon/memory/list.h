/*
 * A sorted list of frames with their counts: for where few of many are pinned. Who has one knows
 * how long it is. Nobody outside of this room includes this.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* An entry: frame << LIST_COUNT_BITS | count. */
#define LIST_COUNT_BITS 14
#define LIST_COUNT_MAX ((1U << LIST_COUNT_BITS) - 1)
#define LIST_FRAME_BITS (32 - LIST_COUNT_BITS)

static inline unsigned list_frame(uint32_t entry)
{
	return entry >> LIST_COUNT_BITS;
}
static inline unsigned list_count(uint32_t entry)
{
	return entry & LIST_COUNT_MAX;
}

/*
 * Adds 1 to the counts of frames [first, end); `n` entries are there. How many more there are now;
 * or, with nothing changed, -ENOMEM, or -EAGAIN: it would have more than `max` entries, or a count
 * that does not fit, and another form is called for.
 */
int list_add(uint32_t **entries, unsigned n, unsigned max, unsigned first, unsigned end);
/* Takes 1 from each, all of them being there: how many entries are gone. Without any, NULL. */
unsigned list_remove(uint32_t **entries, unsigned n, unsigned first, unsigned end);
/* How many of them are not there. */
unsigned list_missing(const uint32_t *entries, unsigned n, unsigned first, unsigned end);
/* Bytes. */
size_t list_memory(unsigned n);
