/* A lease on its way: queue → prepare → take → grant → end. All groups or none. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/lease/policy.h"

#include <errno.h>
#include <string.h>

enum tenancy_phase {
	PHASE_QUEUED,
	PHASE_PREPARING, /* every group inspects or opens; no write yet */
	PHASE_TAKING,
	PHASE_UNDOING, /* one failed: what was taken goes back, then the client is told */
	PHASE_GRANTED,
};

struct tenancy {
	struct broker *broker;
	struct lease *lease;
	enum tenancy_phase phase;
	struct holding **holdings; /* of lease->groups, in their order; NULL: not its own (any more) */
	size_t n_holdings;
	size_t n_pending; /* holdings that have not answered in this phase */
	bool has_failed;
	struct refusal refusal; /* the first */
	size_t told_position;	/* in the queue */
	bool only_takes;	/* an administrator's take: no lease stays when it is done */
	ev_timer wait;
	ev_io holder_ended;
	int holder_pidfd;
};

struct lease *tenancy_lease(struct tenancy *tenancy)
{
	return tenancy->lease;
}

static void tenancy_news(struct tenancy *tenancy, const char *event, const char *text)
{
	struct broker_news news = {
		.event = event,
		.group = tenancy->lease->n_groups > 0 ? tenancy->lease->groups[0]->number : -1,
		.lease = tenancy->lease->name,
		.text = text,
	};
	broker_tell(tenancy->broker, &news);
}

static void tenancy_free(struct tenancy *tenancy)
{
	struct broker *broker = tenancy->broker;
	ev_timer_stop(broker->loop, &tenancy->wait);
	ev_io_stop(broker->loop, &tenancy->holder_ended);
	if (tenancy->holder_pidfd >= 0)
		close(tenancy->holder_pidfd);
	lease_free(&broker->book, tenancy->lease);
	free(tenancy->holdings);
	free(tenancy);
	broker_pump_later(broker);
}

