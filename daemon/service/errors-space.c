/* Refusals of spaces: errors of org.vfiod.Space. */
#include "daemon/service/parts.h"

#include <inttypes.h>

#define ERROR(name) "org.vfiod.Space." name

struct json_object *json_iova(uint64_t iova)
{
	char text[24];
	snprintf(text, sizeof(text), "0x%" PRIx64, iova);
	return json_text(text);
}

static void put_range(struct json_object *json, const struct iova_range *range)
{
	json_put(json, "first", json_iova(range->first));
	json_put(json, "last", json_iova(range->last));
}

struct json_object *json_range(const struct iova_range *range)
{
	struct json_object *json = json_object_new_object();
	put_range(json, range);
	return json;
}

struct json_object *json_ranges(const struct iova_range *ranges, size_t n_ranges)
{
	struct json_object *list = json_object_new_array();
	for (size_t i = 0; list && i < n_ranges; i++)
		json_object_array_add(list, json_range(&ranges[i]));
	return list;
}

/* Varlink's integers have 63 bits: what is more says so by being the largest but one. */
struct json_object *json_bytes(uint64_t bytes)
{
	return json_object_new_int64(bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX - 1);
}

struct json_object *json_pages(uint64_t pages)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	return json_bytes(pages > UINT64_MAX / page ? UINT64_MAX : pages * page);
}

static void put_reason(struct json_object *json, const struct refusal *refusal)
{
	json_put(json, "reason", json_text(refusal->text));
}

static void put_memory(struct json_object *json, const struct refusal *refusal)
{
	json_put(json, "memory", json_bytes(refusal->number));
}

static void put_group(struct json_object *json, const struct refusal *refusal)
{
	json_put(json, "group", json_object_new_int(refusal->group));
}

static const char *mapping_error(const struct refusal *refusal, struct json_object *json)
{
	switch (refusal->kind) {
	case REFUSAL_MAPPING_OVERLAPS:
		put_range(json, &refusal->ranges[0]);
		return ERROR("MappingOverlaps");
	case REFUSAL_UNMAP_SPLITS:
		put_range(json, &refusal->ranges[0]);
		return ERROR("UnmapSplitsMapping");
	case REFUSAL_IOVA_OUT_OF_RANGE:
		json_put(json, "ranges", json_ranges(refusal->ranges, refusal->n_ranges));
		return ERROR("IovaOutOfRange");
	case REFUSAL_MISALIGNED:
		json_put(json, "pageBytes", json_bytes(refusal->number));
		return ERROR("Misaligned");
	case REFUSAL_RESERVED_REGION:
		put_group(json, refusal);
		json_put(json, "reserved", json_range(&refusal->ranges[0]));
		json_put(json, "mapping", json_range(&refusal->ranges[1]));
		return ERROR("ReservedRegionConflict");
	default:
		return NULL;
	}
}

static struct json_object *groups_json(const struct refusal *refusal)
{
	struct json_object *list = json_object_new_array();
	for (size_t i = 0; list && i < refusal->n_groups; i++)
		json_object_array_add(list, json_object_new_int(refusal->groups[i]));
	return list;
}

const char *space_error(const struct refusal *refusal, struct json_object *json)
{
	switch (refusal->kind) {
	case REFUSAL_NO_SUCH_SPACE:
		return ERROR("NoSuchSpace");
	case REFUSAL_SPACE_ENDED:
		put_reason(json, refusal);
		return ERROR("SpaceEnded");
	case REFUSAL_NO_SUCH_MEMORY:
		put_memory(json, refusal);
		return ERROR("NoSuchMemory");
	case REFUSAL_MEMORY_MAPPED:
		put_memory(json, refusal);
		json_put(json, "mappings", json_object_new_int64(refusal->max));
		return ERROR("MemoryMapped");
	case REFUSAL_MEMORY_UNSUITABLE:
		put_reason(json, refusal);
		return ERROR("MemoryUnsuitable");
	case REFUSAL_MEMORY_CHANGED:
		put_range(json, &refusal->ranges[0]);
		put_reason(json, refusal);
		return ERROR("MemoryChanged");
	case REFUSAL_NOT_ATTACHED:
		put_group(json, refusal);
		return ERROR("NotAttached");
	case REFUSAL_RESET_REACHES:
		json_put(json, "device", json_text(refusal->device));
		json_put(json, "groups", groups_json(refusal));
		return ERROR("ResetReachesFurther");
	default:
		return mapping_error(refusal, json);
	}
}
