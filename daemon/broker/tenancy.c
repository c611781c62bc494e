/* A lease whose turn has come: prepare → take → grant → end. All groups or none. */
#include "daemon/broker/choosing.h"

#include "daemon/broker/observing.h"

#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/text.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

struct lease *tenancy_lease(struct tenancy *tenancy)
{
	return tenancy->lease;
}

void tenancy_news(struct tenancy *tenancy, const char *event, const char *text)
{
	struct broker_news news = {
		.event = event,
		.group = tenancy->lease->n_groups > 0 ? tenancy->lease->groups[0]->number : -1,
		.lease = tenancy->lease->name,
		.text = text,
	};
	broker_tell(tenancy->broker, &news);
}

void tenancy_free(struct tenancy *tenancy)
{
	struct broker *broker = tenancy->broker;
	ev_timer_stop(broker->loop, &tenancy->wait);
	ev_timer_stop(broker->loop, &tenancy->grace);
	ev_io_stop(broker->loop, &tenancy->holder_ended);
	strv_free(tenancy->lost);
	restored_forget(broker, tenancy->lease);
	if (tenancy->holder_pidfd >= 0)
		close(tenancy->holder_pidfd);
	bounding_free(tenancy->bounding);
	attachments_forget_lease(broker, tenancy->lease);
	revoking_forget_lease(broker, tenancy->lease);
	lease_end_reservation(tenancy->lease);
	lease_forget_draft(tenancy->lease);
	tenancy_forget_wishes(tenancy);
	observing_end_lease(broker, tenancy->lease);
	lease_free(&broker->book, tenancy->lease);
	free(tenancy->holdings);
	free(tenancy);
	broker_pump_later(broker);
}

void tenancy_refuse(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	char text[REFUSAL_TEXT_SIZE];

	refusal_describe(&tenancy->refusal, text, sizeof(text));
	for (size_t i = 0; i < lease->n_groups; i++)
		if (tenancy->phase != PHASE_QUEUED && lease->groups[i]->binding != BINDING_GONE &&
			!holding_find(tenancy->broker, lease->groups[i]))
			group_set_owner(tenancy->broker->inventory, lease->groups[i], OWNER_NONE);
	lease_leave_queue(&tenancy->broker->book, lease, LEASE_ENDED);
	lease->state = LEASE_ENDED;
	if (!tenancy->only_takes)
		tenancy_news(tenancy, "leaseEnded", text);
	if (lease->listener && lease->listener->refused)
		lease->listener->refused(lease, &tenancy->refusal, lease->userdata);
	tenancy_free(tenancy);
}

static void tenancy_note_failure(
	struct tenancy *tenancy, struct holding *holding, int result, const struct refusal *refusal)
{
	if (tenancy->has_failed)
		return;
	tenancy->has_failed = true;
	if (result == REFUSED) {
		tenancy->refusal = *refusal;
	} else {
		refuse(&tenancy->refusal, REFUSAL_SYSTEM, "taking group %d",
			holding->group->number);
		tenancy->refusal.errnum = -result;
	}
	if (tenancy->refusal.group < 0)
		tenancy->refusal.group = holding->group->number;
}

static void tenancy_forget(struct tenancy *tenancy, const struct holding *holding)
{
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		if (tenancy->holdings[i] == holding)
			tenancy->holdings[i] = NULL;
}

/* --- undo ------------------------------------------------------------------------------ */

static void on_undone(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	(void)lingering;
	(void)n_lingering;
	struct tenancy *tenancy = userdata;
	if (refusal && tenancy->refusal.kind == REFUSAL_TAKE_FAILED)
		tenancy->refusal.rolled_back = false;
	if (tenancy->tries_again && !tenancy->broker->is_stopping)
		tenancy_requeue(tenancy);
	else
		tenancy_refuse(tenancy);
}

/* Some groups were taken, one could not be (or the client has gone): all go back. */
static void tenancy_undo(struct tenancy *tenancy)
{
	struct settling *settling = settling_new(tenancy->broker, NULL, 0);
	bool tell_later = settling && settling_join(settling, on_undone, tenancy) == 0;

	tenancy->tries_again = tenancy_can_choose_again(tenancy);
	tenancy->phase = PHASE_UNDOING;
	tenancy->bounding = bounding_free(tenancy->bounding);
	/* Nobody has got anything to map with. */
	lease_end_reservation(tenancy->lease);
	lease_unrecord(tenancy->lease);
	for (size_t i = 0; i < tenancy->n_holdings; i++) {
		struct holding *holding = tenancy->holdings[i];
		if (!holding)
			continue;
		if (holding->state == HOLDING_PREPARED || holding->state == HOLDING_PREPARING)
			holding_cancel(holding);
		else
			holding_let_go(holding, false, settling);
		tenancy->holdings[i] = NULL;
	}
	settling_begin(settling);
	if (!tell_later)
		tenancy_refuse(tenancy);
}

