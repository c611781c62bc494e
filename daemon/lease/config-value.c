#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <regex.h>
#include <stdarg.h>
#include <string.h>

int parser_fail(struct parser *parser, const char *format, ...)
{
	char text[REFUSAL_TEXT_SIZE];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* What a client wrote stands in no file. */
	if (!*parser->file)
		return refuse(parser->refusal, REFUSAL_CONFIGURATION, "%s", text);
	if (parser->line == 0)
		return refuse(parser->refusal, REFUSAL_CONFIGURATION, "%s: %s", parser->file, text);
	return refuse(parser->refusal, REFUSAL_CONFIGURATION, "%s:%u: %s", parser->file,
		parser->line, text);
}

int parser_fail_value(struct parser *parser, const char *value, const char *allowed)
{
	return parser_fail(
		parser, "'%s' is no value for %s; allowed: %s", value, parser->key, allowed);
}

void *array_append(void *array, size_t *n, size_t element_size)
{
	char *grown = reallocarray(*(void **)array, *n + 1, element_size);
	if (!grown)
		return NULL;
	*(void **)array = grown;
	return memset(grown + (*n)++ * element_size, 0, element_size);
}

int text_fits(const char *text, const char *regex)
{
	_cleanup_free_ char *anchored = NULL;
	if (asprintf(&anchored, "^(%s)$", regex) < 0) {
		anchored = NULL;
		return -ENOMEM;
	}
	regex_t compiled;
	if (regcomp(&compiled, anchored, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0)
		return -ENOMEM; /* the expressions are constants */
	int r = regexec(&compiled, text, 0, NULL, 0);
	regfree(&compiled);
	return r == 0 ? 1 : r == REG_NOMATCH ? 0 : -ENOMEM;
}

int parse_boolean(struct parser *parser, const char *value, bool *to)
{
	bool yes = strcmp(value, "yes") == 0;
	if (!yes && strcmp(value, "no") != 0)
		return parser_fail_value(parser, value, "yes, no");
	*to = yes;
	return 0;
}

/* Digits only: no sign, no blank, no 0x. -1: something else, or beyond 64 bits. */
static int digits(const char *text, char **end, unsigned long long *number)
{
	errno = 0;
	if (*text < '0' || *text > '9')
		return -1;
	*number = strtoull(text, end, 10);
	return errno ? -1 : 0;
}

int parse_number(struct parser *parser, const char *value, unsigned min, unsigned max, unsigned *to)
{
	char *end;
	unsigned long long number;
	if (digits(value, &end, &number) < 0 || *end || number < min || number > max) {
		char allowed[64];
		snprintf(allowed, sizeof(allowed), "a number from %u to %u", min, max);
		return parser_fail_value(parser, value, allowed);
	}
	*to = (unsigned)number;
	return 0;
}

int size_from_text(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	char *end;
	unsigned long long number;
	if (digits(text, &end, &number) < 0)
		return errno == ERANGE ? -ERANGE : -EINVAL;
	const char *suffix = *end && !end[1] ? strchr(suffixes, *end) : NULL;
	if (*end && !suffix)
		return -EINVAL;
	unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
	if (number > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = (uint64_t)number << shift;
	return 0;
}

int parse_size(struct parser *parser, const char *value, unsigned min, unsigned max, unsigned *to)
{
	uint64_t bytes;
	if (size_from_text(value, &bytes) < 0 || bytes > max || bytes < min) {
		char allowed[64];
		snprintf(allowed, sizeof(allowed),
			"bytes from %uK to %uM, with or without a suffix K, M, G", min >> 10,
			max >> 20);
		return parser_fail_value(parser, value, allowed);
	}
	*to = (unsigned)bytes;
	return 0;
}

int parse_text(
	struct parser *parser, const char *value, const char *regex, const char *allowed, char **to)
{
	int r = text_fits(value, regex);
	if (r < 0)
		return r;
	if (r == 0)
		return parser_fail_value(parser, value, allowed);
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	*to = copy;
	return 0;
}

/* getpwnam_r(3) and getgrnam_r(3), which differ in nothing but types: 0, positive errno, or -1 for
 * "no such name". `buffer` is what they keep strings in. */
static int user_id(const char *name, char *buffer, size_t size, unsigned *id)
{
	struct passwd entry, *found;
	int r = getpwnam_r(name, &entry, buffer, size, &found);
	if (found)
		*id = found->pw_uid;
	return found ? 0 : r ? r : -1;
}

static int group_id(const char *name, char *buffer, size_t size, unsigned *id)
{
	struct group entry, *found;
	int r = getgrnam_r(name, &entry, buffer, size, &found);
	if (found)
		*id = found->gr_gid;
	return found ? 0 : r ? r : -1;
}

/* With a buffer of `size` bytes: as above, and ERANGE if that is not enough. */
static int name_id(enum allow_kind kind, const char *name, size_t size, unsigned *id)
{
	char *buffer = malloc(size);
	if (!buffer)
		return ENOMEM;
	int r;
	do
		r = kind == ALLOW_USER ? user_id(name, buffer, size, id)
				       : group_id(name, buffer, size, id);
	while (r == EINTR);
	free(buffer);
	return r;
}

#define NAMES_BYTES_MAX (16U << 20) /* a group with a million members; then something is wrong */

/* From a list of names, as config.h has it. A name has no blanks (parse_subject). */
static int resolve_known(struct parser *parser, const char *what, const char *name, unsigned *id)
{
	size_t what_length = strlen(what), name_length = strlen(name);

	for (const char *line = parser->names->known; *line; line = strchr(line, '\n') + 1) {
		const char *its_name = line + what_length + 1;
		if (strncmp(line, what, what_length) == 0 &&
			strncmp(its_name, name, name_length) == 0 && its_name[name_length] == ' ') {
			*id = (unsigned)strtoul(its_name + name_length, NULL, 10);
			return 0;
		}
	}
	return parser_fail(
		parser, "the %s '%s' came while this was read; reload again", what, name);
}

static int resolve(struct parser *parser, const char *name, enum allow_kind kind, unsigned *id)
{
	const char *what = kind == ALLOW_USER ? "user" : "group";
	char *end;
	unsigned long long number;
	if (digits(name, &end, &number) == 0 && !*end) {
		/* The highest is (uid_t)-1, "no id" to the kernel. */
		if (number >= UINT_MAX)
			return parser_fail(parser, "%s id %s does not exist; allowed: 0 to %u",
				what, name, UINT_MAX - 1);
		*id = (unsigned)number;
		return 0;
	}

	if (parser->names->ignored)
		return 0;
	if (parser->names->known)
		return resolve_known(parser, what, name, id);
	int r = ERANGE;
	for (size_t size = 4096; r == ERANGE && size <= NAMES_BYTES_MAX; size *= 4)
		r = name_id(kind, name, size, id);
	switch (r) {
	case 0:
		if (parser->names->noted)
			fprintf(parser->names->noted, "%s %s %u\n", what, name, *id);
		return 0;
	case ENOMEM:
		return -ENOMEM;
	case -1:
	case ENOENT: /* as getpwnam_r(3) says of these four: "not found" on some systems */
	case ESRCH:
	case EBADF:
	case EPERM:
		return parser_fail(parser,
			"there is no %s '%s'; allowed: a name that this host knows, or a number",
			what, name);
	default:
		return parser_fail(
			parser, "the %s '%s' cannot be looked up: %s", what, name, strerror(r));
	}
}

/* Unit names have a suffix, so a plain name would never match. */
static bool unit_can_match(const char *pattern)
{
	return *pattern && (strchr(pattern, '.') || strpbrk(pattern, "*?["));
}

int parse_subject(
	struct parser *parser, const char *value, bool with_units, struct allow **list, size_t *n)
{
	static const char *const prefixes[] = {
		[ALLOW_USER] = "user:",
		[ALLOW_GROUP] = "group:",
		[ALLOW_UNIT] = "unit:",
	};
	size_t n_kinds = with_units ? 3 : 2, kind = 0;
	while (kind < n_kinds && strncmp(value, prefixes[kind], strlen(prefixes[kind])) != 0)
		kind++;
	const char *name = kind < n_kinds ? value + strlen(prefixes[kind]) : "";
	if (!*name || strpbrk(name, " \t"))
		return parser_fail_value(parser, value,
			with_units ? "one of user:NAME, group:NAME, unit:PATTERN a line; lines can "
				     "be repeated"
				   : "one of user:NAME, group:NAME a line; lines can be repeated");
	if (kind == ALLOW_UNIT && !unit_can_match(name))
		return parser_fail_value(parser, value,
			"the whole name of a unit as in unit:dpdk.service, or a pattern");

	struct allow *allow = array_append(list, n, sizeof(*allow));
	if (!allow)
		return -ENOMEM;
	allow->kind = (enum allow_kind)kind;
	if (kind != ALLOW_UNIT)
		return resolve(parser, name, allow->kind, &allow->id);
	allow->pattern = strdup(name);
	return allow->pattern ? 0 : -ENOMEM;
}
