/*
 * The book: a file of the daemon's in which a keeper writes down the frame runs of its mappings, so
 * that they can be refunded when the keeper is no more.
 *
 * A mapping's runs are one part of it. New parts are written at the end: a file has 2⁶³ bytes for
 * them, and what goes is punched out of it, page by page. So it takes 8 bytes for each run,
 * and at most a page more for each mapping. What is written is charged to who writes it.
 */
#pragma once

#include "daemon/base/wire.h"

#include <sys/queue.h>

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
/* Runs from an offset on: 0 or -errno; -EIO: the book ends before them. */
int book_read(int fd, uint64_t offset, frame_run *runs, size_t n);
