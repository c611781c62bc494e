#include "daemon/service/vmstat.h"

#include <stdlib.h>
#include <string.h>

static int64_t number(const char *text)
{
	char *end;
	int64_t value = strtoll(text, &end, 10);
	return end == text ? -1 : value;
}

static int64_t counter(const char *text, const char *name)
{
	size_t length = strlen(name);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, length) == 0 && line[length] == ' ')
			return number(line + length);
	}
	return -1;
}

int64_t vmstat_pinned_pages(const char *text)
{
	int64_t acquired = counter(text, "nr_foll_pin_acquired");
	int64_t released = counter(text, "nr_foll_pin_released");

	if (acquired < 0 || released < 0)
		return -1;
	/* Each CPU adds to them with some delay of its own. */
	return acquired > released ? acquired - released : 0;
}
