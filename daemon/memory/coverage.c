#include "daemon/memory/coverage.h"

#include "daemon/memory/region.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCK_BITS 27
#define BLOCK_FRAMES (UINT64_C(1) << BLOCK_BITS)
#define BLOCK_REGIONS (BLOCK_FRAMES / REGION_FRAMES)
#define MAX_FRAMES (UINT64_C(1) << 44)

/* 2²⁷ frames: 512 GiB. */
struct block {
	uint64_t count;         /* intervals that cover it whole */
	uint64_t covered;       /* frames that others cover */
	struct region *regions; /* NULL: nothing is covered by others */
};

struct coverage {
	uint64_t n_frames;
	uint64_t covered;
	size_t n_blocks;
	struct block blocks[];
};

struct coverage *coverage_new(uint64_t n_frames)
{
	if (n_frames > MAX_FRAMES)
		return NULL;
	size_t n_blocks = (n_frames + BLOCK_FRAMES - 1) / BLOCK_FRAMES;
	struct coverage *coverage =
		calloc(1, sizeof(*coverage) + n_blocks * sizeof(*coverage->blocks));
	if (!coverage)
		return NULL;
	coverage->n_frames = n_frames;
	coverage->n_blocks = n_blocks;
	return coverage;
}

struct coverage *coverage_free(struct coverage *coverage)
{
	if (!coverage)
		return NULL;
	for (size_t i = 0; i < coverage->n_blocks; i++) {
		struct region *regions = coverage->blocks[i].regions;
		for (size_t j = 0; regions && j < BLOCK_REGIONS; j++)
			region_clear(&regions[j]);
		free(regions);
	}
	free(coverage);
	return NULL;
}

/* The end of the part of [first, end) that lies in one piece of `size` frames. */
static uint64_t part_end(uint64_t first, uint64_t end, uint64_t size)
{
	uint64_t next = (first | (size - 1)) + 1;
	return next < end ? next : end;
}

/* --- regions of a block: [first, end) is within it ------------------------------------------ */

static uint64_t regions_remove(struct block *block, uint64_t first, uint64_t end)
{
	uint64_t gone = 0;

	for (uint64_t next; first < end; first = next) {
		struct region *region = &block->regions[first / REGION_FRAMES];
		next = part_end(first, end, REGION_FRAMES);
		unsigned offset = first % REGION_FRAMES, n;
		if (next - first == REGION_FRAMES) {
			n = --region->count == 0 ? REGION_FRAMES - region->covered : 0;
		} else {
			n = region_remove(region, offset, offset + (unsigned)(next - first));
			n = region->count > 0 ? 0 : n;
		}
		gone += n;
	}
	return gone;
}

static int region_add_any(struct region *region, unsigned first, unsigned end)
{
	if (end - first < REGION_FRAMES) {
		int r = region_add(region, first, end);
		return r > 0 && region->count > 0 ? 0 : r;
	}
	if (region->count == UINT32_MAX)
		return -EOVERFLOW;
	return region->count++ == 0 ? (int)(REGION_FRAMES - region->covered) : 0;
}

static int regions_add(struct block *block, uint64_t first, uint64_t end, uint64_t *n_new)
{
	uint64_t begin = first;

	*n_new = 0;
	if (!block->regions) {
		block->regions = calloc(BLOCK_REGIONS, sizeof(*block->regions));
		if (!block->regions)
			return -ENOMEM;
	}
	for (uint64_t next; first < end; first = next) {
		struct region *region = &block->regions[first / REGION_FRAMES];
		next = part_end(first, end, REGION_FRAMES);
		unsigned offset = first % REGION_FRAMES;
		int r = region_add_any(region, offset, offset + (unsigned)(next - first));
		if (r < 0) {
			regions_remove(block, begin, first);
			return r;
		}
		*n_new += (unsigned)r;
	}
	return 0;
}

static uint64_t regions_missing(const struct block *block, uint64_t first, uint64_t end)
{
	uint64_t missing = 0;

	if (!block->regions)
		return end - first;
	for (uint64_t next; first < end; first = next) {
		const struct region *region = &block->regions[first / REGION_FRAMES];
		next = part_end(first, end, REGION_FRAMES);
		unsigned offset = first % REGION_FRAMES;
		if (region->count > 0)
			continue;
		missing +=
			next - first == REGION_FRAMES
				? REGION_FRAMES - region->covered
				: region_missing(region, offset, offset + (unsigned)(next - first));
	}
	return missing;
}

