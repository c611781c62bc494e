#include "daemon/memory/chunk.h"

#include "daemon/memory/list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* A list takes 4 bytes a frame, an array 512 in all. */
#define LIST_MAX 100U
/* An array becomes a list again only below this, lest it goes to and fro. */
#define LIST_AGAIN 50U

void chunk_clear(struct chunk *chunk)
{
	free(chunk->list);
	chunk->list = NULL;
	chunk->form = CHUNK_LIST;
	chunk->covered = 0;
}

/* --- from one form to another ---------------------------------------------------------- */

static int to_words(struct chunk *chunk)
{
	uint32_t *words = calloc(CHUNK_FRAMES, sizeof(*words));
	if (!words)
		return -ENOMEM;
	if (chunk->form == CHUNK_BYTES)
		for (unsigned i = 0; i < CHUNK_FRAMES; i++)
			words[i] = chunk->bytes[i];
	else
		for (unsigned i = 0; i < chunk->covered; i++)
			words[list_frame(chunk->list[i])] = list_count(chunk->list[i]);
	free(chunk->list);
	chunk->form = CHUNK_WORDS;
	chunk->words = words;
	return 0;
}

static int to_array(struct chunk *chunk)
{
	for (unsigned i = 0; i < chunk->covered; i++)
		if (list_count(chunk->list[i]) > UINT8_MAX)
			return to_words(chunk);
	uint8_t *bytes = calloc(CHUNK_FRAMES, sizeof(*bytes));
	if (!bytes)
		return -ENOMEM;
	for (unsigned i = 0; i < chunk->covered; i++)
		bytes[list_frame(chunk->list[i])] = (uint8_t)list_count(chunk->list[i]);
	free(chunk->list);
	chunk->form = CHUNK_BYTES;
	chunk->bytes = bytes;
	return 0;
}

/* Of an array with few frames left. Saves memory, so where there is none it stays as it is. */
static void to_list(struct chunk *chunk)
{
	unsigned n = 0;

	if (chunk->covered == 0) {
		chunk_clear(chunk);
		return;
	}
	uint32_t *list = malloc(list_memory(chunk->covered));
	if (!list)
		return;
	for (unsigned i = 0; i < CHUNK_FRAMES; i++) {
		uint32_t count = chunk->form == CHUNK_BYTES ? chunk->bytes[i] : chunk->words[i];
		if (count > LIST_COUNT_MAX) {
			free(list);
			return;
		}
		if (count > 0)
			list[n++] = i << LIST_COUNT_BITS | count;
	}
	free(chunk->bytes);
	chunk->form = CHUNK_LIST;
	chunk->list = list;
}

/* --- arrays: loops that the compiler makes vectors of -------------------------------------- */

static unsigned bytes_zeros(const uint8_t *bytes, unsigned first, unsigned end)
{
	unsigned zeros = 0;
	for (unsigned i = first; i < end; i++)
		zeros += bytes[i] == 0;
	return zeros;
}

static unsigned words_zeros(const uint32_t *words, unsigned first, unsigned end)
{
	unsigned zeros = 0;
	for (unsigned i = first; i < end; i++)
		zeros += words[i] == 0;
	return zeros;
}

static bool bytes_full(const uint8_t *bytes, unsigned first, unsigned end)
{
	uint8_t full = 0;
	for (unsigned i = first; i < end; i++)
		full |= bytes[i] == UINT8_MAX;
	return full;
}

static bool words_full(const uint32_t *words, unsigned first, unsigned end)
{
	uint32_t full = 0;
	for (unsigned i = first; i < end; i++)
		full |= words[i] == UINT32_MAX;
	return full;
}

static int array_add(struct chunk *chunk, unsigned first, unsigned end)
{
	if (chunk->form == CHUNK_BYTES && bytes_full(chunk->bytes, first, end)) {
		int r = to_words(chunk);
		if (r < 0)
			return r;
	}
	if (chunk->form == CHUNK_WORDS) {
		uint32_t *words = chunk->words;
		if (words_full(words, first, end))
			return -EOVERFLOW;
		unsigned zeros = words_zeros(words, first, end);
		for (unsigned i = first; i < end; i++)
			words[i]++;
		return (int)zeros;
	}
	uint8_t *bytes = chunk->bytes;
	unsigned zeros = bytes_zeros(bytes, first, end);
	for (unsigned i = first; i < end; i++)
		bytes[i]++;
	return (int)zeros;
}

static unsigned array_remove(struct chunk *chunk, unsigned first, unsigned end)
{
	if (chunk->form == CHUNK_WORDS) {
		uint32_t *words = chunk->words;
		for (unsigned i = first; i < end; i++)
			words[i]--;
		return words_zeros(words, first, end);
	}
	uint8_t *bytes = chunk->bytes;
	for (unsigned i = first; i < end; i++)
		bytes[i]--;
	return bytes_zeros(bytes, first, end);
}

/* --- the chunk ------------------------------------------------------------------------------ */

int chunk_add(struct chunk *chunk, unsigned first, unsigned end)
{
	int n_new = -EAGAIN;

	if (chunk->form == CHUNK_LIST) {
		n_new = list_add(&chunk->list, chunk->covered, LIST_MAX, first, end);
		if (n_new == -EAGAIN) {
			int r = to_array(chunk);
			if (r < 0)
				return r;
		}
	}
	if (n_new == -EAGAIN)
		n_new = array_add(chunk, first, end);
	if (n_new > 0)
		chunk->covered = (uint16_t)(chunk->covered + n_new);
	return n_new;
}

unsigned chunk_remove(struct chunk *chunk, unsigned first, unsigned end)
{
	bool is_list = chunk->form == CHUNK_LIST;
	unsigned gone = is_list ? list_remove(&chunk->list, chunk->covered, first, end)
				: array_remove(chunk, first, end);

	chunk->covered = (uint16_t)(chunk->covered - gone);
	if (!is_list && gone > 0 && chunk->covered <= LIST_AGAIN)
		to_list(chunk);
	return gone;
}

unsigned chunk_missing(const struct chunk *chunk, unsigned first, unsigned end)
{
	switch (chunk->form) {
	case CHUNK_BYTES:
		return bytes_zeros(chunk->bytes, first, end);
	case CHUNK_WORDS:
		return words_zeros(chunk->words, first, end);
	default:
		return list_missing(chunk->list, chunk->covered, first, end);
	}
}

int chunk_put(struct chunk *chunk, unsigned frame, uint32_t count)
{
	int r = chunk_add(chunk, frame, frame + 1);
	if (r < 0)
		return r;
	if (chunk->form == CHUNK_LIST) {
		chunk->list[chunk->covered - 1] = frame << LIST_COUNT_BITS | count;
		return 0;
	}
	if (chunk->form == CHUNK_BYTES && count > UINT8_MAX) {
		r = to_words(chunk);
		if (r < 0)
			return r;
	}
	if (chunk->form == CHUNK_BYTES)
		chunk->bytes[frame] = (uint8_t)count;
	else
		chunk->words[frame] = count;
	return 0;
}

size_t chunk_memory(const struct chunk *chunk)
{
	switch (chunk->form) {
	case CHUNK_BYTES:
		return CHUNK_FRAMES * sizeof(*chunk->bytes);
	case CHUNK_WORDS:
		return CHUNK_FRAMES * sizeof(*chunk->words);
	default:
		return list_memory(chunk->covered);
	}
}
