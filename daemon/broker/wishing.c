#include "daemon/broker/wishing.h"

#include "daemon/base/util.h"
#include "daemon/broker/offering.h"
#include "daemon/lease/choice.h"

#include <errno.h>
#include <string.h>

/* Each is a description and a group, or a place in the queue: a microsecond at most. */
enum { STEPS_AT_A_TIME = 20000 };

/* May the subject have it, now or when its turn comes? 0 or REFUSED. */
static int group_is_possible(
	const struct tenancy *tenancy, const struct group *group, struct refusal *refusal)
{
	const struct lease *lease = tenancy->lease;
	struct verdict verdict;
	int r = group_is_usable(tenancy->broker, group, refusal);

	if (r == 0)
		r = group_verdict_in_turn(
			tenancy->broker, &lease->subject, group, &verdict, refusal);
	return r == 0 ? group_check_mode(group, lease->brokered, lease->cdev, refusal) : r;
}

/* Sets or clears the group in each description's candidates. 0 or -ENOMEM. */
static int look_at(struct tenancy *tenancy, const struct group *group)
{
	const struct broker *broker = tenancy->broker;
	struct wishes *wishes = tenancy->wishes;
	bool is_tried = group_set_has(&wishes->tried, group->number) ||
			group_set_has(&wishes->failed, group->number);
	int possible = -1, r = 0;

	for (size_t i = 0; i < wishes->n && r != -ENOMEM; i++) {
		struct wish *wish = &wishes->all[i];
		size_t n;
		if (wish->group)
			continue;
		tenancy->broker->n_steps++;
		const struct match *matches = wish_matches(broker->config, wish, &n);
		bool fits = !is_tried && wish_device(matches, n, group, device_is_given);
		if (fits && possible < 0) {
			struct refusal refusal;
			possible = group_is_possible(tenancy, group, &refusal) == 0;
		}
		if (fits && possible)
			r = group_set_add(&wish->candidates, group->number);
		else
			group_set_remove(&wish->candidates, group->number);
	}
	return r == -ENOMEM ? r : 0;
}

/* --- nothing can answer it: why -----------------------------------------------------------------
 */

static void describe(const struct wish *wish, char *text, size_t size)
{
	if (wish->pool)
		snprintf(text, size, "pool:%s", wish->pool);
	else
		snprintf(text, size, "%s", wish->text);
}

static int refuse_number(const struct wish *wish, struct refusal *refusal, const char *why)
{
	char name[sizeof(wish->text) + sizeof("pool:")];

	describe(wish, name, sizeof(name));
	refuse(refusal, REFUSAL_NO_SUCH_DEVICE, "%s", why);
	snprintf(refusal->device, sizeof(refusal->device), "%.60s", name);
	return REFUSED;
}

/* One that nothing answers: what stands in the way of the first device that fits. */
static int explain_wish(
	const struct tenancy *tenancy, const struct wish *wish, struct refusal *refusal)
{
	struct broker *broker = tenancy->broker;
	const struct group *group;
	size_t n_matches, n_fit = 0;
	struct refusal reason;
	bool has_reason = false;
	const struct match *matches = wish_matches(broker->config, wish, &n_matches);

	if (!matches)
		return wish_refuse_pool(wish->pool, refusal);
	TAILQ_FOREACH (group, inventory_groups(broker->inventory), of_inventory) {
		if (!wish_device(matches, n_matches, group, device_is_given))
			continue;
		n_fit++;
		if (group_is_possible(tenancy, group, &reason) == 0 || has_reason)
			continue;
		*refusal = reason;
		has_reason = true;
	}
	if (n_fit == 0)
		return refuse_number(wish, refusal, "no device of this host fits that");
	if (!has_reason)
		return refuse_number(wish, refusal, "the host is using what fits that");
	size_t length = strlen(refusal->text);
	if (n_fit > 1)
		snprintf(refusal->text + length, sizeof(refusal->text) - length,
			"; nor can any of the %zu other groups that fit be had", n_fit - 1);
	return REFUSED;
}

