/*
 * A coverage is a multiset of intervals of frames (physical pages), for one account: it says how
 * many frames an interval covers that nothing else covers yet, and how many are left uncovered
 * when it goes. Pure: no I/O, no loop.
 *
 * It is shaped like a page table of counts, with 512 pieces in one of the next level (1, 2⁹, 2¹⁸
 * and 2²⁷ frames): an interval is a few aligned pieces, and each piece counts at its level,
 * whatever lies below it. So the cost is in the depth and not in the length: a host of 1 TiB whole
 * is two pieces. An interval map (a tree of segments, as Boost.ICL has it) has to walk and split
 * all segments below an interval instead, again for each container that the range comes from.
 *
 * Memory: where few frames are pinned they are listed one by one, in the manner of roaring
 * bitmaps; where many are, a plane of bits for each digit of the greatest count. However a client
 * scatters its pages, that is a few bytes for each that is pinned, and nothing for those below a
 * piece that is pinned as a whole:
 *
 *   region (2¹⁸ frames)   a sorted list of frames with their counts, 4 bytes each, up to 4,096, or
 *                         1,024 where long runs come; else 512 chunks, 16 bytes each
 *   chunk (512 frames)    one interval, as long as there is no other; such a list, up to 24
 *                         entries for each plane it would have; else planes of 64 bytes each
 *
 * Measured with malloc's own (make bench BENCHES=coverage): at most 5 bytes a page that is pinned
 * where every frame, or every 2nd, 64th or 4,096th is. The worst that was found (test-coverage.c):
 * 23, one long run in each GiB and two frames in each chunk; 16, one huge page in each GiB.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct coverage;

/* For frames 0 to n_frames - 1 (2⁴⁴ at most). NULL: no memory. */
struct coverage *coverage_new(uint64_t n_frames);
struct coverage *coverage_free(struct coverage *coverage); /* NULL-safe, returns NULL */

/*
 * Adds an interval: *n_new frames of it were not covered before. 0; or, with nothing changed,
 * -ENOMEM, -ERANGE (it reaches beyond n_frames, or is empty), -EOVERFLOW (2³² - 1 times the same).
 */
int coverage_add(struct coverage *coverage, uint64_t first, uint64_t n, uint64_t *n_new);
/*
 * Removes an interval that was added just so (with its beginning and its length), and not removed
 * since: how many frames of it are not covered any more. Cannot fail. Given anything else that
 * coverage_has() does not know, it would count wrongly from then on: who is told by others what to
 * remove asks first.
 */
uint64_t coverage_remove(struct coverage *coverage, uint64_t first, uint64_t n);
/*
 * Are there, at the level of each of its pieces, intervals left that could be this one? True for
 * each that was added; false, also beyond n_frames, for one whose remove() would take away what
 * nobody has added.
 */
bool coverage_has(const struct coverage *coverage, uint64_t first, uint64_t n);

/* How many frames of an interval that is within n_frames are not covered: an add's *n_new. */
uint64_t coverage_missing(const struct coverage *coverage, uint64_t first, uint64_t n);
/* How many frames are covered. */
uint64_t coverage_total(const struct coverage *coverage);
/* Bytes of memory that it has, without what malloc itself needs. */
size_t coverage_memory(const struct coverage *coverage);
