#include "daemon/memory/mappings.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Slots that are free are told from pointers by their lowest bit. */
static bool slot_is_free(const union mapping_slot *slot)
{
	return slot->next_free & 1;
}

static bool grow_slots(struct mappings *mappings)
{
	size_t n = mappings->n_slots > 0 ? mappings->n_slots * 2 : 16;
	union mapping_slot *slots = reallocarray(mappings->slots, n, sizeof(*slots));

	if (!slots)
		return false;
	mappings->slots = slots;
	for (size_t i = n; i-- > mappings->n_slots;) {
		slots[i].next_free = mappings->free << 1 | 1;
		mappings->free = i + 1;
	}
	mappings->n_slots = n;
	return true;
}

/* As many places as there are slots: whatever has a number can be inserted. */
static bool grow_list(struct mappings *mappings)
{
	struct mapping **list = reallocarray(mappings->list, mappings->n_slots, sizeof(*list));

	if (!list)
		return false;
	mappings->list = list;
	mappings->size = mappings->n_slots;
	return true;
}

struct mapping *mappings_make(struct mappings *mappings)
{
	if ((mappings->free == 0 && !grow_slots(mappings)) ||
		(mappings->size < mappings->n_slots && !grow_list(mappings)))
		return NULL;
	struct mapping *mapping = calloc(1, sizeof(*mapping));
	if (!mapping)
		return NULL;
	union mapping_slot *slot = &mappings->slots[mappings->free - 1];
	mapping->number = (uint32_t)(mappings->free - 1);
	mappings->free = slot->next_free >> 1;
	slot->mapping = mapping;
	return mapping;
}

/* The keeper has no greater number (keeper/keeping.h). */
#define NUMBERS_MAX (UINT32_C(1) << 20)

struct mapping *mappings_restore(struct mappings *mappings, uint32_t number)
{
	if (number >= NUMBERS_MAX)
		return NULL;
	while (number >= mappings->n_slots)
		if (!grow_slots(mappings))
			return NULL;
	union mapping_slot *slot = &mappings->slots[number];
	struct mapping *mapping = slot_is_free(slot) ? calloc(1, sizeof(*mapping)) : NULL;
	if (!mapping)
		return NULL;
	mapping->number = number;
	slot->mapping = mapping;
	return mapping;
}

static int compare(const void *a, const void *b)
{
	const struct mapping *const *one = a, *const *other = b;
	return ((*one)->iova > (*other)->iova) - ((*one)->iova < (*other)->iova);
}

int mappings_restored(struct mappings *mappings)
{
	if (mappings->size < mappings->n_slots && !grow_list(mappings))
		return -ENOMEM;
	mappings->n = mappings->free = 0;
	mappings->bytes = 0;
	for (size_t i = mappings->n_slots; i-- > 0;) {
		union mapping_slot *slot = &mappings->slots[i];
		if (slot_is_free(slot)) {
			slot->next_free = mappings->free << 1 | 1;
			mappings->free = i + 1;
		} else {
			mappings->list[mappings->n++] = slot->mapping;
			mappings->bytes += slot->mapping->length;
		}
	}
	if (mappings->n == 0)
		return 0;
	qsort(mappings->list, mappings->n, sizeof(*mappings->list), compare);
	for (size_t i = 1; i < mappings->n; i++)
		if (mapping_last(mappings->list[i - 1]) >= mappings->list[i]->iova)
			return -EBADMSG;
	return 0;
}

void mappings_insert(struct mappings *mappings, struct mapping *mapping)
{
	size_t at = mappings_find(mappings, mapping->iova);

	assert(at == mappings->n || mapping_last(mapping) < mappings->list[at]->iova);
	memmove(&mappings->list[at + 1], &mappings->list[at],
		(mappings->n - at) * sizeof(*mappings->list));
	mappings->list[at] = mapping;
	mappings->n++;
	mappings->bytes += mapping->length;
}

void mappings_drop(struct mappings *mappings, struct mapping *mapping, size_t at)
{
	assert(!mapping->charge.payer);
	if (at != SIZE_MAX) {
		assert(mappings->list[at] == mapping);
		mappings->n--;
		mappings->bytes -= mapping->length;
		memmove(&mappings->list[at], &mappings->list[at + 1],
			(mappings->n - at) * sizeof(*mappings->list));
	}
	mappings->slots[mapping->number].next_free = mappings->free << 1 | 1;
	mappings->free = (uintptr_t)mapping->number + 1;
	free(mapping);
}

struct mapping *mappings_by_number(const struct mappings *mappings, uint32_t number)
{
	if (number >= mappings->n_slots || slot_is_free(&mappings->slots[number]))
		return NULL;
	return mappings->slots[number].mapping;
}

size_t mappings_find(const struct mappings *mappings, uint64_t iova)
{
	size_t begin = 0, end = mappings->n;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (mapping_last(mappings->list[middle]) < iova)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

struct mapping *mappings_overlap(const struct mappings *mappings, uint64_t first, uint64_t last)
{
	size_t at = mappings_find(mappings, first);

	return at < mappings->n && mappings->list[at]->iova <= last ? mappings->list[at] : NULL;
}

struct mapping *mappings_within(
	const struct mappings *mappings, uint64_t first, uint64_t last, size_t *begin, size_t *end)
{
	*begin = mappings_find(mappings, first);
	*end = mappings_find(mappings, last);
	if (*end < mappings->n && mappings->list[*end]->iova <= last) {
		if (mapping_last(mappings->list[*end]) > last)
			return mappings->list[*end];
		(*end)++;
	}
	if (*begin < *end && mappings->list[*begin]->iova < first)
		return mappings->list[*begin];
	return NULL;
}

void mappings_clear(struct mappings *mappings)
{
	while (mappings->n > 0)
		mappings_drop(mappings, mappings->list[mappings->n - 1], mappings->n - 1);
	free(mappings->list);
	free(mappings->slots);
	*mappings = (struct mappings){ 0 };
}
