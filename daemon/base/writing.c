#include "daemon/base/writing.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 1024

/* For n more bytes and a NUL. */
static bool grow(struct writing *writing, size_t n)
{
	size_t capacity = writing->capacity > 0 ? writing->capacity : CAPACITY_FIRST;

	if (writing->has_failed)
		return false;
	while (capacity - writing->length <= n)
		capacity *= 2;
	char *grown = realloc(writing->bytes, capacity);
	if (!grown) {
		/* Nothing is added any more, however short. */
		writing->has_failed = true;
		writing->capacity = writing->length;
		return false;
	}
	writing->bytes = grown;
	writing->capacity = capacity;
	return true;
}

/* Where the next n bytes go, if there is room for them and a NUL; what was written is told by
 * end(). */
static inline char *room(struct writing *writing, size_t n)
{
	if (writing->capacity - writing->length <= n && !grow(writing, n))
		return NULL;
	return writing->bytes + writing->length;
}

static void end(struct writing *writing, char *to)
{
	*to = '\0';
	writing->length = (size_t)(to - writing->bytes);
}

/* RFC 8259, section 7: six bytes at most. */
static char *put_escaped(char *to, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";

	if (c < ' ') {
		to = mempcpy(to, "\\u00", 4);
		*to++ = digits[c >> 4];
		*to++ = digits[c & 0xf];
		return to;
	}
	*to++ = '\\';
	*to++ = (char)c;
	return to;
}

static char *put_digits(char *to, uint64_t value)
{
	char digits[20], *first = digits + sizeof(digits);

	do
		*--first = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	return mempcpy(to, first, (size_t)(digits + sizeof(digits) - first));
}

/*
 * Where a value of at most n bytes goes, which end() is to tell of. Keys are ours, with nothing in
 * them to escape.
 */
static inline char *begin(struct writing *writing, const char *key, size_t length, size_t n)
{
	char *to = room(writing, length + 4 + n);

	if (!to)
		return NULL;
	if (writing->is_inside)
		*to++ = ',';
	writing->is_inside = true;
	if (key) {
		*to++ = '"';
		to = mempcpy(to, key, length);
		*to++ = '"';
		*to++ = ':';
	}
	return to;
}

void writing_put_open(struct writing *writing, const char *key, size_t key_length, char bracket)
{
	char *to = begin(writing, key, key_length, 1);

	if (!to)
		return;
	*to++ = bracket;
	end(writing, to);
	writing->is_inside = false;
}

void writing_close(struct writing *writing, char bracket)
{
	char *to = room(writing, 1);

	if (!to)
		return;
	*to++ = bracket;
	end(writing, to);
	writing->is_inside = true;
}

void writing_put_string(
	struct writing *writing, const char *key, size_t key_length, const char *value)
{
	char *to = begin(writing, key, key_length, 6 * strlen(value) + 2);

	if (!to)
		return;
	*to++ = '"';
	for (unsigned char c; (c = (unsigned char)*value); value++)
		if (c >= ' ' && c != '"' && c != '\\')
			*to++ = (char)c;
		else
			to = put_escaped(to, c);
	*to++ = '"';
	end(writing, to);
}

void writing_put_bool(struct writing *writing, const char *key, size_t key_length, bool value)
{
	char *to = begin(writing, key, key_length, 5);

	if (to)
		end(writing, value ? mempcpy(to, "true", 4) : mempcpy(to, "false", 5));
}

void writing_put_number(struct writing *writing, const char *key, size_t key_length, int64_t value)
{
	char *to = begin(writing, key, key_length, 21);

	if (!to)
		return;
	if (value < 0)
		*to++ = '-';
	end(writing, put_digits(to, value < 0 ? -(uint64_t)value : (uint64_t)value));
}

void writing_put_unsigned(
	struct writing *writing, const char *key, size_t key_length, uint64_t value)
{
	char *to = begin(writing, key, key_length, 22);

	if (!to)
		return;
	*to++ = '"';
	to = put_digits(to, value);
	*to++ = '"';
	end(writing, to);
}

void writing_clear(struct writing *writing)
{
	free(writing->bytes);
	*writing = (struct writing){ 0 };
}
