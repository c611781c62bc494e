/* uthash would call exit() without memory; so it leaves the element out, with no table. */
#define HASH_NONFATAL_OOM 1
#include "daemon/keeper/keeping.h"

#include "daemon/base/util.h"
#include "daemon/keeper/isolate.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

_Noreturn void keeping_fail(const char *what, int error)
{
	complain("%s: %s; ending, as what is pinned is unknown", what, strerror(-error));
	_exit(1);
}

int map_result(int error)
{
	return error == -EFAULT ? WIRE_CHANGED : error;
}

int say(struct wire_done *done, int result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(done->text, sizeof(done->text), format, arguments);
	va_end(arguments);
	return result;
}

void keeping_open(struct keeping *keeping, const struct backend *backend)
{
	memset(keeping, 0, sizeof(*keeping));
	keeping->backend = backend;
	book_open(&keeping->book, -1);
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++)
		keeping->containers[i].handle = NO_CONTAINER;
}

/* A function's size here is uthash's macros.
 * NOLINTBEGIN(readability-function-size) */

void keeping_close(struct keeping *keeping)
{
	struct mapping *mapping, *next_mapping;
	struct memory *memory, *next_memory;

	for (size_t i = 0; i < KEEPING_GROUPS_MAX; i++)
		if (keeping->groups[i].is_here)
			group_end(keeping, &keeping->groups[i]);
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++)
		if (keeping->containers[i].handle != NO_CONTAINER)
			keeping->backend->close(
				keeping->backend->userdata, keeping->containers[i].handle);
	free(keeping->members.names);
	HASH_ITER (by_number, keeping->mappings, mapping, next_mapping) {
		HASH_DELETE(by_number, keeping->mappings, mapping);
		free(mapping);
	}
	HASH_ITER (by_number, keeping->memories, memory, next_memory) {
		HASH_DELETE(by_number, keeping->memories, memory);
		memory_free(memory);
	}
	if (keeping->book.fd >= 0)
		close(keeping->book.fd);
}

struct memory *keeping_memory(struct keeping *keeping, uint32_t number)
{
	struct memory *memory;
	HASH_FIND(by_number, keeping->memories, &number, sizeof(number), memory);
	return memory;
}

int keeping_add_memory(struct keeping *keeping, uint32_t number, int fd, struct wire_done *done)
{
	struct memory *memory;

	if (keeping_memory(keeping, number) ||
		HASH_CNT(by_number, keeping->memories) >= KEEPING_MEMORIES_MAX) {
		close(fd);
		return say(done, -EINVAL, "memory %u", number);
	}
	int r = memory_new(number, fd, &memory, done->text);
	if (r != 0)
		return r;
	HASH_ADD(by_number, keeping->memories, number, sizeof(number), memory);
	if (!memory->by_number.tbl) {
		memory_free(memory);
		return -ENOMEM;
	}
	done->size = memory->size;
	done->page_bytes = memory->page_bytes;
	done->flags = memory->flags;
	return 0;
}

int keeping_remove_memory(struct keeping *keeping, uint32_t number)
{
	struct memory *memory = keeping_memory(keeping, number);

	if (!memory)
		return -ENOENT;
	if (memory->n_mappings > 0)
		return -EBUSY;
	HASH_DELETE(by_number, keeping->memories, memory);
	memory_free(memory);
	return 0;
}

struct mapping *keeping_mapping(struct keeping *keeping, uint32_t number)
{
	struct mapping *mapping;
	HASH_FIND(by_number, keeping->mappings, &number, sizeof(number), mapping);
	return mapping;
}

static int check(
	struct keeping *keeping, const struct wire_request *request, const struct memory *memory)
{
	const uint64_t page = page_bytes();
	const uint32_t allowed = WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED;
	uint64_t last;

	if (!memory)
		return -ENOENT;
	if (request->length == 0 || request->offset % page || request->iova % page ||
		request->length % page || request->length > memory->size ||
		request->offset > memory->size - request->length ||
		__builtin_add_overflow(request->iova, request->length - 1, &last) ||
		!(request->flags & allowed) || (request->flags & ~allowed))
		return -EINVAL;
	if (request->flags & ~memory->flags & WIRE_WRITE_ALLOWED)
		return -EACCES;
	if (request->mapping >= KEEPING_MAPPINGS_MAX ||
		keeping_mapping(keeping, request->mapping) ||
		HASH_CNT(by_number, keeping->mappings) >= KEEPING_MAPPINGS_MAX)
		return -EINVAL;
	return 0;
}

int mapping_prepare(
	struct keeping *keeping, const struct wire_request *request, struct wire_done *done)
{
	struct memory *memory = keeping_memory(keeping, request->memory);
	int r = check(keeping, request, memory);
	if (r < 0)
		return say(done, r, "mapping %u", request->mapping);

	struct mapping *mapping = calloc(1, sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	mapping->number = request->mapping;
	mapping->memory = memory;
	mapping->offset = request->offset;
	mapping->iova = request->iova;
	mapping->length = request->length;
	mapping->flags = request->flags;
	HASH_ADD(by_number, keeping->mappings, number, sizeof(mapping->number), mapping);
	if (!mapping->by_number.tbl) {
		free(mapping);
		return -ENOMEM;
	}
	memory->n_mappings++;
	r = mapping_read(keeping, mapping, done);
	/* With holes it stays: they are filled, and it is read again. */
	if (r != 0 && r != WIRE_HOLES)
		mapping_forget(keeping, mapping);
	return r;
}

void mapping_forget(struct keeping *keeping, struct mapping *mapping)
{
	mapping_strike(keeping, mapping);
	HASH_DELETE(by_number, keeping->mappings, mapping);
	mapping->memory->n_mappings--;
	free(mapping);
}

/* NOLINTEND(readability-function-size) */
