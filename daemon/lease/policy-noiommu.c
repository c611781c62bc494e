/* Groups that no IOMMU confines: only by a rule that says so in those words. */
#include "daemon/lease/policy.h"

#include "daemon/base/util.h"

#include <stdio.h>

/* To an administrator any rule that covers the device may say it; none is needed for nothing else.
 */
static bool is_unsafe(const struct config *config, const struct subject *subject,
	const struct device *device, bool is_admin)
{
	for (size_t i = 0; i < config->n_rules; i++) {
		const struct rule *rule = &config->rules[i];
		if (rule->unsafe_noiommu &&
			policy_rule_covers(rule, is_admin ? NULL : subject, device))
			return true;
	}
	return false;
}

int policy_check_noiommu(const struct config *config, const struct subject *subject,
	const struct group *group, struct refusal *refusal)
{
	bool is_admin = policy_is_admin(config, subject);
	const struct device *member;
	char place[160] = "a rule that matches it";

	if (!group_is_noiommu(group))
		return 0;
	TAILQ_FOREACH (member, &group->devices, of_group)
		if (!is_unsafe(config, subject, member, is_admin))
			break;
	if (!member)
		return 0;
	const struct rule *rule = policy_deciding_rule(config, subject, member);
	if (rule)
		snprintf(place, sizeof(place), "rule '%.40s' (%.90s:%u)", rule->name, rule->file,
			rule->line);
	refuse(refusal, REFUSAL_ACCESS_DENIED,
		"group %d is a noiommu group: no IOMMU confines %s, and who has it can read and "
		"write all of the host's memory; if that is meant, add unsafe-noiommu = yes to %s",
		group->number, member->name, place);
	refusal->group = group->number;
	string_copy(refusal->device, sizeof(refusal->device), member->name);
	return REFUSED;
}
