/*
 * Allocations that fail when a test wants it: malloc(), calloc() and realloc() of whatever the test
 * links go by way of this (the Makefile's WRAPPED).
 */
#pragma once

#include <stdbool.h>

/* The k-th from now on fails, counted from 1, and none after it; 0: none. */
void fail_allocation(unsigned k);
/* Has it come to that since? */
bool has_failed(void);
