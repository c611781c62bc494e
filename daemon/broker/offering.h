/*
 * What is to be had now, and who gets it: the queue is served in its order, each as far as it goes.
 * Who cannot have all that he wants yet keeps from those behind him what there is of it, and no
 * more; so nobody is overtaken, nobody starves, and what somebody else waits for is in nobody's
 * way.
 */
#pragma once

#include "daemon/broker/tenancy.h"
#include "daemon/lease/choice.h"

/* Of an inventory: ranking_make() asks so. */
struct group *offer_find(void *inventory, int number);

struct offer {
	struct broker *broker;
	struct group_set
		occupied; /* a lease has them, or somebody before in the queue keeps them */
	/* When somebody has to choose: all others, and those that were so at first, ranked. */
	struct group_set free;
	struct ranking ranking;
	bool has_begun, is_ranked;
	unsigned long long number;
};

/* All that nobody has: as much work as there are leases. 0 or -ENOMEM; nothing if it has begun. */
int offer_begin(struct broker *broker, struct offer *offer);
void offer_end(struct offer *offer);

enum served {
	SERVED_WHOLLY, /* what it wants is there: named, and chosen (wish.h) */
	SERVED_PARTLY,
	SERVED_NEVER, /* of who asked: it was refused meanwhile */
};
/*
 * What is there of it goes to this lease. *obstacle: a group that it lacks; NULL if none is known.
 * Or -ENOMEM.
 */
int offer_serve(struct offer *offer, struct tenancy *tenancy, const struct group **obstacle);
/* To all that wait before it (NULL: to all): 0 or -ENOMEM. */
int offer_serve_before(struct offer *offer, const struct lease *lease);
