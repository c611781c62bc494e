/* What becomes of one mapping: its frames are read, it is made in all containers, and unmade. */
#include "daemon/keeper/keeping.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

#define SLICE_RUNS 2048

static char *mapping_address(const struct mapping *mapping)
{
	return mapping->memory->address + mapping->offset;
}

struct wire_item mapping_item(const struct mapping *mapping)
{
	return (struct wire_item){
		.kind = WIRE_ITEM_MAPPING,
		.number = mapping->number,
		.flags = mapping->flags,
		.memory = mapping->memory->number,
		.is_made = mapping->is_made,
		.offset = mapping->offset,
		.iova = mapping->iova,
		.length = mapping->length,
		.book_offset = mapping->part.n_runs > 0 ? mapping->part.offset : 0,
		.n_runs = mapping->part.n_runs,
	};
}

void mapping_strike(struct keeping *keeping, struct mapping *mapping)
{
	if (mapping->part.n_runs == 0)
		return;
	book_erase_item(&keeping->book, mapping->number);
	book_drop(&keeping->book, &mapping->part);
}

struct writing {
	struct book *book;
	struct book_part *part;
	frame_run runs[SLICE_RUNS];
	size_t n;
};

static int writing_flush(struct writing *writing)
{
	int r = book_append(writing->book, writing->part, writing->runs, writing->n);
	writing->n = 0;
	return r;
}

static int writing_take(void *userdata, uint64_t first, uint64_t n)
{
	struct writing *writing = userdata;

	if (first == FRAME_ABSENT)
		return WIRE_CHANGED;
	writing->runs[writing->n++] = run_make(first, n);
	return writing->n == SLICE_RUNS ? writing_flush(writing) : 0;
}

static int write_down(struct keeping *keeping, struct mapping *mapping)
{
	struct writing writing = { .book = &keeping->book, .part = &mapping->part };
	int r = frames_walk(&keeping->frames, mapping_address(mapping), mapping->length, true,
		writing_take, &writing);
	if (r == 0)
		r = writing_flush(&writing);
	if (r == 0) {
		struct wire_item item = mapping_item(mapping);
		r = book_write_item(&keeping->book, &item);
	}
	if (r != 0)
		mapping_strike(keeping, mapping);
	return r;
}

/*
 * What the page tables have is no hole, and asking them costs less than asking the file: so it asks
 * that only the first time, or when something has happened to it.
 */
static int count_holes(struct keeping *keeping, const struct mapping *mapping, uint64_t *n_pages)
{
	int r = frames_count_absent(
		&keeping->frames, mapping_address(mapping), mapping->length, n_pages);
	if (r < 0 || *n_pages == 0)
		return r;
	return memory_count_holes(mapping->memory, mapping->offset, mapping->length, n_pages);
}

/* Not a run is sent before all of them are known: there is nothing to take back. */
int mapping_read(struct keeping *keeping, struct mapping *mapping, struct wire_done *done)
{
	const struct memory *memory = mapping->memory;

	if (mapping->is_made)
		return say(done, -EBUSY, "mapping %u is made", mapping->number);
	mapping_strike(keeping, mapping);
	if (!memory_is_whole(memory))
		return say(done, WIRE_UNSUITABLE, "the file is shorter than it was");
	int r = count_holes(keeping, mapping, &done->n_pages);
	if (r < 0)
		return say(done, r, "looking for holes");
	if (done->n_pages > 0)
		return WIRE_HOLES;

	r = keeping->frames.populate(
		keeping->frames.userdata, mapping_address(mapping), mapping->length);
	if (r == -EFAULT)
		return say(done, WIRE_UNSUITABLE,
			"not all of it can be read: the file is shorter "
			"than it was, or the memory is damaged");
	if (r < 0)
		return say(done, r, "making its pages present");
	r = write_down(keeping, mapping);
	if (r == WIRE_CHANGED)
		return say(done, r, "its pages do not stay");
	if (r < 0)
		return say(done, r, "reading its frames");
	done->book_offset = mapping->part.offset;
	done->n_runs = mapping->part.n_runs;
	return 0;
}

/* The book's runs beside those that are there now. */
struct comparing {
	const struct book *book;
	uint64_t offset, n_left; /* what is still to be read from the book */
	frame_run runs[SLICE_RUNS];
	size_t n, next;
	uint64_t first, length; /* what is left of the run at hand */
	uint64_t n_different;
};

