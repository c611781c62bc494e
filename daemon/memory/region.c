#include "daemon/memory/region.h"

#include "daemon/memory/list.h"

#include <errno.h>
#include <stdlib.h>

#define N_CHUNKS (REGION_FRAMES / CHUNK_FRAMES)
/* 4 bytes a frame in a list; 8 KiB for chunks before there is a frame in them. */
#define LIST_MAX 4096U
/* More than that at once is a run, which is listed only among so few frames that chunks would cost
 * more. */
#define LIST_RUN 64U
#define LIST_RUN_MAX 1024U
/* Chunks become a list again only below this, lest it goes to and fro. */
#define LIST_AGAIN 512U

void region_clear(struct region *region)
{
	if (region->is_chunked) {
		for (unsigned i = 0; i < N_CHUNKS; i++)
			chunk_clear(&region->chunks[i]);
		free(region->chunks);
	} else {
		free(region->list);
	}
	region->is_chunked = false;
	region->list = NULL;
	region->covered = 0;
}

static int to_chunks(struct region *region)
{
	struct chunk *chunks = calloc(N_CHUNKS, sizeof(*chunks));
	int r = chunks ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < region->covered; i++) {
		unsigned frame = list_frame(region->list[i]);
		r = chunk_put(&chunks[frame / CHUNK_FRAMES], frame % CHUNK_FRAMES,
			list_count(region->list[i]));
	}
	if (r < 0) {
		for (unsigned i = 0; chunks && i < N_CHUNKS; i++)
			chunk_clear(&chunks[i]);
		free(chunks);
		return r;
	}
	free(region->list);
	region->chunks = chunks;
	region->is_chunked = true;
	return 0;
}

/* With few frames left, each of them counted by itself. */
static void to_list(struct region *region)
{
	unsigned n = 0, covered = region->covered;

	if (covered == 0) {
		region_clear(region);
		return;
	}
	uint32_t *list = malloc(list_memory(covered));
	if (!list)
		return;
	for (unsigned i = 0; i < N_CHUNKS; i++) {
		const struct chunk *chunk = &region->chunks[i];
		int r = chunk->count == 0 ? chunk_list(chunk, &list[n], i * CHUNK_FRAMES) : -E2BIG;
		if (r < 0) {
			free(list);
			return;
		}
		n += (unsigned)r;
	}
	region_clear(region);
	region->list = list;
	region->covered = covered;
}

/* --- chunks ----------------------------------------------------------------------------- */

static int chunk_add_whole(struct chunk *chunk)
{
	if (chunk->count == UINT32_MAX)
		return -EOVERFLOW;
	return chunk->count++ == 0 ? (int)(CHUNK_FRAMES - chunk->covered) : 0;
}

static unsigned chunk_remove_whole(struct chunk *chunk)
{
	return --chunk->count == 0 ? CHUNK_FRAMES - chunk->covered : 0;
}

/* The part of [first, end) that lies in the chunk of `first`: its end. */
static unsigned part_end(unsigned first, unsigned end)
{
	unsigned next = (first | (CHUNK_FRAMES - 1)) + 1;
	return next < end ? next : end;
}

static unsigned chunks_remove(struct region *region, unsigned first, unsigned end)
{
	unsigned gone = 0;

	for (unsigned next; first < end; first = next) {
		struct chunk *chunk = &region->chunks[first / CHUNK_FRAMES];
		next = part_end(first, end);
		if (next - first == CHUNK_FRAMES) {
			gone += chunk_remove_whole(chunk);
			continue;
		}
		unsigned offset = first % CHUNK_FRAMES;
		unsigned n = chunk_remove(chunk, offset, offset + next - first);
		gone += chunk->count > 0 ? 0 : n;
	}
	return gone;
}

