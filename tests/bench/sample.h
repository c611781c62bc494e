/*
 * What is measured: samples of a case, in rounds. A round's figure is the median of its samples;
 * the table has the median of the rounds, and the least and greatest of them: the machine's noise.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SAMPLE_ROUNDS = 5, SAMPLE_MAX = 4096 };

struct sample_case {
	const char *name;
	double values[SAMPLE_MAX]; /* of the round that runs */
	size_t n;
	double rounds[SAMPLE_ROUNDS];
	size_t n_rounds;
	double min, median, max; /* of rounds, after sample_finish() */
};

double now_us(void); /* microseconds, monotonic */

/* Beyond SAMPLE_MAX they are dropped. */
void sample_add(struct sample_case *sample, double value);
/* The round's median. Each sample becomes a line "tsv BENCH CASE ROUND VALUE". */
void sample_end_round(struct sample_case *sample, const char *bench);
void sample_finish(struct sample_case *sample);