/* --- prepare, take, grant ---------------------------------------------------------------- */

static void log_grant(const struct lease *lease)
{
	char groups[128] = "", uid[16], pid[16];
	const char *end = groups + sizeof(groups);
	char *to = groups;
	for (size_t i = 0; i < lease->n_groups && to + 16 < end; i++)
		to = text_put_number(
			text_put(to, end, " "), end, (uint64_t)lease->groups[i]->number);
	const char *const fields[] = { "MESSAGE_ID", MESSAGE_LEASE_GRANTED, "VFIOD_LEASE",
		lease->name, "VFIOD_ACCOUNT", lease->account, "VFIOD_UID", uid, "VFIOD_PID", pid,
		NULL };
	text_put_number(uid, uid + sizeof(uid), lease->subject.process_uid);
	text_put_number(pid, pid + sizeof(pid), (uint64_t)lease->subject.pid);
	log_fields(LOG_INFO, fields,
		"lease %s of %s%s granted to pid %d (%s) of uid %u, account %s", lease->name,
		lease->n_groups == 1 ? "group" : "groups", groups, (int)lease->subject.pid,
		lease->subject.command, (unsigned)lease->subject.process_uid, lease->account);
}

/* An administrator's take hands nothing out. */
static int tenancy_note_user(const struct tenancy *tenancy)
{
	const struct lease *lease = tenancy->lease;
	int r = 0;

	for (size_t i = 0; r == 0 && !tenancy->only_takes && i < lease->n_groups; i++)
		r = broker_note_user(
			tenancy->broker, lease->groups[i], &lease->subject, lease->cdev);
	return r;
}

static void close_groups(const struct tenancy *tenancy, const int *fds)
{
	const struct sysfs_ops *ops = tenancy->broker->ops;
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		if (fds[i] >= 0)
			ops->close_group(ops->userdata, fds[i]);
}

/* The moment that a draft names is good enough. */
static void tenancy_note_time(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	double now = ev_now(tenancy->broker->loop), age = now - lease->granted_at;

	if (tenancy->draft.fd >= 0 && age >= 0 && age < 1)
		return;
	lease_drop_draft(lease);
	lease->granted_at = now;
}

static void tenancy_grant(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	_cleanup_free_ int *fds = calloc(tenancy->n_holdings, sizeof(*fds));
	struct lease_nodes *nodes = NULL;

	int r = fds ? cdev_begin(tenancy, &nodes) : -ENOMEM;
	if (r == 0)
		r = tenancy_note_user(tenancy);
	tenancy_note_time(tenancy);
	if (r < 0) {
		refuse(&tenancy->refusal, REFUSAL_SYSTEM, "granting the lease");
		tenancy->refusal.errnum = -r;
	} else if (r == 0 && !tenancy->only_takes) {
		r = cdev_note(tenancy);
		if (r == 0)
			r = lease_record_grant(lease, &tenancy->refusal);
	}
	if (r != 0) {
		cdev_end(tenancy, nodes);
		tenancy_undo(tenancy);
		return;
	}
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		fds[i] = holding_use(tenancy->holdings[i], nodes ? &nodes->of_groups[i] : NULL);
	tenancy->phase = PHASE_GRANTED;
	lease->state = LEASE_GRANTED;
	tenancy_forget_wishes(tenancy);
	if (!tenancy->only_takes)
		tenancy_news(tenancy, "leaseGranted", NULL);
	/* Before he is told: whatever happens to this daemon then, it stays taken. */
	for (size_t i = 0; tenancy->only_takes && i < tenancy->n_holdings; i++)
		holding_stay(tenancy->holdings[i]);
	/* That they can be opened is proven; their spaces open them again. */
	if (lease->brokered)
		close_groups(tenancy, fds);
	lease->nodes = nodes;
	if (lease->listener)
		lease->listener->granted(
			lease, lease->brokered || nodes ? NULL : fds, lease->userdata);
	lease->nodes = NULL;
	/* No copy stays here: it would keep a dead client's pages pinned. */
	cdev_end(tenancy, nodes);
	if (!lease->brokered)
		close_groups(tenancy, fds);
	if (!tenancy->only_takes) {
		log_grant(lease);
		return;
	}
	lease->state = LEASE_ENDED;
	tenancy_free(tenancy);
}

