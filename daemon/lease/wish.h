/*
 * What the selectors of one request ask for: a group that is named, or any device that fits a
 * description. Which groups could answer a description is found out by the broker, who knows what
 * the rules allow; here it is a set. No I/O, no loop.
 */
#pragma once

#include "daemon/inventory/group.h"
#include "daemon/lease/config.h"
#include "daemon/lease/group-set.h"

#define ANYWHERE (-1)

struct wish {
	struct group *group;           /* held: this one; NULL: whichever fits */
	char device[DEVICE_NAME_SIZE]; /* with `group`: the device that was named; "": the group */

	struct match *matches; /* any device for which one of these holds */
	size_t n_matches;
	char text[80];               /* the first of them, for messages; cut */
	char *pool;                  /* or for which one of this pool does; NULL */
	int near_node;               /* preferred, not demanded; or ANYWHERE */
	struct group_set candidates; /* groups that could answer it */

	struct group *chosen; /* borrowed, until devices come or go; NULL: none */
};

struct wishes {
	struct wish *all;
	size_t n, n_described;   /* n_described: those that name no group */
	struct group_set tried;  /* groups that the host turned out to be using, or that left */
	struct group_set failed; /* that could not be taken: not tried once more */
	size_t n_tried, n_failed;
	char **selected; /* of a dry run: which device answers which; NULL */
};

/* Room for so many, none of them there yet. NULL: no memory. */
struct wishes *wishes_new(size_t n);
struct wishes *wishes_free(struct wishes *wishes); /* NULL-safe */

/* Those that name a group, each once, in their order: how many. Room for all of them. */
size_t wishes_named(const struct wishes *wishes, struct group **groups);
/* The groups that were chosen and those that were named, likewise. */
size_t wishes_chosen(const struct wishes *wishes, struct group **groups);
/* All that could answer a description. 0 or -ENOMEM. */
int wishes_candidates(const struct wishes *wishes, struct group_set *candidates);
/* And those that are named. 0 or -ENOMEM. */
int wishes_wanted(const struct wishes *wishes, struct group_set *wanted);
/* Does a wish that names none have it? */
bool wishes_has_chosen(const struct wishes *wishes, const struct group *group);
/* It is no answer to any description. */
void wishes_drop(struct wishes *wishes, int group);

/* The lines that describe it; NULL: there is no such pool (any more). */
const struct match *wish_matches(const struct config *config, const struct wish *wish, size_t *n);
/* REFUSED: NO_SUCH_POOL. */
int wish_refuse_pool(const char *pool, struct refusal *refusal);
/*
 * The first device of the group that fits the description, of those that `is_given` says are handed
 * out. NULL: none.
 */
const struct device *wish_device(const struct match *matches, size_t n_matches,
	const struct group *group, bool (*is_given)(const struct device *));
