/* How a lease comes in, and waits for its turn: fair, with an end. */
#include "daemon/broker/choosing.h"

#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/text.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

void account_name(const struct rule *rule, const struct subject *subject, const char *lease,
	char *account, size_t size)
{
	const char *payer = rule && rule->account ? rule->account : "uid", *end = account + size;
	if (strcmp(payer, "uid") == 0)
		text_put_number(text_put(account, end, "uid:"), end, subject->uid);
	else if (strcmp(payer, "lease") == 0)
		text_put(text_put(account, end, "lease:"), end, lease);
	else if (strcmp(payer, "unit") == 0)
		snprintf(account, size, "unit:%.240s", *subject->unit ? subject->unit : "none");
	else
		snprintf(account, size, "%s", payer);
}

/* Of one group: what the rules say, and whether it can be had. */
static int tenancy_check_group(
	struct tenancy *tenancy, const struct group *group, struct refusal *refusal)
{
	struct lease *lease = tenancy->lease;
	struct verdict verdict = { 0 };
	int r = group_is_usable(tenancy->broker, group, refusal);

	if (r == 0 && !tenancy->only_takes)
		r = group_verdict_in_turn(
			tenancy->broker, &lease->subject, group, &verdict, refusal);
	if (r == 0)
		r = group_check_mode(group, lease->brokered, lease->cdev, refusal);
	if (r != 0)
		return r;
	if (group == lease->groups[0])
		account_name(verdict.rule, &lease->subject, lease->name, lease->account,
			sizeof(lease->account));
	lease->is_trusted = lease->is_trusted && verdict.trusted;
	/* Whom an administrator has had returned, goes back after a lease, too. */
	lease->stay =
		lease->stay || (verdict.stay && !appearing_is_declined(tenancy->broker, group));
	return 0;
}

int tenancy_check(struct tenancy *tenancy, const struct group **culprit, struct refusal *refusal)
{
	struct lease *lease = tenancy->lease;
	int r = lease->cdev ? cdev_check(tenancy->broker, refusal) : 0;

	*culprit = NULL;
	lease->stay = false;
	lease->is_trusted = true;
	for (size_t i = 0; r == 0 && i < lease->n_groups; i++) {
		r = tenancy_check_group(tenancy, lease->groups[i], refusal);
		if (r != 0)
			*culprit = lease->groups[i];
	}
	return r;
}

static void refuse_obstacle(
	const struct tenancy *tenancy, const struct group *obstacle, struct refusal *refusal)
{
	enum refusal_kind kind = tenancy->is_late ? REFUSAL_TIMED_OUT : REFUSAL_GROUP_BUSY;

	if (obstacle) {
		refuse_busy(tenancy->broker, obstacle, kind, refusal);
		return;
	}
	refuse(refusal, kind, "what could answer it has just left");
}

static void tenancy_tell_position(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	size_t position = lease_book_position(lease);
	if (position == tenancy->told_position)
		return;
	tenancy->told_position = position;
	if (lease->listener && lease->listener->queued)
		lease->listener->queued(lease, position, lease->userdata);
}

void tenancy_give_up(struct tenancy *tenancy, int result, const char *origin)
{
	if (result < 0) {
		refuse(&tenancy->refusal, REFUSAL_SYSTEM, "%s", origin);
		tenancy->refusal.errnum = -result;
	}
	tenancy_refuse(tenancy);
}

/* Its turn has come. What it is to reserve is charged before anything is written. */
static void tenancy_begin(struct tenancy *tenancy)
{
	int r = lease_reserve(
		tenancy->broker, tenancy->lease, tenancy->memory_bytes, &tenancy->refusal);
	if (r == 0)
		tenancy_start(tenancy);
	else
		tenancy_give_up(tenancy, r, "reserving memory");
}

