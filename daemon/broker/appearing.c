/*
 * Groups that rules have taken without a lease: take = appear, take = boot. Each is tried when it
 * appears, and again when one of its devices changes; an administrator's return ends that, until
 * the group appears anew or the configuration is read again.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One for each group that a rule wants so, or that vfiod's udev rule has claimed. */
struct appearance {
	TAILQ_ENTRY(appearance) of_broker;
	struct broker *broker;
	struct group *group; /* held */
	bool is_due;         /* something has changed */
	bool is_declined;    /* an administrator has returned it */
	unsigned n_losses;   /* times that somebody else took a device of it from VFIO */
	struct lease *lease; /* a take is under way; NULL */
	uint64_t tried;      /* the state in which it failed last; 0: it did not */
	uint64_t trying;
	char problem[REFUSAL_TEXT_SIZE]; /* "" = none */
};

static struct appearance *find(struct broker *broker, const struct group *group)
{
	struct appearance *appearance;
	TAILQ_FOREACH (appearance, &broker->appearances, of_broker)
		if (appearance->group == group)
			return appearance;
	return NULL;
}

static void appearance_free(struct appearance *appearance)
{
	TAILQ_REMOVE(&appearance->broker->appearances, appearance, of_broker);
	group_release(appearance->group);
	free(appearance);
}

static bool is_claimed(const struct device *device)
{
	return *device_claim(device) && device_on_vfio(device);
}

static bool has_stray(const struct group *group)
{
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_is_stray(device))
			return true;
	return false;
}

/* Is it a matter of ours at all? */
static bool is_wanted(const struct broker *broker, const struct group *group)
{
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (policy_take(broker->config, device) != TAKE_LEASE || is_claimed(device) ||
			device_is_stray(device))
			return true;
	return false;
}

static void look_at(struct broker *broker, struct group *group)
{
	struct appearance *appearance = find(broker, group);

	if (!appearance && !is_wanted(broker, group))
		return;
	if (!appearance) {
		appearance = calloc(1, sizeof(*appearance));
		if (!appearance) {
			log_error("group %d is not taken: no memory", group->number);
			return;
		}
		appearance->broker = broker;
		appearance->group = group_hold(group);
		TAILQ_INSERT_TAIL(&broker->appearances, appearance, of_broker);
	}
	appearance->is_due = true;
	broker->has_appeared = true;
	broker_pump_later(broker);
}

void appearing_hear(struct broker *broker, const struct inventory_change *change)
{
	if (change->event != GROUP_OWNER)
		look_at(broker, change->group);
}

void appearing_look_at_all(struct broker *broker)
{
	struct appearance *appearance;
	struct group *group;

	TAILQ_FOREACH (appearance, &broker->appearances, of_broker) {
		appearance->is_declined = false;
		appearance->n_losses = 0;
		appearance->tried = 0;
	}
	TAILQ_FOREACH (group, inventory_groups(broker->inventory), of_inventory)
		look_at(broker, group);
}

void appearing_decline(struct broker *broker, const struct group *group)
{
	struct appearance *appearance = find(broker, group);
	if (!appearance)
		return;
	appearance->is_declined = true;
	appearance->problem[0] = '\0';
}

bool appearing_is_declined(struct broker *broker, const struct group *group)
{
	const struct appearance *appearance = find(broker, group);
	return appearance && appearance->is_declined;
}

bool appearing_is_claimed(const struct holding *holding)
{
	size_t n_claimed = 0;

	for (size_t i = 0; holding->plan && i < holding->plan->n_members; i++) {
		const struct plan_member *member = &holding->plan->members[i];
		if (plan_member_moves(member) && !(*member->claim && member->host_probes))
			return false;
		n_claimed += plan_member_moves(member);
	}
	return n_claimed > 0;
}

const char *broker_problem(struct broker *broker, const struct group *group)
{
	const struct appearance *appearance = find(broker, group);
	return appearance && *appearance->problem ? appearance->problem : NULL;
}

static void set_problem(struct appearance *appearance, const char *text)
{
	char number[16];

	if (strncmp(appearance->problem, text, sizeof(appearance->problem) - 1) == 0)
		return;
	snprintf(appearance->problem, sizeof(appearance->problem), "%s", text);
	snprintf(number, sizeof(number), "%d", appearance->group->number);
	if (*text)
		log_fields(LOG_WARNING, (const char *[]){ "VFIOD_GROUP", number, NULL },
			"group %d: %s", appearance->group->number, text);
}

/* Of members and drivers: FNV-1a. What failed once is not tried again as it was. */
static uint64_t state_of(const struct group *group)
{
	const struct device *device;
	uint64_t hash = 14695981039346656037U;

	TAILQ_FOREACH (device, &group->devices, of_group) {
		hash = (hash ^ (uint64_t)device->inode) * 1099511628211U;
		for (const char *c = device->driver; *c; c++)
			hash = (hash ^ (uint64_t)(unsigned char)*c) * 1099511628211U;
		hash = (hash ^ '/') * 1099511628211U;
	}
	return hash ? hash : 1;
}

