#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

struct holding *holding_find(struct broker *broker, const struct group *group)
{
	struct holding *holding;
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		if (holding->group->number == group->number)
			return holding;
	return NULL;
}

struct holding *holding_get(struct broker *broker, struct group *group)
{
	struct holding *holding = holding_find(broker, group);
	if (holding)
		return holding;
	holding = calloc(1, sizeof(*holding));
	if (!holding)
		return NULL;
	holding->broker = broker;
	holding->group = group_hold(group);
	holding->group_fd = -1;
	holding_back_init(holding);
	TAILQ_INSERT_TAIL(&broker->holdings, holding, of_broker);
	return holding;
}

struct holding *holding_free(struct holding *holding)
{
	if (!holding)
		return NULL;
	TAILQ_REMOVE(&holding->broker->holdings, holding, of_broker);
	ev_timer_stop(holding->broker->loop, &holding->retry);
	job_free(holding->job);
	if (holding->group_fd >= 0)
		holding->broker->ops->close_group(
			holding->broker->ops->userdata, holding->group_fd);
	plan_free(holding->plan);
	subject_clear(&holding->former);
	group_release(holding->group);
	free(holding);
	return NULL;
}

bool group_is_free(struct broker *broker, const struct group *group)
{
	const struct holding *holding = holding_find(broker, group);
	return !holding || (holding->group == group && holding->state == HOLDING_IDLE);
}

bool holding_is_moving(const struct holding *holding)
{
	return holding->state != HOLDING_IDLE && holding->state != HOLDING_LINGERING &&
	       holding->state != HOLDING_FAILED && holding->group->binding != BINDING_STUCK;
}

static void refuse_stuck(struct broker *broker, const struct group *group, struct refusal *refusal)
{
	const struct holding *holding = holding_find(broker, group);
	const char *device = "";
	enum bind_step step = holding && holding->job ? job_step(holding->job, &device) : STEP_NONE;

	refuse(refusal, REFUSAL_STUCK, "%s", group->failure);
	refusal->step = step;
	snprintf(refusal->device, sizeof(refusal->device), "%s", device);
}

int group_is_usable(struct broker *broker, const struct group *group, struct refusal *refusal)
{
	if (group->binding == BINDING_GONE)
		refuse(refusal, REFUSAL_NO_SUCH_GROUP, "group %d has left the host", group->number);
	else if (group->binding == BINDING_STUCK)
		refuse_stuck(broker, group, refusal);
	else if (group->binding == BINDING_FAILED)
		refuse(refusal, REFUSAL_GROUP_FAILED, "%s", group->failure);
	else
		return 0;
	refusal->group = group->number;
	return REFUSED;
}

/* --- what is written down ------------------------------------------------------------ */

int holding_journal(struct holding *holding, enum journal_phase phase)
{
	struct journal_entry entry = {
		.phase = phase,
		.stay = holding->stay,
		.plan = holding->plan,
	};
	/* Nothing of it is vfiod's to give back: every device was on VFIO before. */
	if (plan_n_moves(holding->plan) == 0)
		return 0;
	if (holding->job) {
		entry.child = job_pid(holding->job);
		int r = process_start_time(entry.child, &entry.child_start_ticks);
		if (r < 0)
			return r;
	}
	return journal_write(holding->broker->state_directory, &entry);
}

/* Where the journal only has to follow what has happened: the entry from before says enough. */
void holding_journal_follow(struct holding *holding, enum journal_phase phase)
{
	int r = holding_journal(holding, phase);
	if (r < 0)
		log_error("journal of group %d not updated: %s", holding->group->number,
			strerror(-r));
}

void holding_fail(struct holding *holding, const struct refusal *refusal)
{
	char text[REFUSAL_TEXT_SIZE];

	if (holding->group->binding == BINDING_GONE) {
		holding_end(holding);
		return;
	}
	refusal_describe(refusal, text, sizeof(text));
	holding->state = HOLDING_FAILED;
	holding_journal_follow(holding, JOURNAL_FAILED);
	inventory_refresh(holding->broker->inventory, holding->group);
	group_set_binding(holding->broker->inventory, holding->group, BINDING_FAILED, text);
	group_set_owner(holding->broker->inventory, holding->group, OWNER_NONE);
}

/* Nothing of vfiod's is left on the group: the kernel's word counts again. */
void holding_end(struct holding *holding)
{
	struct broker *broker = holding->broker;
	struct group *group = holding->group;

	int r = journal_remove(broker->state_directory, group->number);
	if (r < 0)
		log_error("journal of group %d not removed: %s", group->number, strerror(-r));
	/* Does nothing to a group that is gone, and may find that it is. */
	inventory_refresh(broker->inventory, group);
	if (group->binding != BINDING_GONE) {
		group_set_owner(broker->inventory, group, OWNER_NONE);
		group_set_binding(broker->inventory, group, group_observed_binding(group), NULL);
	}
	holding_free(holding);
	broker_pump_later(broker);
}

int holding_recover(struct broker *broker, int number)
{
	struct journal_entry entry = { 0 };
	char text[REFUSAL_TEXT_SIZE] = "", failure[REFUSAL_TEXT_SIZE];
	struct group *group = inventory_group(broker->inventory, number);

	if (!group) {
		/* Its devices have left the host while no daemon ran: nothing to give back. */
		log_warning("group %d of the journal is not on this host any more", number);
		return journal_remove(broker->state_directory, number);
	}
	int r = journal_read(broker->state_directory, number, &entry, text, sizeof(text));
	if (r == -ENOENT || r == -ENOMEM)
		return r == -ENOENT ? 0 : r;
	/* One entry that cannot be read is one group's misfortune, not that of all others. */
	if (r < 0 && r != -EBADMSG)
		snprintf(text, sizeof(text), "%s", strerror(-r));
	if (r < 0)
		snprintf(failure, sizeof(failure),
			"the journal of an earlier vfiod cannot be read (%s); give the devices "
			"back by hand "
			"and remove %.200s/journal/%d.json",
			text, broker->state_directory, number);
	else
		snprintf(failure, sizeof(failure),
			"an earlier vfiod ended without giving it back; `vfioctl return %d` does",
			number);

	struct holding *holding = holding_get(broker, group);
	if (!holding) {
		journal_entry_clear(&entry);
		return -ENOMEM;
	}
	holding->state = HOLDING_FAILED;
	holding->plan = steal_pointer(&entry.plan);
	holding->taken = holding->plan != NULL;
	holding->former_child = entry.child;
	holding->former_child_start = entry.child_start_ticks;
	journal_entry_clear(&entry);
	group_set_binding(broker->inventory, group, BINDING_FAILED, failure);
	return 0;
}
