/* A holding on its way back: is it still open? then return it, or leave it taken. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* There is no event for "the last process has closed the group": ask, less and less often. */
static const double RETRY_FIRST_SECONDS = 0.02, RETRY_LAST_SECONDS = 5;

static void start_check(struct holding *holding);
static void start_return(struct holding *holding);

static struct settling *steal_settling(struct holding *holding)
{
	struct settling *settling = holding->settling;
	holding->settling = NULL;
	return settling;
}

static void came_home(struct holding *holding)
{
	attachments_opened(holding->broker, holding->group);
	if (holding->group->binding != BINDING_GONE && joining_leftovers(holding)) {
		start_return(holding);
		return;
	}
	struct settling *settling = steal_settling(holding);
	holding_end(holding);
	settling_is_home(settling);
}

void holding_go_home(struct holding *holding)
{
	came_home(holding);
}

static void linger(struct holding *holding, bool is_open)
{
	struct broker *broker = holding->broker;
	int number = holding->group->number;

	if (holding->group->binding == BINDING_GONE) {
		came_home(holding);
		return;
	}
	holding->state = HOLDING_LINGERING;
	if (!*holding->leaving)
		group_set_binding(broker->inventory, holding->group, BINDING_TAKEN, NULL);
	/* Not known to be open: it keeps the owner that it had, but a lease it has no more. */
	if (is_open)
		group_set_owner(broker->inventory, holding->group, OWNER_LINGERING);
	else if (holding->group->owner == OWNER_LEASED)
		group_set_owner(broker->inventory, holding->group, OWNER_NONE);
	holding->retry_seconds *= 2;
	if (holding->retry_seconds > RETRY_LAST_SECONDS)
		holding->retry_seconds = RETRY_LAST_SECONDS;
	ev_timer_set(&holding->retry, holding->retry_seconds, 0);
	ev_timer_start(broker->loop, &holding->retry);
	joining_resume(holding);
	/* A child that was killed is no process that has it open: who waits is told when that has
	 * happened again and again. */
	bool tells = is_open || holding->retry_seconds >= RETRY_LAST_SECONDS;
	if (broker->is_stopping)
		tells = ev_now(broker->loop) >= broker->patience_ends;
	if (tells)
		settling_lingers(steal_settling(holding), number);
	broker_pump_later(broker);
}

static void retry_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	start_check(timer->data);
}

/* --- kept open ------------------------------------------------------------------------------- */

void holding_drop_kept(struct holding *holding)
{
	const struct sysfs_ops *ops = holding->broker->ops;

	if (holding->state != HOLDING_IDLE || holding->group_fd < 0)
		return;
	ev_timer_stop(holding->broker->loop, &holding->kept_unused);
	ops->close_group(ops->userdata, steal_fd(&holding->group_fd));
}

static void on_kept_unused(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	holding_drop_kept(timer->data);
}

/* Once more: nobody waits for it when the daemon stops. */
static bool keeps_open(const struct holding *holding)
{
	return holding->stay && !holding->by_nodes && !holding->broker->is_stopping &&
	       holding->group->binding == BINDING_TAKEN;
}

void holding_back_init(struct holding *holding)
{
	ev_init(&holding->kept_unused, on_kept_unused);
	holding->kept_unused.data = holding;
	ev_init(&holding->retry, retry_again);
	holding->retry.data = holding;
}

/* Is the entry as stay_taken() writes it? Somebody may have removed it from under us. */
static bool entry_rests(const struct holding *holding)
{
	const char *state_directory = holding->broker->state_directory;
	int group = holding->group->number;

	if (!holding->journal_rests)
		return false;
	if (plan_n_moves(holding->plan) == 0 || journal_stands(state_directory, group))
		return true;
	log_warning("somebody has removed %s/journal/%d.json: it is written anew", state_directory,
		group);
	return false;
}

/* Who could open it, and saw that it is viable, need not look at its devices as well. */
static void stay_taken(struct holding *holding, bool is_well)
{
	holding->state = HOLDING_IDLE;
	holding->reservation = reservation_release(holding->reservation);
	subject_clear(&holding->former);
	holding->has_former = false;
	/* A lease on a group that was ready has left the entry as it was before it. */
	if (!entry_rests(holding)) {
		int r = holding_journal_follow(holding, JOURNAL_TAKEN);
		holding->journal_rests = r == 0 && !holding->job;
	}
	recovery_settled(holding, "taken");
	if (!is_well)
		inventory_refresh(holding->broker->inventory, holding->group);
	group_set_owner(holding->broker->inventory, holding->group, OWNER_NONE);
	if (holding->group_fd >= 0) {
		ev_timer_set(&holding->kept_unused, holding->broker->keep_seconds, 0);
		ev_timer_start(holding->broker->loop, &holding->kept_unused);
	}
	settling_is_home(steal_settling(holding));
	joining_resume(holding);
	drifting_look_at(holding);
	broker_pump_later(holding->broker);
}