static void tenancy_hear(
	struct tenancy *tenancy, struct holding *holding, int result, const struct refusal *refusal)
{
	if (result == 0)
		return;
	tenancy_note_failure(tenancy, holding, result, refusal);
	tenancy_forget(tenancy, holding);
}

/* One answer less to wait for; after the last one it goes on, or all of it is undone. */
static void tenancy_advance(struct tenancy *tenancy, void (*next)(struct tenancy *tenancy))
{
	if (--tenancy->n_pending > 0)
		return;
	if (tenancy->has_failed)
		tenancy_undo(tenancy);
	else
		next(tenancy);
}

static void tenancy_go(struct tenancy *tenancy)
{
	tenancy->phase = PHASE_TAKING;
	/* One of its own, so that holdings that fail at once do not end it in the loop. */
	tenancy->n_pending = 1;
	for (size_t i = 0; i < tenancy->n_holdings && !tenancy->has_failed; i++) {
		struct holding *holding = tenancy->holdings[i];
		struct refusal refusal;
		if (!holding || holding->state != HOLDING_PREPARED)
			continue;
		int r = holding_go(holding, &refusal);
		if (r == 0)
			tenancy->n_pending++;
		else
			tenancy_note_failure(tenancy, holding, r, &refusal);
	}
	tenancy_advance(tenancy, tenancy_grant);
}

void tenancy_prepared(
	struct tenancy *tenancy, struct holding *holding, int result, const struct refusal *refusal)
{
	tenancy_hear(tenancy, holding, result, refusal);
	tenancy_advance(tenancy, tenancy_go);
}

void tenancy_taken(
	struct tenancy *tenancy, struct holding *holding, int result, const struct refusal *refusal)
{
	tenancy_hear(tenancy, holding, result, refusal);
	tenancy_advance(tenancy, tenancy_grant);
}

static void on_bounded(
	int result, uint64_t max_bytes, const struct refusal *refusal, void *userdata)
{
	struct tenancy *tenancy = userdata;
	struct holding named = { .group = tenancy->lease->groups[0] };

	tenancy->bounding = bounding_free(tenancy->bounding);
	if (result == 0 && max_bytes != tenancy->lease->memory_max_bytes)
		lease_drop_draft(tenancy->lease);
	if (result == 0)
		tenancy->lease->memory_max_bytes = max_bytes;
	else
		tenancy_note_failure(tenancy, &named, result, refusal);
	tenancy_advance(tenancy, tenancy_go);
}

/* Who maps by himself and is not trusted can pin no more than a control group lets him. */
static void tenancy_begin_bounding(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	struct holding named = { .group = lease->groups[0] };
	struct refusal none = { .kind = REFUSAL_NONE };

	if (tenancy->only_takes || lease->brokered || lease->is_trusted)
		return;
	int r = bounding_new(
		tenancy->broker, &lease->subject, on_bounded, tenancy, &tenancy->bounding);
	if (r == 0)
		tenancy->n_pending++;
	else
		tenancy_note_failure(tenancy, &named, r, &none);
}

/* Its groups are taken already, and doormen are on their way to them. */
static bool only_opens(const struct tenancy *tenancy)
{
	if (tenancy->only_takes || tenancy->has_failed)
		return false;
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		if (!tenancy->holdings[i]->taken)
			return false;
	return true;
}

void tenancy_start(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	struct broker *broker = tenancy->broker;

	ev_timer_stop(broker->loop, &tenancy->wait);
	lease_leave_queue(&broker->book, lease, LEASE_ACQUIRING);
	tenancy->phase = PHASE_PREPARING;
	tenancy->n_pending = 1;
	tenancy_begin_bounding(tenancy);
	for (size_t i = 0; i < lease->n_groups; i++) {
		struct refusal refusal;
		struct holding *holding = holding_get(broker, lease->groups[i]);
		int r = -ENOMEM;
		group_set_owner(broker->inventory, lease->groups[i], OWNER_LEASED);
		if (holding)
			r = holding_prepare(holding, tenancy, &refusal);
		if (r == 0) {
			tenancy->holdings[i] = holding;
			tenancy->n_pending += holding->state != HOLDING_READY;
			continue;
		}
		/* The holding has stepped back and may be no more: name the group oneself. */
		struct holding named = { .group = lease->groups[i] };
		tenancy_note_failure(tenancy, &named, r, &refusal);
		group_set_owner(broker->inventory, lease->groups[i], OWNER_NONE);
	}
	if (only_opens(tenancy))
		lease_draft_record(lease);
	tenancy_advance(tenancy, tenancy_go);
}

