/* [account NAME], and the limits of what may be pinned. */
#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"

#include <errno.h>
#include <string.h>

/* Far beyond any host's memory, and well within what an integer of Varlink can say. */
#define LIMIT_BYTES_MAX (UINT64_C(1) << 60)
#define LIMIT_ALLOWED "bytes from 0 to 1048576T, with or without a suffix K, M, G, T; or none"

int parse_limit(struct parser *parser, const char *value, uint64_t *bytes)
{
	uint64_t size;
	if (strcmp(value, "none") == 0) {
		*bytes = BYTES_UNLIMITED;
		return 0;
	}
	if (size_from_text(value, &size) < 0 || size > LIMIT_BYTES_MAX)
		return parser_fail_value(parser, value, LIMIT_ALLOWED);
	*bytes = size;
	return 0;
}

int parse_host_limit(struct parser *parser, const char *value)
{
	struct config *config = parser->config;
	int fits = text_fits(value, "(100|[1-9][0-9]?)%");
	if (fits < 0)
		return fits;
	if (fits) {
		config->host_limit_percent = (unsigned)strtoul(value, NULL, 10);
		return 0;
	}
	if (strchr(value, '%'))
		return parser_fail_value(
			parser, value, "1% to 100% of the host's memory; " LIMIT_ALLOWED);
	config->host_limit_percent = 0;
	return parse_limit(parser, value, &config->host_limit_bytes);
}

uint64_t config_host_limit(const struct config *config, uint64_t memory_bytes)
{
	/* Divided first: no product is too large. */
	return config->host_limit_percent ? memory_bytes / 100 * config->host_limit_percent
					  : config->host_limit_bytes;
}

struct account_section *parser_account(struct parser *parser)
{
	return &parser->config->accounts[parser->config->n_accounts - 1];
}

/* As the daemon writes the names of accounts: "uid:1000" and not "uid:01000". */
static int check_name(struct parser *parser, const char *name)
{
	if (strncmp(name, "lease:", 6) == 0)
		return parser_fail(parser,
			"'%s': the names of leases are not known before; [account lease] is for "
			"each of them",
			name);
	int r = text_fits(name, NAME_REGEX "|uid:(0|[1-9][0-9]{0,9})|unit:[^/ ]+[.][^/ ]+");
	if (r < 0)
		return r;
	/* (uid_t)-1 is no user. */
	if (r > 0 && strncmp(name, "uid:", 4) == 0 && strtoull(name + 4, NULL, 10) >= UINT32_MAX)
		return parser_fail(
			parser, "user id %s does not exist; allowed: 0 to 4294967294", name + 4);
	if (r > 0)
		return 0;
	return parser_fail(parser,
		"'%s' is no name for an account; allowed: uid, unit or lease, for each account of "
		"that kind; uid:NUMBER, unit:NAME with its suffix, or what a rule has after "
		"account =",
		name);
}

int parser_begin_account(struct parser *parser, const char *name)
{
	struct config *config = parser->config;
	int r = check_name(parser, name);
	if (r != 0)
		return r;
	for (size_t i = 0; i < config->n_accounts; i++)
		if (strcmp(config->accounts[i].name, name) == 0)
			return parser_fail(parser,
				"duplicate section [account %s]; it stands at %s:%u already: put "
				"all keys there",
				name, config->accounts[i].file, config->accounts[i].line);

	struct account_section *account =
		array_append(&config->accounts, &config->n_accounts, sizeof(*account));
	if (!account)
		return -ENOMEM;
	account->line = parser->line;
	account->limits = BYTE_LIMITS_NONE;
	account->name = strdup(name);
	account->file = strdup(parser->file);
	return account->name && account->file ? 0 : -ENOMEM;
}

int parser_end_account(struct parser *parser)
{
	if (parser->seen)
		return 0;
	parser->line = parser->section_line;
	return parser_fail(parser,
		"[account %s] limits nothing; allowed: owed-limit =, kernel-bill-limit =",
		parser_account(parser)->name);
}

/* What a rule has to have after `account =` for accounts of this section; NULL: it has "uid" by
 * default, and who needs no rule has it, too. */
static const char *account_needed(const char *name)
{
	if (strcmp(name, "uid") == 0 || strncmp(name, "uid:", 4) == 0)
		return NULL;
	return strncmp(name, "unit:", 5) == 0 ? "unit" : name;
}

static bool any_rule_has(const struct config *config, const char *account)
{
	for (size_t i = 0; i < config->n_rules; i++)
		if (config->rules[i].account && strcmp(config->rules[i].account, account) == 0)
			return true;
	return false;
}

int parser_check_accounts(struct parser *parser)
{
	const struct config *config = parser->config;
	for (size_t i = 0; i < config->n_accounts; i++) {
		const struct account_section *account = &config->accounts[i];
		const char *needed = account_needed(account->name);
		if (!needed || any_rule_has(config, needed))
			continue;
		parser->file = account->file;
		parser->line = account->line;
		return parser_fail(parser,
			"[account %s] is nobody's: no rule has account = %s; write that into the "
			"rule whose devices it is to pay for, or leave this section out",
			account->name, needed);
	}
	return 0;
}
