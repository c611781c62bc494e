/* Mapping: checked, billed, its frames read and covered, made; undone where it fails. */
#include "daemon/memory/space-parts.h"

#include <errno.h>

static int refuse_parameter(struct refusal *refusal, const char *name)
{
	return refuse(refusal, REFUSAL_INVALID_PARAMETER, "%s", name);
}

static int refuse_ranges(const struct space *space, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_IOVA_OUT_OF_RANGE, "not all of it can be mapped");
	for (size_t i = 0; i < space->ranges.n && i < REFUSAL_RANGES; i++)
		refusal->ranges[refusal->n_ranges++] = space->ranges.ranges[i];
	return REFUSED;
}

/* The smallest page that all containers have: all that is mapped is a multiple of it. */
static uint64_t granule(const struct space *space)
{
	uint64_t lowest = space->page_sizes & (~space->page_sizes + 1);
	return lowest > space_page_bytes() ? lowest : space_page_bytes();
}

static int check_numbers(
	const struct space *space, const struct space_map *map, struct refusal *refusal)
{
	uint64_t page = granule(space), last;

	if (map->length == 0)
		return refuse_parameter(refusal, "length");
	if (!map->read && !map->write)
		return refuse_parameter(refusal, "read");
	if (map->iova % page || map->offset % page || map->length % page) {
		refuse(refusal, REFUSAL_MISALIGNED, "not a multiple of the page size");
		refusal->number = page;
		return REFUSED;
	}
	if (__builtin_add_overflow(map->iova, map->length - 1, &last) ||
		__builtin_add_overflow(map->offset, map->length - 1, &last))
		return refuse_parameter(refusal, "length");
	return 0;
}

static int check_memory(
	const struct memory *memory, const struct space_map *map, struct refusal *refusal)
{
	if (!memory) {
		refuse(refusal, REFUSAL_NO_SUCH_MEMORY, "no such memory");
		refusal->number = map->memory;
		return REFUSED;
	}
	if (map->offset + (map->length - 1) >= memory->size)
		return refuse(refusal, REFUSAL_MEMORY_UNSUITABLE,
			"memory %u ends after %llu bytes: what it has grown by since it was added "
			"cannot be mapped",
			memory->number, (unsigned long long)memory->size);
	if (map->write && !memory->is_writable)
		return refuse(refusal, REFUSAL_MEMORY_UNSUITABLE,
			"memory %u cannot be written: its descriptor is for reading, or it is "
			"sealed; map it with \"write\": false",
			memory->number);
	return 0;
}

static int map_check(struct operation *operation)
{
	const struct space *space = operation->space;
	const struct space_map *map = &operation->map;
	struct refusal *refusal = &operation->refusal;

	int r = check_numbers(space, map, refusal);
	if (r == 0)
		r = check_memory(space_memory(space, map->memory), map, refusal);
	if (r != 0)
		return r;
	uint64_t last = map->iova + (map->length - 1);
	if (space->n_containers > 0 && !iova_list_contains(&space->ranges, map->iova, last))
		return refuse_ranges(space, refusal);
	const struct mapping *there = mappings_overlap(&space->mappings, map->iova, last);
	if (there) {
		refuse(refusal, REFUSAL_MAPPING_OVERLAPS, "there is a mapping");
		refusal->ranges[0] = (struct iova_range){ there->iova, mapping_last(there) };
		refusal->n_ranges = 1;
		return REFUSED;
	}
	if (space->mappings.n >= space->settings.max_mappings) {
		refuse(refusal, REFUSAL_TOO_MANY, "max-mappings-per-space");
		refusal->max = (long)space->settings.max_mappings;
		return REFUSED;
	}
	return 0;
}

/* --- undone --------------------------------------------------------------------------------- */

static void drop_and_finish(struct operation *operation)
{
	struct space *space = operation->space;
	struct mapping *mapping = operation->mapping;

	if (mapping->charge.payer) {
		mapping_unbill(mapping, space_times(space, space->n_containers));
		mapping_settle(mapping);
		space_limit_locked(space);
	}
	operation->has_made_mapping = false;
	operation->mapping = NULL;
	mappings_drop(&space->mappings, mapping, SIZE_MAX);
	operation_finish(operation, operation->result);
}

