#include "daemon/lease/wish.h"

#include "daemon/base/text.h"
#include "daemon/base/util.h"
#include "daemon/inventory/inventory.h"
#include "daemon/lease/policy.h"

#include <errno.h>

struct wishes *wishes_new(size_t n)
{
	struct wishes *wishes = new_zeroed(sizeof(*wishes));
	if (!wishes)
		return NULL;
	wishes->all = new_zeroed((n ? n : 1) * sizeof(*wishes->all));
	if (wishes->all)
		return wishes;
	free(wishes);
	return NULL;
}

struct wishes *wishes_free(struct wishes *wishes)
{
	if (!wishes)
		return NULL;
	for (size_t i = 0; i < wishes->n; i++) {
		struct wish *wish = &wishes->all[i];
		group_release(wish->group);
		matches_free(wish->matches, wish->n_matches);
		free(wish->pool);
		group_set_clear(&wish->candidates);
	}
	group_set_clear(&wishes->tried);
	group_set_clear(&wishes->failed);
	strv_free(wishes->selected);
	free(wishes->all);
	free(wishes);
	return NULL;
}

static size_t collect(const struct wishes *wishes, bool with_chosen, struct group **groups)
{
	size_t n = 0;

	for (size_t i = 0; i < wishes->n; i++) {
		struct group *group = wishes->all[i].group;
		size_t j = 0;
		if (!group && with_chosen)
			group = wishes->all[i].chosen;
		while (j < n && groups[j] != group)
			j++;
		if (group && j == n)
			groups[n++] = group;
	}
	return n;
}

size_t wishes_named(const struct wishes *wishes, struct group **groups)
{
	return collect(wishes, false, groups);
}

size_t wishes_chosen(const struct wishes *wishes, struct group **groups)
{
	return collect(wishes, true, groups);
}

int wishes_candidates(const struct wishes *wishes, struct group_set *candidates)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wishes->n; i++)
		if (!wishes->all[i].group)
			r = group_set_join(candidates, &wishes->all[i].candidates);
	return r;
}

int wishes_wanted(const struct wishes *wishes, struct group_set *wanted)
{
	int r = wishes_candidates(wishes, wanted);

	/* One beyond all bounds can be named, and nobody queues for it. */
	for (size_t i = 0; r == 0 && i < wishes->n; i++)
		if (wishes->all[i].group &&
			group_set_add(wanted, wishes->all[i].group->number) == -ENOMEM)
			r = -ENOMEM;
	return r;
}

bool wishes_has_chosen(const struct wishes *wishes, const struct group *group)
{
	for (size_t i = 0; i < wishes->n; i++)
		if (!wishes->all[i].group && wishes->all[i].chosen == group)
			return true;
	return false;
}

void wishes_drop(struct wishes *wishes, int group)
{
	for (size_t i = 0; i < wishes->n; i++)
		group_set_remove(&wishes->all[i].candidates, group);
}

const struct match *wish_matches(const struct config *config, const struct wish *wish, size_t *n)
{
	if (!wish->pool) {
		*n = wish->n_matches;
		return wish->matches;
	}
	const struct pool *pool = config_pool(config, wish->pool);
	*n = pool ? pool->n_matches : 0;
	return pool ? pool->matches : NULL;
}

int wish_refuse_pool(const char *pool, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_NO_SUCH_POOL,
		"none of this name stands in the configuration, see vfiod.conf(5)");
	text_copy_printable(refusal->account, sizeof(refusal->account), pool);
	return REFUSED;
}

const struct device *wish_device(const struct match *matches, size_t n_matches,
	const struct group *group, bool (*is_given)(const struct device *))
{
	const struct device *device;

	TAILQ_FOREACH (device, &group->devices, of_group)
		for (size_t i = 0; i < n_matches; i++)
			if (match_holds(&matches[i], device) && is_given(device))
				return device;
	return NULL;
}
