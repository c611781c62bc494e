/* What there is, told to a daemon that does not know it. */
#include "daemon/keeper/serve.h"

#include <stddef.h>

struct listing {
	int socket;
	struct wire_items message;
	size_t n;
	uint64_t n_all;
};

static int listing_flush(struct listing *listing)
{
	struct wire_items *message = &listing->message;
	size_t size = offsetof(struct wire_items, items) + listing->n * sizeof(*message->items);

	if (listing->n == 0)
		return 0;
	listing->n = 0;
	message->header = (struct wire_header){ WIRE_ITEMS, (uint32_t)size };
	return wire_send(listing->socket, message, NULL, 0, 0);
}

static int listing_add(struct listing *listing, const struct wire_item *item)
{
	listing->message.items[listing->n++] = *item;
	listing->n_all++;
	return listing->n == WIRE_ITEMS_MAX ? listing_flush(listing) : 0;
}

static int list_memories(struct listing *listing, const struct keeping *keeping)
{
	for (const struct memory *memory = keeping->memories; memory;
		memory = memory->by_number.next) {
		const struct wire_item item = {
			.kind = WIRE_ITEM_MEMORY,
			.number = memory->number,
			.flags = memory->flags,
			.page_bytes = memory->page_bytes,
			.length = memory->size,
		};
		int r = listing_add(listing, &item);
		if (r < 0)
			return r;
	}
	return 0;
}

static int list_groups(struct listing *listing, const struct keeping *keeping)
{
	for (size_t i = 0; i < KEEPING_GROUPS_MAX; i++) {
		const struct group *group = &keeping->groups[i];
		const struct container *container = group->container;
		if (!group->is_here)
			continue;
		const struct wire_item item = {
			.kind = WIRE_ITEM_GROUP,
			.number = group->number,
			.container = container ? (uint32_t)(container - keeping->containers)
					       : WIRE_NO_CONTAINER,
			.is_held = group->io.fd >= 0,
		};
		int r = listing_add(listing, &item);
		if (r < 0)
			return r;
	}
	return 0;
}

int serve_list(int socket, const struct keeping *keeping, uint64_t *n)
{
	static struct listing listing;

	listing = (struct listing){ .socket = socket };
	int r = list_memories(&listing, keeping);
	if (r == 0)
		r = list_groups(&listing, keeping);
	for (const struct mapping *mapping = keeping->mappings; r == 0 && mapping;
		mapping = mapping->by_number.next) {
		struct wire_item item = mapping_item(mapping);
		r = listing_add(&listing, &item);
	}
	if (r == 0)
		r = listing_flush(&listing);
	*n = listing.n_all;
	return r;
}

#define SLICE_ITEMS 256

int serve_list_of_book(int socket, int book, uint64_t *n)
{
	static struct listing listing;
	static struct wire_item items[SLICE_ITEMS];
	int r = 0;

	listing = (struct listing){ .socket = socket };
	for (uint32_t number = 0; r == 0 && number < BOOK_ITEMS; number += SLICE_ITEMS) {
		r = book_read_items(book, number, items, SLICE_ITEMS);
		for (size_t i = 0; r == 0 && i < SLICE_ITEMS; i++)
			if (items[i].kind == WIRE_ITEM_MAPPING)
				r = listing_add(&listing, &items[i]);
	}
	if (r == 0)
		r = listing_flush(&listing);
	*n = listing.n_all;
	return r;
}
