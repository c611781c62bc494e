#include "daemon/lease/pattern.h"

#include <fnmatch.h>
#include <string.h>

/* The longest bracket that is looked at; longer ones hold for nothing. */
enum { BRACKET_SIZE = 128 };

/* From '[' to its ']', both included; 0: it never ends, so it is a character like others. */
static size_t bracket_length(const char *pattern)
{
	const char *at = pattern + 1;

	at += *at == '!' || *at == '^';
	at += *at == ']'; /* the first one is a member */
	for (; *at && *at != ']'; at++) {
		char kind = at[1];
		/* [:alpha:], [=a=], [.-.]: what ends them may be a ']' itself. */
		if (*at != '[' || !(kind == ':' || kind == '=' || kind == '.'))
			continue;
		const char end[] = { kind, ']', '\0' };
		const char *found = strstr(at + 2, end);
		if (found)
			at = found + 1;
	}
	return *at ? (size_t)(at - pattern) + 1 : 0;
}

/* Does what the pattern begins with hold for this character? *length: how much of it that was. */
static bool one_fits(const char *pattern, char character, size_t *length)
{
	char bracket[BRACKET_SIZE];
	const char text[] = { character, '\0' };

	*length = 1;
	if (*pattern == '?')
		return true;
	size_t n = *pattern == '[' ? bracket_length(pattern) : 0;
	if (n == 0)
		return *pattern == character;
	*length = n;
	if (n >= sizeof(bracket))
		return false;
	memcpy(bracket, pattern, n);
	bracket[n] = '\0';
	return fnmatch(bracket, text, FNM_NOESCAPE) == 0;
}

bool pattern_fits(const char *pattern, const char *text)
{
	const char *star = NULL, *from = NULL;

	/* Asked of every device in every lease, and most are plain names. */
	if (!strpbrk(pattern, "*?["))
		return strcmp(pattern, text) == 0;
	while (*text) {
		size_t length;
		if (*pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (*pattern && one_fits(pattern, *text, &length)) {
			pattern += length;
			text++;
		} else if (star) {
			/* The last star takes one character more: earlier ones need not change. */
			pattern = star;
			text = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
