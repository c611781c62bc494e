/*
 * Devices that come to a group which vfiod has: hot-plug behind its bridge, a rescan, a new VF.
 * They must neither stay with a driver of the host, which would end the group's viability, nor wait
 * for a lease. They are noted when they come, and joined as soon as no other job runs on the group.
 */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* --- what has come ------------------------------------------------------------------- */

void joining_resume(struct holding *holding)
{
	if (!holding->arrivals && !holding->is_spoiled)
		return;
	holding->broker->has_joiners = true;
	broker_pump_later(holding->broker);
}

static void note(struct holding *holding, const struct device *device)
{
	if (strv_contains(holding->arrivals, device->syspath))
		return;
	if (strv_add(&holding->arrivals, device->syspath) < 0)
		log_error("%s has come to group %d and is not joined: no memory", device->name,
			holding->group->number);
	joining_resume(holding);
}

/* Members of the group that no plan of ours knows, and that would have to be moved. */
static bool is_stranger(const struct holding *holding, const struct device *device)
{
	return plan_action_moves(plan_action_for(device)) &&
	       !plan_find(holding->plan, device->name, device->bus);
}

void joining_hear(struct broker *broker, const struct inventory_change *change)
{
	struct holding *holding = holding_find(broker, change->group);

	if (!holding || !holding->plan || holding->group != change->group)
		return;
	if (change->event == DEVICE_ADDED)
		note(holding, change->device);
	/* What keeps the group from being viable may have gone, or may be free now. */
	if (!holding->is_spoiled || holding->joins ||
		(change->event != DEVICE_REMOVED && change->event != DEVICE_DRIVER))
		return;
	joining_look(holding);
	joining_resume(holding);
}

void joining_clear(struct holding *holding)
{
	holding->arrivals = strv_free(holding->arrivals);
	holding->extension = plan_free(holding->extension);
}

/* --- the join ---------------------------------------------------------------------- */

static void tell(struct holding *holding, const char *device, const char *text)
{
	struct broker_news news = {
		.event = "deviceJoined",
		.group = holding->group->number,
		.device = *device ? device : NULL,
		.text = text,
	};
	char number[16];

	snprintf(number, sizeof(number), "%d", holding->group->number);
	log_fields(LOG_NOTICE,
		(const char *[]){ "MESSAGE_ID", MESSAGE_DEVICE_JOINED, "VFIOD_GROUP", number,
			"VFIOD_DEVICE", device, NULL },
		"%s has joined group %d: %s", *device ? device : "a device", holding->group->number,
		text);
	broker_tell(holding->broker, &news);
}

/* Its child was killed, and nobody knows how far it came: once more. */
static void note_again(struct holding *holding, const struct plan *plan)
{
	const struct device *device;

	TAILQ_FOREACH (device, &holding->group->devices, of_group) {
		const struct plan_member *member = plan_find(plan, device->name, device->bus);
		if (member && member->joins)
			note(holding, device);
	}
}

/* The devices of this join, one event each. */
static void tell_all(struct holding *holding, const struct plan *plan, const char *text)
{
	for (size_t i = 0; i < plan->n_members; i++)
		if (plan->members[i].joins)
			tell(holding, plan->members[i].name, text);
}

static void tell_success(struct holding *holding, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_members; i++)
		if (plan->members[i].joins)
			tell(holding, plan->members[i].name,
				plan->members[i].action == PLAN_BIND
					? "it is kept from the host as long as the group is taken"
					: "it is kept from the host as long as the group is taken, "
					  "and from its holder, whom no rule allows it");
}

/* The group is shown as what the kernel makes of it: taken, or not fit to be handed out. */
static void observe(struct holding *holding, const char *failure)
{
	struct inventory *inventory = holding->broker->inventory;
	struct group *group = holding->group;

	inventory_refresh(inventory, group);
	if (group->binding == BINDING_GONE)
		return;
	holding->is_spoiled = group_observed_binding(group) != BINDING_TAKEN;
	if (!holding->is_spoiled)
		group_set_binding(inventory, group, BINDING_TAKEN, NULL);
	else if (failure)
		group_set_binding(inventory, group, BINDING_FAILED, failure);
}

/* The group can be checked, returned and leased again. */
static void end(struct holding *holding)
{
	holding->joins = false;
	holding->job = job_free(holding->job);
	holding->extension = plan_free(holding->extension);
	if (holding->group->binding == BINDING_GONE)
		holding->broker->has_gone = true;
	else if (holding->state == HOLDING_CHECKING)
		holding_check_now(holding);
	broker_pump_later(holding->broker);
}

