/*
 * Bind jobs (and errands) without children and without a kernel: the linker puts these functions in
 * the place of those of bind/job.h (--wrap, tests/tests.mk), and what else the broker asks the
 * system for. They end as they are told, when the loop comes round.
 */
#pragma once

struct inventory;

enum fake_outcome {
	FAKE_WELL,
	FAKE_REFUSED, /* somebody has the group open, a driver does not bind: as the job's kind is
		       */
	FAKE_DIES,    /* the child is killed */
	FAKE_HANGS,   /* late, and it ends when the outcome is set to another one */
};
void fake_job_outcome(enum fake_outcome outcome);
/* Whose devices move with the jobs. */
void fake_job_host(struct inventory *inventory);
/* The user that connects next; pid, command and unit are always the same. */
void fake_peer(unsigned uid);
