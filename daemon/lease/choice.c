#include "daemon/lease/choice.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

/* --- which are better ---------------------------------------------------------------------------
 */

/* As people number things: PCI addresses have one length, and hexadecimal digits in their order. */
static int compare_names(const char *one, const char *other)
{
	size_t length = strlen(one), other_length = strlen(other);

	if (length != other_length)
		return length < other_length ? -1 : 1;
	return strcmp(one, other);
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *one = *(struct group *const *)a, *other = *(struct group *const *)b;
	int taken = (other->binding == BINDING_TAKEN) - (one->binding == BINDING_TAKEN);

	if (taken)
		return taken;
	if (one->n_devices != other->n_devices)
		return one->n_devices < other->n_devices ? -1 : 1;
	const struct device *first = TAILQ_FIRST(&one->devices);
	const struct device *second = TAILQ_FIRST(&other->devices);
	int names = first && second ? compare_names(first->name, second->name) : 0;
	return names ? names : one->number - other->number;
}

int ranking_make(
	struct ranking *ranking, const struct group_set *set, ranking_find_fn find, void *inventory)
{
	size_t room = group_set_count(set);

	*ranking = (struct ranking){ .groups = calloc(room ? room : 1, sizeof(struct group *)) };
	if (!ranking->groups)
		return -ENOMEM;
	for (int number = -1; (number = group_set_next(set, NULL, number + 1)) >= 0;) {
		struct group *group = find(inventory, number);
		if (group)
			ranking->groups[ranking->n++] = group;
	}
	qsort(ranking->groups, ranking->n, sizeof(struct group *), compare_groups);
	return 0;
}

void ranking_clear(struct ranking *ranking)
{
	free(ranking->groups);
	*ranking = (struct ranking){ 0 };
}

/* Of a group, whatever its devices say: they are behind one port. */
static int group_node(const struct group *group)
{
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device->numa_node >= 0)
			return device->numa_node;
	return ANYWHERE;
}

/* 0: there; 1: nobody knows; 2: elsewhere. Always 0 for who does not care. */
static int distance(const struct wish *wish, const struct group *group)
{
	int node = wish->near_node == ANYWHERE ? ANYWHERE : group_node(group);
	return node == wish->near_node ? 0 : node == ANYWHERE ? 1 : 2;
}

/* --- who gets which --------------------------------------------------------------------------- */

struct choice {
	struct wishes *wishes;
	const struct ranking *ranking;
	struct group_set left; /* that nobody has chosen, nor named */
	bool *is_seen;         /* of each wish: by the search that runs */
};

/* The best that nobody has. NULL: none. */
static struct group *best_left(const struct choice *choice, const struct wish *wish)
{
	struct group *best = NULL;
	int least = 3;

	if (!group_set_meets(&wish->candidates, &choice->left))
		return NULL;
	for (size_t i = 0; least > 0 && i < choice->ranking->n; i++) {
		struct group *group = choice->ranking->groups[i];
		if (!group_set_has(&choice->left, group->number) ||
			!group_set_has(&wish->candidates, group->number))
			continue;
		int far = distance(wish, group);
		if (far < least) {
			least = far;
			best = group;
		}
	}
	return best;
}

/*
 * An augmenting path (Kuhn): the wish gets what is left; or what another one has, who gets
 * something else. Recursion ends: each search sees a wish once.
 */
static bool serve(struct choice *choice, size_t index)
{
	struct wish *wish = &choice->wishes->all[index];
	struct group *best = best_left(choice, wish);

	choice->is_seen[index] = true;
	if (best) {
		wish->chosen = best;
		group_set_remove(&choice->left, best->number);
		return true;
	}
	for (size_t i = 0; i < choice->wishes->n; i++) {
		struct group *its = choice->wishes->all[i].chosen;
		if (choice->is_seen[i] || !its || !group_set_has(&wish->candidates, its->number) ||
			!serve(choice, i))
			continue;
		wish->chosen = its;
		return true;
	}
	return false;
}

int choice_make(
	struct wishes *wishes, const struct group_set *free_groups, const struct ranking *ranking)
{
	_cleanup_free_ bool *is_seen = calloc(wishes->n, sizeof(*is_seen));
	struct choice choice = { .wishes = wishes, .ranking = ranking, .is_seen = is_seen };
	int n_without = 0;

	for (size_t i = 0; i < wishes->n; i++)
		wishes->all[i].chosen = NULL;
	if (!is_seen || group_set_join(&choice.left, free_groups) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < wishes->n; i++)
		if (wishes->all[i].group)
			group_set_remove(&choice.left, wishes->all[i].group->number);
	for (size_t i = 0; i < wishes->n; i++) {
		if (wishes->all[i].group)
			continue;
		memset(is_seen, 0, wishes->n * sizeof(*is_seen));
		n_without += !serve(&choice, i);
	}
	group_set_clear(&choice.left);
	return n_without;
}