static void undo_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	if (done->result != 0 || operation->mapping->charge.n_runs > 0)
		space_distrust(operation->space, "it cannot undo a mapping");
	else
		drop_and_finish(operation);
}

static void map_undo(struct operation *operation, int result)
{
	struct wire_request request = {
		.header.type = WIRE_UNMAP,
		.mapping = operation->mapping->number,
	};

	operation->result = result;
	if (!operation->is_prepared) {
		drop_and_finish(operation);
		return;
	}
	operation->runs = operation_take_back;
	operation_ask(
		operation, &request, NULL, 0, mapping_pages(operation->mapping), undo_answered);
}

/* --- done ----------------------------------------------------------------------------------- */

static void map_made(struct operation *operation)
{
	struct space *space = operation->space;
	struct mapping *mapping = operation->mapping;

	operation->has_made_mapping = false;
	operation->answer.new_owed_bytes = mapping->charge.new_to_payer * space_page_bytes();
	mappings_insert(&space->mappings, mapping);
	space_memory(space, mapping->memory)->n_mappings++;
	operation_finish(operation, 0);
}

static void map_read(struct operation *operation, int result);

static void map_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	if (done->result == 0) {
		map_made(operation);
	} else if (done->result == WIRE_CHANGED) {
		mapping_read_again(operation, map_read);
	} else if (done->result == -ENOSPC) {
		/* drivers/vfio/vfio_iommu_type1.c, dma_entry_limit: it holds for a container. */
		const struct container *container =
			space_container(operation->space, done->container);
		refuse(&operation->refusal, REFUSAL_TOO_MANY, "dma_entry_limit");
		operation->refusal.max = container && container->mappings_max <= INT32_MAX
						 ? (long)container->mappings_max
						 : (long)operation->space->mappings.n;
		map_undo(operation, REFUSED);
	} else {
		map_undo(operation, operation_refuse(operation, done, "mapping the memory"));
	}
}

static void map_read(struct operation *operation, int result)
{
	struct space *space = operation->space;
	struct wire_request request = {
		.header.type = WIRE_MAP,
		.mapping = operation->mapping->number,
	};

	if (result == 0 && space->n_containers > 0)
		result = space_limit_locked(space);
	if (result != 0)
		map_undo(operation, result);
	else if (space->n_containers == 0)
		map_made(operation);
	else
		operation_ask(operation, &request, NULL, 0,
			mapping_pages(operation->mapping) * space->n_containers, map_answered);
}

static void map_start(struct operation *operation)
{
	struct space *space = operation->space;
	const struct space_map *map = &operation->map;
	struct limits limits;

	int r = map_check(operation);
	struct mapping *mapping = r == 0 ? mappings_make(&space->mappings) : NULL;
	if (!mapping) {
		operation_finish(operation, r == 0 ? -ENOMEM : r);
		return;
	}
	mapping->memory = map->memory;
	mapping->offset = map->offset;
	mapping->iova = map->iova;
	mapping->length = map->length;
	mapping->flags =
		(map->read ? WIRE_READ_ALLOWED : 0U) | (map->write ? WIRE_WRITE_ALLOWED : 0U);
	operation->mapping = mapping;
	operation->has_made_mapping = true;
	space_limits(space, &limits);
	if (space->n_containers > 0)
		r = mapping_bill(space, mapping, space_times(space, space->n_containers), &limits,
			&operation->refusal);
	if (r != 0) {
		map_undo(operation, r);
		return;
	}
	operation_begin(operation, WORK_MAP, mapping->number);
	operation->reading = (struct wire_request){
		.header.type = WIRE_PREPARE,
		.mapping = mapping->number,
		.memory = mapping->memory,
		.offset = mapping->offset,
		.iova = mapping->iova,
		.length = mapping->length,
		.flags = mapping->flags,
	};
	mapping_prepare(operation, map_read);
}

int space_map(struct space *space, const struct space_map *map, space_done done, void *userdata,
	struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, map_start, -1, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->map = *map;
	operation_queue(operation);
	return 0;
}
