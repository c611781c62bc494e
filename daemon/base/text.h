/*
 * Short texts put together without printf(3), which is slow: where each lease, message or log line
 * does it. `end` is where the buffer ends; what does not fit is cut off, and there is a NUL in any
 * case.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Both return where the NUL is, for the next one to go on. */
char *text_put(char *to, const char *end, const char *from);
char *text_put_number(char *to, const char *end, uint64_t number);

/* The same from the beginning of an array. */
#define text_begin(array, from) text_put(array, (array) + sizeof(array), from)

/*
 * Copied for a message, cut if need be: what clients write goes to terminals, so all but printable
 * ASCII becomes '?'.
 */
void text_copy_printable(char *to, size_t size, const char *from);
