/* A broker with leases and nothing else, and processes whose page maps the test has made up. */
#pragma once

#include "daemon/base/util.h"
#include "daemon/broker/observing-parts.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PAGE ((uint64_t)page_bytes())
#define UID 1000
/* Start ticks of all processes of the test. */
#define TICKS 77
/* Their memory begins here: page i of process p shows frame fake_frames[p][i]. Never touched. */
#define BASE UINT64_C(0x100000000)
#define FAKE_PAGES ((size_t)3 * PIECE_PAGES)
#define FAKE_PROCESSES 8
extern uint64_t fake_frames[FAKE_PROCESSES][FAKE_PAGES];
/* What becomes of opening a process's page map (-errno), and of reading it; HANGS: nothing. */
#define HANGS 1
extern int fake_open[FAKE_PROCESSES], fake_read;

struct observing_bench {
	struct broker broker;
	struct config config;
	struct subject subjects[FAKE_PROCESSES]; /* pid is the index + 1 */
	struct observer_pace pace;
	struct reporter *reporters[FAKE_PROCESSES];
	struct refusal refusal;
};

int observing_setup(void **state);
int observing_teardown(void **state);
/* Granted, direct and trusted, of this process. */
struct lease *bench_lease(struct observing_bench *bench, unsigned process, const char *account);
/* Pages, from BASE; IOVAs are the same. By lease name; NULL: by the process. */
int bench_map(struct observing_bench *bench, unsigned process, const struct lease *lease,
	uint64_t container, uint64_t page, uint64_t n_pages);
int bench_unmap(struct observing_bench *bench, unsigned process, const struct lease *lease,
	uint64_t container, uint64_t page, uint64_t n_pages);
/* Runs the loop until no child is at work and none is due at once. */
void bench_settle(struct observing_bench *bench);
void assert_account(struct observing_bench *bench, const char *account, uint64_t bill,
	uint64_t distinct, uint64_t unobserved);
void assert_lease(struct observing_bench *bench, const struct lease *lease, uint64_t bill,
	uint64_t distinct, uint64_t unobserved);