static int explain(const struct tenancy *tenancy, struct refusal *refusal)
{
	const struct wishes *wishes = tenancy->wishes;
	const struct wish *last = &wishes->all[0];
	char why[160];

	for (size_t i = 0; i < wishes->n; i++) {
		const struct wish *wish = &wishes->all[i];
		if (wish->group)
			continue;
		if (group_set_is_empty(&wish->candidates))
			return explain_wish(tenancy, wish, refusal);
		if (!wish->chosen)
			last = wish;
	}
	snprintf(why, sizeof(why),
		"each selector gets a group of its own, and for %zu there are not enough that "
		"you may have",
		wishes->n);
	return refuse_number(last, refusal, why);
}

/* Whether they can be had now or not: how many go without, or -ENOMEM. */
static int choose_any(struct tenancy *tenancy)
{
	struct wishes *wishes = tenancy->wishes;
	struct group_set candidates = { 0 };
	struct ranking ranking = { 0 };
	int r = wishes_candidates(wishes, &candidates);

	if (r == 0)
		r = ranking_make(&ranking, &candidates, offer_find, tenancy->broker->inventory);
	if (r == 0)
		r = choice_make(wishes, &candidates, &ranking);
	ranking_clear(&ranking);
	group_set_clear(&candidates);
	return r;
}

/* Where each description has as many candidates as there are wishes, none has to go without. */
static bool has_plenty(const struct wishes *wishes)
{
	for (size_t i = 0; i < wishes->n; i++)
		if (!wishes->all[i].group &&
			group_set_count(&wishes->all[i].candidates) < wishes->n)
			return false;
	return true;
}

void wishing_tell_tried(const struct wishes *wishes, struct refusal *refusal)
{
	size_t length = strlen(refusal->text);

	if (wishes->n_tried > 1)
		snprintf(refusal->text + length, sizeof(refusal->text) - length,
			"; it was the last of %zu that were tried", wishes->n_tried);
}

int wishing_is_hopeful(struct tenancy *tenancy, const struct refusal *last, struct refusal *refusal)
{
	struct wishes *wishes = tenancy->wishes;

	if (has_plenty(wishes))
		return 0;
	int n_without = choose_any(tenancy);

	if (n_without <= 0)
		return n_without;
	if (!last)
		return explain(tenancy, refusal);
	if (refusal != last)
		*refusal = *last;
	wishing_tell_tried(wishes, refusal);
	return REFUSED;
}

