/*
 * A dry run: what a take, an Acquire or a return would do with groups, and what is in its way. The
 * same plan is made, and the same child looks whether the host uses the devices, but it is never
 * told to go: nothing is written, and the group is nobody's meanwhile.
 */
#pragma once

#include "daemon/bind/plan.h"
#include "daemon/broker/broker.h"

enum preview_purpose {
	PREVIEW_ACQUIRE,
	PREVIEW_CDEV,     /* likewise, of nodes */
	PREVIEW_BROKERED, /* the same for a lease that hands nothing out */
	PREVIEW_TAKE,     /* without a lease: the rules are not asked */
	PREVIEW_RETURN,
};

#define PREVIEW_MAX_VETOES 3 /* of one group */

struct preview_group {
	struct group *group; /* held */
	struct plan *plan;   /* NULL: there is nothing to do to it, or none could be made */
	bool needs_bound;    /* its client is not trusted: a memory.max has to bound him */
	size_t n_vetoes;
	struct refusal vetoes[PREVIEW_MAX_VETOES]; /* why it would be refused, or fail */
};

struct preview;
/* All groups have been looked at. The preview may be freed from within. */
typedef void (*preview_done)(struct preview *preview, void *userdata);

/*
 * 0, and done() comes later, once, unless it is freed before. REFUSED: TOO_MANY. -ENOMEM. A device
 * is looked at only where nothing else is in the way: so nobody can have that done who may not have
 * the device.
 */
int preview_new(struct broker *broker, enum preview_purpose purpose, const struct subject *subject,
	struct group *const *groups, size_t n_groups, preview_done done, void *userdata,
	struct preview **preview, struct refusal *refusal);
struct preview *preview_free(struct preview *preview); /* NULL-safe */

enum preview_purpose preview_purpose(const struct preview *preview);
const struct preview_group *preview_groups(const struct preview *preview, size_t *n);
