/* Sentences for the errors of org.vfiod.Space. */
#include "client/error-words.h"

#include <errno.h>
#include <string.h>

static void say_range(struct sentence *s, struct json_object *range)
{
	say(s, "%s-%s", word(range, "first", "?"), word(range, "last", "?"));
}

static void say_no_such_space(struct sentence *s, struct json_object *p)
{
	(void)p;
	say(s, "there is no such space, or it is not yours");
}

static void say_space_ended(struct sentence *s, struct json_object *p)
{
	say(s, "the space has ended");
	say_reason(s, p);
}

static void say_no_such_memory(struct sentence *s, struct json_object *p)
{
	say(s, "the space has no memory %lld", (long long)field_int(p, "memory", -1));
}

static void say_memory_mapped(struct sentence *s, struct json_object *p)
{
	long long n = (long long)field_int(p, "mappings", 0);

	say(s, "memory %lld still has %lld mapping%s: unmap %s first",
		(long long)field_int(p, "memory", -1), n, n == 1 ? "" : "s",
		n == 1 ? "it" : "them");
}

static void say_memory_unsuitable(struct sentence *s, struct json_object *p)
{
	say(s, "this memory cannot be given to devices");
	say_reason(s, p);
}

static void say_memory_changed(struct sentence *s, struct json_object *p)
{
	say(s, "the memory of the mapping ");
	say_range(s, p);
	say(s, " has changed");
	say_reason(s, p);
}

static void say_overlaps(struct sentence *s, struct json_object *p)
{
	say(s, "there is a mapping already, ");
	say_range(s, p);
}

static void say_unmap_splits(struct sentence *s, struct json_object *p)
{
	say(s, "that would split the mapping ");
	say_range(s, p);
	say(s, "; nothing was unmapped");
}

static void say_out_of_range(struct sentence *s, struct json_object *p)
{
	struct json_object *ranges;
	size_t n = 0;

	if (json_object_object_get_ex(p, "ranges", &ranges) &&
		json_object_is_type(ranges, json_type_array))
		n = json_object_array_length(ranges);
	say(s, "not all of it can be mapped here%s", n ? "; what can is " : "");
	for (size_t i = 0; i < n; i++) {
		say(s, "%s", i ? ", " : "");
		say_range(s, json_object_array_get_idx(ranges, i));
	}
}

static void say_misaligned(struct sentence *s, struct json_object *p)
{
	say(s, "addresses, offsets and lengths have to be multiples of %lld bytes here",
		(long long)field_int(p, "pageBytes", 0));
}

static void say_reserved(struct sentence *s, struct json_object *p)
{
	say_group(s, p);
	say(s, " was not attached: the mapping ");
	say_range(s, json_object_object_get(p, "mapping"));
	say(s, " lies where it has the reserved region ");
	say_range(s, json_object_object_get(p, "reserved"));
}

static void say_not_attached(struct sentence *s, struct json_object *p)
{
	say_group(s, p);
	say(s, " is not attached to this space");
}

static void say_reset_reaches(struct sentence *s, struct json_object *p)
{
	struct json_object *groups;
	size_t n = 0;

	if (json_object_object_get_ex(p, "groups", &groups) &&
		json_object_is_type(groups, json_type_array))
		n = json_object_array_length(groups);
	say(s, "resetting the bus of %s reaches %s that this space does not have",
		word(p, "device", "?"), n == 1 ? "a group" : "groups");
	for (size_t i = 0; i < n; i++)
		say(s, "%s %lld", i ? "," : ":",
			(long long)json_object_get_int64(json_object_array_get_idx(groups, i)));
}

#define SPACE "org.vfiod.Space."

static const struct known_error space_errors[] = {
	{ SPACE "NoSuchSpace", -ENOKEY, say_no_such_space },
	{ SPACE "SpaceEnded", -EOWNERDEAD, say_space_ended },
	{ SPACE "NoSuchMemory", -ENOENT, say_no_such_memory },
	{ SPACE "MemoryMapped", -EBUSY, say_memory_mapped },
	{ SPACE "MemoryUnsuitable", -EPERM, say_memory_unsuitable },
	{ SPACE "MemoryChanged", -ESTALE, say_memory_changed },
	{ SPACE "MappingOverlaps", -EEXIST, say_overlaps },
	{ SPACE "UnmapSplitsMapping", -EINVAL, say_unmap_splits },
	{ SPACE "IovaOutOfRange", -ERANGE, say_out_of_range },
	{ SPACE "Misaligned", -EINVAL, say_misaligned },
	{ SPACE "ReservedRegionConflict", -EBUSY, say_reserved },
	{ SPACE "NotAttached", -ENOENT, say_not_attached },
	{ SPACE "ResetReachesFurther", -EXDEV, say_reset_reaches },
};

const struct known_error *space_error_find(const char *name)
{
	for (size_t i = 0; i < sizeof space_errors / sizeof *space_errors; i++)
		if (strcmp(space_errors[i].name, name) == 0)
			return &space_errors[i];
	return NULL;
}
