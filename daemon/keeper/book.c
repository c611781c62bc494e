#include "daemon/keeper/book.h"

#include "daemon/base/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void book_open(struct book *book, int fd)
{
	book->fd = fd;
	TAILQ_INIT(&book->parts);
}

static uint64_t part_end(const struct book_part *part)
{
	return part ? part->offset + part->n_runs * sizeof(frame_run) : 0;
}

int book_append(struct book *book, struct book_part *part, const frame_run *runs, size_t n)
{
	const char *bytes = (const char *)runs;
	size_t size = n * sizeof(*runs);
	uint64_t offset = part_end(TAILQ_LAST(&book->parts, book_parts));

	while (size > 0) {
		ssize_t written = pwrite(book->fd, bytes, size, (off_t)offset);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes += written;
		offset += (uint64_t)written;
		size -= (size_t)written;
	}
	if (part->n_runs == 0 && n > 0) {
		part->offset = offset - n * sizeof(*runs);
		TAILQ_INSERT_TAIL(&book->parts, part, of_book);
	}
	part->n_runs += n;
	return 0;
}

void book_drop(struct book *book, struct book_part *part)
{
	if (part->n_runs == 0)
		return;

	/* Of the pages that it is in, those that are no neighbour's. */
	const uint64_t page = page_bytes();
	uint64_t before = part_end(TAILQ_PREV(part, book_parts, of_book));
	const struct book_part *next = TAILQ_NEXT(part, of_book);
	uint64_t first = part->offset / page * page;
	uint64_t end = (part_end(part) + page - 1) / page * page;
	if (first < before)
		first += page;
	if (next && end > next->offset)
		end -= page;
	/* Nothing depends on it but how much memory the book has. */
	if (first < end)
		fallocate(book->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first,
			(off_t)(end - first));
	TAILQ_REMOVE(&book->parts, part, of_book);
	part->n_runs = 0;
}

int book_read(int fd, uint64_t offset, frame_run *runs, size_t n)
{
	char *bytes = (char *)runs;
	size_t size = n * sizeof(*runs);

	while (size > 0) {
		ssize_t got = pread(fd, bytes, size, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}