static void fail(struct holding *holding, const struct plan *plan, const struct refusal *refusal)
{
	char reason[REFUSAL_TEXT_SIZE], text[REFUSAL_TEXT_SIZE + 160];

	refusal_describe(refusal, reason, sizeof(reason));
	snprintf(text, sizeof(text), "it could not be kept from the host: %s", reason);
	tell_all(holding, plan, text);
	/* It was not begun: what they were before they left and came back, they are no more. */
	if (plan == holding->extension) {
		plan_forget_joined(holding->plan, plan);
		holding->journal_rests = false;
	}
	snprintf(text, sizeof(text),
		"a device has joined it and stays with the host, so it is not viable: %s", reason);
	observe(holding, text);
}

/* Inspected. The journal has the new members before the first of them is written to. */
static void on_ready(struct job *job, void *userdata)
{
	struct holding *holding = userdata;
	struct plan *before = holding->plan;

	holding->plan = holding->extension;
	int r = holding_journal(holding, JOURNAL_TAKEN);
	if (r == 0) {
		holding->extension = NULL;
		plan_free(before);
		holding->has_written = true;
		job_go(job);
		return;
	}
	struct refusal refusal;
	refuse(&refusal, REFUSAL_SYSTEM, "writing the journal of group %d", holding->group->number);
	refusal.errnum = -r;
	holding->plan = before;
	holding->job = job_free(job);
	fail(holding, holding->extension, &refusal);
	end(holding);
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct holding *holding = userdata;
	const struct plan *plan = holding->extension ? holding->extension : holding->plan;

	(void)group_fd;
	holding->job = job_free(job);
	if (!holding->extension)
		holding_journal_follow(holding, JOURNAL_TAKEN);
	if (result == 0) {
		tell_success(holding, plan);
		observe(holding, NULL);
		holding->has_written = holding->group->binding == BINDING_GONE;
	} else {
		fail(holding, plan, refusal);
		if (result < 0)
			note_again(holding, plan);
		if (holding->has_written && holding->group->binding != BINDING_GONE)
			following_begin(holding->broker, holding->plan, holding->group);
	}
	end(holding);
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	struct holding *holding = userdata;
	struct refusal refusal;
	char text[REFUSAL_TEXT_SIZE];

	refuse(&refusal, REFUSAL_STUCK, "the kernel does not let go of a device that has joined");
	refusal.group = holding->group->number;
	refusal.step = step;
	snprintf(refusal.device, sizeof(refusal.device), "%s", device);
	if (holding->extension) {
		/* Nothing was written yet, and nothing will be. */
		holding->job = job_free(job);
		fail(holding, holding->extension, &refusal);
		end(holding);
		return;
	}
	refusal_describe(&refusal, text, sizeof(text));
	group_set_binding(holding->broker->inventory, holding->group, BINDING_STUCK, text);
	settling_failed(holding->settling, &refusal);
	holding->settling = NULL;
}

static const struct job_listener join_listener = {
	.ready = on_ready,
	.done = on_done,
	.late = on_late,
};

/* Who has the group open gets every device of it that is on VFIO, whatever he was granted. */
static struct plan_wish wish_for_joiner(const struct device *device, void *userdata)
{
	const struct holding *holding = userdata;
	const struct config *config = holding->broker->config;
	const struct subject *subject = NULL;

	if (holding->tenancy)
		subject = &tenancy_lease(holding->tenancy)->subject;
	else if (holding->state == HOLDING_LINGERING && holding->has_former)
		subject = &holding->former;
	struct plan_wish wish = broker_wish(holding->broker, subject, device);
	wish.parks = (subject || holding->state == HOLDING_LINGERING) &&
		     !(subject && policy_is_admin(config, subject)) &&
		     !(subject && policy_rule_for(config, subject, device));
	return wish;
}

/* What has come, is still there, and has to be moved. The number, or -ENOMEM. */
static ssize_t list_arrivals(struct holding *holding, struct device ***devices)
{
	struct device *device;
	size_t n = 0;

	*devices = calloc(holding->group->n_devices + 1, sizeof(struct device *));
	if (!*devices)
		return -ENOMEM;
	TAILQ_FOREACH (device, &holding->group->devices, of_group)
		if (plan_action_moves(plan_action_for(device)) &&
			strv_contains(holding->arrivals, device->syspath))
			(*devices)[n++] = device;
	return (ssize_t)n;
}