static int chunks_add(struct region *region, unsigned first, unsigned end)
{
	unsigned begin = first;
	int n_new = 0;

	for (unsigned next; first < end; first = next) {
		struct chunk *chunk = &region->chunks[first / CHUNK_FRAMES];
		next = part_end(first, end);
		unsigned offset = first % CHUNK_FRAMES;
		bool whole = next - first == CHUNK_FRAMES;
		int r = whole ? chunk_add_whole(chunk)
			      : chunk_add(chunk, offset, offset + next - first);
		if (r < 0) {
			chunks_remove(region, begin, first);
			return r;
		}
		n_new += whole || chunk->count == 0 ? r : 0;
	}
	return n_new;
}

/* A chunk that is covered whole is never listed: it is counted as one. */
static bool has_whole_chunk(unsigned first, unsigned end)
{
	unsigned chunk = (first + CHUNK_FRAMES - 1) / CHUNK_FRAMES;
	return (chunk + 1) * CHUNK_FRAMES <= end;
}

/* How long the list may get by this interval. */
static unsigned list_max(unsigned first, unsigned end)
{
	if (end - first <= LIST_RUN)
		return LIST_MAX;
	return has_whole_chunk(first, end) ? 0 : LIST_RUN_MAX;
}

/* --- the region ------------------------------------------------------------------------------ */

int region_add(struct region *region, unsigned first, unsigned end)
{
	int n_new = -EAGAIN;

	if (!region->is_chunked) {
		n_new = list_add(&region->list, region->covered, list_max(first, end), first, end);
		if (n_new == -EAGAIN) {
			int r = to_chunks(region);
			if (r < 0)
				return r;
		}
	}
	if (n_new == -EAGAIN)
		n_new = chunks_add(region, first, end);
	if (n_new > 0)
		region->covered += (unsigned)n_new;
	return n_new;
}

unsigned region_remove(struct region *region, unsigned first, unsigned end)
{
	unsigned gone = region->is_chunked
				? chunks_remove(region, first, end)
				: list_remove(&region->list, region->covered, first, end);

	unsigned before = region->covered;
	region->covered -= gone;
	/* Looked at each time that its highest bit goes: it may not be possible yet. */
	if (region->is_chunked && region->covered <= LIST_AGAIN &&
		(before ^ region->covered) > region->covered)
		to_list(region);
	return gone;
}

unsigned region_missing(const struct region *region, unsigned first, unsigned end)
{
	unsigned missing = 0;

	if (!region->is_chunked)
		return list_missing(region->list, region->covered, first, end);
	for (unsigned next; first < end; first = next) {
		const struct chunk *chunk = &region->chunks[first / CHUNK_FRAMES];
		next = part_end(first, end);
		unsigned offset = first % CHUNK_FRAMES;
		if (chunk->count > 0)
			continue;
		missing += next - first == CHUNK_FRAMES
				   ? CHUNK_FRAMES - chunk->covered
				   : chunk_missing(chunk, offset, offset + next - first);
	}
	return missing;
}

static bool chunks_have(const struct region *region, unsigned first, unsigned end)
{
	for (unsigned next; first < end; first = next) {
		const struct chunk *chunk = &region->chunks[first / CHUNK_FRAMES];
		next = part_end(first, end);
		unsigned offset = first % CHUNK_FRAMES;
		if (next - first == CHUNK_FRAMES ? chunk->count == 0
						 : !chunk_has(chunk, offset, offset + next - first))
			return false;
	}
	return true;
}

bool region_has(const struct region *region, unsigned first, unsigned end)
{
	if (region->is_chunked)
		return chunks_have(region, first, end);
	return !has_whole_chunk(first, end) &&
	       list_missing(region->list, region->covered, first, end) == 0;
}

size_t region_memory(const struct region *region)
{
	size_t size = 0;

	if (!region->is_chunked)
		return list_memory(region->covered);
	for (unsigned i = 0; i < N_CHUNKS; i++)
		size += sizeof(struct chunk) + chunk_memory(&region->chunks[i]);
	return size;
}
