#include "proto/lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

/* Passes a comment; one that stands in a line of its own is kept for the token that follows. */
static void lexer_skip_comment(struct lexer *lexer)
{
	const char *end = lexer->at + strcspn(lexer->at, "\n");

	if (!lexer->in_line) {
		if (!lexer->comment)
			lexer->comment = lexer->at;
		lexer->comment_length = (size_t)(end - lexer->comment);
	}
	lexer->in_line = true;
	lexer->at = end;
}

static void lexer_skip_space(struct lexer *lexer)
{
	lexer->comment = NULL;
	lexer->comment_length = 0;
	for (;; lexer->at++) {
		if (*lexer->at == '#')
			lexer_skip_comment(lexer);
		if (*lexer->at == '\n') {
			if (!lexer->in_line)
				lexer->comment = NULL;
			lexer->in_line = false;
			lexer->line++;
		} else if (*lexer->at != ' ' && *lexer->at != '\t' && *lexer->at != '\r') {
			return;
		}
	}
}

void lexer_next(struct lexer *lexer)
{
	lexer_skip_space(lexer);
	lexer->start = lexer->at;
	lexer->in_line = true;
	if (*lexer->at == '\0') {
		lexer->kind = TOKEN_END;
	} else if (is_letter(*lexer->at)) {
		lexer->kind = TOKEN_NAME;
		/* "name->" ends before the arrow, not in it. */
		while (is_name(*lexer->at) && strncmp(lexer->at, "->", 2) != 0)
			lexer->at++;
	} else if (strncmp(lexer->at, "->", 2) == 0) {
		lexer->kind = TOKEN_ARROW;
		lexer->at += 2;
	} else {
		lexer->kind = strchr("()[]:,?", *lexer->at) ? *lexer->at : TOKEN_INVALID;
		lexer->at++;
	}
	lexer->length = (size_t)(lexer->at - lexer->start);
}

bool lexer_is(const struct lexer *lexer, const char *name)
{
	return lexer->kind == TOKEN_NAME && lexer->length == strlen(name) &&
	       memcmp(lexer->start, name, lexer->length) == 0;
}

int lexer_comment(const struct lexer *lexer, char **comment)
{
	const char *at = lexer->comment, *end;
	char *to;

	*comment = NULL;
	if (!at)
		return 0;
	end = at + lexer->comment_length;
	to = *comment = malloc(lexer->comment_length + 1);
	if (!to)
		return -ENOMEM;
	while (at < end) {
		at = (const char *)memchr(at, '#', (size_t)(end - at)) + 1; /* each line has it */
		if (at < end && *at == ' ')
			at++;
		while (at < end && *at != '\n')
			*to++ = *at++;
		while (to > *comment && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
			to--;
		if (at < end)
			*to++ = *at++;
	}
	*to = '\0';
	return 0;
}
