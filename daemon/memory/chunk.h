/*
 * A chunk: the counts of 512 frames, in as little memory as there are frames to count.
 * Nobody outside of this room includes this.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHUNK_BITS 9
#define CHUNK_FRAMES (1U << CHUNK_BITS)

#define CHUNK_WORDS (CHUNK_FRAMES / 64)

/*
 * All zero: nothing is covered. Few frames are listed; of many, the counts stand upright: a plane
 * has one bit of each count, so that as many planes are there as the greatest of them needs, and an
 * interval is added to 64 counts at once, as an adder carries.
 */
struct chunk {
	uint32_t count;   /* intervals that cover it whole */
	uint16_t covered; /* frames that others cover; of a list, its length */
	uint8_t n_planes; /* 0: it is a list */
	union {
		uint32_t *list; /* list.h */
		uint64_t (*planes)[CHUNK_WORDS];
	};
};

/*
 * Adds 1 to the counts of frames [first, end): how many of them were 0, or -ENOMEM, -EOVERFLOW with
 * nothing changed. The chunk's own count is not looked at.
 */
int chunk_add(struct chunk *chunk, unsigned first, unsigned end);
/* Takes 1 from each; all of them are positive. How many are 0 now. */
unsigned chunk_remove(struct chunk *chunk, unsigned first, unsigned end);
/* How many of them are 0. */
unsigned chunk_missing(const struct chunk *chunk, unsigned first, unsigned end);
/* An entry of a list of a higher level comes to an empty chunk, or behind its last. 0 or -ENOMEM.
 */
int chunk_put(struct chunk *chunk, unsigned frame, uint32_t count);

void chunk_clear(struct chunk *chunk);
size_t chunk_memory(const struct chunk *chunk); /* besides itself */