void holding_stay(struct holding *holding)
{
	holding->tenancy = NULL;
	holding->stay = true;
	stay_taken(holding, true);
}

void holding_checked(struct holding *holding, int result, const struct refusal *refusal)
{
	if (result == 0)
		attachments_opened(holding->broker, holding->group);
	/* Any other refusal (not viable, no node) is no reason to keep it: the return sees. */
	if (result == REFUSED && refusal->kind == REFUSAL_GROUP_BUSY)
		linger(holding, true);
	else if (result < 0)
		linger(holding, false);
	else if (holding_needs_renewal(holding))
		holding_begin_renewal(holding);
	else if (holding->stay && holding->group->binding != BINDING_GONE)
		stay_taken(holding, result == 0);
	else
		start_return(holding);
}

void holding_renewed(struct holding *holding, int result, const struct refusal *refusal)
{
	struct broker *broker = holding->broker;

	/* It did not begin, or its child was killed: again, if it is not open. */
	if (result == REFUSED && refusal->kind == REFUSAL_GROUP_BUSY) {
		holding_journal_follow(holding, JOURNAL_TAKEN);
		linger(holding, true);
		return;
	}
	if (result < 0) {
		linger(holding, false);
		return;
	}
	if (result == REFUSED) {
		struct settling *settling = steal_settling(holding);
		holding_fail(holding, refusal);
		settling_failed(settling, refusal);
		return;
	}
	holding->by_nodes = holding->has_written = false;
	inventory_refresh(broker->inventory, holding->group);
	if (holding->group->binding != BINDING_GONE)
		group_set_binding(broker->inventory, holding->group, BINDING_TAKEN, NULL);
	int r = plan_n_moves(holding->plan) == 0
			? journal_remove(broker->state_directory, holding->group->number)
			: 0;
	if (r < 0)
		log_error("journal of group %d not removed: %s", holding->group->number,
			strerror(-r));
	if (holding->stay && holding->group->binding != BINDING_GONE)
		stay_taken(holding, false);
	else
		start_return(holding);
}

/* It hangs opening the group: a holder keeps the kernel busy with it. */
void holding_check_late(struct holding *holding)
{
	holding->job = job_free(holding->job);
	linger(holding, true);
}

static void on_returned(struct holding *holding, int result, const struct refusal *refusal)
{
	if (result == 0) {
		came_home(holding);
	} else if (result == REFUSED && refusal->kind == REFUSAL_GROUP_BUSY) {
		/* Opened by somebody between the check and the return. No write was made. */
		holding_journal_follow(holding, JOURNAL_TAKEN);
		linger(holding, true);
	} else if (result == REFUSED) {
		struct settling *settling = steal_settling(holding);
		holding_fail(holding, refusal);
		settling_failed(settling, refusal);
	} else {
		/* The child was killed. What it left is found by the next. */
		log_warning("the child returning group %d ended without a word; it is tried again",
			holding->group->number);
		linger(holding, false);
	}
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct holding *holding = userdata;
	bool checking = holding->state == HOLDING_CHECKING;

	holding->job = job_free(job);
	if (checking && keeps_open(holding))
		holding->group_fd = steal_fd(group_fd);
	else if (*group_fd >= 0)
		holding->broker->ops->close_group(
			holding->broker->ops->userdata, steal_fd(group_fd));
	if (checking)
		holding_checked(holding, result, refusal);
	else
		on_returned(holding, result, refusal);
}

static void stick(struct holding *holding, enum bind_step step, const char *device)
{
	struct refusal refusal;
	char text[REFUSAL_TEXT_SIZE];

	refuse(&refusal, REFUSAL_STUCK, "the kernel does not let go");
	refusal.group = holding->group->number;
	refusal.step = step;
	snprintf(refusal.device, sizeof(refusal.device), "%s", device);
	refusal_describe(&refusal, text, sizeof(text));
	group_set_binding(holding->broker->inventory, holding->group, BINDING_STUCK, text);
	settling_failed(steal_settling(holding), &refusal);
}

void holding_renewal_late(struct holding *holding, enum bind_step step, const char *device)
{
	stick(holding, step, device);
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	(void)job;
	struct holding *holding = userdata;

	if (holding->state == HOLDING_CHECKING)
		holding_check_late(holding);
	else
		stick(holding, step, device);
}

static const struct job_listener back_listener = {
	.done = on_done,
	.late = on_late,
};

/*
 * At first, where a child goes on that looks for itself, before it writes, whether a node is open
 * (transaction_return(), transaction_renew()), it is enough that the group can be opened: that look
 * is a search through all processes. Who has kept a node is waited for with checks.
 */
static enum job_kind check_kind(const struct holding *holding)
{
	bool goes_on = holding_needs_renewal(holding) || !holding->stay;

	if (keeps_open(holding))
		return JOB_KEEP;
	return goes_on && holding->retry_seconds < RETRY_FIRST_SECONDS ? JOB_PEEK : JOB_CHECK;
}

