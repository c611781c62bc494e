#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/* As the kernel names PCI devices: %04x:%02x:%02x.%d, and some domains have more digits (VMD). */
#define ADDRESS_REGEX "([0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f][.][0-7]"
#define BLANKS " \t"
#define VF_MAX 65534  /* numbers from 0; TotalVFs has 16 bits */
#define NODE_MAX 1023 /* NODES_SHIFT is 10 at most */

typedef int (*term_parser)(struct parser *parser, struct match_term *term, const char *text);

static int fail_term(
	struct parser *parser, const char *prefix, const char *text, const char *allowed)
{
	return parser_fail(parser, "'%s%s' in match; allowed: %s", prefix, text, allowed);
}

/* A copy in lower case, as sysfs writes hexadecimal digits, with the domain given or 0000. */
static int address_copy(char **to, const char *text, bool has_domain)
{
	char *copy;
	if (asprintf(&copy, "%s%s", has_domain ? "" : "0000:", text) < 0)
		return -ENOMEM;
	for (char *c = copy; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	*to = copy;
	return 0;
}

static size_t count(const char *text, char character)
{
	size_t n = 0;
	for (; *text; text++)
		n += *text == character;
	return n;
}

/* How many characters the part before the first colon stands for; -1: any number. */
static int first_part_width(const char *pattern)
{
	int width = 0;
	for (const char *c = pattern; *c != ':'; c++, width++) {
		if (*c == '*')
			return -1;
		if (*c == '[')
			c += strcspn(c, "]");
	}
	return width;
}

/* 1: with domain, 0: without, -1: no device has such an address. */
static int pattern_has_domain(const char *pattern)
{
	size_t colons = count(pattern, ':');
	if (colons != 1)
		return colons == 2 ? 1 : -1;
	/* "3b:*" names a bus, "0000:*" a domain. */
	int width = first_part_width(pattern);
	if (width == 2 || width == -1)
		return 0;
	return width >= 4 && strchr(pattern, '*') ? 1 : -1;
}

static int term_address(struct parser *parser, struct match_term *term, const char *text)
{
	/* Brackets hold digits and ranges only; without a wildcard it has to be an address. */
	int r = text_fits(
		text, strpbrk(text, "*?[") ? "([0-9a-f:.*?]|\\[!?[0-9a-f-]+\\])+" : ADDRESS_REGEX);
	if (r < 0)
		return r;
	int has_domain = r == 0 ? -1 : pattern_has_domain(text);
	if (has_domain < 0)
		return fail_term(parser, "pci:address=", text,
			"[DOMAIN:]BUS:DEVICE.FUNCTION as in 0000:3b:00.0, or a pattern as in "
			"0000:3b:*");
	return address_copy(&term->text, text, has_domain);
}

static unsigned id_number(const char *text)
{
	return *text == '*' ? ID_ANY : (unsigned)strtoul(text, NULL, 16);
}

static int term_id(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, "([0-9a-f]{4}|[*]):([0-9a-f]{4}|[*])");
	if (r < 0)
		return r;
	if (r == 0)
		return fail_term(parser, "pci:id=", text,
			"VENDOR:PRODUCT of four hexadecimal digits each, or *");
	term->vendor = id_number(text);
	term->product = id_number(strchr(text, ':') + 1);
	return 0;
}

static int term_class(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, "([0-9a-f]{2}){1,3}");
	if (r < 0)
		return r;
	if (r == 0)
		return fail_term(parser, "pci:class=", text, "2, 4 or 6 hexadecimal digits");
	return address_copy(&term->text, text, true);
}

static int term_pf(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, ADDRESS_REGEX "(,vf=[0-9]{1,5}(-[0-9]{1,5})?)?");
	if (r < 0)
		return r;

	term->first = 0;
	term->last = UINT_MAX;
	const char *range = r == 0 ? NULL : strchr(text, ',');
	if (range) {
		char *end;
		term->first = (unsigned)strtoul(range + strlen(",vf="), &end, 10);
		term->last = *end ? (unsigned)strtoul(end + 1, NULL, 10) : term->first;
	}
	if (r == 0 || term->first > term->last || (range && term->last > VF_MAX))
		return fail_term(parser, "pci:pf=", text,
			"ADDRESS of the PF, or ADDRESS,vf=N or ADDRESS,vf=FIRST-LAST (0 to 65534)");

	char address[DEVICE_NAME_SIZE];
	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, ","), text);
	return address_copy(&term->text, address, count(address, ':') == 2);
}