/* Not granted: the client is told, and nothing is left. */
static void tenancy_refuse(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	char text[REFUSAL_TEXT_SIZE];

	refusal_describe(&tenancy->refusal, text, sizeof(text));
	for (size_t i = 0; i < lease->n_groups; i++)
		if (tenancy->phase != PHASE_QUEUED && lease->groups[i]->binding != BINDING_GONE &&
			!holding_find(tenancy->broker, lease->groups[i]))
			group_set_owner(tenancy->broker->inventory, lease->groups[i], OWNER_NONE);
	lease->state = LEASE_ENDED;
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
		refuse(&tenancy->refusal, REFUSAL_SYSTEM, "taking group %d", holding->group->number);
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

static void on_undone(const int *lingering, size_t n_lingering, const struct refusal *refusal,
	void *userdata)
{
	(void)lingering;
	(void)n_lingering;
	struct tenancy *tenancy = userdata;
	if (refusal && tenancy->refusal.kind == REFUSAL_TAKE_FAILED)
		tenancy->refusal.rolled_back = false;
	tenancy_refuse(tenancy);
}

/* Some groups were taken, one could not be (or the client has gone): all go back. */
static void tenancy_undo(struct tenancy *tenancy)
{
	struct settling *settling = settling_new(tenancy->broker, NULL, 0);
	bool tell_later = settling && settling_join(settling, on_undone, tenancy) == 0;

	tenancy->phase = PHASE_UNDOING;
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

static void tenancy_grant(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	_cleanup_free_ int *fds = calloc(tenancy->n_holdings, sizeof(*fds));

	if (!fds) {
		refuse(&tenancy->refusal, REFUSAL_SYSTEM, "granting the lease");
		tenancy->refusal.errnum = ENOMEM;
		tenancy_undo(tenancy);
		return;
	}
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		fds[i] = holding_use(tenancy->holdings[i]);
	tenancy->phase = PHASE_GRANTED;
	lease->state = LEASE_GRANTED;
	lease->granted_at = ev_now(tenancy->broker->loop);
	if (!tenancy->only_takes) {
		log_fields(LOG_INFO, (const char *[]){ "VFIOD_LEASE", lease->name, NULL },
			"lease %s granted to pid %d (%s) of uid %u, account %s", lease->name,
			(int)lease->subject.pid, lease->subject.command,
			(unsigned)lease->subject.uid, lease->account);
		tenancy_news(tenancy, "leaseGranted", NULL);
	}
	if (lease->listener)
		lease->listener->granted(lease, fds, lease->userdata);
	/* No copy stays here: it would keep a dead client's pages pinned. */
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		tenancy->broker->ops->close_group(tenancy->broker->ops->userdata, fds[i]);
	if (!tenancy->only_takes)
		return;
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		holding_stay(tenancy->holdings[i]);
	lease->state = LEASE_ENDED;
	tenancy_free(tenancy);
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
	if (--tenancy->n_pending > 0)
		return;
	if (tenancy->has_failed)
		tenancy_undo(tenancy);
	else
		tenancy_grant(tenancy);
}

void tenancy_prepared(struct tenancy *tenancy, struct holding *holding, int result,
	const struct refusal *refusal)
{
	if (result != 0) {
		tenancy_note_failure(tenancy, holding, result, refusal);
		tenancy_forget(tenancy, holding);
	}
	if (--tenancy->n_pending > 0)
		return;
	if (tenancy->has_failed)
		tenancy_undo(tenancy);
	else
		tenancy_go(tenancy);
}

void tenancy_taken(struct tenancy *tenancy, struct holding *holding, int result,
	const struct refusal *refusal)
{
	if (result != 0) {
		tenancy_note_failure(tenancy, holding, result, refusal);
		tenancy_forget(tenancy, holding);
	}
	if (--tenancy->n_pending > 0)
		return;
	if (tenancy->has_failed)
		tenancy_undo(tenancy);
	else
		tenancy_grant(tenancy);
}

static void tenancy_start(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	struct broker *broker = tenancy->broker;

	ev_timer_stop(broker->loop, &tenancy->wait);
	lease->state = LEASE_ACQUIRING;
	tenancy->phase = PHASE_PREPARING;
	tenancy->n_pending = 1;
	for (size_t i = 0; i < lease->n_groups; i++) {
		struct refusal refusal;
		struct holding *holding = holding_get(broker, lease->groups[i]);
		int r = -ENOMEM;
		group_set_owner(broker->inventory, lease->groups[i], OWNER_LEASED);
		if (holding)
			r = holding_prepare(holding, tenancy, &refusal);
		if (r == 0) {
			tenancy->holdings[i] = holding;
			tenancy->n_pending++;
			continue;
		}
		/* The holding has stepped back and may be no more: name the group oneself. */
		struct holding named = { .group = lease->groups[i] };
		tenancy_note_failure(tenancy, &named, r, &refusal);
		group_set_owner(broker->inventory, lease->groups[i], OWNER_NONE);
	}
	if (--tenancy->n_pending > 0)
		return;
	if (tenancy->has_failed)
		tenancy_undo(tenancy);
	else
		tenancy_go(tenancy);
}

/* --- the queue --------------------------------------------------------------------------- */

static void account_name(struct lease *lease, const struct rule *rule)
{
	const char *account = rule && rule->account ? rule->account : "uid";
	if (strcmp(account, "uid") == 0)
		snprintf(lease->account, sizeof(lease->account), "uid:%u",
			(unsigned)lease->subject.uid);
	else if (strcmp(account, "lease") == 0)
		snprintf(lease->account, sizeof(lease->account), "lease:%s", lease->name);
	else if (strcmp(account, "unit") == 0)
		snprintf(lease->account, sizeof(lease->account), "unit:%.240s",
			*lease->subject.unit ? lease->subject.unit : "none");
	else
		snprintf(lease->account, sizeof(lease->account), "%s", account);
}

/* Asked when it comes and again when its turn comes: rules and groups change while it waits. */
static int tenancy_check(struct tenancy *tenancy, struct refusal *refusal)
{
	struct lease *lease = tenancy->lease;
	for (size_t i = 0; i < lease->n_groups; i++) {
		struct verdict verdict = { 0 };
		int r = group_is_usable(lease->groups[i], refusal);
		if (r == 0 && !tenancy->only_takes)
			r = group_verdict(tenancy->broker, &lease->subject, lease->groups[i],
				&verdict, refusal);
		if (r != 0)
			return r;
		if (i == 0)
			account_name(lease, verdict.rule);
		lease->stay = lease->stay || verdict.stay;
	}
	return 0;
}

static const struct group *tenancy_obstacle(const struct tenancy *tenancy)
{
	const struct lease *lease = tenancy->lease;
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease_book_owner(&tenancy->broker->book, lease->groups[i]) ||
			!holding_is_free(holding_find(tenancy->broker, lease->groups[i])))
			return lease->groups[i];
	/* Nobody has them, but somebody was first to want one of them. */
	return lease_book_position(&tenancy->broker->book, lease) > 0 ? lease->groups[0] : NULL;
}

static void tenancy_tell_position(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	size_t position = lease_book_position(&tenancy->broker->book, lease);
	if (position == tenancy->told_position)
		return;
	tenancy->told_position = position;
	if (lease->listener && lease->listener->queued)
		lease->listener->queued(lease, position, lease->userdata);
}

bool tenancy_try(struct lease *lease)
{
	struct tenancy *tenancy = lease->tenancy;
	int r = tenancy_check(tenancy, &tenancy->refusal);
	if (r != 0) {
		if (r < 0) {
			refuse(&tenancy->refusal, REFUSAL_SYSTEM, "asking the rules");
			tenancy->refusal.errnum = -r;
		}
		tenancy_refuse(tenancy);
		return true;
	}
	const struct group *obstacle = tenancy_obstacle(tenancy);
	if (!obstacle) {
		tenancy_start(tenancy);
		return true;
	}
	if (ev_is_active(&tenancy->wait)) {
		tenancy_tell_position(tenancy);
		return false;
	}
	/* It came when the groups were free and does not want to wait; now they are not. */
	refuse_busy(tenancy->broker, obstacle, REFUSAL_GROUP_BUSY, &tenancy->refusal);
	tenancy_refuse(tenancy);
	return true;
}

static void on_wait_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct tenancy *tenancy = timer->data;
	const struct group *obstacle = tenancy_obstacle(tenancy);
	refuse_busy(tenancy->broker, obstacle ? obstacle : tenancy->lease->groups[0],
		REFUSAL_TIMED_OUT, &tenancy->refusal);
	tenancy_refuse(tenancy);
}