/* Somebody who does so each time is not to be fought with. */
enum { LOSSES_MAX = 8 };

void appearing_note_loss(struct broker *broker, const struct group *group)
{
	struct appearance *appearance = find(broker, group);

	if (appearance && appearance->n_losses <= LOSSES_MAX)
		appearance->n_losses++;
}

static bool is_lost_again_and_again(struct appearance *appearance)
{
	char text[REFUSAL_TEXT_SIZE];

	if (appearance->n_losses <= LOSSES_MAX)
		return false;
	snprintf(text, sizeof(text),
		"a rule has it taken, but something else has taken a device of it from VFIO %d "
		"times; find out what, then `vfioctl reload` has it taken again",
		LOSSES_MAX + 1);
	set_problem(appearance, text);
	return true;
}

/* --- the take ---------------------------------------------------------------------- */

static void failed(struct appearance *appearance, const struct refusal *refusal)
{
	char reason[REFUSAL_TEXT_SIZE], text[REFUSAL_TEXT_SIZE];

	appearance->lease = NULL;
	/* The daemon stops, or a lease was first: no failure, and the lease's end is news. */
	if (refusal->kind == REFUSAL_INTERRUPTED ||
		lease_book_owner(&appearance->broker->book, appearance->group))
		return;
	appearance->tried = appearance->trying;
	refusal_describe(refusal, reason, sizeof(reason));
	snprintf(text, sizeof(text), "a rule has it taken, and it is not: %.320s", reason);
	set_problem(appearance, text);
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	struct appearance *appearance = userdata;
	(void)lease;
	(void)group_fds;
	appearance->lease = NULL;
	appearance->tried = 0;
	set_problem(appearance, "");
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	(void)lease;
	failed(userdata, refusal);
}

static const struct lease_listener take_listener = {
	.granted = on_granted,
	.refused = on_refused,
};

static void take(struct appearance *appearance)
{
	const struct subject self = { .uid = 0, .pid = getpid(), .command = "vfiod" };
	struct refusal refusal;

	appearance->trying = state_of(appearance->group);
	int r = broker_take(appearance->broker, &self, appearance->group, &take_listener,
		appearance, &appearance->lease, &refusal);
	if (r < 0) {
		refuse(&refusal, REFUSAL_SYSTEM, "taking group %d", appearance->group->number);
		refusal.errnum = -r;
	}
	if (r != 0)
		failed(appearance, &refusal);
}

/* What the rules leave out of the group; nothing is written then. */
static bool has_gap(struct appearance *appearance)
{
	const struct broker *broker = appearance->broker;
	const struct device *gap =
		policy_take_gap(broker->config, appearance->group, device_needs_rule);
	char text[REFUSAL_TEXT_SIZE];
	bool is_taken = false;
	const struct device *device;

	if (!gap)
		return false;
	TAILQ_FOREACH (device, &appearance->group->devices, of_group)
		is_taken = is_taken || is_claimed(device);
	snprintf(text, sizeof(text),
		"a rule has it taken, but none with take = appear or boot covers %s; add "
		"whole-group = yes, or a rule for it%s",
		gap->name,
		is_taken ? "; what was claimed at boot goes back with `vfioctl take` and then "
			   "`vfioctl return`"
			 : "");
	set_problem(appearance, text);
	return true;
}

static void consider(struct appearance *appearance)
{
	struct broker *broker = appearance->broker;
	const struct group *group = appearance->group;
	const struct holding *holding = holding_find(broker, group);

	appearance->is_due = false;
	if (appearance->lease)
		return;
	if (group->binding == BINDING_GONE || !is_wanted(broker, group)) {
		appearance_free(appearance);
		return;
	}
	/* Ours or somebody's: its return makes it due again. */
	if (appearance->is_declined || holding || lease_book_owner(&broker->book, group)) {
		set_problem(appearance, "");
		return;
	}
	/* As it failed, or was given back and nobody wanted it: news of that are no news. */
	if (appearance->tried == state_of(group))
		return;
	if (is_lost_again_and_again(appearance))
		return;
	if (has_stray(group)) {
		appearance->tried = state_of(group);
		joining_release(broker, appearance->group);
	} else if (!has_gap(appearance)) {
		take(appearance);
	}
}

void appearing_take(struct broker *broker)
{
	struct appearance *appearance, *next;

	if (!broker->has_appeared || broker->is_stopping)
		return;
	broker->has_appeared = false;
	for (appearance = TAILQ_FIRST(&broker->appearances); appearance; appearance = next) {
		next = TAILQ_NEXT(appearance, of_broker);
		if (appearance->is_due)
			consider(appearance);
	}
}

void appearing_free_all(struct broker *broker)
{
	struct appearance *appearance;
	while ((appearance = TAILQ_FIRST(&broker->appearances)))
		appearance_free(appearance);
}
