#include "client/vfioctl/table.h"

#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"

#define GAP 2

void table_init(struct table *table, const char *const titles[])
{
	*table = (struct table){ .titles = titles, .first_gap = GAP };
	while (titles[table->n_columns] && table->n_columns < TABLE_MAX_COLUMNS)
		table->n_columns++;
}

void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->n_rows * table->n_columns; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->n_rows = 0;
}

int table_add(struct table *table, const char *const cells[])
{
	size_t n = table->n_rows * table->n_columns;
	char **grown = reallocarray(table->cells, n + table->n_columns, sizeof *grown);

	if (!grown)
		return -ENOMEM;
	table->cells = grown;
	for (size_t i = 0; i < table->n_columns; i++) {
		char text[512];

		format_printable(cells[i] ? cells[i] : "", text, sizeof text);
		grown[n + i] = strdup(text);
		if (!grown[n + i]) {
			while (i-- > 0)
				free(grown[n + i]);
			return -ENOMEM;
		}
	}
	table->n_rows++;
	return 0;
}

void table_cut(struct table *table, size_t width)
{
	table->max_width = width;
	table->has_ellipsis = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static void widths_measure(const struct table *table, bool has_titles, size_t *widths)
{
	for (size_t column = 0; column < table->n_columns; column++) {
		widths[column] = has_titles ? format_width(table->titles[column]) : 0;
		for (size_t row = 0; row < table->n_rows; row++) {
			size_t width = format_width(table->cells[row * table->n_columns + column]);

			if (width > widths[column])
				widths[column] = width;
		}
	}
}

/* The bytes of the first `columns` characters. */
static size_t bytes_of_columns(const char *text, size_t columns)
{
	const char *end = text;

	for (; *end; end++)
		if (((unsigned char)*end & 0xc0) != 0x80 && columns-- == 0)
			break;
	return (size_t)(end - text);
}

/* Padding goes out only before the next text: lines do not end in blanks. */
static void row_print(
	const struct table *table, const char *const *cells, const size_t *widths, FILE *out)
{
	size_t at = 0, start = 0;

	for (size_t column = 0; column < table->n_columns; column++) {
		size_t room = table->max_width > start ? table->max_width - start : 0;
		size_t width = format_width(cells[column]);
		bool is_cut = table->max_width && width > room;
		bool is_marked = is_cut && table->has_ellipsis;

		if (is_cut)
			width = room;
		if (width > 0) {
			fprintf(out, "%*s%.*s%s", (int)(start - at), "",
				(int)bytes_of_columns(cells[column], width - is_marked),
				cells[column], is_marked ? "…" : "");
			at = start + width;
		}
		start += widths[column] + (column ? GAP : table->first_gap);
	}
	fputc('\n', out);
}

void table_print(const struct table *table, FILE *out, bool has_titles)
{
	size_t widths[TABLE_MAX_COLUMNS];

	widths_measure(table, has_titles, widths);
	if (has_titles)
		row_print(table, table->titles, widths, out);
	for (size_t row = 0; row < table->n_rows; row++)
		row_print(table, (const char *const *)table->cells + row * table->n_columns, widths,
			out);
}
