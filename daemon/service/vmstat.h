/* What the kernel counts of pinned pages (mm/gup.c). */
#pragma once

#include <stdint.h>

/*
 * From the text of /proc/vmstat: pages pinned for long by anybody on the host, each time that they
 * are. -1: this kernel does not say.
 */
int64_t vmstat_pinned_pages(const char *text);