bool tenancy_try(struct lease *lease, struct offer *offer)
{
	struct tenancy *tenancy = lease->tenancy;
	bool is_checked = tenancy->checked == tenancy->broker->n_changes;
	bool was_tried = tenancy->wishes && tenancy->wishes->n_tried > 0;
	struct refusal refusal;
	const struct group *obstacle;
	int r = is_checked ? 0 : tenancy_check(tenancy, &obstacle, &refusal);

	if (r == REFUSED)
		tenancy->refusal = refusal;
	r = r == REFUSED ? SERVED_NEVER : r == 0 ? tenancy_be_served(tenancy, offer, &obstacle) : r;
	if (r == SERVED_WHOLLY) {
		tenancy_begin(tenancy);
		return true;
	}
	if (r == SERVED_PARTLY && ev_is_active(&tenancy->wait)) {
		tenancy_tell_position(tenancy);
		return false;
	}
	/*
	 * It came when the groups were free and does not want to wait; now they are not. What
	 * others were given up for says more than who has the rest.
	 */
	if (r == SERVED_PARTLY && (tenancy->is_late || !was_tried))
		refuse_obstacle(tenancy, obstacle, &tenancy->refusal);
	tenancy_give_up(tenancy, r < 0 ? r : REFUSED, "looking whose turn it is");
	return true;
}

static void on_wait_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct tenancy *tenancy = timer->data;
	struct offer offer = { .has_begun = false };

	/* They may have become free a moment ago, and the loop has not come round yet. */
	tenancy->is_late = true;
	int r = offer_begin(tenancy->broker, &offer);
	if (r == 0)
		r = offer_serve_before(&offer, tenancy->lease);
	if (r == 0)
		tenancy_try(tenancy->lease, &offer);
	else
		tenancy_give_up(tenancy, r, "looking whose turn it is");
	offer_end(&offer);
}

static void on_holder_ended(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)revents;
	struct tenancy *tenancy = io->data;
	/* It stays readable, and a lease that is being taken takes a while to end. */
	ev_io_stop(loop, io);
	tenancy_end(tenancy->lease, "its process has ended", NULL);
}

static void on_grace_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct tenancy *tenancy = timer->data;
	const char *name = tenancy->lease->name;

	log_fields(LOG_NOTICE,
		(const char *[]){
			"MESSAGE_ID", MESSAGE_RESUME_TIMED_OUT, "VFIOD_LEASE", name, NULL },
		"nobody has resumed lease %s in time: it ends", name);
	tenancy_end(tenancy->lease, "its connection was lost, and nobody has resumed it", NULL);
}

struct tenancy *tenancy_make(struct broker *broker, size_t n_groups)
{
	struct tenancy *tenancy = calloc(1, sizeof(*tenancy));
	if (!tenancy)
		return NULL;
	tenancy->holdings = new_zeroed((n_groups ? n_groups : 1) * sizeof(struct holding *));
	if (!tenancy->holdings) {
		free(tenancy);
		return NULL;
	}
	tenancy->broker = broker;
	tenancy->n_holdings = n_groups;
	ev_init(&tenancy->wait, on_wait_over);
	tenancy->wait.data = tenancy;
	ev_init(&tenancy->grace, on_grace_over);
	tenancy->grace.data = tenancy;
	ev_init(&tenancy->holder_ended, on_holder_ended);
	tenancy->holder_ended.data = tenancy;
	tenancy->holder_pidfd = -1;
	tenancy->draft = NO_DRAFT;
	return tenancy;
}

void tenancy_follow(struct tenancy *tenancy, int holder_pidfd)
{
	tenancy->holder_pidfd = holder_pidfd;
	tenancy->lease->follows_process = true;
	ev_io_set(&tenancy->holder_ended, tenancy->holder_pidfd, EV_READ);
	ev_io_start(tenancy->broker->loop, &tenancy->holder_ended);
}

