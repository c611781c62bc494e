/*
 * The book: a file of the daemon's in which a keeper writes down the frame runs of its mappings, so
 * that they can be refunded when the keeper is no more.
 *
 * A mapping's runs are one part of it. New parts are written at the end: a file has 2⁶³ bytes for
 * them, and what goes is punched out of it, page by page. So it takes 8 bytes for each run,
 * and at most a page more for each mapping. What is written is charged to who writes it.
 *
 * Before the runs there is an index, an item for each mapping number: so that who only has the book
 * can tell what was whose. An item is there after its runs are, and goes before them.
 */
#pragma once

#include "daemon/base/wire.h"

#include <sys/queue.h>

#define BOOK_ITEMS 1048576
#define BOOK_INDEX_BYTES (BOOK_ITEMS * sizeof(struct wire_item))

struct book_part {
	TAILQ_ENTRY(book_part) of_book;
	uint64_t offset; /* bytes */
	uint64_t n_runs; /* 0: it is not in the book */
};

struct book {
	int fd;
	TAILQ_HEAD(book_parts, book_part) parts; /* by offset */
};

void book_open(struct book *book, int fd); /* takes fd over; -1: not there yet */
/* More of a part that is empty or the last. 0 or -errno, with the part as it was. */
int book_append(struct book *book, struct book_part *part, const frame_run *runs, size_t n);
/* It is empty afterwards. */
void book_drop(struct book *book, struct book_part *part);
/* The mapping has these runs: 0 or -errno. item->number < BOOK_ITEMS. */
int book_write_item(const struct book *book, const struct wire_item *item);
/* It has none. Where that cannot be written, it stays charged for longer, and no more. */
void book_erase_item(const struct book *book, uint32_t number);
/* n items from a number on; those that are not there have kind 0. 0 or -errno. */
int book_read_items(int fd, uint32_t number, struct wire_item *items, size_t n);
/* Runs from an offset on: 0 or -errno; -EIO: the book ends before them. */
int book_read(int fd, uint64_t offset, frame_run *runs, size_t n);
