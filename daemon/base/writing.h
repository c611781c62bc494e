/*
 * A JSON text, written from its beginning to its end: for what is written too often to be made a
 * tree of objects first. Who reads it uses fields.h, and what that says of numbers holds here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writing {
	char *bytes; /* ends with a NUL that is not counted; NULL: nothing yet */
	size_t length, capacity;
	bool has_failed; /* no memory; what is written then is ignored */
	bool is_inside;  /* the next value follows another */
};

/* key: NULL in an array, and of the outermost; otherwise it has nothing to be escaped. */
void writing_open(struct writing *writing, const char *key, char bracket); /* '{' or '[' */
void writing_close(struct writing *writing, char bracket);
/* As it is, if it is UTF-8. */
void writing_string(struct writing *writing, const char *key, const char *value);
void writing_bool(struct writing *writing, const char *key, bool value);
void writing_number(struct writing *writing, const char *key, int64_t value);
void writing_unsigned(struct writing *writing, const char *key, uint64_t value);

/* NULL-safe in what it has. */
void writing_clear(struct writing *writing);
#define _cleanup_writing_ __attribute__((cleanup(writing_clear)))
