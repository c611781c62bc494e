#include "daemon/service/exposition.h"

#include <inttypes.h>
#include <stdbool.h>

/* A quotation mark means something in a label's value only. */
static void put_escaped(FILE *to, const char *text, bool is_label)
{
	for (; *text; text++)
		if (*text == '\\')
			fputs("\\\\", to);
		else if (*text == '\n')
			fputs("\\n", to);
		else if (*text == '"' && is_label)
			fputs("\\\"", to);
		else
			putc(*text, to);
}

void metric_family(FILE *to, const char *name, enum metric_type type, const char *help)
{
	fprintf(to, "# HELP %s ", name);
	put_escaped(to, help, false);
	fprintf(to, "\n# TYPE %s %s\n", name, type == METRIC_COUNTER ? "counter" : "gauge");
}

void metric_sample(
	FILE *to, const char *name, const char *label, const char *label_value, uint64_t value)
{
	fputs(name, to);
	if (label) {
		fprintf(to, "{%s=\"", label);
		put_escaped(to, label_value, true);
		fputs("\"}", to);
	}
	fprintf(to, " %" PRIu64 "\n", value);
}

void metric_single(
	FILE *to, const char *name, enum metric_type type, const char *help, uint64_t value)
{
	metric_family(to, name, type, help);
	metric_sample(to, name, NULL, NULL, value);
}
