/* How a request that describes what it wants gets one group or another. */
#include "daemon/broker/choosing.h"

#include "daemon/broker/wishing.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>

void tenancy_forget_wishes(struct tenancy *tenancy)
{
	tenancy->broker->wishing.n -= tenancy->wishes != NULL;
	tenancy->wishes = wishes_free(tenancy->wishes);
}

int tenancy_wish(struct tenancy *tenancy, struct wishes *wishes, struct refusal *refusal)
{
	if (!wishes)
		return 0;
	tenancy->wishes = wishes;
	tenancy->broker->wishing.n++;
	if (wishes->n_described > 0)
		return wishing_look(tenancy, refusal);
	int r = wishing_select(tenancy);
	tenancy_forget_wishes(tenancy);
	return r;
}

/* The groups that were named, and those that were chosen besides. 0 or -errno. */
static int set_groups(struct tenancy *tenancy, bool with_chosen)
{
	const struct wishes *wishes = tenancy->wishes;
	_cleanup_free_ struct group **groups = calloc(wishes->n, sizeof(*groups));
	struct holding **holdings = calloc(wishes->n, sizeof(struct holding *));
	size_t n = 0;

	if (groups && holdings)
		n = with_chosen ? wishes_chosen(wishes, groups) : wishes_named(wishes, groups);
	if (!groups || !holdings || lease_set_groups(tenancy->lease, groups, n) < 0) {
		free(holdings);
		return -ENOMEM;
	}
	free(tenancy->holdings);
	tenancy->holdings = holdings;
	tenancy->n_holdings = n;
	return 0;
}

/*
 * What was chosen becomes what it gets: 0; also with *is_again: the rules or a former user are in
 * the way of one of them, which is no candidate any more. Or tenancy->refusal, or -errno.
 */
static int accept(struct tenancy *tenancy, bool *is_again)
{
	const struct group *culprit = NULL;

	*is_again = false;
	int r = set_groups(tenancy, true);
	if (r == 0)
		r = tenancy_check(tenancy, &culprit, &tenancy->refusal);
	if (r == 0)
		return wishing_select(tenancy);
	if (r == REFUSED && culprit && wishes_has_chosen(tenancy->wishes, culprit)) {
		wishes_drop(tenancy->wishes, culprit->number);
		r = wishing_is_hopeful(tenancy, &tenancy->refusal, &tenancy->refusal);
		*is_again = r == 0;
	}
	int named = set_groups(tenancy, false);
	return named < 0 ? named : r;
}

/* Anew: what it has not got after all is still there, but not for it. */
static int serve_again(struct tenancy *tenancy, struct offer *offer, const struct group **obstacle)
{
	offer_end(offer);
	int r = offer_begin(tenancy->broker, offer);
	if (r == 0)
		r = offer_serve_before(offer, tenancy->lease);
	return r == 0 ? offer_serve(offer, tenancy, obstacle) : r;
}

int tenancy_be_served(struct tenancy *tenancy, struct offer *offer, const struct group **obstacle)
{
	int r = offer_serve(offer, tenancy, obstacle);
	bool is_again = tenancy->wishes != NULL;

	while (r == SERVED_WHOLLY && is_again) {
		r = accept(tenancy, &is_again);
		if (r == REFUSED)
			return SERVED_NEVER;
		if (r == 0 && is_again)
			r = serve_again(tenancy, offer, obstacle);
	}
	return r;
}

/* Of the group alone, so that another one may be better. */
static bool is_of_group(enum tenancy_phase phase, enum refusal_kind kind)
{
	switch (kind) {
	case REFUSAL_DEVICE_IN_USE:
	case REFUSAL_NOT_VIABLE:
	case REFUSAL_GROUP_BUSY:
	case REFUSAL_NO_SUCH_GROUP:
	case REFUSAL_GROUP_FAILED:
	case REFUSAL_TAKE_FAILED: /* before the first write, too: one that cannot be opened */
		return true;
	case REFUSAL_STUCK:
		/* Where a child of ours hangs in a driver, another one might as well. */
		return phase == PHASE_PREPARING;
	default:
		return false;
	}
}

static const struct group *chosen_culprit(const struct tenancy *tenancy)
{
	const struct lease *lease = tenancy->lease;

	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i]->number == tenancy->refusal.group &&
			wishes_has_chosen(tenancy->wishes, lease->groups[i]))
			return lease->groups[i];
	return NULL;
}

static bool is_failed_take(const struct tenancy *tenancy)
{
	return tenancy->phase == PHASE_TAKING || tenancy->refusal.kind == REFUSAL_TAKE_FAILED;
}