static void start_check(struct holding *holding)
{
	holding_drop_kept(holding);
	holding->state = HOLDING_CHECKING;
	/* Its end goes on from here. */
	if (holding->joins)
		return;
	int r = job_new_open(holding->broker->doormen, check_kind(holding), holding->plan,
		holding->broker->config->take_timeout_seconds, &back_listener, holding,
		&holding->job);
	if (r < 0) {
		log_error("no child to check group %d: %s", holding->group->number, strerror(-r));
		linger(holding, false);
		return;
	}
	job_go(holding->job);
}

void holding_check_now(struct holding *holding)
{
	start_check(holding);
}

static void start_return(struct holding *holding)
{
	struct broker *broker = holding->broker;

	holding_drop_kept(holding);
	int r = job_new(broker->loop, JOB_RETURN, holding->plan, broker->ops,
		broker->config->take_timeout_seconds, &back_listener, holding, &holding->job);
	if (r == 0)
		r = holding_journal(holding, JOURNAL_RETURNING);
	if (r < 0) {
		log_error("group %d not returned yet: %s", holding->group->number, strerror(-r));
		holding->job = job_free(holding->job);
		linger(holding, false);
		return;
	}
	holding->state = HOLDING_RETURNING;
	holding->has_written = true;
	group_set_owner(broker->inventory, holding->group, OWNER_NONE);
	group_set_binding(broker->inventory, holding->group, BINDING_RETURNING, NULL);
	job_go(holding->job);
}

void holding_let_go(struct holding *holding, bool stay, struct settling *settling)
{
	const struct lease *lease = holding->tenancy ? tenancy_lease(holding->tenancy) : NULL;

	subject_clear(&holding->former);
	holding->has_former = lease && subject_copy(&holding->former, &lease->subject) == 0;
	if (holding->group_fd >= 0)
		holding->broker->ops->close_group(
			holding->broker->ops->userdata, steal_fd(&holding->group_fd));
	holding->nodes = nodes_free(holding->nodes);
	/* What was mapped with it may live until nobody has it open. */
	if (lease)
		holding->reservation = reservation_hold(lease->reservation);
	holding->tenancy = NULL;
	holding->stay = holding->stay || stay;
	holding->settling = settling;
	settling_expect(settling);
	holding->state = HOLDING_DETACHING;
	if (!holding_detach(holding))
		holding_begin_check(holding);
}

void holding_begin_check(struct holding *holding)
{
	holding->retry_seconds = RETRY_FIRST_SECONDS / 2;
	start_check(holding);
}

void holding_begin_return(struct holding *holding)
{
	holding->retry_seconds = RETRY_FIRST_SECONDS / 2;
	start_return(holding);
}

void holding_check_on(struct holding *holding)
{
	holding->tenancy = NULL;
	holding->state = HOLDING_CHECKING;
	holding->retry_seconds = RETRY_FIRST_SECONDS / 2;
}

/* Without anybody who waits for it; where it is only looked at, it may be to stay taken. */
static bool is_on_its_way(const struct holding *holding)
{
	return !holding->settling &&
	       (holding->state == HOLDING_CHECKING || holding->state == HOLDING_RETURNING ||
		       holding->state == HOLDING_RENEWING);
}

int holding_may_return(const struct holding *holding, struct refusal *refusal)
{
	if (!holding->plan) {
		refuse(refusal, REFUSAL_GROUP_FAILED, "%s", holding->group->failure);
		refusal->group = holding->group->number;
		return REFUSED;
	}
	if (holding->group->binding == BINDING_STUCK)
		return group_is_usable(holding->broker, holding->group, refusal);
	if (holding->state != HOLDING_IDLE && holding->state != HOLDING_FAILED &&
		holding->state != HOLDING_LINGERING && !is_on_its_way(holding)) {
		refuse_busy(holding->broker, holding->group, REFUSAL_GROUP_BUSY, refusal);
		return REFUSED;
	}
	return 0;
}

int holding_return(struct holding *holding, struct settling *settling, struct refusal *refusal)
{
	int r = holding_may_return(holding, refusal);
	if (r != 0)
		return r;
	bool has_begun = is_on_its_way(holding);
	ev_timer_stop(holding->broker->loop, &holding->retry);
	holding->stay = false;
	/* Who waited until now is not to wait for this one. */
	settling_lingers(steal_settling(holding), holding->group->number);
	holding->settling = settling;
	settling_expect(settling);
	if (!has_begun)
		holding_begin_check(holding);
	return 0;
}

bool holding_bury(struct holding *holding)
{
	/* A job that runs ends by itself, and its end sees that the group is gone; so does a child
	 * of an earlier daemon. */
	if (holding->group->binding != BINDING_GONE || holding->job ||
		holding->state == HOLDING_WAITING)
		return false;
	came_home(holding);
	return true;
}
