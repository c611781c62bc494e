/*
 * A chunk: the counts of 512 frames, in as little memory as there are frames to count.
 * Nobody outside of this room includes this.
 */
#pragma once

#include "daemon/memory/planes.h"

#include <stdbool.h>

#define CHUNK_BITS 9
#define CHUNK_FRAMES (1U << CHUNK_BITS)
_Static_assert(CHUNK_FRAMES == PLANE_FRAMES, "a chunk is a plane wide");

enum chunk_form {
	CHUNK_EMPTY,
	CHUNK_SPAN, /* one interval, however often: most chunks that have anything have that */
	CHUNK_LIST, /* list.h */
	CHUNK_PLANES,
};

/* All zero: nothing is covered. */
struct chunk {
	uint32_t count;   /* intervals that cover it whole */
	uint16_t covered; /* frames that others cover; of a list, its length */
	uint8_t form, n_planes;
	union {
		struct {
			uint16_t first, end;
			uint32_t count;
		} span;
		uint32_t *list;
		plane *planes;
	};
};

/*
 * Adds 1 to the counts of frames [first, end), which is not the whole: how many of them were 0, or
 * -ENOMEM, -EOVERFLOW with nothing changed. The chunk's own count is not looked at.
 */
int chunk_add(struct chunk *chunk, unsigned first, unsigned end);
/* Takes 1 from each; it has them. How many are 0 now. */
unsigned chunk_remove(struct chunk *chunk, unsigned first, unsigned end);
/* How many of them are 0. */
unsigned chunk_missing(const struct chunk *chunk, unsigned first, unsigned end);
/* Has something been added that a remove of this would take away? */
bool chunk_has(const struct chunk *chunk, unsigned first, unsigned end);

/* An entry of a list of a higher level comes to an empty chunk, or behind its last. 0 or -ENOMEM.
 */
int chunk_put(struct chunk *chunk, unsigned frame, uint32_t count);
/*
 * The other way round: writes an entry for each frame that others cover, their numbers beginning at
 * `base`; how many. -E2BIG: a count does not fit into an entry.
 */
int chunk_list(const struct chunk *chunk, uint32_t *entries, unsigned base);

void chunk_clear(struct chunk *chunk);
size_t chunk_memory(const struct chunk *chunk); /* besides itself */
