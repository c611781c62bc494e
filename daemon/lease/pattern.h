/*
 * Shell patterns as fnmatch(3) has them with FNM_NOESCAPE, for patterns that clients write: in time
 * that grows with pattern × text, where fnmatch(3) tries all ways to share the text among the
 * stars.
 */
#pragma once

#include <stdbool.h>

bool pattern_fits(const char *pattern, const char *text);
