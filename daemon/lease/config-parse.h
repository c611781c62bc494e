/*
 * The inside of config_read(), in the order in which a line goes through it:
 *
 *   config.c        which files, in which order, and who may have written them
 *   config-lines.c  a file → sections and keys, through libinih
 *   config-keys.c   the tables of sections and keys
 *   config-limits.c [account], and the limits of what may be pinned
 *   config-value.c  simple values: numbers, sizes, users
 *   config-match.c  the grammar of `match =`
 *   config-pool.c   [pool]
 *
 * All functions return 0, -ENOMEM or REFUSED (the refusal is then the parser's).
 */
#pragma once

#include "daemon/lease/config.h"

#include <stdio.h>

#define NAME_REGEX "[a-z0-9_.-]+"
#define NAME_ALLOWED "letters, digits, '_', '.' and '-'"

struct section;

struct parser {
	struct config *config;
	struct refusal *refusal;
	const struct config_names *names;
	const char *file; /* being read; borrowed */
	unsigned line;    /* 0 = the file as a whole */

	const struct section *section; /* that lines belong to; NULL: none yet in this file */
	unsigned section_line;
	unsigned seen;        /* keys of it that came already, a bit for each */
	const char *key;      /* being parsed; borrowed */
	bool said_return;     /* `return = yes` stands in the section */
	unsigned take_line;   /* where it says when to take */
	unsigned revoke_line; /* where it says how long a holder has; 0: nowhere */

	FILE *copy;        /* takes the lines as they are read */
	char *daemon_file; /* where [daemon] stands; NULL: nowhere yet; owned */
	unsigned daemon_line;
};

/* "FILE:LINE: what is wrong; what is allowed". Always REFUSED. */
int parser_fail(struct parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for a value of the key being parsed. */
int parser_fail_value(struct parser *parser, const char *value, const char *allowed);

/* All of one open file: sections and keys. `parser->file` is its name. */
int parser_read_lines(struct parser *parser, FILE *file);

/* `[name]` begins; the section before it ends. NULL: the file ends. */
int parser_section(struct parser *parser, const char *name);
int parser_key(struct parser *parser, const char *name, const char *value);

/* The rule whose section is being read. */
struct rule *parser_rule(struct parser *parser);

/* [pool NAME] begins, and its keys. */
int parser_begin_pool(struct parser *parser, const char *name);
struct pool *parser_pool(struct parser *parser);
/* At its end: there are devices in it. */
int parser_end_pool(struct parser *parser);

/* [account NAME] begins: a new one, its file and line filled in. */
int parser_begin_account(struct parser *parser, const char *name);
/* The one whose section is being read. */
struct account_section *parser_account(struct parser *parser);
/* At its end: it limits something. */
int parser_end_account(struct parser *parser);
/* When all files are read: is there a rule that each of them could be for? */
int parser_check_accounts(struct parser *parser);

/* Values. `*to` is set on success only. */
int parse_boolean(struct parser *parser, const char *value, bool *to);
int parse_number(
	struct parser *parser, const char *value, unsigned min, unsigned max, unsigned *to);
int parse_size(struct parser *parser, const char *value, unsigned min, unsigned max, unsigned *to);
/* A string that the extended regular expression describes, see text_fits(); owned by *to. */
int parse_text(struct parser *parser, const char *value, const char *regex, const char *allowed,
	char **to);
/* Appends to the list; `with_units`: unit:… is allowed, too. */
int parse_subject(
	struct parser *parser, const char *value, bool with_units, struct allow **list, size_t *n);
/* Decimal digits, and a suffix K, M, G, T or none. 0; or -EINVAL, or -ERANGE beyond 64 bits. */
int size_from_text(const char *text, uint64_t *bytes);
/* Bytes that may be pinned: a size, or `none`. */
int parse_limit(struct parser *parser, const char *value, uint64_t *bytes);
/* The same, or a percentage of the host's memory. */
int parse_host_limit(struct parser *parser, const char *value);
/* A bound of [daemon]: which one, parser->key says (config-bounds.c). */
int parse_bound(struct parser *parser, const char *value);
void bounds_default(struct bounds *bounds);
/* Appends to the list, also what is not whole yet when it fails. */
int parse_match(struct parser *parser, const char *value, struct match **matches, size_t *n);

/* Does the whole text fit, letters of either case? 1, 0 or -ENOMEM. */
int text_fits(const char *text, const char *regex);

/*
 * Makes room for one more element at the end of *array (a pointer to the elements' pointer),
 * zeroed: a pointer to it, and *n is one more; or NULL, nothing changed.
 */
void *array_append(void *array, size_t *n, size_t element_size);
