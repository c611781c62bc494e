#include "daemon/keeper/book.h"

#include "daemon/base/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void book_open(struct book *book, int fd)
{
	book->fd = fd;
	TAILQ_INIT(&book->parts);
}

static uint64_t part_end(const struct book_part *part)
{
	return part ? part->offset + part->n_runs * sizeof(frame_run) : BOOK_INDEX_BYTES;
}

static int write_at(int fd, uint64_t offset, const void *data, size_t size)
{
	const char *bytes = data;

	while (size > 0) {
		ssize_t written = pwrite(fd, bytes, size, (off_t)offset);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes += written;
		offset += (uint64_t)written;
		size -= (size_t)written;
	}
	return 0;
}

int book_append(struct book *book, struct book_part *part, const frame_run *runs, size_t n)
{
	uint64_t offset = part_end(TAILQ_LAST(&book->parts, book_parts));
	int r = write_at(book->fd, offset, runs, n * sizeof(*runs));

	if (r < 0)
		return r;
	if (part->n_runs == 0 && n > 0) {
		part->offset = offset;
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

/* How much of it there is before the end of the book: `size`, or less; or -errno. */
static ssize_t read_at(int fd, uint64_t offset, void *data, size_t size)
{
	char *bytes = data;
	size_t n = 0;

	while (n < size) {
		ssize_t got = pread(fd, bytes + n, size - n, (off_t)(offset + n));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

int book_read(int fd, uint64_t offset, frame_run *runs, size_t n)
{
	ssize_t got = read_at(fd, offset, runs, n * sizeof(*runs));

	if (got < 0)
		return (int)got;
	return (size_t)got == n * sizeof(*runs) ? 0 : -EIO;
}

int book_write_item(const struct book *book, const struct wire_item *item)
{
	return write_at(book->fd, item->number * sizeof(*item), item, sizeof(*item));
}

void book_erase_item(const struct book *book, uint32_t number)
{
	static const struct wire_item none;
	write_at(book->fd, number * sizeof(none), &none, sizeof(none));
}

int book_read_items(int fd, uint32_t number, struct wire_item *items, size_t n)
{
	memset(items, 0, n * sizeof(*items));
	ssize_t got = read_at(fd, number * sizeof(*items), items, n * sizeof(*items));
	return got < 0 ? (int)got : 0;
}
