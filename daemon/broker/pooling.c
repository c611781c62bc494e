/* What there is of a pool, and who waits for it. */
#include "daemon/broker/tenancy.h"
#include "daemon/lease/wish.h"

#include <string.h>

static bool is_in(const struct pool *pool, const struct device *device)
{
	for (size_t i = 0; i < pool->n_matches; i++)
		if (match_holds(&pool->matches[i], device))
			return true;
	return false;
}

size_t broker_n_pooled(struct broker *broker, const struct subject *subject,
	const struct pool *pool, const struct group *group)
{
	const struct device *device;
	struct verdict verdict;
	struct refusal refusal;
	size_t n = 0;

	TAILQ_FOREACH (device, &group->devices, of_group)
		n += device_is_given(device) && is_in(pool, device);
	if (n == 0 || policy_is_admin(broker->config, subject))
		return n;
	return group_verdict_in_turn(broker, subject, group, &verdict, &refusal) == 0 ? n : 0;
}

static bool wishes_have_pool(const struct wishes *wishes, const char *pool)
{
	for (size_t i = 0; wishes && i < wishes->n; i++)
		if (wishes->all[i].pool && strcmp(wishes->all[i].pool, pool) == 0)
			return true;
	return false;
}

size_t broker_n_waiting(const struct broker *broker, const char *pool)
{
	const struct lease *lease;
	size_t n = 0;

	TAILQ_FOREACH (lease, &broker->book.leases, of_book)
		n += lease->state == LEASE_QUEUED && wishes_have_pool(lease->tenancy->wishes, pool);
	return n;
}
