/* A holding on its way to a lease: inspect, take, open. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/parts.h"
#include "daemon/lease/policy.h"

#include <errno.h>
#include <string.h>

/* The plan's questions to policy. */
struct wish_context {
	struct broker *broker;
	const struct subject *subject;
};

static struct plan_wish wish_for(const struct device *device, void *userdata)
{
	const struct wish_context *context = userdata;
	return broker_wish(context->broker, context->subject, device);
}

int group_plan(struct broker *broker, const struct subject *subject, const struct group *group,
	struct plan **plan, struct refusal *refusal)
{
	struct wish_context context = { .broker = broker, .subject = subject };
	return plan_make(group, wish_for, &context, plan, refusal);
}

/* The tenancy's part is over before a write was made: as it was before. */
static void holding_step_back(struct holding *holding)
{
	holding->job = job_free(holding->job);
	holding->tenancy = NULL;
	holding->state = HOLDING_IDLE;
	if (holding->taken && holding->group->binding != BINDING_GONE) {
		group_set_owner(holding->broker->inventory, holding->group, OWNER_NONE);
		broker_pump_later(holding->broker);
	} else {
		holding_end(holding);
	}
}

/*
 * A child that opens a taken group goes on all the same, and whoever came next would find the
 * group open: so its word is waited for, as if a lease had just let go.
 */
void holding_cancel(struct holding *holding)
{
	if (!holding->taken) {
		holding_step_back(holding);
		return;
	}
	holding_check_on(holding);
}

/* What the child said about a take or an open that was never allowed to write. */
static void prepared(struct holding *holding, int result, const struct refusal *refusal)
{
	struct tenancy *tenancy = holding->tenancy;
	/* The tenancy first: it forgets the holding, which may be freed by the step back. */
	tenancy_prepared(tenancy, holding, result, refusal);
	holding_step_back(holding);
}

static void taken(struct holding *holding, int *group_fd)
{
	struct tenancy *tenancy = holding->tenancy;

	holding->taken = true;
	holding->group_fd = steal_fd(group_fd);
	inventory_refresh(holding->broker->inventory, holding->group);
	if (holding->group->binding == BINDING_GONE) {
		/* It has left, and came back before the child was done, or is just going: a return
		 * goes by what it finds. */
		struct refusal gone;
		group_is_usable(holding->broker, holding->group, &gone);
		holding->tenancy = NULL;
		if (tenancy)
			tenancy_taken(tenancy, holding, REFUSED, &gone);
		holding_let_go(holding, false, NULL);
		return;
	}
	holding->state = HOLDING_READY;
	holding->has_written = false;
	holding_journal_follow(holding, JOURNAL_TAKEN);
	group_set_binding(holding->broker->inventory, holding->group, BINDING_TAKEN, NULL);
	if (tenancy)
		tenancy_taken(tenancy, holding, 0, NULL);
	else
		/* It was stuck, its client has been told, and now the kernel let go. */
		holding_let_go(holding, false, NULL);
}

/* After the first write may have been made. */
static void not_taken(struct holding *holding, int result, const struct refusal *refusal)
{
	struct tenancy *tenancy = holding->tenancy;
	struct refusal told = *refusal;

	holding->tenancy = NULL;
	if (result < 0) {
		/* The child was killed between two writes. What it left is given back as it would
		 * be after a lease: a return goes by the state that it finds. */
		refuse(&told, REFUSAL_TAKE_FAILED,
			"the child that did it ended without a word (%s), its devices are being "
			"given back",
			refusal->text);
		told.group = holding->group->number;
		told.step = STEP_NONE;
		told.errnum = -result;
		holding->taken = true;
		holding->state = HOLDING_USED;
	}
	if (tenancy)
		tenancy_taken(tenancy, holding, REFUSED, &told);
	if (result < 0)
		holding_let_go(holding, false, NULL);
	else if (refusal->rolled_back)
		holding_go_home(holding);
	else
		holding_fail(holding, refusal);
}

