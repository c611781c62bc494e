#include "daemon/broker/offering.h"

#include <errno.h>

/* 0 or -ENOMEM: a number beyond all sets is looked up each time. */
static int occupy(struct offer *offer, int number)
{
	group_set_remove(&offer->free, number);
	return group_set_add(&offer->occupied, number) == -ENOMEM ? -ENOMEM : 0;
}

/* As group_is_occupied() has it, with one look at each. */
int offer_begin(struct broker *broker, struct offer *offer)
{
	const struct lease *lease;
	const struct holding *holding;
	int r = 0;

	if (offer->has_begun)
		return 0;
	*offer =
		(struct offer){ .broker = broker, .has_begun = true, .number = ++broker->n_offers };
	TAILQ_FOREACH (lease, &broker->book.leases, of_book)
		for (size_t i = 0; r == 0 && lease->state != LEASE_QUEUED && i < lease->n_groups;
			i++)
			r = occupy(offer, lease->groups[i]->number);
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		if (r == 0 && (holding->state != HOLDING_IDLE || holding->joins))
			r = occupy(offer, holding->group->number);
	if (r < 0)
		offer_end(offer);
	return r;
}

void offer_end(struct offer *offer)
{
	group_set_clear(&offer->occupied);
	group_set_clear(&offer->free);
	ranking_clear(&offer->ranking);
	offer->is_ranked = false;
	offer->has_begun = false;
}

static bool is_there(const struct offer *offer, const struct group *group)
{
	if (group->number >= GROUP_SET_MAX)
		return !group_is_occupied(offer->broker, group);
	return group->binding != BINDING_GONE && !group_set_has(&offer->occupied, group->number) &&
	       !following_is_due(offer->broker, group);
}

struct group *offer_find(void *inventory, int number)
{
	return inventory_group(inventory, number);
}

static int rank(struct offer *offer)
{
	const struct group *group;

	if (offer->is_ranked)
		return 0;
	TAILQ_FOREACH (group, inventory_groups(offer->broker->inventory), of_inventory)
		if (group->binding != BINDING_GONE &&
			!group_set_has(&offer->occupied, group->number) &&
			group_set_add(&offer->free, group->number) == -ENOMEM)
			return -ENOMEM;
	offer->is_ranked = true;
	return ranking_make(&offer->ranking, &offer->free, offer_find, offer->broker->inventory);
}

/* How many descriptions go without, or -ENOMEM. */
static int choose(struct offer *offer, struct wishes *wishes)
{
	for (;;) {
		const struct group *wrong = NULL;
		int r = rank(offer);
		if (r == 0)
			r = choice_make(wishes, &offer->free, &offer->ranking);

		for (size_t i = 0; r >= 0 && i < wishes->n; i++) {
			const struct group *chosen = wishes->all[i].chosen;
			if (!wishes->all[i].group && chosen && !is_there(offer, chosen))
				wrong = chosen;
		}
		if (!wrong)
			return r;
		group_set_remove(&offer->free, wrong->number);
	}
}

/* One of those that the first description without an answer is waiting for. */
static const struct group *wanted_in_vain(const struct offer *offer, const struct wishes *wishes)
{
	for (size_t i = 0; i < wishes->n; i++) {
		const struct wish *wish = &wishes->all[i];
		if (wish->group || wish->chosen)
			continue;
		int number = group_set_next(&wish->candidates, NULL, 0);
		return number < 0 ? NULL : inventory_group(offer->broker->inventory, number);
	}
	return NULL;
}

int offer_serve(struct offer *offer, struct tenancy *tenancy, const struct group **obstacle)
{
	const struct lease *lease = tenancy->lease;
	struct wishes *wishes = tenancy->wishes;
	bool is_whole = true;
	int r = 0;

	*obstacle = NULL;
	for (size_t i = 0; i < lease->n_groups; i++) {
		if (is_there(offer, lease->groups[i]))
			continue;
		if (is_whole)
			*obstacle = lease->groups[i];
		is_whole = false;
	}
	if (wishes) {
		int n_without = choose(offer, wishes);
		if (n_without < 0)
			return n_without;
		if (n_without > 0 && is_whole)
			*obstacle = wanted_in_vain(offer, wishes);
		is_whole = is_whole && n_without == 0;
		for (size_t i = 0; r == 0 && i < wishes->n; i++)
			if (wishes->all[i].chosen)
				r = occupy(offer, wishes->all[i].chosen->number);
	}
	for (size_t i = 0; r == 0 && i < lease->n_groups; i++)
		r = occupy(offer, lease->groups[i]->number);
	if (r < 0)
		return r;
	tenancy->served_by = offer->number;
	offer->broker->n_served++;
	return is_whole ? SERVED_WHOLLY : SERVED_PARTLY;
}

int offer_serve_before(struct offer *offer, const struct lease *lease)
{
	struct lease *other;
	const struct group *obstacle;
	int r = 0;

	TAILQ_FOREACH (other, &offer->broker->book.leases, of_book) {
		if (other == lease || r < 0)
			break;
		if (other->state == LEASE_QUEUED)
			r = offer_serve(offer, other->tenancy, &obstacle);
	}
	return r < 0 ? r : 0;
}
