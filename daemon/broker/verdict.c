/* May this subject have the group? What the rules say, and what the last user may have left. */
#include "daemon/bind/reset.h"
#include "daemon/broker/parts.h"

#include <stdio.h>
#include <string.h>

bool device_needs_rule(const struct device *device)
{
	return plan_action_for(device) != PLAN_LEAVE;
}

bool device_is_given(const struct device *device)
{
	return plan_hands_out(plan_action_for(device));
}

static int refuse_unreset(const struct device *device, uid_t former, const struct rule *rule,
	const char *why, struct refusal *refusal)
{
	char user[48] = "somebody", place[160] = "a rule that matches it";

	if (former != (uid_t)-1)
		snprintf(user, sizeof(user), "uid %u", (unsigned)former);
	if (rule)
		snprintf(place, sizeof(place), "rule '%.40s' (%.90s:%u)", rule->name, rule->file,
			rule->line);
	refuse(refusal, REFUSAL_RESET_REQUIRED,
		"%s was lent to %s, and may hold what was left in it: %s; if that does not matter, "
		"add require-reset = no to %s, otherwise reboot, or pull it out",
		device->name, user, why, place);
	refusal->group = device->group->number;
	snprintf(refusal->device, sizeof(refusal->device), "%s", device->name);
	return REFUSED;
}

/* No rule can say that this does not matter: he would have it while another one does. */
static int refuse_kept_node(const struct device *device, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_RESET_REQUIRED,
		"%s was lent by mode cdev, and who had it may still have its node open where "
		"nobody "
		"sees it: an mdev cannot be given to its driver anew, so remove it, and create it "
		"again",
		device->name);
	refusal->group = device->group->number;
	snprintf(refusal->device, sizeof(refusal->device), "%s", device->name);
	return REFUSED;
}

/* A host driver that had it in between does not count: it sets up what it needs, and no more. */
static int check_reset(struct broker *broker, const struct subject *subject,
	const struct group *group, struct refusal *refusal)
{
	const struct device *device;
	const char *why;
	uid_t former;

	TAILQ_FOREACH (device, &group->devices, of_group) {
		if (!device_is_given(device) || !former_find(&broker->former, device, &former) ||
			former == subject->uid)
			continue;
		if (former_has_node(&broker->former, device))
			return refuse_kept_node(device, refusal);
		const struct rule *rule = policy_deciding_rule(broker->config, subject, device);
		if ((!rule || !rule->skips_reset) &&
			!device_is_reset(inventory_groups(broker->inventory), device, &why))
			return refuse_unreset(device, former, rule, why, refusal);
	}
	return 0;
}

int group_verdict(struct broker *broker, const struct subject *subject, const struct group *group,
	struct verdict *verdict, struct refusal *refusal)
{
	const struct device *device;

	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_is_given(device))
			break;
	if (!device)
		return plan_refuse_empty(group->number, refusal);
	int r = policy_check(broker->config, subject, group, device_needs_rule, verdict, refusal);
	if (r == 0)
		r = policy_check_noiommu(broker->config, subject, group, refusal);
	return r != 0 ? r : check_reset(broker, subject, group, refusal);
}

/* There is nothing that could be mapped, nor an iommufd to bind it to. */
int group_check_mode(const struct group *group, bool brokered, bool cdev, struct refusal *refusal)
{
	if (!group_is_noiommu(group) || (!brokered && !cdev))
		return 0;
	refuse(refusal, REFUSAL_NOT_SUPPORTED,
		"mode %s for a noiommu group: no IOMMU translates for its devices; it is handed "
		"out "
		"as a group only",
		cdev ? "cdev" : "brokered");
	refusal->group = group->number;
	return REFUSED;
}

int group_verdict_in_turn(struct broker *broker, const struct subject *subject,
	const struct group *group, struct verdict *verdict, struct refusal *refusal)
{
	int r = group_verdict(broker, subject, group, verdict, refusal);
	bool is_early = r == REFUSED && refusal->kind == REFUSAL_RESET_REQUIRED &&
			group_is_occupied(broker, group);
	return is_early ? 0 : r;
}

int broker_may_lease(struct broker *broker, const struct subject *subject,
	const struct group *group, struct refusal *refusal)
{
	struct verdict verdict;
	return group_verdict(broker, subject, group, &verdict, refusal);
}

struct plan_wish broker_wish(
	struct broker *broker, const struct subject *subject, const struct device *device)
{
	const struct rule *rule = policy_deciding_rule(broker->config, subject, device);
	return (struct plan_wish){
		.driver = rule ? rule->driver : NULL,
		.force = rule && rule->force,
	};
}

/* Of an mdev, a node may be kept for ever: it cannot be given to its driver anew. */
int broker_note_user(struct broker *broker, const struct group *group,
	const struct subject *subject, bool by_nodes)
{
	const struct device *device;
	int r = 0;

	broker->n_changes++;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (r == 0 && device_is_given(device))
			r = former_note(&broker->former, device, subject->uid,
				by_nodes && strcmp(device->bus, "mdev") == 0);
	return r;
}
