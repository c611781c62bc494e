#include "daemon/base/refusal.h"

#include "daemon/base/util.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static const char *const step_names[] = {
	[STEP_NONE] = "none",
	[STEP_GUARD] = "guard",
	[STEP_MODULE] = "module",
	[STEP_READ] = "read",
	[STEP_OVERRIDE] = "override",
	[STEP_UNBIND] = "unbind",
	[STEP_BIND] = "bind",
	[STEP_VERIFY] = "verify",
	[STEP_OPEN] = "open",
	[STEP_VIABLE] = "viable",
};
_Static_assert(ARRAY_SIZE(step_names) == STEP_MAX_, "a name for each step");

const char *bind_step_name(enum bind_step step)
{
	return (unsigned)step < STEP_MAX_ ? step_names[step] : "unknown";
}

int refuse(struct refusal *refusal, enum refusal_kind kind, const char *format, ...)
{
	*refusal = (struct refusal){ .kind = kind, .group = -1 };

	va_list arguments;
	va_start(arguments, format);
	vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
	va_end(arguments);

	/* The text goes into JSON and onto terminals; names in it come from outside. */
	for (char *c = refusal->text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return REFUSED;
}

static void describe_owner(const struct refusal *refusal, char *buffer, size_t size)
{
	if (refusal->owner_pid > 0)
		snprintf(buffer, size, "process %d of uid %u", (int)refusal->owner_pid,
			(unsigned)refusal->owner_uid);
	else
		snprintf(buffer, size, "a process that cannot be named");
}

static void describe_step(
	const struct refusal *refusal, const char *what, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s group %d failed at %s, step %s: %s%s%s%s", what, refusal->group,
		*refusal->device ? refusal->device : "the group", bind_step_name(refusal->step),
		strerror(refusal->errnum), *refusal->text ? "; " : "", refusal->text,
		refusal->rolled_back ? "; all is as before" : "");
}

static const char *range_text(const struct iova_range *range, char text[48])
{
	snprintf(text, 48, "0x%" PRIx64 "-0x%" PRIx64, range->first, range->last);
	return text;
}

static void describe_reach(const struct refusal *refusal, char *buffer, size_t size)
{
	size_t used = (size_t)snprintf(buffer, size,
		"resetting the bus of %s reaches %s that this space does not have:",
		refusal->device, refusal->n_groups == 1 ? "a group" : "groups");

	for (size_t i = 0; i < refusal->n_groups && used < size; i++)
		used += (size_t)snprintf(
			buffer + used, size - used, "%s %d", i ? "," : "", refusal->groups[i]);
}

static void describe_memory(const struct refusal *refusal, char *buffer, size_t size)
{
	char first[48], second[48];
	range_text(&refusal->ranges[0], first);
	range_text(&refusal->ranges[1], second);

	switch (refusal->kind) {
	case REFUSAL_NO_SUCH_SPACE:
		snprintf(buffer, size, "no space has this token, or it is not yours");
		return;
	case REFUSAL_SPACE_ENDED:
		snprintf(buffer, size, "the space is over: %s", refusal->text);
		return;
	case REFUSAL_NO_SUCH_MEMORY:
		snprintf(buffer, size, "the space has no memory %" PRIu64, refusal->number);
		return;
	case REFUSAL_MEMORY_MAPPED:
		snprintf(buffer, size, "memory %" PRIu64 " is still mapped, %ld times",
			refusal->number, refusal->max);
		return;
	case REFUSAL_MEMORY_CHANGED:
		snprintf(buffer, size, "the memory of mapping %s has changed: %s", first,
			refusal->text);
		return;
	case REFUSAL_MAPPING_OVERLAPS:
		snprintf(buffer, size, "there is a mapping at %s", first);
		return;
	case REFUSAL_UNMAP_SPLITS:
		snprintf(buffer, size,
			"that would split the mapping %s; nothing was unmapped, unmap the whole of "
			"it",
			first);
		return;
	case REFUSAL_IOVA_OUT_OF_RANGE:
		snprintf(buffer, size, "not all of it can be mapped here; %s can, of %zu %s",
			refusal->n_ranges > 0 ? first : "nothing", refusal->n_ranges,
			refusal->n_ranges == 1 ? "range" : "ranges");
		return;
	case REFUSAL_MISALIGNED:
		snprintf(
			buffer, size, "not a multiple of the page size, %" PRIu64, refusal->number);
		return;
	case REFUSAL_RESERVED_REGION:
		snprintf(buffer, size, "mapping %s is where group %d has the reserved region %s",
			second, refusal->group, first);
		return;
	case REFUSAL_NOT_ATTACHED:
		snprintf(buffer, size, "group %d is not attached to this space", refusal->group);
		return;
	case REFUSAL_RESET_REACHES:
		describe_reach(refusal, buffer, size);
		return;
	default:
		snprintf(buffer, size, "refused (%d)", (int)refusal->kind);
	}
}

