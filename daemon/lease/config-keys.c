#include "daemon/base/util.h"
#include "daemon/inventory/device.h"
#include "daemon/lease/config-parse.h"

#include <errno.h>
#include <string.h>

#define KNOWN_SECTIONS "[daemon], [rule NAME], [account NAME], [pool NAME]"

struct key {
	const char *name;
	bool is_list; /* may be repeated */
	int (*parse)(struct parser *parser, const char *value);
};

static int key_admin(struct parser *parser, const char *value)
{
	return parse_subject(
		parser, value, false, &parser->config->admins, &parser->config->n_admins);
}

static int key_take_timeout(struct parser *parser, const char *value)
{
	return parse_number(parser, value, 1, 3600, &parser->config->take_timeout_seconds);
}

static int key_resume_timeout(struct parser *parser, const char *value)
{
	return parse_number(parser, value, 0, 3600, &parser->config->resume_timeout_seconds);
}

static int key_stop(struct parser *parser, const char *value)
{
	bool leaves = strcmp(value, "leave") == 0;

	if (!leaves && strcmp(value, "return") != 0)
		return parser_fail_value(parser, value, "return, leave");
	parser->config->stop_leaves = leaves;
	return 0;
}

static int key_backend(struct parser *parser, const char *value)
{
	static const char *const names[] = {
		[BACKEND_AUTO] = "auto",
		[BACKEND_TYPE1] = "type1",
		[BACKEND_IOMMUFD] = "iommufd",
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		parser->config->backend = (enum backend_choice)i;
		return 0;
	}
	return parser_fail_value(parser, value, "auto, type1, iommufd");
}

static int key_match(struct parser *parser, const char *value)
{
	struct rule *rule = parser_rule(parser);
	return parse_match(parser, value, &rule->matches, &rule->n_matches);
}

static int key_pool_match(struct parser *parser, const char *value)
{
	struct pool *pool = parser_pool(parser);
	return parse_match(parser, value, &pool->matches, &pool->n_matches);
}

static int key_allow(struct parser *parser, const char *value)
{
	struct rule *rule = parser_rule(parser);
	return parse_subject(parser, value, true, &rule->allows, &rule->n_allows);
}

static int key_whole_group(struct parser *parser, const char *value)
{
	return parse_boolean(parser, value, &parser_rule(parser)->whole_group);
}

static int key_return(struct parser *parser, const char *value)
{
	bool returns = true;
	int r = parse_boolean(parser, value, &returns);
	if (r == 0)
		parser_rule(parser)->stay = !returns;
	parser->said_return = r == 0 && returns;
	return r;
}

static int key_take(struct parser *parser, const char *value)
{
	static const char *const names[] = {
		[TAKE_LEASE] = "lease",
		[TAKE_APPEAR] = "appear",
		[TAKE_BOOT] = "boot",
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		parser_rule(parser)->take = (enum take_when)i;
		parser->take_line = parser->line;
		return 0;
	}
	return parser_fail_value(parser, value, "lease, appear, boot");
}

static int key_force(struct parser *parser, const char *value)
{
	return parse_boolean(parser, value, &parser_rule(parser)->force);
}

static int key_require_reset(struct parser *parser, const char *value)
{
	bool requires = true;
	int r = parse_boolean(parser, value, &requires);
	parser_rule(parser)->skips_reset = r == 0 && !requires;
	return r;
}

static int key_revoke(struct parser *parser, const char *value)
{
	if (strcmp(value, "ask") != 0 && strcmp(value, "end") != 0)
		return parser_fail_value(parser, value, "ask, end");
	parser_rule(parser)->revoke_ends = strcmp(value, "end") == 0;
	return 0;
}

static int key_revoke_timeout(struct parser *parser, const char *value)
{
	parser->revoke_line = parser->line;
	return parse_number(parser, value, 0, 86400, &parser_rule(parser)->revoke_seconds);
}

static int key_trusted(struct parser *parser, const char *value)
{
	return parse_boolean(parser, value, &parser_rule(parser)->trusted);
}

static int key_unsafe_noiommu(struct parser *parser, const char *value)
{
	return parse_boolean(parser, value, &parser_rule(parser)->unsafe_noiommu);
}

static int key_account(struct parser *parser, const char *value)
{
	/* It is what refusals call the one account that all pinned pages count in. */
	if (strcmp(value, "host") == 0)
		return parser_fail_value(parser, value, "any other name: this one is the host's");
	return parse_text(parser, value, NAME_REGEX, "uid, lease, unit, or a name of " NAME_ALLOWED,
		&parser_rule(parser)->account);
}

static int key_rule_owed_limit(struct parser *parser, const char *value)
{
	return parse_limit(parser, value, &parser_rule(parser)->limits.owed);
}

static int key_rule_kernel_bill_limit(struct parser *parser, const char *value)
{
	return parse_limit(parser, value, &parser_rule(parser)->limits.kernel_bill);
}

static int key_account_owed_limit(struct parser *parser, const char *value)
{
	return parse_limit(parser, value, &parser_account(parser)->limits.owed);
}

