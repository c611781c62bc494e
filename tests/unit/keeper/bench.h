/* A keeper's tables over a fake kernel, with one memory, a real memfd of which all pages are there.
 */
#pragma once

#include "fake-io.h"
#include "tests/unit/count-fds.h"

#define PAGE 4096
#define MEMORY_PAGES 64
#define MEMORY 1 /* its number */

struct bench {
	struct fake_io fake;
	struct keeping keeping;
	struct wire_done done; /* of the last operation */
	int memory;            /* the client's own descriptor of it */
	int book;              /* the daemon's */
	int n_fds_before;
};

int bench_set_up(void **state);
/* Asserts that no descriptor was left. */
int bench_tear_down(void **state);

int bench_fd(void); /* one of nothing: a container or a group, before it is given away */
/* PREPARE: pages of the memory at an IOVA. */
int bench_prepare(struct bench *bench, uint32_t number, unsigned first, unsigned n, uint64_t iova);
/* A group in a container of its own. Its descriptor's number. */
int bench_attach_new(struct bench *bench, uint32_t number);
/* Prepared and made. */
void bench_map(struct bench *bench, uint32_t number, unsigned first, unsigned n, uint64_t iova);
char *bench_page(struct bench *bench, unsigned page); /* its address; never to be touched */
