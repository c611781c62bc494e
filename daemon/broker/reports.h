/*
 * The book of one reporter: the mappings that it says it has made, by container and I/O virtual
 * address. In one container they do not overlap, as the kernel permits none to.
 */
#pragma once

#include "daemon/memory/ledger.h"

#include <stddef.h>
#include <sys/queue.h>

/* What is read from page tables, covered and remembered in one go: 32 MiB of small pages. */
#define PIECE_PAGES 8192

/* Its runs in the order of its addresses; RUN_ABSENT where a page was not there. */
struct piece {
	frame_run *runs; /* NULL: not observed */
	size_t n_runs, n_pages;
};

struct reported {
	TAILQ_ENTRY(reported) of_queue; /* of its process; or of those that leave */
	struct reporter *reporter;
	struct observed_lease *lease;
	uint64_t container, iova, address, length;
	struct charge charge;
	struct piece *pieces;
	size_t n_pieces;   /* 0: there is too much of it to observe */
	size_t next_piece; /* to be read */
	size_t n_kept;     /* up to the last of those that have runs */
	bool is_queued;
	bool was_read; /* all of it, at read_at */
	double read_at;
	struct batch *batch; /* a child reads it; NULL: none */
};
TAILQ_HEAD(reported_list, reported);

struct reports {
	struct reported **list;
	size_t n, size;
};

static inline uint64_t reported_last(const struct reported *reported)
{
	return reported->iova + (reported->length - 1);
}

/* Those that have an address of [first, last] in this container: [*begin, *end). */
void reports_overlapping(const struct reports *reports, uint64_t container, uint64_t first,
	uint64_t last, size_t *begin, size_t *end);
/* Those of them that lie in it as a whole. */
void reports_within(const struct reports *reports, uint64_t container, uint64_t first,
	uint64_t last, size_t *begin, size_t *end);
/* Room for one more: 0 or -ENOMEM. */
int reports_reserve(struct reports *reports);
/* It overlaps none, and there is room. */
void reports_insert(struct reports *reports, struct reported *reported);
/* Takes [begin, end) out. */
void reports_remove(struct reports *reports, size_t begin, size_t end);
