#include "daemon/lease/policy.h"

#include "daemon/base/util.h"
#include "daemon/lease/pattern.h"

#include <stdio.h>
#include <string.h>

static bool property_fits(char *const *properties, const char *key, const char *pattern)
{
	size_t length = strlen(key);
	for (size_t i = 0; properties && properties[i]; i++)
		if (strncmp(properties[i], key, length) == 0 && properties[i][length] == '=')
			return pattern_fits(pattern, properties[i] + length + 1);
	return false;
}

static bool class_fits(const char *prefix, uint32_t class)
{
	char digits[16];
	snprintf(digits, sizeof(digits), "%06x", class & 0xffffffU);
	return strncmp(digits, prefix, strlen(prefix)) == 0;
}

static bool id_fits(unsigned wanted, uint16_t id)
{
	return wanted == ID_ANY || wanted == id;
}

static bool vf_fits(const struct match_term *term, const struct device *device)
{
	return strcmp(term->text, device->physfn) == 0 && device->vf_index >= 0 &&
	       (unsigned)device->vf_index >= term->first &&
	       (unsigned)device->vf_index <= term->last;
}

static bool term_holds(const struct match_term *term, const struct device *device)
{
	switch (term->kind) {
	case MATCH_ADDRESS:
		return device->is_pci && pattern_fits(term->text, device->name);
	case MATCH_ID:
		return device->is_pci && id_fits(term->vendor, device->vendor) &&
		       id_fits(term->product, device->product);
	case MATCH_CLASS:
		return device->is_pci && class_fits(term->text, device->class);
	case MATCH_PF:
		return device->is_pci && vf_fits(term, device);
	case MATCH_BUS:
		return strcmp(term->text, device->bus) == 0 &&
		       (!term->value || pattern_fits(term->value, device->name));
	case MATCH_TAG:
		return strv_contains(device->tags, term->text);
	case MATCH_PROPERTY:
		return property_fits(device->properties, term->text, term->value);
	case MATCH_NUMA:
		return device->numa_node >= 0 && (unsigned)device->numa_node == term->first;
	}
	return false;
}

bool match_holds(const struct match *match, const struct device *device)
{
	for (size_t i = 0; i < match->n_terms; i++)
		if (!term_holds(&match->terms[i], device))
			return false;
	return match->n_terms > 0;
}

static bool rule_matches(const struct rule *rule, const struct device *device)
{
	for (size_t i = 0; i < rule->n_matches; i++)
		if (match_holds(&rule->matches[i], device))
			return true;
	return false;
}

/* The first member of the device's group that the rule matches by itself. */
static const struct device *rule_matched_member(
	const struct rule *rule, const struct device *device)
{
	if (!device->group)
		return NULL;
	const struct device *member;
	TAILQ_FOREACH (member, &device->group->devices, of_group)
		if (rule_matches(rule, member))
			return member;
	return NULL;
}

static bool rule_covers(const struct rule *rule, const struct device *device)
{
	return rule_matches(rule, device) ||
	       (rule->whole_group && rule_matched_member(rule, device));
}

static bool subject_in_group(const struct subject *subject, gid_t gid)
{
	for (size_t i = 0; i < subject->n_groups; i++)
		if (subject->groups[i] == gid)
			return true;
	return subject->gid == gid;
}

static bool allows_any(const struct allow *allows, size_t n, const struct subject *subject)
{
	for (size_t i = 0; i < n; i++) {
		const struct allow *allow = &allows[i];
		if (allow->kind == ALLOW_USER && subject->uid == allow->id)
			return true;
		if (allow->kind == ALLOW_GROUP && subject_in_group(subject, allow->id))
			return true;
		/* "*" is every unit, and not those who have none. */
		if (allow->kind == ALLOW_UNIT && *subject->unit &&
			pattern_fits(allow->pattern, subject->unit))
			return true;
	}
	return false;
}

static bool rule_allows(const struct rule *rule, const struct subject *subject)
{
	return allows_any(rule->allows, rule->n_allows, subject);
}

bool policy_is_admin(const struct config *config, const struct subject *subject)
{
	return subject->uid == 0 || allows_any(config->admins, config->n_admins, subject);
}

bool policy_rule_covers(
	const struct rule *rule, const struct subject *subject, const struct device *device)
{
	return (!subject || rule_allows(rule, subject)) && rule_covers(rule, device);
}

const struct rule *policy_rule_for(
	const struct config *config, const struct subject *subject, const struct device *device)
{
	for (size_t i = 0; i < config->n_rules; i++)
		if (policy_rule_covers(&config->rules[i], subject, device))
			return &config->rules[i];
	return NULL;
}

enum take_when policy_take(const struct config *config, const struct device *device)
{
	enum take_when take = TAKE_LEASE;
	for (size_t i = 0; i < config->n_rules; i++)
		if (config->rules[i].take > take && rule_covers(&config->rules[i], device))
			take = config->rules[i].take;
	return take;
}

const struct device *policy_take_gap(const struct config *config, const struct group *group,
	bool (*needs_rule)(const struct device *))
{
	const struct device *member;
	TAILQ_FOREACH (member, &group->devices, of_group)
		if (needs_rule(member) && policy_take(config, member) == TAKE_LEASE)
			return member;
	return NULL;
}

const struct rule *policy_deciding_rule(
	const struct config *config, const struct subject *subject, const struct device *device)
{
	const struct rule *rule = policy_rule_for(config, subject, device);
	return rule ? rule : policy_rule_for(config, NULL, device);
}

