#include "proto/json.h"
#include "proto/json-plain.h"
#include "proto/utf8.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct scan {
	const char *at, *end;
	size_t depth, max_depth;
	size_t n_values, max_values;
	bool is_plain; /* so far */
};

#define PLAIN_DIGITS 18

static int scan_value(struct scan *scan);

static int scan_peek(const struct scan *scan)
{
	return scan->at < scan->end ? (unsigned char)*scan->at : -1;
}

static bool scan_char(struct scan *scan, char wanted)
{
	if (scan_peek(scan) != wanted)
		return false;
	scan->at++;
	return true;
}

static void scan_space(struct scan *scan)
{
	for (int c = scan_peek(scan); c == ' ' || c == '\t' || c == '\r' || c == '\n';
		c = scan_peek(scan))
		scan->at++;
}

static int hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* After the backslash. */
static int scan_escape(struct scan *scan, bool is_key)
{
	int unit = 0;
	int c = scan_peek(scan);

	if (c <= 0 || !strchr("\"\\/bfnrtu", c))
		return -EBADMSG;
	scan->at++;
	if (c != 'u')
		return 0;
	for (int i = 0; i < 4; i++, scan->at++) {
		int digit = hex_digit(scan_peek(scan));

		if (digit < 0)
			return -EBADMSG;
		unit = unit * 16 + digit;
	}
	/* json-c ends a key there: "a\u0000b" would be taken for "a". */
	return is_key && unit == 0 ? -EBADMSG : 0;
}

/* Of a string, and by itself: ASCII that is not the end and begins nothing. */
static bool is_ordinary(char c)
{
	return (unsigned char)c >= ' ' && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

static int scan_string(struct scan *scan, bool is_key)
{
	if (!scan_char(scan, '"'))
		return -EBADMSG;
	while (scan->at < scan->end) {
		/* Nearly all there is. */
		if (is_ordinary(*scan->at)) {
			scan->at++;
			continue;
		}
		size_t length = utf8_sequence(scan->at, (size_t)(scan->end - scan->at));
		char c = *scan->at;

		if (length == 0 || (length == 1 && (unsigned char)c < 0x20))
			return -EBADMSG;
		scan->at += length;
		if (c == '"')
			return 0;
		if (c == '\\') {
			int r = scan_escape(scan, is_key);

			scan->is_plain = false;

			if (r < 0)
				return r;
		}
	}
	return -EBADMSG;
}

static int scan_digits(struct scan *scan)
{
	const char *start = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	if (scan->at > start + PLAIN_DIGITS)
		scan->is_plain = false;
	return scan->at > start ? 0 : -EBADMSG;
}

static int scan_number(struct scan *scan)
{
	scan_char(scan, '-');
	if (!scan_char(scan, '0') && scan_digits(scan) < 0)
		return -EBADMSG;
	int c = scan_peek(scan);
	scan->is_plain = scan->is_plain && c != '.' && c != 'e' && c != 'E';
	if (scan_char(scan, '.') && scan_digits(scan) < 0)
		return -EBADMSG;
	if (scan_char(scan, 'e') || scan_char(scan, 'E')) {
		if (!scan_char(scan, '+'))
			scan_char(scan, '-');
		return scan_digits(scan);
	}
	return 0;
}

static int scan_word(struct scan *scan, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
		return -EBADMSG;
	scan->at += length;
	return 0;
}

static int scan_members(struct scan *scan, char close)
{
	int r;

	scan->at++;
	scan_space(scan);
	if (scan_char(scan, close))
		return 0;
	for (;;) {
		scan_space(scan);
		if (close == '}') {
			r = scan_string(scan, true);
			if (r < 0)
				return r;
			scan_space(scan);
			if (!scan_char(scan, ':'))
				return -EBADMSG;
			scan_space(scan);
		}
		r = scan_value(scan);
		if (r < 0)
			return r;
		scan_space(scan);
		if (scan_char(scan, close))
			return 0;
		if (!scan_char(scan, ','))
			return -EBADMSG;
	}
}

/* The depth bounds the recursion. */
static int scan_value(struct scan *scan)
{
	int r;

	if (++scan->n_values > scan->max_values)
		return -EMSGSIZE;
	switch (scan_peek(scan)) {
	case '{':
	case '[':
		if (++scan->depth > scan->max_depth)
			return -EBADMSG;
		r = scan_members(scan, *scan->at == '{' ? '}' : ']');
		scan->depth--;
		return r;
	case '"':
		return scan_string(scan, false);
	case 't':
		return scan_word(scan, "true");
	case 'f':
		return scan_word(scan, "false");
	case 'n':
		return scan_word(scan, "null");
	default:
		return scan_number(scan);
	}
}

static int scan_text(
	const char *text, size_t length, size_t max_depth, size_t max_values, bool *is_plain)
{
	struct scan scan = {
		.is_plain = true,
		.at = text,
		.end = text + length,
		.max_depth = max_depth,
		.max_values = max_values,
	};
	int r;

	scan_space(&scan);
	if (scan_peek(&scan) != '{')
		return -EBADMSG;
	r = scan_value(&scan);
	if (r < 0)
		return r;
	scan_space(&scan);
	*is_plain = scan.is_plain;
	return scan.at == scan.end ? 0 : -EBADMSG;
}

int json_read(const char *text, size_t length, size_t max_depth, struct json_object **object)
{
	return json_read_bounded(text, length, max_depth, JSON_MAX_VALUES, object);
}

int json_read_bounded(const char *text, size_t length, size_t max_depth, size_t max_values,
	struct json_object **object)
{
	struct json_tokener *tokener;
	bool is_plain;
	int r = scan_text(text, length, max_depth, max_values, &is_plain);

	if (r < 0)
		return r;
	if (is_plain) {
		*object = json_read_plain(text);
		return *object ? 0 : -ENOMEM;
	}
	/* json-c counts the scalars in the innermost container as one level more. */
	tokener = json_tokener_new_ex((int)max_depth + 1);
	if (!tokener)
		return -ENOMEM;
	/* Not STRICT: the text is. Integers beyond 64 bits saturate, and fail varlink_check(). */
	*object = json_tokener_parse_ex(tokener, text, (int)length);
	json_tokener_free(tokener);
	/* The text is good JSON, so nothing but memory can be wanting. */
	return *object ? 0 : -ENOMEM;
}