static bool regions_have(const struct block *block, uint64_t first, uint64_t end)
{
	if (!block->regions)
		return false;
	for (uint64_t next; first < end; first = next) {
		const struct region *region = &block->regions[first / REGION_FRAMES];
		next = part_end(first, end, REGION_FRAMES);
		unsigned offset = first % REGION_FRAMES;
		if (next - first == REGION_FRAMES
				? region->count == 0
				: !region_has(region, offset, offset + (unsigned)(next - first)))
			return false;
	}
	return true;
}

/* --- blocks --------------------------------------------------------------------------------- */

uint64_t coverage_remove(struct coverage *coverage, uint64_t first, uint64_t n)
{
	uint64_t gone = 0, end = first + n;

	for (uint64_t next; first < end; first = next) {
		struct block *block = &coverage->blocks[first / BLOCK_FRAMES];
		uint64_t offset = first % BLOCK_FRAMES;
		next = part_end(first, end, BLOCK_FRAMES);
		if (next - first == BLOCK_FRAMES) {
			gone += --block->count == 0 ? BLOCK_FRAMES - block->covered : 0;
			continue;
		}
		uint64_t part = regions_remove(block, offset, offset + next - first);
		block->covered -= part;
		gone += block->count > 0 ? 0 : part;
	}
	coverage->covered -= gone;
	return gone;
}

int coverage_add(struct coverage *coverage, uint64_t first, uint64_t n, uint64_t *n_new)
{
	uint64_t begin = first, end;

	*n_new = 0;
	if (n == 0 || __builtin_add_overflow(first, n, &end) || end > coverage->n_frames)
		return -ERANGE;
	for (uint64_t next; first < end; first = next) {
		struct block *block = &coverage->blocks[first / BLOCK_FRAMES];
		uint64_t offset = first % BLOCK_FRAMES, part = 0;
		next = part_end(first, end, BLOCK_FRAMES);
		if (next - first == BLOCK_FRAMES) {
			*n_new += block->count++ == 0 ? BLOCK_FRAMES - block->covered : 0;
			continue;
		}
		int r = regions_add(block, offset, offset + next - first, &part);
		if (r < 0) {
			/* What has been counted so far is not in the total yet. */
			coverage->covered += *n_new;
			if (first > begin)
				coverage_remove(coverage, begin, first - begin);
			*n_new = 0;
			return r;
		}
		block->covered += part;
		*n_new += block->count > 0 ? 0 : part;
	}
	coverage->covered += *n_new;
	return 0;
}

uint64_t coverage_missing(const struct coverage *coverage, uint64_t first, uint64_t n)
{
	uint64_t missing = 0, end = first + n;

	for (uint64_t next; first < end; first = next) {
		const struct block *block = &coverage->blocks[first / BLOCK_FRAMES];
		uint64_t offset = first % BLOCK_FRAMES;
		next = part_end(first, end, BLOCK_FRAMES);
		if (block->count > 0)
			continue;
		missing += next - first == BLOCK_FRAMES
				   ? BLOCK_FRAMES - block->covered
				   : regions_missing(block, offset, offset + next - first);
	}
	return missing;
}

bool coverage_has(const struct coverage *coverage, uint64_t first, uint64_t n)
{
	uint64_t end;

	if (n == 0 || __builtin_add_overflow(first, n, &end) || end > coverage->n_frames)
		return false;
	for (uint64_t next; first < end; first = next) {
		const struct block *block = &coverage->blocks[first / BLOCK_FRAMES];
		uint64_t offset = first % BLOCK_FRAMES;
		next = part_end(first, end, BLOCK_FRAMES);
		if (next - first == BLOCK_FRAMES
				? block->count == 0
				: !regions_have(block, offset, offset + next - first))
			return false;
	}
	return true;
}

uint64_t coverage_total(const struct coverage *coverage)
{
	return coverage->covered;
}

size_t coverage_memory(const struct coverage *coverage)
{
	size_t size = sizeof(*coverage) + coverage->n_blocks * sizeof(*coverage->blocks);

	for (size_t i = 0; i < coverage->n_blocks; i++) {
		const struct region *regions = coverage->blocks[i].regions;
		for (size_t j = 0; regions && j < BLOCK_REGIONS; j++)
			size += sizeof(*regions) + region_memory(&regions[j]);
	}
	return size;
}