/* To an administrator every rule that covers the device says what becomes of it. */
static bool any_rule_stays(const struct config *config, const struct subject *subject,
	const struct device *device, bool is_admin)
{
	for (size_t i = 0; i < config->n_rules; i++) {
		const struct rule *rule = &config->rules[i];
		if (rule->stay && (is_admin || rule_allows(rule, subject)) &&
			rule_covers(rule, device))
			return true;
	}
	return false;
}

/* Trust is of the subject: a rule for somebody else says nothing of it. */
static bool any_rule_trusts(
	const struct config *config, const struct subject *subject, const struct device *device)
{
	for (size_t i = 0; i < config->n_rules; i++) {
		const struct rule *rule = &config->rules[i];
		if (rule->trusted && rule_allows(rule, subject) && rule_covers(rule, device))
			return true;
	}
	return false;
}

/* "uid:1000" by its own name, and by that of its kind. */
static bool section_fits(const struct account_section *section, const char *account)
{
	size_t length = strlen(section->name);
	return strcmp(section->name, account) == 0 ||
	       (strncmp(section->name, account, length) == 0 && account[length] == ':');
}

static void limits_narrow(struct byte_limits *limits, const struct byte_limits *by)
{
	if (by->owed < limits->owed)
		limits->owed = by->owed;
	if (by->kernel_bill < limits->kernel_bill)
		limits->kernel_bill = by->kernel_bill;
}

static bool rule_covers_any(const struct rule *rule, const struct group *group,
	bool (*needs_rule)(const struct device *))
{
	const struct device *member;
	TAILQ_FOREACH (member, &group->devices, of_group)
		if (needs_rule(member) && rule_covers(rule, member))
			return true;
	return false;
}

void policy_limits(const struct config *config, const struct subject *subject,
	const struct group *group, bool (*needs_rule)(const struct device *), const char *account,
	struct byte_limits *limits)
{
	for (size_t i = 0; i < config->n_accounts; i++)
		if (section_fits(&config->accounts[i], account))
			limits_narrow(limits, &config->accounts[i].limits);
	for (size_t i = 0; group && i < config->n_rules; i++) {
		const struct rule *rule = &config->rules[i];
		if (rule_allows(rule, subject) && rule_covers_any(rule, group, needs_rule))
			limits_narrow(limits, &rule->limits);
	}
}

bool policy_revoke(const struct config *config, const struct subject *subject,
	const struct group *group, bool (*needs_rule)(const struct device *), unsigned *seconds)
{
	bool ends = false;

	for (size_t i = 0; i < config->n_rules; i++) {
		const struct rule *rule = &config->rules[i];
		if (!rule->revoke_ends || !rule_allows(rule, subject) ||
			!rule_covers_any(rule, group, needs_rule))
			continue;
		ends = true;
		if (rule->revoke_seconds < *seconds)
			*seconds = rule->revoke_seconds;
	}
	return ends;
}

static void describe_device(const struct device *device, char *buffer, size_t size)
{
	if (device->is_pci)
		snprintf(buffer, size, "%s (%04x:%04x)", device->name, device->vendor,
			device->product);
	else
		snprintf(buffer, size, "%s (bus %s)", device->name, device->bus);
}

/* No rule covers `device` for the subject: says what is nearest to one that would. */
static int deny(const struct config *config, const struct subject *subject,
	const struct device *device, struct refusal *refusal)
{
	char name[DEVICE_NAME_SIZE + 48];
	describe_device(device, name, sizeof(name));
	unsigned uid = (unsigned)subject->uid;

	for (size_t i = 0; i < config->n_rules; i++) {
		const struct rule *rule = &config->rules[i];
		const struct device *member =
			rule_allows(rule, subject) ? rule_matched_member(rule, device) : NULL;
		if (member)
			return refuse(refusal, REFUSAL_ACCESS_DENIED,
				"no rule for uid %u matches %s, which is in one group with %s; "
				"add whole-group = yes to rule '%s' (%s:%u), or a rule that "
				"matches it",
				uid, name, member->name, rule->name, rule->file, rule->line);
	}
	const struct rule *rule = policy_rule_for(config, NULL, device);
	if (rule)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"rule '%s' (%s:%u) %s %s but does not allow uid %u; add allow = user:%u to "
			"it",
			rule->name, rule->file, rule->line,
			rule_matches(rule, device) ? "matches" : "covers the whole group of", name,
			uid, uid);
	const char *term = device->is_pci ? "pci:address" : "bus:";
	return refuse(refusal, REFUSAL_ACCESS_DENIED,
		"no rule matches %s; add a rule with match = %s%s=%s and allow = user:%u", name,
		term, device->is_pci ? "" : device->bus, device->name, uid);
}

int policy_check(const struct config *config, const struct subject *subject,
	const struct group *group, bool (*needs_rule)(const struct device *),
	struct verdict *verdict, struct refusal *refusal)
{
	bool is_admin = policy_is_admin(config, subject), trusted = true;
	size_t n_members = 0;
	*verdict = (struct verdict){ 0 };

	const struct device *member;
	TAILQ_FOREACH (member, &group->devices, of_group) {
		if (!needs_rule(member))
			continue;
		const struct rule *rule = policy_rule_for(config, subject, member);
		if (!rule && !is_admin) {
			deny(config, subject, member, refusal);
			string_copy(refusal->device, sizeof(refusal->device), member->name);
			return REFUSED;
		}
		if (n_members++ == 0)
			verdict->rule = rule;
		if (any_rule_stays(config, subject, member, is_admin))
			verdict->stay = true;
		trusted = trusted && any_rule_trusts(config, subject, member);
	}
	/* Or a group of nothing but bridges would be everybody's. */
	if (n_members == 0 && !is_admin)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"group %d has no device that a rule could allow: all of its devices are "
			"left alone, as bridges are",
			group->number);
	verdict->trusted = is_admin || trusted;
	return 0;
}