void refusal_describe(const struct refusal *refusal, char *buffer, size_t size)
{
	char owner[64];
	describe_owner(refusal, owner, sizeof(owner));

	switch (refusal->kind) {
	case REFUSAL_NONE:
		snprintf(buffer, size, "no refusal");
		return;
	case REFUSAL_LIMIT_EXCEEDED:
		snprintf(buffer, size,
			"%s of %s is %" PRIu64 " bytes, %" PRIu64 " of which are used; %" PRIu64
			" more were asked for",
			refusal->limit, refusal->account, refusal->limit_bytes,
			refusal->state_bytes, refusal->requested_bytes);
		return;
	case REFUSAL_NO_MEMORY_BOUND:
		snprintf(buffer, size, "no memory.max bounds what a process in %s can pin: %s",
			*refusal->account ? refusal->account : "an unknown control group",
			refusal->text);
		return;
	case REFUSAL_NO_SUCH_GROUP:
		snprintf(buffer, size, "there is no group %d", refusal->group);
		return;
	case REFUSAL_GROUP_BUSY:
		snprintf(buffer, size, "group %d is held by %s", refusal->group, owner);
		return;
	case REFUSAL_TIMED_OUT:
		snprintf(buffer, size, "the wait is over, and group %d is still held by %s",
			refusal->group, owner);
		return;
	case REFUSAL_DEVICE_IN_USE:
		snprintf(buffer, size, "the host is using %s: %s; nothing was changed",
			refusal->device, refusal->text);
		return;
	case REFUSAL_TAKE_FAILED:
		describe_step(refusal, "taking", buffer, size);
		return;
	case REFUSAL_RETURN_FAILED:
		describe_step(refusal, "returning", buffer, size);
		return;
	case REFUSAL_STUCK:
		snprintf(buffer, size,
			"the kernel does not let go of %s of group %d, step %s; no other group is "
			"affected",
			refusal->device, refusal->group, bind_step_name(refusal->step));
		return;
	case REFUSAL_NO_SUCH_LEASE:
		snprintf(buffer, size, "no lease has this token, or it is not yours");
		return;
	case REFUSAL_PERMISSION_DENIED:
		snprintf(buffer, size, "administrators only");
		return;
	case REFUSAL_TOO_MANY:
		snprintf(buffer, size, "beyond the limit %s of %ld", refusal->text, refusal->max);
		return;
	case REFUSAL_INVALID_PARAMETER:
		snprintf(buffer, size, "invalid parameter %s", refusal->text);
		return;
	case REFUSAL_SYSTEM:
		snprintf(buffer, size, "%s: %s", refusal->text, strerror(refusal->errnum));
		return;
	case REFUSAL_NO_SUCH_DEVICE:
	case REFUSAL_NO_SUCH_POOL:
	case REFUSAL_INVALID_MATCH:
	case REFUSAL_NOT_VIABLE:
	case REFUSAL_GROUP_FAILED:
	case REFUSAL_ACCESS_DENIED:
	case REFUSAL_RESET_REQUIRED:
	case REFUSAL_NOT_SUPPORTED:
	case REFUSAL_INTERRUPTED:
	case REFUSAL_CONFIGURATION:
	case REFUSAL_MEMORY_UNSUITABLE:
		snprintf(buffer, size, "%s", refusal->text);
		return;
	default:
		describe_memory(refusal, buffer, size);
	}
}