static int key_account_kernel_bill_limit(struct parser *parser, const char *value)
{
	return parse_limit(parser, value, &parser_account(parser)->limits.kernel_bill);
}

/* The name becomes a directory below /sys/bus/BUS/drivers: no dot, so neither "." nor "..". */
static int key_driver(struct parser *parser, const char *value)
{
	_Static_assert(DRIVER_NAME_SIZE == 64, "the regular expression below says 63");
	int r = parse_text(parser, value, "[a-z0-9_-]{1,63}",
		"the name of a driver: at most 63 letters, digits, '_' and '-'",
		&parser_rule(parser)->driver);
	/* Any other would take the device from the host and give it to nobody. */
	if (r == 0 && !driver_is_vfio(value))
		r = parser_fail_value(parser, value,
			"a VFIO driver: vfio-pci, or a variant of it such as mlx5_vfio_pci");
	return r;
}

static const struct key daemon_keys[] = {
	{ "admin", true, key_admin },
	{ "take-timeout", false, key_take_timeout },
	{ "resume-timeout", false, key_resume_timeout },
	{ "stop", false, key_stop },
	{ "backend", false, key_backend },
	{ "max-connections", false, parse_bound },
	{ "max-connections-per-user", false, parse_bound },
	{ "max-leases-per-user", false, parse_bound },
	{ "max-waiting-per-user", false, parse_bound },
	{ "max-monitors-per-user", false, parse_bound },
	{ "max-transactions-per-user", false, parse_bound },
	{ "max-memory-per-user", false, parse_bound },
	{ "max-message", false, parse_bound },
	{ "max-output", false, parse_bound },
	{ "max-calls", false, parse_bound },
	{ "max-depth", false, parse_bound },
	{ "max-values", false, parse_bound },
	{ "max-descriptors", false, parse_bound },
	{ "max-selectors", false, parse_bound },
	{ "message-timeout", false, parse_bound },
	{ "output-timeout", false, parse_bound },
	{ "max-spaces-per-user", false, parse_bound },
	{ "max-memories-per-space", false, parse_bound },
	{ "max-mappings-per-space", false, parse_bound },
	{ "max-reports-per-user", false, parse_bound },
	{ "keeper-timeout", false, parse_bound },
	{ "host-limit", false, parse_host_limit },
};

static const struct key rule_keys[] = {
	{ "match", true, key_match },
	{ "allow", true, key_allow },
	{ "whole-group", false, key_whole_group },
	{ "return", false, key_return },
	{ "force", false, key_force },
	{ "require-reset", false, key_require_reset },
	{ "revoke", false, key_revoke },
	{ "revoke-timeout", false, key_revoke_timeout },
	{ "account", false, key_account },
	{ "driver", false, key_driver },
	{ "take", false, key_take },
	{ "owed-limit", false, key_rule_owed_limit },
	{ "kernel-bill-limit", false, key_rule_kernel_bill_limit },
	{ "trusted", false, key_trusted },
	{ "unsafe-noiommu", false, key_unsafe_noiommu },
};

static const struct key account_keys[] = {
	{ "owed-limit", false, key_account_owed_limit },
	{ "kernel-bill-limit", false, key_account_kernel_bill_limit },
};

static const struct key pool_keys[] = {
	{ "match", true, key_pool_match },
};

struct section {
	const char *name;
	const struct key *keys;
	size_t n_keys; /* at most as many as `seen` has bits */
};
static const struct section daemon_section = { "daemon", daemon_keys, ARRAY_SIZE(daemon_keys) };
static const struct section rule_section = { "rule", rule_keys, ARRAY_SIZE(rule_keys) };
static const struct section account_section = { "account", account_keys, ARRAY_SIZE(account_keys) };
static const struct section pool_section = { "pool", pool_keys, ARRAY_SIZE(pool_keys) };

struct rule *parser_rule(struct parser *parser)
{
	return &parser->config->rules[parser->config->n_rules - 1];
}

static int begin_daemon(struct parser *parser)
{
	if (parser->daemon_file)
		return parser_fail(parser,
			"duplicate section [daemon]; it stands at %s:%u already: put all keys "
			"there",
			parser->daemon_file, parser->daemon_line);
	parser->daemon_file = strdup(parser->file);
	if (!parser->daemon_file)
		return -ENOMEM;
	parser->daemon_line = parser->line;
	parser->section = &daemon_section;
	return 0;
}

static int begin_rule(struct parser *parser, const char *name)
{
	int r = text_fits(name, NAME_REGEX);
	if (r < 0)
		return r;
	if (r == 0)
		return parser_fail(
			parser, "'%s' is no name for a rule; allowed: " NAME_ALLOWED, name);

	struct config *config = parser->config;
	for (size_t i = 0; i < config->n_rules; i++)
		if (strcmp(config->rules[i].name, name) == 0)
			return parser_fail(parser,
				"duplicate section [rule %s]; it stands at %s:%u already: "
				"choose another name",
				name, config->rules[i].file, config->rules[i].line);

	struct rule *rule = array_append(&config->rules, &config->n_rules, sizeof(*rule));
	if (!rule)
		return -ENOMEM;
	rule->line = parser->line;
	rule->limits = BYTE_LIMITS_NONE;
	rule->revoke_seconds = REVOKE_SECONDS;
	rule->name = strdup(name);
	rule->file = strdup(parser->file);
	if (!rule->name || !rule->file)
		return -ENOMEM;
	parser->section = &rule_section;
	return 0;
}

