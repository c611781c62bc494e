/*
 * Bind jobs (and errands) without children and without a kernel: the linker puts these functions in
 * the place of those of bind/job.h (--wrap, tests/tests.mk), and what else the broker asks the
 * system for. They end as they are told, when the loop comes round.
 */
#pragma once

#include <stdbool.h>

struct inventory;

enum fake_outcome {
	FAKE_WELL,
	FAKE_REFUSED, /* somebody has the group open, a driver does not bind: as the job's kind is
		       */
	FAKE_DIES,    /* the child is killed */
	FAKE_HANGS,   /* late, and it ends when the outcome is set to another one */
};
void fake_job_outcome(enum fake_outcome outcome); /* of both */
/* The host uses devices of the groups of these numbers: a bit each, of 64. */
void fake_job_uses(unsigned long long groups);
/* Takes of such groups fail, when they are to write. */
void fake_job_takes_fail(unsigned long long groups);
/* Jobs of such groups go no further: those that take, before they are ready, or (`ready`) after. */
void fake_job_hold(unsigned long long groups, bool ready);
/*
 * Of what looks for what bounds a client. It is FAKE_MEMORY_MAX, or (REFUSED) nothing.
 */
#define FAKE_MEMORY_MAX (1UL << 30)
void fake_bound_outcome(enum fake_outcome outcome);
bool fake_bounds_are_looked_for(void); /* at this moment */
void fake_errands_fail(int errnum);    /* from here on; 0: no more */
unsigned fake_journal_writes(void);    /* so far */
/* Whose devices move with the jobs. */
void fake_job_host(struct inventory *inventory);
/* The user that connects next; pid, command and unit are always the same. */
void fake_peer(unsigned uid);
