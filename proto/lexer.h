/* The words of a .varlink file, each with its line and the comment above it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
	TOKEN_END = 0,
	/* ( ) [ ] : , ? are themselves */
	TOKEN_NAME = 256, /* [A-Za-z][A-Za-z0-9_.-]*: what is right where is the parser's to know */
	TOKEN_ARROW,      /* -> */
	TOKEN_INVALID,
};

struct lexer {
	const char *at; /* what follows the token; set this and `line` to start */
	int line;       /* of the token, from 1 */
	bool in_line;   /* something precedes `at` in its line */
	int kind;
	const char *start;
	size_t length;
	/* The comment lines directly above, no empty line between; NULL. They belong to the text.
	 */
	const char *comment;
	size_t comment_length;
};

void lexer_next(struct lexer *lexer);
bool lexer_is(const struct lexer *lexer, const char *name); /* is the token this name? */
/* The comment without '#' and one blank a line, lines joined by '\n'; *comment NULL if none. */
int lexer_comment(const struct lexer *lexer, char **comment);
