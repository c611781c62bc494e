/*
 * How a request that describes what it wants gets one group or another: one that turns out to be
 * nothing for it makes room for the next one: the host uses it, it leaves, or it cannot be taken,
 * and then all that was taken with it is given back before.
 */
#pragma once

#include "daemon/broker/offering.h"

/* It wants this, which is taken over; NULL: only what it has named. As wishing_look(). */
int tenancy_wish(struct tenancy *tenancy, struct wishes *wishes, struct refusal *refusal);
/* As offer_serve(); what was chosen is the lease's then. SERVED_NEVER: tenancy->refusal. */
int tenancy_be_served(struct tenancy *tenancy, struct offer *offer, const struct group **obstacle);
/*
 * A group that was chosen, and not named, could not be prepared or taken: is there another one?
 * Else tenancy->refusal says how many were tried.
 */
bool tenancy_can_choose_again(struct tenancy *tenancy);
