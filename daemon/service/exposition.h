/*
 * The text format of Prometheus, version 0.0.4: a family is its HELP, its TYPE, and its samples
 * behind them. Pure: it writes to a stream.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

enum metric_type {
	METRIC_GAUGE,
	METRIC_COUNTER, /* its name ends with _total */
};

/* Once for each name, before its samples. `help`: a sentence. */
void metric_family(FILE *to, const char *name, enum metric_type type, const char *help);
/* label NULL: none. Values may hold anything that is UTF-8. */
void metric_sample(
	FILE *to, const char *name, const char *label, const char *label_value, uint64_t value);
/* A family of one sample, without labels. */
void metric_single(
	FILE *to, const char *name, enum metric_type type, const char *help, uint64_t value);
