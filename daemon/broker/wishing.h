/*
 * What could answer the descriptions of a request: devices that fit, that its subject may have by
 * the rules, in groups that can be taken. Found out when it comes; while it waits, again for what
 * has changed since, for a bounded number of groups and requests each time the loop comes round:
 * a thousand devices that appear while a thousand requests wait do not stall it.
 *
 * It may lag behind, so whoever is about to have a group is asked about once more.
 */
#pragma once

#include "daemon/broker/tenancy.h"

void wishing_init(struct broker *broker);
void wishing_free(struct broker *broker);
/* What the inventory says; all of it is to be looked at again. */
void wishing_hear(struct broker *broker, const struct inventory_change *change);
void wishing_hear_all(struct broker *broker);
/* Looks again, and refuses those that nothing can answer any more. */
void wishing_go_on(struct broker *broker);

/*
 * All groups: 0, -ENOMEM, or REFUSED: NO_SUCH_POOL, NO_SUCH_DEVICE where too few fit, or why those
 * that fit cannot be had.
 */
int wishing_look(struct tenancy *tenancy, struct refusal *refusal);
/* The same where a group has been dropped since, without a look. `last`: why that one was. */
int wishing_is_hopeful(
	struct tenancy *tenancy, const struct refusal *last, struct refusal *refusal);
/* Says how many there were, if the last one was not the only one. */
void wishing_tell_tried(const struct wishes *wishes, struct refusal *refusal);
/* Whether they can be had now or not: 0 or -ENOMEM. Of those that wishing_look() found. */
int wishing_choose_any(struct tenancy *tenancy);
/* Which device answers which selector: 0 or -ENOMEM. */
int wishing_select(struct tenancy *tenancy);
