/*
 * A JSON text, written from its beginning to its end: for what is written too often to be made a
 * tree of objects first. Who reads it uses fields.h, and what that says of numbers holds here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writing {
	char *bytes; /* ends with a NUL that is not counted; NULL: nothing yet */
	size_t length, capacity;
	bool has_failed; /* no memory; what is written then is ignored */
	bool is_inside;  /* the next value follows another */
};

void writing_close(struct writing *writing, char bracket);

/* What the inline ones below call: the length of a key is known to the compiler there. */
void writing_put_open(struct writing *writing, const char *key, size_t key_length, char bracket);
void writing_put_string(
	struct writing *writing, const char *key, size_t key_length, const char *value);
void writing_put_bool(struct writing *writing, const char *key, size_t key_length, bool value);
void writing_put_number(struct writing *writing, const char *key, size_t key_length, int64_t value);
void writing_put_unsigned(
	struct writing *writing, const char *key, size_t key_length, uint64_t value);

static inline size_t writing_key_length(const char *key)
{
	return key ? strlen(key) : 0;
}

/* key: NULL in an array, and of the outermost; otherwise it has nothing to be escaped. */
static inline void writing_open(struct writing *writing, const char *key, char bracket)
{
	writing_put_open(writing, key, writing_key_length(key), bracket); /* '{' or '[' */
}
/* As it is, if it is UTF-8. */
static inline void writing_string(struct writing *writing, const char *key, const char *value)
{
	writing_put_string(writing, key, writing_key_length(key), value);
}
static inline void writing_bool(struct writing *writing, const char *key, bool value)
{
	writing_put_bool(writing, key, writing_key_length(key), value);
}
static inline void writing_number(struct writing *writing, const char *key, int64_t value)
{
	writing_put_number(writing, key, writing_key_length(key), value);
}
static inline void writing_unsigned(struct writing *writing, const char *key, uint64_t value)
{
	writing_put_unsigned(writing, key, writing_key_length(key), value);
}

/* NULL-safe in what it has. */
void writing_clear(struct writing *writing);
#define _cleanup_writing_ __attribute__((cleanup(writing_clear)))