/* What udev's rules find out of a device, and links that the kernel makes after it told of it. */
static const char *late_match(const struct rule *rule)
{
	for (size_t i = 0; i < rule->n_matches; i++)
		for (size_t j = 0; j < rule->matches[i].n_terms; j++)
			switch (rule->matches[i].terms[j].kind) {
			case MATCH_TAG:
				return "udev:tag=";
			case MATCH_PROPERTY:
				return "udev:property=";
			case MATCH_PF:
				return "pci:pf=";
			default:
				break;
			}
	return NULL;
}

/* A group that is taken without a lease stays so between leases. */
static int check_take(struct parser *parser, struct rule *rule)
{
	const char *late = rule->take == TAKE_BOOT ? late_match(rule) : NULL;

	if (rule->take == TAKE_LEASE)
		return 0;
	rule->stay = true;
	parser->line = parser->take_line;
	if (parser->said_return)
		return parser_fail(parser,
			"[rule %s] takes its devices before anybody wants them, and has return = "
			"yes; leave one of the two out",
			rule->name);
	if (late)
		return parser_fail(parser,
			"[rule %s] matches by %s, which is not known yet when a device appears at "
			"boot; allowed with take = boot: pci:address=, pci:id=, pci:class=, bus:, "
			"numa:",
			rule->name, late);
	return 0;
}

static int check_revoke(struct parser *parser, const struct rule *rule)
{
	if (rule->revoke_ends || parser->revoke_line == 0)
		return 0;
	parser->line = parser->revoke_line;
	return parser_fail(parser,
		"[rule %s] has a revoke-timeout, after which nothing happens; add revoke = end, or "
		"leave it out",
		rule->name);
}

static int end_section(struct parser *parser)
{
	if (parser->section == &account_section)
		return parser_end_account(parser);
	if (parser->section == &pool_section)
		return parser_end_pool(parser);
	if (parser->section != &rule_section)
		return 0;
	struct rule *rule = parser_rule(parser);
	if (rule->n_matches > 0) {
		int r = check_take(parser, rule);
		return r == 0 ? check_revoke(parser, rule) : r;
	}
	parser->line = parser->section_line;
	return parser_fail(parser,
		"[rule %s] has no match = line, so it is a rule for no device; say which devices",
		rule->name);
}

int parser_section(struct parser *parser, const char *name)
{
	int r = end_section(parser);
	if (r != 0)
		return r;
	parser->section = NULL;
	parser->section_line = parser->line;
	parser->seen = 0;
	parser->said_return = false;
	parser->take_line = 0;
	parser->revoke_line = 0;
	if (!name)
		return 0;
	if (strcmp(name, "daemon") == 0)
		return begin_daemon(parser);
	if (strcmp(name, "rule") == 0 || strncmp(name, "rule ", 5) == 0)
		return begin_rule(parser, name + strlen("rule") + (name[4] == ' '));
	if (strcmp(name, "account") == 0 || strncmp(name, "account ", 8) == 0) {
		parser->section = &account_section;
		return parser_begin_account(parser, name + strlen("account") + (name[7] == ' '));
	}
	if (strcmp(name, "pool") == 0 || strncmp(name, "pool ", 5) == 0) {
		parser->section = &pool_section;
		return parser_begin_pool(parser, name + strlen("pool") + (name[4] == ' '));
	}
	return parser_fail(parser, "unknown section [%s]; known: " KNOWN_SECTIONS, name);
}

static int unknown_key(struct parser *parser, const char *name)
{
	const struct section *section = parser->section;
	char known[REFUSAL_TEXT_SIZE] = "";
	size_t length = 0;
	for (size_t i = 0; i < section->n_keys && length < sizeof(known); i++)
		length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s",
			i > 0 ? ", " : "", section->keys[i].name);
	const char *its_name = section == &rule_section      ? parser_rule(parser)->name
			       : section == &account_section ? parser_account(parser)->name
			       : section == &pool_section    ? parser_pool(parser)->name
							     : "";
	return parser_fail(parser, "unknown key '%s' in [%s%s%s]; known: %s", name, section->name,
		*its_name ? " " : "", its_name, known);
}

int parser_key(struct parser *parser, const char *name, const char *value)
{
	const struct section *section = parser->section;
	if (!section)
		return parser_fail(parser,
			"'%s' stands before the first section; known: " KNOWN_SECTIONS, name);
	for (size_t i = 0; i < section->n_keys; i++) {
		const struct key *key = &section->keys[i];
		if (strcmp(key->name, name) != 0)
			continue;
		if (!key->is_list && parser->seen & 1U << i)
			return parser_fail(
				parser, "'%s' is set twice in this section; allowed: once", name);
		parser->seen |= 1U << i;
		parser->key = key->name;
		return key->parse(parser, value);
	}
	return unknown_key(parser, name);
}
