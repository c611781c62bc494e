#include "daemon/base/writing.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 1024

/* Where the next n bytes go, if there is room for them and a NUL; what was written is told by
 * end(). */
static char *room(struct writing *writing, size_t n)
{
	size_t capacity = writing->capacity > 0 ? writing->capacity : CAPACITY_FIRST;

	if (writing->has_failed)
		return NULL;
	while (capacity - writing->length <= n)
		capacity *= 2;
	if (capacity > writing->capacity) {
		char *grown = realloc(writing->bytes, capacity);
		if (!grown) {
			writing->has_failed = true;
			return NULL;
		}
		writing->bytes = grown;
		writing->capacity = capacity;
	}
	return writing->bytes + writing->length;
}

static void end(struct writing *writing, char *to)
{
	*to = '\0';
	writing->length = (size_t)(to - writing->bytes);
}

/* RFC 8259, section 7: six bytes at most. */
static char *put_character(char *to, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";

	if (c < ' ') {
		to = mempcpy(to, "\\u00", 4);
		*to++ = digits[c >> 4];
		*to++ = digits[c & 0xf];
		return to;
	}
	if (c == '"' || c == '\\')
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
static char *begin(struct writing *writing, const char *key, size_t n)
{
	size_t length = key ? strlen(key) : 0;
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

void writing_open(struct writing *writing, const char *key, char bracket)
{
	char *to = begin(writing, key, 1);

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

void writing_string(struct writing *writing, const char *key, const char *value)
{
	char *to = begin(writing, key, 6 * strlen(value) + 2);

	if (!to)
		return;
	*to++ = '"';
	while (*value)
		to = put_character(to, (unsigned char)*value++);
	*to++ = '"';
	end(writing, to);
}

void writing_bool(struct writing *writing, const char *key, bool value)
{
	char *to = begin(writing, key, 5);

	if (to)
		end(writing, value ? mempcpy(to, "true", 4) : mempcpy(to, "false", 5));
}

void writing_number(struct writing *writing, const char *key, int64_t value)
{
	char *to = begin(writing, key, 21);

	if (!to)
		return;
	if (value < 0)
		*to++ = '-';
	end(writing, put_digits(to, value < 0 ? -(uint64_t)value : (uint64_t)value));
}

void writing_unsigned(struct writing *writing, const char *key, uint64_t value)
{
	char *to = begin(writing, key, 22);

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