static void on_holder_ended(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct tenancy *tenancy = io->data;
	tenancy_end(tenancy->lease, "its process has ended", NULL);
}

static int tenancy_new(struct broker *broker, const struct acquire_request *request,
	bool only_takes, struct tenancy **tenancyp)
{
	struct tenancy *tenancy = calloc(1, sizeof(*tenancy));
	if (!tenancy)
		return -ENOMEM;
	tenancy->broker = broker;
	tenancy->only_takes = only_takes;
	tenancy->n_holdings = request->n_groups;
	tenancy->holdings = calloc(request->n_groups, sizeof(struct holding *));
	int r = !tenancy->holdings ? -ENOMEM
				   : lease_new(&broker->book, request->subject, request->groups,
					     request->n_groups, &tenancy->lease);
	if (r < 0) {
		free(tenancy->holdings);
		free(tenancy);
		return r;
	}
	tenancy->lease->tenancy = tenancy;
	tenancy->lease->listener = request->listener;
	tenancy->lease->userdata = request->userdata;
	ev_timer_init(&tenancy->wait, on_wait_over, request->wait_seconds, 0);
	tenancy->wait.data = tenancy;
	ev_init(&tenancy->holder_ended, on_holder_ended);
	tenancy->holder_ended.data = tenancy;
	tenancy->holder_pidfd = -1;
	*tenancyp = tenancy;
	return 0;
}

