#include "tests/bench/sample.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
	if (n == 0)
		errx(1, "a round without samples");
	qsort(values, n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void sample_add(struct sample_case *sample, double value)
{
	if (sample->n < SAMPLE_MAX)
		sample->values[sample->n++] = value;
}

void sample_end_round(struct sample_case *sample, const char *bench)
{
	for (size_t i = 0; i < sample->n; i++)
		printf("tsv\t%s\t%s\t%zu\t%.3f\n", bench, sample->name, sample->n_rounds + 1,
			sample->values[i]);
	fflush(stdout);
	sample->rounds[sample->n_rounds++] = median(sample->values, sample->n);
	sample->n = 0;
}

void sample_finish(struct sample_case *sample)
{
	sample->median = median(sample->rounds, sample->n_rounds);
	sample->min = sample->rounds[0];
	sample->max = sample->rounds[sample->n_rounds - 1];
}