static bool can_join(const struct holding *holding)
{
	return !holding->job && holding->taken && holding->group->binding != BINDING_GONE &&
	       (holding->state == HOLDING_IDLE || holding->state == HOLDING_USED ||
		       holding->state == HOLDING_LINGERING);
}

static int start(struct holding *holding, struct device *const *devices, size_t n_devices,
	struct refusal *refusal)
{
	struct broker *broker = holding->broker;

	int r = plan_extend(holding->plan, devices, n_devices, wish_for_joiner, holding,
		&holding->extension, refusal);
	if (r != 0)
		return r;
	holding_drop_kept(holding);
	r = job_new(broker->loop, JOB_JOIN, holding->extension, broker->ops,
		broker->config->take_timeout_seconds, &join_listener, holding, &holding->job);
	if (r < 0)
		holding->extension = plan_free(holding->extension);
	else
		holding->joins = true;
	return r;
}

static void join(struct holding *holding)
{
	_cleanup_free_ struct device **devices = NULL;
	struct refusal refusal;
	int r = 0;

	inventory_refresh(holding->broker->inventory, holding->group);
	if (!can_join(holding))
		return;
	ssize_t n = list_arrivals(holding, &devices);
	holding->arrivals = strv_free(holding->arrivals);
	if (n > 0)
		r = start(holding, devices, (size_t)n, &refusal);
	if (n < 0 || r < 0) {
		refuse(&refusal, REFUSAL_SYSTEM, "joining devices to group %d",
			holding->group->number);
		refusal.errnum = n < 0 ? ENOMEM : -r;
	}
	if (n >= 0 && r == 0)
		return;
	char text[REFUSAL_TEXT_SIZE];
	refusal_describe(&refusal, text, sizeof(text));
	tell(holding, "", text);
	observe(holding, text);
}

void joining_start(struct holding *holding)
{
	if (can_join(holding) && holding->is_spoiled)
		observe(holding, NULL);
	if (can_join(holding) && holding->arrivals)
		join(holding);
}

/* --- what came too late to be joined ------------------------------------------------------ */

static struct plan_wish no_wish(const struct device *device, void *userdata)
{
	(void)device;
	(void)userdata;
	return (struct plan_wish){ .driver = NULL };
}

/*
 * Nobody but vfiod's rule, or the kernel for the sake of a group whose DMA had an owner, has kept
 * it from the host's drivers.
 */
static bool is_left_over(const struct holding *holding, const struct device *device)
{
	return is_stranger(holding, device) && (*device_claim(device) || !*device->driver);
}

/* Those devices are in its plan then, to be offered to the host by a return. */
static bool plan_offer(struct holding *holding,
	bool (*is_offered)(const struct holding *holding, const struct device *device))
{
	_cleanup_free_ struct device **devices = NULL;
	struct refusal refusal;
	struct device *device;
	struct plan *plan;
	size_t n = 0;

	devices = calloc(holding->group->n_devices + 1, sizeof(struct device *));
	if (!devices)
		return false;
	TAILQ_FOREACH (device, &holding->group->devices, of_group)
		if (is_offered(holding, device))
			devices[n++] = device;
	if (n == 0 || plan_extend(holding->plan, devices, n, no_wish, NULL, &plan, &refusal) != 0)
		return false;
	for (size_t i = 0; i < plan->n_members; i++)
		if (plan->members[i].joins)
			plan->members[i].host_probes = true;
	plan_free(holding->plan);
	holding->plan = plan;
	holding->has_offered = true;
	return true;
}

bool joining_leftovers(struct holding *holding)
{
	if (holding->has_offered)
		return false;
	inventory_refresh(holding->broker->inventory, holding->group);
	return plan_offer(holding, is_left_over);
}

/* vfiod's rule parked it for a group that was returned before anybody heard of it. */
bool device_is_stray(const struct device *device)
{
	return !*device->driver && strcmp(device_claim(device), PLAN_PARKED) == 0;
}

static bool is_stray(const struct holding *holding, const struct device *device)
{
	(void)holding;
	return device_is_stray(device);
}

void joining_release(struct broker *broker, struct group *group)
{
	struct holding *holding = holding_get(broker, group);

	if (!holding)
		return;
	holding->plan = plan_new(group->number, 0);
	if (holding->plan && plan_offer(holding, is_stray))
		holding_begin_return(holding);
	else
		holding_end(holding);
}

void joining_look(struct holding *holding)
{
	const struct device *device;

	if (!holding->plan)
		return;
	TAILQ_FOREACH (device, &holding->group->devices, of_group)
		if (is_stranger(holding, device))
			note(holding, device);
}
