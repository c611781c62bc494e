/*
 * Which groups answer wishes best: each description gets a group of its own, all of them or as many
 * as can be. Pure. Earlier wishes choose first, and take another group only where a later one would
 * go without. To each the best is: near the node that it prefers; taken from the host already;
 * with few other devices, so that none lie idle for it; then the first by name.
 */
#pragma once

#include "daemon/lease/wish.h"

/* Groups from the best to the worst, but for the node: sorted once, for all who choose of them. */
struct ranking {
	struct group **groups; /* borrowed, until devices come or go */
	size_t n;
};
typedef struct group *(*ranking_find_fn)(void *inventory, int number); /* NULL: it is no more */
int ranking_make(struct ranking *ranking, const struct group_set *set, ranking_find_fn find,
	void *inventory); /* 0 or -ENOMEM */
void ranking_clear(struct ranking *ranking);

/*
 * Fills in `chosen` of the wishes that name no group, from their candidates that are in `free` and
 * ranked, without groups that other wishes name: how many go without, or -ENOMEM.
 */
int choice_make(struct wishes *wishes, const struct group_set *free, const struct ranking *ranking);
