/*
 * The counts of 512 frames that stand upright: a plane has one bit of each count, the lowest first,
 * and there are as many planes as the greatest count needs. An interval is added to 64 counts at
 * once, as an adder carries. Nobody outside of this room includes this.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PLANE_FRAMES 512U
#define PLANE_WORDS (PLANE_FRAMES / 64)
/* Counts end at 2³² - 1. */
#define PLANES_MAX 32U

typedef uint64_t plane[PLANE_WORDS];

/* How many planes a count needs; 1 for 0. */
unsigned planes_needed(uint32_t count);
/*
 * Adds 1 to the counts of frames [first, end): how many of them were 0, or, with nothing changed,
 * -ENOMEM, -EOVERFLOW.
 */
int planes_add(plane **planes, uint8_t *n, unsigned first, unsigned end);
/* Takes 1 from each; all of them are positive. How many are 0 now. One plane stays. */
unsigned planes_remove(plane **planes, uint8_t *n, unsigned first, unsigned end);
/* How many of them are 0. */
unsigned planes_missing(const plane *planes, unsigned n, unsigned first, unsigned end);
/* Makes the count of a frame `count`, which fits into the planes that there are; or may not. */
void planes_set(plane *planes, unsigned n, unsigned frame, uint32_t count);
int planes_put(plane **planes, uint8_t *n, unsigned frame, uint32_t count);
uint32_t planes_count(const plane *planes, unsigned n, unsigned frame);
/* The first frame from `from` on whose count is not 0, or PLANE_FRAMES. */
unsigned planes_next(const plane *planes, unsigned n, unsigned from);