static int tenancy_new(struct broker *broker, const struct acquire_request *request,
	bool only_takes, struct tenancy **tenancyp)
{
	struct tenancy *tenancy = tenancy_make(broker, request->n_groups);
	if (!tenancy)
		return -ENOMEM;
	int r = lease_new(&broker->book, request->subject, request->groups, request->n_groups,
		&tenancy->lease);
	if (r < 0) {
		free(tenancy->holdings);
		free(tenancy);
		return r;
	}
	names_reserve(broker);
	tenancy->only_takes = only_takes;
	tenancy->memory_bytes = request->memory_bytes;
	tenancy->lease->tenancy = tenancy;
	tenancy->lease->listener = request->listener;
	tenancy->lease->userdata = request->userdata;
	tenancy->lease->brokered = request->brokered;
	tenancy->lease->cdev = request->cdev;
	tenancy->lease->connection = request->connection;
	tenancy->lease->is_stream = request->is_stream;
	ev_timer_set(&tenancy->wait, request->wait_seconds, 0);
	if (request->wait_seconds > 0)
		tenancy->waits_until = ev_now(broker->loop) + request->wait_seconds;
	*tenancyp = tenancy;
	return 0;
}

/* Refused while the caller still waits for the answer: the listener is not called. */
static void tenancy_refuse_at_once(struct tenancy *tenancy)
{
	lease_leave_queue(&tenancy->broker->book, tenancy->lease, LEASE_ENDED);
	tenancy_free(tenancy);
}

/* Whether it can start as things are: SERVED_WHOLLY, SERVED_PARTLY with *obstacle, or -ENOMEM. */
static int tenancy_look_ahead(struct tenancy *tenancy, const struct group **obstacle)
{
	struct offer offer = { .has_begun = false };
	int r = offer_begin(tenancy->broker, &offer);

	if (r == 0)
		r = offer_serve_before(&offer, tenancy->lease);
	if (r == 0)
		r = offer_serve(&offer, tenancy, obstacle);
	offer_end(&offer);
	return r;
}

static int tenancy_enter(struct broker *broker, const struct acquire_request *request,
	bool only_takes, struct lease **lease, struct refusal *refusal)
{
	struct tenancy *tenancy = NULL;
	int r = REFUSED;

	if (broker->is_stopping) {
		refuse(refusal, REFUSAL_INTERRUPTED, "vfiod is stopping");
		refusal->is_restart = true;
	} else {
		r = tenancy_new(broker, request, only_takes, &tenancy);
	}
	if (r != 0) {
		if (request->holder_pidfd >= 0)
			close(request->holder_pidfd);
		wishes_free(request->wishes);
		return r;
	}
	if (request->holder_pidfd >= 0)
		tenancy_follow(tenancy, request->holder_pidfd);

	const struct group *obstacle = NULL;
	r = tenancy_check(tenancy, &obstacle, refusal);
	if (r == 0)
		r = tenancy_wish(tenancy, request->wishes, refusal);
	else
		wishes_free(request->wishes);
	int served = r == 0 ? tenancy_look_ahead(tenancy, &obstacle) : SERVED_PARTLY;
	if (served < 0)
		r = served;
	if (r == 0 && served == SERVED_PARTLY && request->wait_seconds <= 0) {
		refuse_obstacle(tenancy, obstacle, refusal);
		r = REFUSED;
	}
	if (r != 0) {
		tenancy_refuse_at_once(tenancy);
		return r;
	}
	*lease = tenancy->lease;
	/* Also where nothing is in the way: that may change before the loop comes round. */
	if (request->wait_seconds > 0)
		ev_timer_start(broker->loop, &tenancy->wait);
	tenancy->told_position = SIZE_MAX;
	if (served == SERVED_PARTLY) {
		tenancy_news(tenancy, "leaseQueued", NULL);
		tenancy_tell_position(tenancy);
	} else {
		/* It starts when the loop comes round: no listener is called from within here. */
		tenancy->checked = broker->n_changes;
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
