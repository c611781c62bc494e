#include "client/size.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void size_describe(uint64_t bytes, char *buffer, size_t size)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buffer, size, "%u B", (unsigned)bytes);
		return;
	}
	/* What would be rounded to 1024.0 is 1.0 of the next. */
	while (value >= 1023.95 && unit + 1 < sizeof units / sizeof *units) {
		value /= 1024;
		unit++;
	}
	snprintf(buffer, size, "%.1f %s", value, units[unit]);
}

int size_parse(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	const char *suffix = NULL;
	unsigned long long number;
	unsigned shift = 0;
	char *end;

	if (*text < '0' || *text > '9') /* nor a sign or a blank, which strtoull() takes */
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end && !end[1])
		suffix = strchr(suffixes, *end);
	if (*end && !suffix)
		return -EINVAL;
	if (suffix)
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	if (errno || number > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = (uint64_t)number << shift;
	return 0;
}
