/*
 * A chunk: the counts of 512 frames, in as little memory as there are frames to count.
 * Nobody outside of this room includes this.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHUNK_BITS 9
#define CHUNK_FRAMES (1U << CHUNK_BITS)

enum chunk_form {
	CHUNK_LIST,  /* list.h */
	CHUNK_BYTES, /* a count for each frame */
	CHUNK_WORDS,
};

/* All zero: nothing is covered. */
struct chunk {
	uint32_t count;   /* intervals that cover it whole */
	uint16_t covered; /* frames that others cover; of a list, its length */
	uint8_t form;
	union {
		uint32_t *list;
		uint8_t *bytes;
		uint32_t *words;
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
