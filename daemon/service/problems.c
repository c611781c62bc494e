/* What is wrong with a group, and what a person can do about it: the words of Admin.Status. */
#include "daemon/bind/plan.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* "40 s", "4 min", "5 h", "3 days": the largest unit that is not zero. */
static void describe_duration(double seconds, char *buffer, size_t size)
{
	static const struct {
		long seconds;
		const char *one, *many;
	} units[] = {
		{ 86400, "day", "days" },
		{ 3600, "h", "h" },
		{ 60, "min", "min" },
		{ 1, "s", "s" },
	};
	long n = (long)seconds;
	size_t i = 0;

	while (units[i].seconds > 1 && n < units[i].seconds)
		i++;
	n /= units[i].seconds;
	snprintf(buffer, size, "%ld %s", n, n == 1 ? units[i].one : units[i].many);
}

/* "0000:3b:02.0", or "0000:3b:02.0 and 2 more": what is handed out of the group. */
static void describe_devices(const struct group *group, char *buffer, size_t size)
{
	const struct device *device, *first = NULL;
	unsigned n = 0;

	TAILQ_FOREACH (device, &group->devices, of_group)
		if (plan_action_for(device) != PLAN_LEAVE && n++ == 0)
			first = device;
	if (n > 1)
		snprintf(buffer, size, "%s and %u more", first->name, n - 1);
	else
		snprintf(buffer, size, "%s", first ? first->name : "its device");
}

static void describe_former(
	struct broker *broker, const struct group *group, char *text, size_t size)
{
	bool still_runs;
	const struct subject *former = broker_former(broker, group, &still_runs);

	text[0] = '\0';
	if (former)
		snprintf(text, size, " It was leased to uid %u (%s, pid %d%s).",
			(unsigned)former->process_uid, former->command, (int)former->pid,
			still_runs ? "" : ", which has ended");
}

/* Why nobody can be named. */
static const char *unknown_text(struct broker *broker, const struct group *group)
{
	static const char *const texts[] = {
		[SEARCH_BEGINS] = "it is being looked for",
		[SEARCH_CUT] = "there was no time to look at all processes",
		[SEARCH_DONE] = "no process is seen that has it open",
	};
	return texts[broker_opener_search(broker, group)];
}

static void lingering_text(
	struct broker *broker, const struct group *group, char *text, size_t size)
{
	double seconds;
	const struct opener *opener = broker_opener(broker, group, &seconds);
	char who[128], devices[DEVICE_NAME_SIZE + 32], duration[32], former[128];

	describe_duration(seconds, duration, sizeof(duration));
	describe_devices(group, devices, sizeof(devices));
	describe_former(broker, group, former, sizeof(former));
	if (opener)
		opener_describe(opener, who, sizeof(who));
	if (!opener)
		snprintf(text, size,
			"%s held open for %s, holder unknown: %s.%s When the holder ends, it is "
			"returned; no other group is affected.",
			devices, duration, unknown_text(broker, group), former);
	else if (opener->certainty == OPENER_SURE)
		snprintf(text, size,
			"%s held open by %s for %s. End %s to return it; no other group is "
			"affected.",
			devices, who, duration,
			opener->n_more > 0 ? "those processes" : "that process");
	else
		snprintf(text, size,
			"%s held open for %s, probably by %s, which has a VFIO device open that "
			"may be this one.%s When the holder ends, it is returned; no other group "
			"is affected.",
			devices, duration, who, former);
}

static void stuck_text(struct broker *broker, const struct group *group, char *text, size_t size)
{
	const struct opener *opener = broker_opener(broker, group, NULL);
	char who[128];

	if (!opener) {
		snprintf(text, size, "%s. Holder unknown: %s.", group->failure,
			unknown_text(broker, group));
		return;
	}
	opener_describe(opener, who, sizeof(who));
	snprintf(text, size, "%s. %s open by %s: when that ends, the kernel goes on.",
		group->failure,
		opener->certainty == OPENER_SURE ? "It is held" : "It is probably held", who);
}

/* As long as it is there, whoever has it: the kernel is tainted, too. */
static void noiommu_text(const struct group *group, char *text, size_t size)
{
	char devices[DEVICE_NAME_SIZE + 32];

	describe_devices(group, devices, sizeof(devices));
	snprintf(text, size,
		"%s without an IOMMU (VFIO's no-IOMMU mode): who has it can read and write all of "
		"the host's memory. Only a rule with unsafe-noiommu = yes lends it.",
		devices);
}

bool describe_problem(struct broker *broker, const struct group *group, char *text, size_t size)
{
	if (group->binding == BINDING_STUCK)
		stuck_text(broker, group, text, size);
	else if (group->binding == BINDING_FAILED)
		snprintf(text, size, "%s", group->failure);
	else if (group->owner == OWNER_LINGERING)
		lingering_text(broker, group, text, size);
	else if (group_is_noiommu(group))
		noiommu_text(group, text, size);
	else
		return false;
	return true;
}

/* --- spaces --------------------------------------------------------------------------------- */

/* Who has a device of the group open: whom the kernel shows, or who has leased it. */
static bool describe_keeper_of(struct broker *broker, int number, char *who, size_t size)
{
	const struct group *group = inventory_group(broker_inventory(broker), number);
	const struct opener *opener = group ? broker_opener(broker, group, NULL) : NULL;
	const struct subject *holder = group ? broker_holder(broker, group) : NULL;

	if (opener)
		opener_describe(opener, who, size);
	else if (holder)
		snprintf(who, size, "probably %s (pid %d, uid %u), which has leased it",
			holder->command, (int)holder->pid, (unsigned)holder->process_uid);
	return opener || holder;
}

bool describe_space_problem(
	struct broker *broker, const struct space_entry *entry, char *text, size_t size)
{
	struct attached_group first;
	char who[192] = "a process that cannot be named", more[40] = "";

	if (space_state(entry->space) != SPACE_ORPHANED)
		return false;
	size_t n = space_entry_groups(entry, &first, 1);
	if (n == 0)
		return false;
	describe_keeper_of(broker, first.group, who, sizeof(who));
	if (n > 1)
		snprintf(more, sizeof(more), " (and %zu more)", n - 1);
	snprintf(text, size,
		"Space %s of uid %u is orphaned: its keeper has ended, and group %d%s is held open "
		"by %s. %" PRIu64 " MiB stay pinned and charged to %s until that ends; no other "
		"group is affected.",
		entry->name, (unsigned)space_subject(entry->space)->uid, first.group, more, who,
		account_owed(space_account(entry->space)) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20,
		space_payer(entry->space) ? space_payer(entry->space)->name : "nobody");
	return true;
}