/* --- the end ----------------------------------------------------------------------------- */

void tenancy_end(struct lease *lease, const char *reason, struct settling *settling)
{
	struct tenancy *tenancy = lease->tenancy;

	switch (tenancy->phase) {
	case PHASE_QUEUED:
	case PHASE_PREPARING:
	case PHASE_TAKING:
	case PHASE_UNDOING:
		if (!tenancy->has_failed || tenancy->tries_again)
			refuse(&tenancy->refusal, REFUSAL_INTERRUPTED, "%s", reason);
		tenancy->refusal.is_restart = tenancy->broker->is_stopping;
		tenancy->tries_again = false;
		tenancy->has_failed = tenancy->is_abandoned = true;
		if (tenancy->phase == PHASE_QUEUED)
			tenancy_refuse(tenancy);
		else if (tenancy->phase == PHASE_PREPARING)
			tenancy_undo(tenancy);
		/* TAKING: the last answer undoes it. UNDOING: it is under way. */
		return;
	case PHASE_GRANTED:
		break;
	}

	lease->state = LEASE_ENDED;
	/* In this order: whatever is not done yet when the daemon is killed, the next one does. */
	lease_leave_reservation(lease);
	if (lease->brokered)
		lease_unrecord(lease);
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		if (tenancy->holdings[i])
			holding_let_go(tenancy->holdings[i], lease->stay, settling);
	/* While children look at the groups, and change nothing yet. */
	lease_unrecord(lease);
	log_fields(LOG_INFO,
		(const char *[]){
			"MESSAGE_ID", MESSAGE_LEASE_ENDED, "VFIOD_LEASE", lease->name, NULL },
		"lease %s ended: %s", lease->name, reason);
	lease_end_reservation(lease);
	tenancy_news(tenancy, "leaseEnded", reason);
	if (lease->listener)
		lease->listener->ended(lease, reason, lease->userdata);
	tenancy_free(tenancy);
}

bool tenancy_is_ending(const struct lease *lease)
{
	const struct tenancy *tenancy = lease->tenancy;
	return tenancy->phase == PHASE_UNDOING ||
	       (tenancy->phase == PHASE_TAKING && tenancy->has_failed);
}

void tenancy_discard(struct lease *lease)
{
	lease->tenancy->broker->on_news = NULL;
	tenancy_free(lease->tenancy);
}

/* Its holding has no job that still has to answer for it: nobody has to wait for it any more. */
static void tenancy_leave(struct tenancy *tenancy, const struct group *group)
{
	for (size_t i = 0; i < tenancy->n_holdings; i++) {
		struct holding *holding = tenancy->holdings[i];
		if (holding && holding->group == group && !holding->job) {
			holding->tenancy = NULL;
			tenancy->holdings[i] = NULL;
		}
	}
}

/* A group of it has left the host: its client has heard which devices. */
static void tell_reduced(struct tenancy *tenancy, int group)
{
	const struct lease *lease = tenancy->lease;
	char text[128];

	snprintf(text, sizeof(text), "group %d has left the host; it goes on with %zu %s", group,
		lease->n_groups, lease->n_groups == 1 ? "other" : "others");
	log_fields(LOG_NOTICE, (const char *[]){ "VFIOD_LEASE", lease->name, NULL }, "lease %s: %s",
		lease->name, text);
	tenancy_news(tenancy, "leaseReduced", text);
}

bool tenancy_bury(struct lease *lease)
{
	struct tenancy *tenancy = lease->tenancy;
	struct group *gone = NULL;

	/* One that waits is refused when it is asked again. */
	if (tenancy->phase == PHASE_QUEUED)
		return false;
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i]->binding == BINDING_GONE) {
			gone = lease->groups[i];
			tenancy_leave(tenancy, gone);
		}
	if (!gone || tenancy->has_failed)
		return false;
	if (tenancy->phase == PHASE_GRANTED) {
		int number = gone->number;
		lease_drop_group(lease, gone);
		lease_record_follow(lease);
		if (lease->n_groups == 0)
			tenancy_end(lease, "its last device has left the host", NULL);
		else
			tell_reduced(tenancy, number);
		return true;
	}
	tenancy->has_failed = true;
	group_is_usable(tenancy->broker, gone, &tenancy->refusal);
	if (tenancy->phase == PHASE_PREPARING)
		tenancy_undo(tenancy);
	/* TAKING: the last answer undoes it. */
	return true;
}