/* Refused while the caller still waits for the answer: the listener is not called. */
static int tenancy_refuse_at_once(struct tenancy *tenancy)
{
	tenancy->lease->state = LEASE_ENDED;
	tenancy_free(tenancy);
	return REFUSED;
}

static int tenancy_enter(struct broker *broker, const struct acquire_request *request,
	bool only_takes, struct lease **lease, struct refusal *refusal)
{
	struct tenancy *tenancy;
	int r = tenancy_new(broker, request, only_takes, &tenancy);
	if (r < 0) {
		if (request->holder_pidfd >= 0)
			close(request->holder_pidfd);
		return r;
	}
	if (request->holder_pidfd >= 0) {
		tenancy->holder_pidfd = request->holder_pidfd;
		tenancy->lease->follows_process = true;
		ev_io_set(&tenancy->holder_ended, tenancy->holder_pidfd, EV_READ);
		ev_io_start(broker->loop, &tenancy->holder_ended);
	}

	r = tenancy_check(tenancy, refusal);
	const struct group *obstacle = r == 0 ? tenancy_obstacle(tenancy) : NULL;
	if (r == 0 && obstacle && request->wait_seconds <= 0) {
		refuse_busy(broker, obstacle, REFUSAL_GROUP_BUSY, refusal);
		r = REFUSED;
	}
	if (r != 0) {
		tenancy_refuse_at_once(tenancy);
		return r;
	}
	*lease = tenancy->lease;
	if (obstacle) {
		ev_timer_start(broker->loop, &tenancy->wait);
		tenancy_news(tenancy, "leaseQueued", NULL);
		tenancy->told_position = SIZE_MAX;
		tenancy_tell_position(tenancy);
	} else {
		/* It starts when the loop comes round: no listener is called from within here. */
		broker_pump_later(broker);
	}
	return 0;
}

int broker_acquire(struct broker *broker, const struct acquire_request *request,
	struct lease **lease, struct refusal *refusal)
{
	return tenancy_enter(broker, request, false, lease, refusal);
}

int broker_take(struct broker *broker, const struct subject *subject, struct group *group,
	const struct lease_listener *listener, void *userdata, struct lease **lease,
	struct refusal *refusal)
{
	struct acquire_request request = {
		.subject = subject,
		.groups = &group,
		.n_groups = 1,
		.holder_pidfd = -1,
		.listener = listener,
		.userdata = userdata,
	};
	return tenancy_enter(broker, &request, true, lease, refusal);
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
		if (!tenancy->has_failed)
			refuse(&tenancy->refusal, REFUSAL_INTERRUPTED, "%s", reason);
		tenancy->has_failed = true;
		if (tenancy->phase == PHASE_QUEUED)
			tenancy_refuse(tenancy);
		else if (tenancy->phase == PHASE_PREPARING)
			tenancy_undo(tenancy);
		/* TAKING: the last answer undoes it. UNDOING: it is under way. */
		return;
	case PHASE_GRANTED:
		break;
	}

	log_fields(LOG_INFO, (const char *[]){ "VFIOD_LEASE", lease->name, NULL },
		"lease %s ended: %s", lease->name, reason);
	lease->state = LEASE_ENDED;
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		if (tenancy->holdings[i])
			holding_let_go(tenancy->holdings[i], lease->stay, settling);
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

void tenancy_group_gone(struct lease *lease, struct group *group)
{
	struct tenancy *tenancy = lease->tenancy;
	struct holding *holding = holding_find(tenancy->broker, group);

	if (tenancy->phase != PHASE_GRANTED) {
		if (!tenancy->has_failed)
			group_is_usable(group, &tenancy->refusal);
		tenancy->has_failed = true;
		if (tenancy->phase == PHASE_QUEUED)
			tenancy_refuse(tenancy);
		else if (tenancy->phase == PHASE_PREPARING)
			tenancy_undo(tenancy);
		return;
	}
	if (holding)
		tenancy_forget(tenancy, holding);
	lease_drop_group(lease, group);
	if (lease->n_groups == 0)
		tenancy_end(lease, "its last device has left the host", NULL);
}