int wishing_choose_any(struct tenancy *tenancy)
{
	int r = choose_any(tenancy);
	return r < 0 ? r : 0;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Its place in the queue goes by what it wants. */
static int follow(struct tenancy *tenancy)
{
	struct group_set wanted = { 0 };
	int r = wishes_wanted(tenancy->wishes, &wanted);

	if (r == 0 && tenancy->lease->state == LEASE_QUEUED) {
		lease_want(&tenancy->broker->book, tenancy->lease, &wanted);
		tenancy->broker->n_steps += tenancy->broker->book.n_leases;
	}
	group_set_clear(&wanted);
	return r;
}

int wishing_look(struct tenancy *tenancy, struct refusal *refusal)
{
	struct broker *broker = tenancy->broker;
	struct group *group;
	int r = 0;

	/* Groups that are no more are nobody's candidates. */
	for (size_t i = 0; i < tenancy->wishes->n; i++)
		group_set_clear(&tenancy->wishes->all[i].candidates);
	TAILQ_FOREACH (group, inventory_groups(broker->inventory), of_inventory)
		if (r == 0)
			r = look_at(tenancy, group);
	if (r == 0)
		r = follow(tenancy);
	tenancy->looked = broker->wishing.round;
	return r == 0 ? wishing_is_hopeful(tenancy, NULL, refusal) : r;
}

/* Only at what has changed. A group that left is no candidate any more. */
static int look_again(struct tenancy *tenancy, const struct group_set *changed)
{
	struct broker *broker = tenancy->broker;
	int r = 0;

	for (int number = -1;
		r == 0 && (number = group_set_next(changed, NULL, number + 1)) >= 0;) {
		const struct group *group = inventory_group(broker->inventory, number);
		/* What the host used it for may be over. */
		group_set_remove(&tenancy->wishes->tried, number);
		if (group)
			r = look_at(tenancy, group);
		else
			wishes_drop(tenancy->wishes, number);
	}
	if (r == 0)
		r = follow(tenancy);
	return r == 0 ? wishing_is_hopeful(tenancy, NULL, &tenancy->refusal) : r;
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	broker_pump_later(timer->data);
}

void wishing_init(struct broker *broker)
{
	ev_timer_init(&broker->wishing.again, on_again, 0, 0);
	broker->wishing.again.data = broker;
}

void wishing_free(struct broker *broker)
{
	ev_timer_stop(broker->loop, &broker->wishing.again);
	group_set_clear(&broker->wishing.changed);
	group_set_clear(&broker->wishing.of_round);
}

void wishing_hear_all(struct broker *broker)
{
	broker->wishing.all_changed = broker->wishing.n > 0;
	broker_pump_later(broker);
}

void wishing_hear(struct broker *broker, const struct inventory_change *change)
{
	bool is_of_devices = change->event != GROUP_BINDING && change->event != GROUP_OWNER;
	bool was_lost = change->event == GROUP_BINDING &&
			(strcmp(change->before, binding_name(BINDING_FAILED)) == 0 ||
				strcmp(change->before, binding_name(BINDING_STUCK)) == 0);
	bool is_lost =
		change->event == GROUP_BINDING && (change->group->binding == BINDING_FAILED ||
							  change->group->binding == BINDING_STUCK);

	if (broker->wishing.n == 0 || !(is_of_devices || was_lost || is_lost))
		return;
	if (group_set_add(&broker->wishing.changed, change->group->number) == -ENOMEM)
		broker->wishing.all_changed = true;
	broker_pump_later(broker);
}

/* What has been heard of since the last round began becomes the next one. False: nothing has. */
static bool round_begin(struct wishing *wishing)
{
	if (!wishing->all_changed && group_set_is_empty(&wishing->changed))
		return false;
	group_set_clear(&wishing->of_round);
	wishing->of_round = wishing->changed;
	wishing->changed = (struct group_set){ 0 };
	wishing->is_of_all = wishing->all_changed;
	wishing->all_changed = false;
	wishing->round++;
	return wishing->is_running = true;
}

/* One request: false, it is no more. */
static bool round_step(struct wishing *wishing, struct tenancy *tenancy)
{
	int r = wishing->is_of_all ? wishing_look(tenancy, &tenancy->refusal)
				   : look_again(tenancy, &wishing->of_round);

	tenancy->looked = wishing->round;
	if (r != 0)
		tenancy_give_up(tenancy, r, "looking for devices");
	return r == 0;
}

/* As far as it goes for now. True: that was all. */
static bool round_go_on(struct broker *broker)
{
	unsigned long long until = broker->n_steps + STEPS_AT_A_TIME;
	struct lease *lease;

again:
	TAILQ_FOREACH (lease, &broker->book.leases, of_book) {
		struct tenancy *tenancy = lease->tenancy;
		if (lease->state != LEASE_QUEUED || !tenancy->wishes ||
			tenancy->looked == broker->wishing.round)
			continue;
		if (broker->n_steps >= until)
			return false;
		if (!round_step(&broker->wishing, tenancy))
			goto again;
	}
	return true;
}

void wishing_go_on(struct broker *broker)
{
	struct wishing *wishing = &broker->wishing;

	if (wishing->n == 0 || (!wishing->is_running && !round_begin(wishing)))
		return;
	wishing->is_running = !round_go_on(broker);
	if (wishing->is_running || wishing->all_changed || !group_set_is_empty(&wishing->changed))
		ev_timer_start(broker->loop, &wishing->again);
}

/* --- which device it is ------------------------------------------------------------------------
 */

static const char *answer(const struct broker *broker, const struct wish *wish)
{
	const struct group *group = wish->group ? wish->group : wish->chosen;
	const struct device *device;
	size_t n;

	if (*wish->device)
		return wish->device;
	const struct match *matches = wish_matches(broker->config, wish, &n);
	device = wish->group ? NULL : wish_device(matches, n, group, device_is_given);
	if (device)
		return device->name;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_is_given(device))
			return device->name;
	return "";
}

int wishing_select(struct tenancy *tenancy)
{
	struct lease *lease = tenancy->lease;
	int r = 0;

	lease->selected = strv_free(lease->selected);
	for (size_t i = 0; r == 0 && i < tenancy->wishes->n; i++)
		r = strv_add(&lease->selected, answer(tenancy->broker, &tenancy->wishes->all[i]));
	return r;
}