/* 0, or what group_set_add() says. */
static int put_aside(struct tenancy *tenancy, const struct group *group)
{
	struct wishes *wishes = tenancy->wishes;
	bool is_failure = is_failed_take(tenancy);
	/* What the host uses it for may be over. But a rollback changes drivers, as if something
	 * new were to be seen. */
	bool is_lasting = is_failure && group->binding != BINDING_GONE;
	int r = group_set_add(is_lasting ? &wishes->failed : &wishes->tried, group->number);

	if (r < 0)
		return r;
	wishes->n_tried++;
	wishes->n_failed += is_failure;
	wishes_drop(wishes, group->number);
	return 0;
}

static void log_failure(const struct tenancy *tenancy, const struct group *group)
{
	char text[REFUSAL_TEXT_SIZE], number[16];

	snprintf(number, sizeof(number), "%d", group->number);
	refusal_describe(&tenancy->refusal, text, sizeof(text));
	log_fields(LOG_WARNING,
		(const char *[]){
			"VFIOD_GROUP", number, "VFIOD_LEASE", tenancy->lease->name, NULL },
		"lease %s is not to get group %d: %s", tenancy->lease->name, group->number, text);
}

bool tenancy_can_choose_again(struct tenancy *tenancy)
{
	/* Each time, drivers of the host lose devices and get them back; and if so many cannot be
	 * taken, that is not for what they are. */
	enum { FAILURES_MAX = 4 };
	struct wishes *wishes = tenancy->wishes;
	const struct group *group =
		wishes && !tenancy->is_abandoned ? chosen_culprit(tenancy) : NULL;

	if (!group || !is_of_group(tenancy->phase, tenancy->refusal.kind) ||
		put_aside(tenancy, group) < 0)
		return false;
	if (is_failed_take(tenancy))
		log_failure(tenancy, group);
	if (wishes->n_failed >= FAILURES_MAX) {
		wishing_tell_tried(wishes, &tenancy->refusal);
		return false;
	}
	return wishing_is_hopeful(tenancy, &tenancy->refusal, &tenancy->refusal) == 0;
}

int broker_choose(struct broker *broker, const struct subject *subject, struct wishes *wishes,
	struct group **groups, size_t *n_groups, struct refusal *refusal)
{
	/* One that asks, and is in no book. */
	struct lease lease = { .state = LEASE_ENDED, .subject = *subject, .groups = groups };
	struct tenancy tenancy = { .broker = broker, .lease = &lease, .wishes = wishes };
	struct offer offer = { .has_begun = false };
	const struct group *obstacle;
	int r = wishes->n_described > 0 ? wishing_look(&tenancy, refusal) : 0;

	lease.n_groups = wishes_named(wishes, groups);
	if (r == 0 && wishes->n_described > 0) {
		r = offer_begin(broker, &offer);
		if (r == 0)
			r = offer_serve_before(&offer, NULL);
		if (r == 0)
			r = offer_serve(&offer, &tenancy, &obstacle);
		offer_end(&offer);
		if (r == SERVED_PARTLY)
			r = wishing_choose_any(&tenancy);
	}
	if (r == 0)
		r = wishing_select(&tenancy);
	if (r == 0)
		*n_groups = wishes_chosen(wishes, groups);
	strv_free(wishes->selected);
	wishes->selected = lease.selected;
	return r;
}

/* As it was before its turn had come: what it was refused for stays in tenancy->refusal. */
static void leave_groups(struct tenancy *tenancy)
{
	struct broker *broker = tenancy->broker;
	struct lease *lease = tenancy->lease;

	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i]->binding != BINDING_GONE &&
			!holding_find(broker, lease->groups[i]))
			group_set_owner(broker->inventory, lease->groups[i], OWNER_NONE);
	lease_drop_draft(lease);
	lease->selected = strv_free(lease->selected);
	tenancy->phase = PHASE_QUEUED;
	tenancy->has_failed = tenancy->tries_again = false;
	tenancy->checked = 0;
	tenancy->told_position = SIZE_MAX;
	lease_requeue(&broker->book, lease);
}

void tenancy_requeue(struct tenancy *tenancy)
{
	struct broker *broker = tenancy->broker;
	struct refusal refusal;
	double left = tenancy->waits_until - ev_now(broker->loop);

	leave_groups(tenancy);
	/* It was not in the queue when others looked again at what has changed. */
	int r = set_groups(tenancy, false);
	if (r == 0)
		r = wishing_look(tenancy, &refusal);
	if (r != 0) {
		tenancy_give_up(tenancy, r, "looking for another device");
		return;
	}
	if (tenancy->waits_until > 0) {
		ev_timer_set(&tenancy->wait, left > 0 ? left : 0, 0);
		ev_timer_start(broker->loop, &tenancy->wait);
	}
	broker_pump_later(broker);
}
