/*
 * Between two subjects, where the first had devices' own nodes (mode cdev): he may have kept one,
 * and bind it later. Where the host gets the devices back, that is the end of all nodes. What stays
 * with VFIO is given to its drivers anew.
 *
 * At the end of each lease, whoever may come next: put off until somebody else asks, the first
 * could bind his node meanwhile, and use a device that he has no lease on (it may have been
 * revoked), which no account pays for.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <string.h>

int holding_note_nodes(struct holding *holding)
{
	holding->by_nodes = true;
	return holding_journal(holding, JOURNAL_TAKEN);
}

/* A return does not move what was with VFIO already: that stays, too. */
static bool stays(const struct holding *holding, const struct plan_member *member)
{
	return plan_hands_out(member->action) && strcmp(member->bus, "mdev") != 0 &&
	       (holding->stay || member->action == PLAN_ALREADY);
}

bool holding_needs_renewal(const struct holding *holding)
{
	const struct plan *plan = holding->plan;

	if (!holding->by_nodes || holding->group->binding == BINDING_GONE)
		return false;
	for (size_t i = 0; i < plan->n_members; i++)
		if (stays(holding, &plan->members[i]))
			return true;
	return false;
}

/* Written down before: one that is on no driver when it is interrupted, has to get it back. */
static void name_targets(const struct holding *holding)
{
	const struct device *device;

	TAILQ_FOREACH (device, &holding->group->devices, of_group) {
		struct plan_member *member = plan_find(holding->plan, device->name, device->bus);
		if (member && member->action == PLAN_ALREADY && device_on_vfio(device))
			string_copy(member->target, sizeof(member->target), device->driver);
	}
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct holding *holding = userdata;

	(void)group_fd;
	holding->job = job_free(job);
	holding_renewed(holding, result, refusal);
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	(void)job;
	holding_renewal_late(userdata, step, device);
}

static const struct job_listener listener = { .done = on_done, .late = on_late };

static int start(struct holding *holding)
{
	struct broker *broker = holding->broker;

	int r = job_new(broker->loop, JOB_RENEW, holding->plan, broker->ops,
		broker->config->take_timeout_seconds, &listener, holding, &holding->job);
	return r == 0 ? holding_journal(holding, JOURNAL_RENEWING) : r;
}

void holding_begin_renewal(struct holding *holding)
{
	struct broker *broker = holding->broker;

	holding_drop_kept(holding);
	name_targets(holding);
	int r = start(holding);
	if (r < 0) {
		struct refusal none = { .kind = REFUSAL_NONE };
		log_error("devices of group %d not given to their drivers anew yet: %s",
			holding->group->number, strerror(-r));
		holding->job = job_free(holding->job);
		holding_renewed(holding, r, &none);
		return;
	}
	holding->state = HOLDING_RENEWING;
	holding->has_written = true;
	group_set_owner(broker->inventory, holding->group, OWNER_NONE);
	group_set_binding(broker->inventory, holding->group, BINDING_RETURNING, NULL);
	job_go(holding->job);
}