static int comparing_next(struct comparing *comparing)
{
	if (comparing->next == comparing->n) {
		comparing->n = comparing->n_left < SLICE_RUNS ? comparing->n_left : SLICE_RUNS;
		comparing->next = 0;
		if (comparing->n == 0)
			return -EIO; /* the book has fewer pages than the mapping */
		int r = book_read(
			comparing->book->fd, comparing->offset, comparing->runs, comparing->n);
		if (r < 0)
			return r;
		comparing->offset += comparing->n * sizeof(frame_run);
		comparing->n_left -= comparing->n;
	}
	frame_run run = comparing->runs[comparing->next++];
	comparing->first = run_first(run);
	comparing->length = run_length(run);
	return 0;
}

static int comparing_take(void *userdata, uint64_t first, uint64_t n)
{
	struct comparing *comparing = userdata;

	while (n > 0) {
		int r = comparing->length == 0 ? comparing_next(comparing) : 0;
		if (r < 0)
			return r;
		uint64_t both = n < comparing->length ? n : comparing->length;
		if (first != comparing->first)
			comparing->n_different += both;
		if (first != FRAME_ABSENT)
			first += both;
		comparing->first += both;
		comparing->length -= both;
		n -= both;
	}
	return 0;
}

int mapping_compare(struct keeping *keeping, struct mapping *mapping, uint64_t *n_different)
{
	struct comparing comparing = {
		.book = &keeping->book,
		.offset = mapping->part.offset,
		.n_left = mapping->part.n_runs,
	};
	uint64_t n_holes;
	int r = count_holes(keeping, mapping, &n_holes);
	if (r < 0)
		return r;
	/* What the client has punched out is different, and must not come back by our looking. */
	r = frames_walk(&keeping->frames, mapping_address(mapping), mapping->length, n_holes == 0,
		comparing_take, &comparing);
	*n_different = comparing.n_different;
	return r;
}

/* Nobody needs it in a container whose groups have all been let go; there it may fail. */
static bool may_fail(const struct container *container)
{
	return container->n_groups_held == 0;
}

int mapping_enter(
	const struct keeping *keeping, const struct mapping *mapping, int container, int from)
{
	const struct backend *backend = keeping->backend;
	const struct backend_memory memory = {
		.address = mapping_address(mapping),
		.fd = mapping->memory->fd,
		.offset = mapping->offset,
	};
	return backend->map(backend->userdata, container, from, &memory, mapping->iova,
		mapping->length, mapping->flags);
}

static void unmake(struct keeping *keeping, const struct mapping *mapping, size_t n_containers)
{
	const struct backend *backend = keeping->backend;

	for (size_t i = 0; i < n_containers; i++) {
		const struct container *container = &keeping->containers[i];
		if (container->handle == NO_CONTAINER)
			continue;
		int r = backend->unmap(
			backend->userdata, container->handle, mapping->iova, mapping->length);
		if (r < 0 && !may_fail(container))
			keeping_fail("unmap", r);
	}
}

int mapping_make(struct keeping *keeping, struct mapping *mapping, struct wire_done *done)
{
	uint64_t n_different = 0;
	bool has_container = false;
	int from = NO_CONTAINER;
	size_t i;
	int r = 0;

	if (mapping->is_made || mapping->part.n_runs == 0)
		return say(done, -EINVAL, "mapping %u is not ready", mapping->number);
	for (i = 0; i < KEEPING_CONTAINERS_MAX; i++) {
		const struct container *container = &keeping->containers[i];
		if (container->handle == NO_CONTAINER)
			continue;
		r = mapping_enter(keeping, mapping, container->handle, from);
		if (r < 0 && !may_fail(container)) {
			done->container = (uint32_t)i;
			break;
		}
		if (r == 0 && from == NO_CONTAINER)
			from = container->handle;
		has_container = true;
		r = 0;
	}
	if (r == 0)
		r = mapping_compare(keeping, mapping, &n_different);
	if (r == 0 && n_different == 0) {
		mapping->is_made = has_container;
		return 0;
	}
	unmake(keeping, mapping, i);
	if (r < 0)
		return say(done, map_result(r), "mapping it: %s", strerror(-r));
	return say(done, WIRE_CHANGED, "%llu of its pages have moved",
		(unsigned long long)n_different);
}

void mapping_unmake(struct keeping *keeping, struct mapping *mapping)
{
	if (mapping->is_made)
		unmake(keeping, mapping, KEEPING_CONTAINERS_MAX);
	mapping->is_made = false;
}
