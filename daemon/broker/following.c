/*
 * Devices that left their group while a child of ours wrote to them, and came back: in another
 * group, or in another one of the same number. The kernel is told their names only, so what was
 * meant for the one that left may have reached the one that came: it lost the driver that it had
 * just been given, say. When the child has ended, they are given back there, as what they were.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

static void give_back(struct broker *broker, const struct plan *plan, const struct device *device)
{
	struct group *group = device->group;
	struct plan *part = plan_part(plan, group);
	struct holding *holding = part ? holding_get(broker, group) : NULL;

	if (!holding) {
		plan_free(part);
		log_error("%s has come back as one of group %d, and is not looked at: no memory",
			device->name, group->number);
		return;
	}
	log_warning("%s has left group %d while it was being moved, and come back as one of "
		    "group %d: what it had there is given back",
		device->name, plan->group, group->number);
	holding->plan = part;
	holding->taken = true;
	holding_journal_follow(holding, JOURNAL_RETURNING);
	holding_begin_return(holding);
}

void following_begin(struct broker *broker, const struct plan *plan, const struct group *settled)
{
	for (size_t i = 0; plan && i < plan->n_members; i++) {
		const struct plan_member *member = &plan->members[i];
		const struct device *device = NULL;

		if (plan_member_moves(member))
			device = inventory_look(broker->inventory, member->syspath);
		/* Those of one group go together: the next one finds its holding. */
		if (device && device->group != settled && !holding_find(broker, device->group))
			give_back(broker, plan, device);
	}
}

bool following_is_due(const struct broker *broker, const struct group *group)
{
	const struct holding *holding;
	const struct device *device;

	TAILQ_FOREACH (holding, &broker->holdings, of_broker) {
		if (holding->group == group || !holding->has_written || !holding->plan ||
			(!holding->job && holding->state != HOLDING_WAITING))
			continue;
		TAILQ_FOREACH (device, &group->devices, of_group) {
			const struct plan_member *member =
				plan_find(holding->plan, device->name, device->bus);
			if (member && plan_member_moves(member))
				return true;
		}
	}
	return false;
}

static bool has_entry(const struct broker *broker, int number)
{
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];

	int r = journal_read(broker->state_directory, number, &entry, text, sizeof(text));
	journal_entry_clear(&entry);
	return r != -ENOENT;
}

static int write_part(
	struct broker *broker, const struct journal_entry *entry, const struct group *group)
{
	struct journal_entry part = *entry;

	part.phase = JOURNAL_RETURNING;
	part.stay = false;
	part.failure[0] = '\0';
	part.plan = plan_part(entry->plan, group);
	int r = part.plan ? journal_write(broker->state_directory, &part) : -ENOMEM;
	plan_free(part.plan);
	return r;
}

int following_rewrite(struct broker *broker, int number)
{
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];

	/* What cannot be read is told of by who recovers it. */
	int r = journal_read(broker->state_directory, number, &entry, text, sizeof(text));
	if (r < 0)
		return 0;
	/* Nobody has written to what left and came when no child was at work. */
	bool has_written = entry.child > 0 || entry.phase == JOURNAL_TAKING ||
			   entry.phase == JOURNAL_RETURNING || entry.phase == JOURNAL_RENEWING;
	for (size_t i = 0; r == 0 && has_written && i < entry.plan->n_members; i++) {
		const struct plan_member *member = &entry.plan->members[i];
		const struct device *device = NULL;

		if (plan_member_moves(member))
			device = inventory_look(broker->inventory, member->syspath);
		if (!device || device->group->number == number ||
			holding_find(broker, device->group) ||
			has_entry(broker, device->group->number))
			continue;
		log_warning("%s, which an earlier vfiod moved in group %d, is in group %d now",
			device->name, number, device->group->number);
		r = write_part(broker, &entry, device->group);
	}
	journal_entry_clear(&entry);
	return r;
}
