#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

struct holding *holding_find_number(struct broker *broker, int number)
{
	struct holding *holding;
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		if (holding->group->number == number)
			return holding;
	return NULL;
}

struct holding *holding_find(struct broker *broker, const struct group *group)
{
	return holding_find_number(broker, group->number);
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
	recovery_forget(holding);
	leaving_forget(holding);
	if (holding->attachment)
		holding->attachment->holding = NULL;
	if (holding->group_fd >= 0)
		holding->broker->ops->close_group(
			holding->broker->ops->userdata, holding->group_fd);
	nodes_free(holding->nodes);
	ev_timer_stop(holding->broker->loop, &holding->kept_unused);
	joining_clear(holding);
	plan_free(holding->plan);
	subject_clear(&holding->former);
	reservation_release(holding->reservation);
	group_release(holding->group);
	free(holding);
	return NULL;
}

bool group_is_free(struct broker *broker, const struct group *group)
{
	const struct holding *holding = holding_find(broker, group);
	if (following_is_due(broker, group))
		return false;
	return !holding ||
	       (holding->group == group && holding->state == HOLDING_IDLE && !holding->joins);
}

bool group_is_occupied(struct broker *broker, const struct group *group)
{
	return lease_book_owner(&broker->book, group) || !group_is_free(broker, group);
}

bool holding_is_moving(const struct holding *holding)
{
	/* Nor is an earlier daemon's child waited for: the next daemon finds its entry. */
	if (holding->group->binding == BINDING_STUCK || holding->state == HOLDING_WAITING)
		return false;
	return holding->joins ||
	       (holding->state != HOLDING_IDLE && holding->state != HOLDING_LINGERING &&
		       holding->state != HOLDING_FAILED);
}

static void refuse_stuck(struct broker *broker, const struct group *group, struct refusal *refusal)
{
	const struct holding *holding = holding_find(broker, group);
	const char *device = "";
	enum bind_step step = holding && holding->job ? job_step(holding->job, &device) : STEP_NONE;

	if (holding && *holding->leaving) {
		device = holding->leaving;
		step = STEP_UNBIND;
	}
	refuse(refusal, REFUSAL_STUCK, "%s", group->failure);
	refusal->step = step;
	refusal->owner_pid = holding ? recovery_child(holding) : 0;
	snprintf(refusal->device, sizeof(refusal->device), "%s", device);
	const struct opener *opener = broker_opener(broker, group, NULL);
	if (opener) {
		refusal->owner_pid = opener->pid;
		refusal->owner_uid = opener->uid;
	}
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

/* Whom `lingering` and `stuck` can name after a restart. */
static void describe_holder(const struct holding *holding, struct journal_holder *holder)
{
	const struct subject *subject = holding->has_former ? &holding->former : NULL;

	if (holding->tenancy)
		subject = &tenancy_lease(holding->tenancy)->subject;
	if (!subject)
		return;
	holder->pid = subject->pid;
	holder->start_ticks = subject->start_ticks;
	holder->uid = subject->process_uid;
	string_copy(holder->command, sizeof(holder->command), subject->command);
}

int holding_journal(struct holding *holding, enum journal_phase phase)
{
	struct journal_entry entry = {
		.phase = phase,
		/* What becomes of it when its lease is over, as it is if this daemon ends. */
		.stay = holding->stay ||
			(holding->tenancy && tenancy_lease(holding->tenancy)->stay),
		.nodes = holding->by_nodes,
		.plan = holding->plan,
	};
	holding->journal_rests = false;
	describe_holder(holding, &entry.holder);
	if (phase == JOURNAL_FAILED)
		string_copy(entry.failure, sizeof(entry.failure), holding->group->failure);
	/* Nothing of it is vfiod's to give back: every device was on VFIO before. */
	if (plan_n_moves(holding->plan) == 0 && !holding->by_nodes)
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
int holding_journal_follow(struct holding *holding, enum journal_phase phase)
{
	int r = holding_journal(holding, phase);
	if (r < 0)
		log_error("journal of group %d not updated: %s", holding->group->number,
			strerror(-r));
	return r;
}

void holding_fail(struct holding *holding, const struct refusal *refusal)
{
	char text[REFUSAL_TEXT_SIZE];

	refusal_describe(refusal, text, sizeof(text));
	inventory_refresh(holding->broker->inventory, holding->group);
	if (holding->group->binding == BINDING_GONE) {
		/* What of it has come back meanwhile is tried again, as another group. */
		log_warning("group %d has left the host, and not all of it went back before: %s",
			holding->group->number, text);
		holding_end(holding);
		return;
	}
	holding->state = HOLDING_FAILED;
	holding->reservation = reservation_release(holding->reservation);
	group_set_binding(holding->broker->inventory, holding->group, BINDING_FAILED, text);
	group_set_owner(holding->broker->inventory, holding->group, OWNER_NONE);
	/* With the text that the group shows now: the next daemon has to show it, too. */
	holding_journal_follow(holding, JOURNAL_FAILED);
	recovery_settled(holding, "failed");
	if (holding->has_written)
		following_begin(holding->broker, holding->plan, holding->group);
	drifting_look_at(holding);
}

/* Nothing of vfiod's is left on the group: the kernel's word counts again. */
void holding_end(struct holding *holding)
{
	struct broker *broker = holding->broker;
	struct group *group = holding->group;
	struct plan *plan = NULL;
	int number = group->number;

	/* Does nothing to a group that is gone, and may find that it is. */
	inventory_refresh(broker->inventory, group);
	if (group->binding != BINDING_GONE) {
		group_set_owner(broker->inventory, group, OWNER_NONE);
		group_set_binding(broker->inventory, group, group_observed_binding(group), NULL);
	}
	recovery_settled(holding, group->binding == BINDING_GONE ? "gone" : "returned");
	const struct group *settled = group->binding == BINDING_GONE ? NULL : group;
	if (holding->has_written)
		plan = steal_pointer(&holding->plan);
	holding_free(holding);
	/* They may be in one of the same number, whose entry it is then. */
	following_begin(broker, plan, settled);
	plan_free(plan);
	int r = holding_find_number(broker, number)
			? 0
			: journal_remove(broker->state_directory, number);
	if (r < 0)
		log_error("journal of group %d not removed: %s", number, strerror(-r));
	broker_pump_later(broker);
}
