#include "client/size.h"

#include <stdio.h>

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