static void on_ready(struct job *job, void *userdata)
{
	(void)job;
	struct holding *holding = userdata;
	holding->state = HOLDING_PREPARED;
	tenancy_prepared(holding->tenancy, holding, 0, NULL);
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct holding *holding = userdata;
	bool keeps = result == 0 && holding->state != HOLDING_CHECKING;

	if (keeps)
		holding->nodes = job_take_nodes(job);
	holding->job = job_free(job);
	if (result == 0)
		attachments_opened(holding->broker, holding->group);
	if (*group_fd >= 0 && !keeps)
		holding->broker->ops->close_group(
			holding->broker->ops->userdata, steal_fd(group_fd));
	if (holding->state == HOLDING_CHECKING) {
		holding_checked(holding, result, refusal);
	} else if (holding->state == HOLDING_TAKING) {
		if (result == 0)
			taken(holding, group_fd);
		else
			not_taken(holding, result, refusal);
	} else if (result == 0) {
		/* A group that was taken before, opened. */
		holding->group_fd = steal_fd(group_fd);
		holding->state = HOLDING_READY;
		tenancy_prepared(holding->tenancy, holding, 0, NULL);
	} else if (holding->taken && result == REFUSED && refusal->kind == REFUSAL_GROUP_BUSY) {
		/* Somebody opened it behind our back. It lingers, as after a lease. */
		struct tenancy *tenancy = holding->tenancy;
		holding_check_on(holding);
		tenancy_prepared(tenancy, holding, REFUSED, refusal);
		holding_checked(holding, REFUSED, refusal);
	} else {
		prepared(holding, result, refusal);
	}
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	(void)job;
	struct holding *holding = userdata;
	struct tenancy *tenancy = holding->tenancy;
	struct refusal refusal;
	char text[REFUSAL_TEXT_SIZE];

	if (holding->state == HOLDING_CHECKING) {
		holding_check_late(holding);
		return;
	}
	refuse(&refusal, REFUSAL_STUCK, "the kernel does not let go");
	refusal.group = holding->group->number;
	refusal.step = step;
	snprintf(refusal.device, sizeof(refusal.device), "%s", device);
	if (holding->state != HOLDING_TAKING) {
		prepared(holding, REFUSED, &refusal);
		return;
	}
	refusal_describe(&refusal, text, sizeof(text));
	group_set_binding(holding->broker->inventory, holding->group, BINDING_STUCK, text);
	group_set_owner(holding->broker->inventory, holding->group, OWNER_NONE);
	holding->tenancy = NULL;
	if (tenancy)
		tenancy_taken(tenancy, holding, REFUSED, &refusal);
}

static const struct job_listener take_listener = {
	.ready = on_ready,
	.done = on_done,
	.late = on_late,
};

int holding_prepare(struct holding *holding, struct tenancy *tenancy, struct refusal *refusal)
{
	struct broker *broker = holding->broker;
	const struct lease *lease = tenancy_lease(tenancy);

	int r = group_is_usable(broker, holding->group, refusal);
	/* While the group is open, no node of it can be bound. */
	if (lease->cdev)
		holding_drop_kept(holding);
	if (r == 0 && holding->group_fd >= 0) {
		ev_timer_stop(broker->loop, &holding->kept_unused);
		holding->tenancy = tenancy;
		holding->state = HOLDING_READY;
		return 0;
	}
	if (r == 0 && !holding->taken)
		r = group_plan(broker, &lease->subject, holding->group, &holding->plan, refusal);
	if (r == 0 && holding->taken)
		r = job_new_open(broker->doormen, lease->cdev ? JOB_OPEN_NODES : JOB_OPEN,
			holding->plan, broker->config->take_timeout_seconds, &take_listener,
			holding, &holding->job);
	else if (r == 0)
		r = job_new(broker->loop, lease->cdev ? JOB_TAKE_NODES : JOB_TAKE, holding->plan,
			broker->ops, broker->config->take_timeout_seconds, &take_listener, holding,
			&holding->job);
	if (r != 0) {
		holding_step_back(holding);
		return r;
	}
	holding->tenancy = tenancy;
	holding->state = HOLDING_PREPARING;
	if (holding->taken)
		job_go(holding->job);
	return 0;
}

int holding_go(struct holding *holding, struct refusal *refusal)
{
	int r = holding_journal(holding, JOURNAL_TAKING);
	if (r < 0) {
		refuse(refusal, REFUSAL_SYSTEM, "writing the journal of group %d",
			holding->group->number);
		refusal->errnum = -r;
		return REFUSED;
	}
	holding->state = HOLDING_TAKING;
	holding->has_written = true;
	group_set_binding(holding->broker->inventory, holding->group, BINDING_TAKING, NULL);
	job_go(holding->job);
	return 0;
}

/* A process that leases again and again is looked at once in this time. */
static const double KIN_SECONDS = 1;

/* Noted now: when it is wanted, the process may have ended, and left children. */
static void note_kin(struct holding *holding)
{
	const struct subject *subject = &tenancy_lease(holding->tenancy)->subject;
	double now = ev_now(holding->broker->loop), age = now - holding->kin_read_at;

	if (holding->kin.pid == subject->pid && subject->start_ticks != 0 &&
		holding->kin.start_ticks == subject->start_ticks && age >= 0 && age < KIN_SECONDS)
		return;
	if (opener_kin_read("", subject->pid, &holding->kin) < 0)
		holding->kin.pid = 0;
	holding->kin_read_at = now;
}

int holding_use(struct holding *holding, struct nodes **nodes)
{
	note_kin(holding);
	if (nodes)
		*nodes = steal_pointer(&holding->nodes);
	holding->state = HOLDING_USED;
	joining_resume(holding);
	return steal_fd(&holding->group_fd);
}
