/* A table: columns as wide as their widest cell, two blanks apart, the last one unpadded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_MAX_COLUMNS 8

struct table {
	const char *const *titles;
	size_t n_columns;
	/* The first column of `list` and `leases` is headed wider than what is in it. */
	size_t first_gap;
	char **cells; /* n_rows * n_columns */
	size_t n_rows;
	size_t max_width;  /* lines are cut to it; 0: never */
	bool has_ellipsis; /* what was cut ends with "…" */
};

/* titles are borrowed and end with NULL. */
void table_init(struct table *table, const char *const titles[]);
void table_clear(struct table *table);
/* Copies n_columns strings, made printable; NULL is an empty cell. 0 or -ENOMEM. */
int table_add(struct table *table, const char *const cells[]);
/* For a terminal that is `width` wide; with "…" where its encoding has that. */
void table_cut(struct table *table, size_t width);
void table_print(const struct table *table, FILE *out, bool has_titles);
