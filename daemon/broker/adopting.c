/* A group of a lease that an earlier daemon has granted: is it still as it was handed out? */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* 0, for group_adopt(). */
static int __attribute__((format(printf, 3, 4)))
disagree(const struct lease *lease, const struct group *group, const char *format, ...)
{
	char text[REFUSAL_TEXT_SIZE], number[16];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	snprintf(number, sizeof(number), "%d", group->number);
	log_fields(LOG_WARNING,
		(const char *[]){ "VFIOD_GROUP", number, "VFIOD_LEASE", lease->name, NULL },
		"group %d is not lease %s's any more: %s", group->number, lease->name, text);
	return 0;
}

/* A return that ran, or a take that a child still works on: as without a lease. */
static const char *phase_problem(const struct journal_entry *entry)
{
	unsigned long long ticks;

	if (entry->phase == JOURNAL_RETURNING)
		return "it was on its way back to the host";
	if (entry->phase == JOURNAL_RENEWING)
		return "its devices were being given to their drivers anew";
	if (entry->phase == JOURNAL_FAILED)
		return "it could not be given back";
	if (entry->child > 0 && process_start_time(entry->child, &ticks) == 0 &&
		ticks == entry->child_start_ticks)
		return "a child of the earlier vfiod still works on it";
	return NULL;
}

/* What clients find in it has to be where it was handed out; what has come since, joins. */
static const struct device *strayed(const struct plan *plan, const struct group *group)
{
	const struct device *device;

	TAILQ_FOREACH (device, &group->devices, of_group) {
		const struct plan_member *member = plan_find(plan, device->name, device->bus);
		if (member && plan_hands_out(member->action) && !device_on_vfio(device))
			return device;
	}
	return NULL;
}

/* Of devices that all were on VFIO before there is no entry. Whoever did that has them back. */
static int plan_without_journal(
	const struct lease *lease, const struct group *group, bool was_there, struct plan **plan)
{
	struct refusal refusal;

	int r = group_plan(lease->tenancy->broker, &lease->subject, group, plan, &refusal);
	if (r < 0)
		return r;
	if (r != 0)
		return disagree(lease, group, "%s", refusal.text);
	if (plan_n_moves(*plan) > 0) {
		*plan = plan_free(*plan);
		return disagree(lease, group,
			"its journal is gone, and so are devices of it from "
			"VFIO drivers");
	}
	if (was_there)
		log_error("the journal of group %d is gone: lease %s goes on, but at its end the "
			  "devices stay with their VFIO drivers",
			group->number, lease->name);
	return 1;
}

/* 1 with *plan, 0, or -ENOMEM. */
static int plan_of(const struct lease *lease, const struct group *group, bool was_there,
	struct plan **plan, bool *stay)
{
	const char *state_directory = lease->tenancy->broker->state_directory;
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];

	*stay = false;
	int r = journal_read(state_directory, group->number, &entry, text, sizeof(text));
	if (r == -ENOENT)
		return plan_without_journal(lease, group, was_there, plan);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return disagree(lease, group, "its journal cannot be read (%s)",
			r == -EBADMSG ? text : strerror(-r));
	const char *problem = phase_problem(&entry);
	if (problem) {
		journal_entry_clear(&entry);
		return disagree(lease, group, "%s", problem);
	}
	*stay = entry.stay;
	*plan = steal_pointer(&entry.plan);
	return 1;
}

/* Its family is looked for when it has ended, and then it cannot be asked. */
static void note_kin(struct holding *holding, const struct subject *subject)
{
	if (opener_kin_read("", subject->pid, &holding->kin) < 0 ||
		holding->kin.start_ticks != subject->start_ticks)
		holding->kin.pid = 0;
}

int group_adopt(struct tenancy *tenancy, struct group *group, bool was_journalled)
{
	struct broker *broker = tenancy->broker;
	struct lease *lease = tenancy->lease;
	struct plan *plan = NULL;
	bool stay;

	if (holding_find(broker, group))
		return disagree(lease, group, "another lease has it");
	int r = plan_of(lease, group, was_journalled, &plan, &stay);
	if (r <= 0)
		return r;
	const struct device *device = strayed(plan, group);
	if (device) {
		plan_free(plan);
		return disagree(lease, group, "%s is %s%s now", device->name,
			*device->driver ? "with " : "on no driver",
			*device->driver ? device->driver : "");
	}
	struct holding *holding = holding_get(broker, group);
	if (!holding) {
		plan_free(plan);
		return -ENOMEM;
	}
	holding->plan = plan;
	holding->taken = true;
	holding->stay = stay;
	holding->by_nodes = lease->cdev;
	holding->tenancy = tenancy;
	holding->state = HOLDING_USED;
	note_kin(holding, &lease->subject);
	group_set_binding(broker->inventory, group, BINDING_TAKEN, NULL);
	group_set_owner(broker->inventory, group, OWNER_LEASED);
	/* A take whose last word was not written down, or another holder. */
	holding_journal_follow(holding, JOURNAL_TAKEN);
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i] == group)
			tenancy->holdings[i] = holding;
	return 1;
}
