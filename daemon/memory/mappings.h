/*
 * The mappings of a space: each by its number, which its keeper knows it by, and all in the order
 * of their I/O virtual addresses. They do not overlap.
 */
#pragma once

#include "daemon/memory/ledger.h"

#include <stdbool.h>

struct mapping {
	uint32_t number;
	uint32_t memory;
	uint32_t flags; /* enum wire_flag */
	uint64_t offset, iova, length;
	struct charge charge;
	/* Where its runs are in the book: the first of those that are covered, in bytes. */
	uint64_t book_offset;
};
static inline uint64_t mapping_last(const struct mapping *mapping)
{
	return mapping->iova + (mapping->length - 1);
}

/*
 * In order: an array. An insert in the middle moves pointers (a quarter of a MiB for 65,535
 * mappings, a few microseconds), which is nothing beside the request to the keeper that goes with
 * it.
 */
struct mappings {
	struct mapping **list;
	size_t n, size;
	uint64_t bytes; /* of all */
	/* By number; a number that is free has the next one that is instead, + 1. */
	union mapping_slot {
		struct mapping *mapping;
		uintptr_t next_free;
	} * slots;
	size_t n_slots;
	uintptr_t free;
};

/* A mapping that has its number, and a place reserved; not in the list yet. NULL: no memory. */
struct mapping *mappings_make(struct mappings *mappings);
/* It is in the list now. Cannot fail. */
void mappings_insert(struct mappings *mappings, struct mapping *mapping);
/* Its number is free again, and it as well. `at`: its index; SIZE_MAX: it was never inserted. */
void mappings_drop(struct mappings *mappings, struct mapping *mapping, size_t at);
/* NULL: none that is inserted or was made has it. */
struct mapping *mappings_by_number(const struct mappings *mappings, uint32_t number);

/*
 * For mappings that have their numbers already: makes each of them, in any order, then the list,
 * from which on all is as usual. NULL: no memory, or the number is taken or beyond all sense; 0,
 * -ENOMEM, or -EBADMSG: some overlap, and all that is left to do is to take back what they cost.
 */
struct mapping *mappings_restore(struct mappings *mappings, uint32_t number);
int mappings_restored(struct mappings *mappings);

/* The index of the first one that ends at this address or later; n: none does. */
size_t mappings_find(const struct mappings *mappings, uint64_t iova);
/* The first one that has an address in [first, last]. NULL: none. */
struct mapping *mappings_overlap(const struct mappings *mappings, uint64_t first, uint64_t last);
/*
 * Those that lie in [first, last]: [*begin, *end). NULL; or the one that lies in it in part only.
 */
struct mapping *mappings_within(
	const struct mappings *mappings, uint64_t first, uint64_t last, size_t *begin, size_t *end);

/* Frees all; their charges are empty. */
void mappings_clear(struct mappings *mappings);
