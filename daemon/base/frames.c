#include "daemon/base/frames.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

/* Pages read at a time: 64 KiB of the page map. */
#define SLICE_PAGES 8192
#define ABSENT_TRIES 8

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FRAME ((UINT64_C(1) << 55) - 1)

size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static int populate(void *userdata, void *address, size_t length)
{
	(void)userdata;
	return madvise(address, length, MADV_POPULATE_READ) < 0 ? -errno : 0;
}

static int read_pagemap(void *userdata, const void *address, uint64_t *frames, size_t n_pages)
{
	const int *pagemap = userdata;
	char *bytes = (char *)frames;
	size_t size = n_pages * sizeof(*frames);
	off_t offset = (off_t)((uintptr_t)address / page_bytes() * sizeof(*frames));

	while (size > 0) {
		ssize_t n = pread(*pagemap, bytes, size, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		offset += n;
		size -= (size_t)n;
	}
	for (size_t i = 0; i < n_pages; i++) {
		if (!(frames[i] & PAGEMAP_PRESENT)) {
			frames[i] = FRAME_ABSENT;
			continue;
		}
		frames[i] &= PAGEMAP_FRAME;
		/* What is shown without CAP_SYS_ADMIN, and no frame that anybody has. */
		if (frames[i] == 0)
			return -EPERM;
	}
	return 0;
}

void frames_use_pagemap(struct frame_ops *ops, int *pagemap)
{
	*ops = (struct frame_ops){ pagemap, populate, read_pagemap };
}

static int read_slice(const struct frame_ops *ops, char *address, uint64_t *frames, size_t n_pages,
	bool populates)
{
	for (int tries = 0;; tries++) {
		int r = ops->read(ops->userdata, address, frames, n_pages);
		if (r < 0 || !populates || tries == ABSENT_TRIES)
			return r;
		bool is_whole = true;
		for (size_t i = 0; i < n_pages && is_whole; i++)
			is_whole = frames[i] != FRAME_ABSENT;
		if (is_whole)
			return 0;
		/* Beyond the end of the file pages stay absent: that is for the caller to see. */
		r = ops->populate(ops->userdata, address, n_pages * page_bytes());
		if (r < 0 && r != -EFAULT)
			return r;
	}
}

struct walk {
	frames_take take;
	void *userdata;
	uint64_t first, n; /* the run that grows */
};

static int walk_take(struct walk *walk)
{
	return walk->n > 0 ? walk->take(walk->userdata, walk->first, walk->n) : 0;
}

static int walk_page(struct walk *walk, uint64_t frame)
{
	bool goes_on = walk->first == FRAME_ABSENT ? frame == FRAME_ABSENT
						   : frame == walk->first + walk->n;
	if (walk->n > 0 && goes_on && walk->n < RUN_FRAMES_MAX) {
		walk->n++;
		return 0;
	}
	int r = walk_take(walk);
	walk->first = frame;
	walk->n = 1;
	return r;
}

int frames_walk(const struct frame_ops *ops, char *address, uint64_t length, bool populates,
	frames_take take, void *userdata)
{
	static uint64_t frames[SLICE_PAGES];
	struct walk walk = { .take = take, .userdata = userdata };
	uint64_t n_left = length / page_bytes();

	while (n_left > 0) {
		size_t n = n_left < SLICE_PAGES ? (size_t)n_left : SLICE_PAGES;
		int r = read_slice(ops, address, frames, n, populates);
		for (size_t i = 0; r == 0 && i < n; i++)
			r = walk_page(&walk, frames[i]);
		if (r != 0)
			return r;
		address += n * page_bytes();
		n_left -= n;
	}
	return walk_take(&walk);
}

static int count_absent(void *userdata, uint64_t first, uint64_t n)
{
	uint64_t *n_absent = userdata;

	if (first == FRAME_ABSENT)
		*n_absent += n;
	return 0;
}

int frames_count_absent(
	const struct frame_ops *ops, char *address, uint64_t length, uint64_t *n_absent)
{
	*n_absent = 0;
	return frames_walk(ops, address, length, false, count_absent, n_absent);
}