/* NAME or NAME=PATTERN */
static int term_split(struct match_term *term, const char *text)
{
	const char *equals = strchr(text, '=');
	term->text = equals ? strndup(text, (size_t)(equals - text)) : strdup(text);
	if (equals)
		term->value = strdup(equals + 1);
	return term->text && (term->value || !equals) ? 0 : -ENOMEM;
}

static int term_bus(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, "[a-z0-9_-]{1,31}(=.+)?");
	if (r < 0)
		return r;
	if (r == 0)
		return fail_term(parser, "bus:", text, "the name of a bus, or NAME=PATTERN");
	return term_split(term, text);
}

static int term_tag(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, "[a-z0-9_.-]+");
	if (r < 0)
		return r;
	if (r == 0)
		return fail_term(parser, "udev:tag=", text, "the name of a tag");
	term->text = strdup(text);
	return term->text ? 0 : -ENOMEM;
}

static int term_property(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, "[a-z0-9_.-]+=.+");
	if (r < 0)
		return r;
	if (r == 0)
		return fail_term(parser, "udev:property=", text, "KEY=PATTERN");
	return term_split(term, text);
}

static int term_numa(struct parser *parser, struct match_term *term, const char *text)
{
	int r = text_fits(text, "[0-9]{1,4}");
	if (r < 0)
		return r;
	term->first = r == 0 ? UINT_MAX : (unsigned)strtoul(text, NULL, 10);
	if (term->first > NODE_MAX)
		return fail_term(parser, "numa:", text, "the number of a node, 0 to 1023");
	return 0;
}

static const struct {
	const char *prefix;
	enum match_kind kind;
	term_parser parse;
} terms[] = {
	{ "pci:address=", MATCH_ADDRESS, term_address },
	{ "pci:id=", MATCH_ID, term_id },
	{ "pci:class=", MATCH_CLASS, term_class },
	{ "pci:pf=", MATCH_PF, term_pf },
	{ "bus:", MATCH_BUS, term_bus },
	{ "udev:tag=", MATCH_TAG, term_tag },
	{ "udev:property=", MATCH_PROPERTY, term_property },
	{ "numa:", MATCH_NUMA, term_numa },
};
#define TERMS_ALLOWED                                                                              \
	"pci:address=, pci:id=, pci:class=, pci:pf=, bus:, udev:tag=, udev:property=, numa:"

static int parse_term(struct parser *parser, const char *text, struct match *match)
{
	for (size_t i = 0; i < ARRAY_SIZE(terms); i++) {
		size_t length = strlen(terms[i].prefix);
		if (strncmp(text, terms[i].prefix, length) != 0)
			continue;
		struct match_term *term =
			array_append(&match->terms, &match->n_terms, sizeof(*term));
		if (!term)
			return -ENOMEM;
		term->kind = terms[i].kind;
		return terms[i].parse(parser, term, text + length);
	}
	return fail_term(parser, "", text, "terms that begin with " TERMS_ALLOWED);
}

int parse_match(struct parser *parser, const char *value, struct match **matches, size_t *n)
{
	if (!*value)
		return parser_fail_value(parser, value, "terms that begin with " TERMS_ALLOWED);
	/* In the list from the start: its owner frees what a failure leaves. */
	struct match *match = array_append(matches, n, sizeof(*match));
	char *copy = match ? strdup(value) : NULL;
	if (!copy)
		return -ENOMEM;

	int r = 0;
	char *rest = copy;
	const char *text;
	while (r == 0 && (text = strsep(&rest, BLANKS)))
		r = *text ? parse_term(parser, text, match) : 0;
	free(copy);
	return r;
}

int match_parse(
	const char *text, struct match **matches, size_t *n_matches, struct refusal *refusal)
{
	struct parser parser = { .refusal = refusal, .file = "", .key = "match" };

	int r = parse_match(&parser, text, matches, n_matches);
	if (r == 0 && (*matches)[*n_matches - 1].n_terms == 0)
		r = parser_fail_value(&parser, text, "terms that begin with " TERMS_ALLOWED);
	if (r == REFUSED)
		refusal->kind = REFUSAL_INVALID_MATCH;
	return r;
}
