/* Memory of the client's: a file that it has sent, mapped here for as long as it is there. */
#pragma once

#include "daemon/base/wire.h"

#include <stdbool.h>
#include <uthash.h>

struct memory {
	UT_hash_handle by_number;
	uint32_t number;
	int fd;
	char *address;
	uint64_t size;       /* bytes, whole pages, as it was when it came */
	uint32_t page_bytes; /* of the file: a huge page's in hugetlbfs */
	uint32_t flags;      /* WIRE_READ_ALLOWED, WIRE_WRITE_ALLOWED */
	unsigned n_mappings;
};

/*
 * Looks at the file, and maps it whole and shared, touching nothing. Takes fd over. 0, -errno,
 * or WIRE_UNSUITABLE with `text` (WIRE_TEXT_SIZE) for the client. A file that is neither tmpfs's
 * nor hugetlbfs's is not asked anything that its server could let us wait for.
 */
int memory_new(uint32_t number, int fd, struct memory **memory, char *text);
/* NULL-safe. Nothing maps it. */
struct memory *memory_free(struct memory *memory);
/* Is the file still as long as it was? */
bool memory_is_whole(const struct memory *memory);
/* How many pages of the base size are holes: 0 or -errno. */
int memory_count_holes(
	const struct memory *memory, uint64_t offset, uint64_t length, uint64_t *n_pages);
