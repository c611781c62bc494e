/*
 * The bind transaction itself: synchronous, run in a bind child (or in a unit
 * test), against a table of operations. All members or none.
 *
 * Every step is announced through `on_step` before it is tried: the parent knows
 * where a child hangs.
 */
#pragma once

#include "daemon/bind/plan.h"
#include "daemon/bind/sysfs.h"

struct nodes;

struct transaction {
	const struct sysfs_ops *ops;
	struct plan *plan;
	bool joins;   /* only the members that join are inspected, moved, and rolled back */
	bool returns; /* members go to the host for good, not only to where they were found */
	struct nodes *nodes; /* a take opens these, and not the group; NULL: the group */
	/* May be NULL. `member` is an index into the plan, -1 for steps of the group. */
	void (*on_step)(enum bind_step step, int member, void *userdata);
	void *userdata;
};

/*
 * No write: the guard for each member that will be bound or parked, then its driver and
 * driver_override as the host has them (into the plan, `known`), and the variant driver that is
 * made for it, whose module is loaded for that. 0 or REFUSED
 * (DEVICE_IN_USE; TAKE_FAILED at STEP_GUARD, STEP_READ, STEP_MODULE, or at STEP_OVERRIDE on a bus
 * without driver_override), always with rolled_back.
 */
int transaction_inspect(struct transaction *, struct refusal *);
/*
 * After a refusal, for those who only want to know: what is still to be read of the members. No
 * guard, no variant; one that cannot be read stays unknown.
 */
void transaction_look(struct transaction *);

/*
 * Needs an inspected plan. The modules first; then for each member that moves, in order: override,
 * unbind, bind (not what is parked), verify; then open the group and have it say viable. 0 with
 * *group_fd open (the caller's), or REFUSED after the rollback: TAKE_FAILED with device, step,
 * errnum and rolled_back; GROUP_BUSY (somebody opened it first) and NOT_VIABLE only where the
 * rollback succeeded, rolled_back true. rolled_back false: text says which device was left where.
 * A member that vanishes meanwhile (ENODEV, its syspath gone) fails the take; it needs no
 * rollback of its own.
 * With `nodes`, those of the members are open then (bind/nodes.h), and *group_fd is -1.
 */
int transaction_take(struct transaction *, int *group_fd, struct refusal *);

/*
 * Could it be returned? As transaction_open(), but nothing stays open if group_fd is NULL; and
 * GROUP_BUSY, too, if somebody has a device's own node open (/dev/vfio/devices/vfioX): as long as
 * it is not bound to an iommufd, the kernel lets the group be opened all the same, and an unbind
 * would hang.
 */
int transaction_check(struct transaction *, int *group_fd, struct refusal *);
/* The same without a look for that, and nothing stays open. */
int transaction_peek(struct transaction *, struct refusal *);

/*
 * Backwards. First opens the group (EBUSY, or a device's node is open: REFUSED with GROUP_BUSY, no
 * write made) and keeps it open until all members are off, so that nobody can open it meanwhile.
 * Then for each member that moves, in reverse: override as it was, unbind, bind to the host driver
 * if it had one, verify. Goes on over failures: REFUSED (RETURN_FAILED, first device and step
 * that failed, text names all that is left). Members that have vanished are fine.
 * A group node that does not exist any more (every member off VFIO already) is no obstacle; if
 * it cannot be opened while a member is on VFIO: RETURN_FAILED at STEP_OPEN, no write made.
 * It goes by the state that it finds: also what a killed child left, and a return once more.
 */
int transaction_return(struct transaction *, struct refusal *);

/*
 * After nodes of devices were handed out (bind/nodes.h), and the group stays with VFIO: who has
 * kept one, unbound, could bind it when somebody else has the device. A driver that gets the device
 * anew makes another node, and the old one is good for nothing. First as a return: GROUP_BUSY, and
 * no write made. Then each member that plan_member_is_renewed(), going on over failures: 0, or
 * REFUSED (RETURN_FAILED). It goes by the state that it finds, and can be done again.
 */
int transaction_renew(struct transaction *, struct refusal *);

/*
 * Members that have come to a group which is taken already, and is perhaps in use. Needs an
 * inspection with `joins`; the group itself is not opened. 0, or REFUSED after the rollback of
 * these members: TAKE_FAILED as above.
 */
int transaction_join(struct transaction *, struct refusal *);

/* For a group that is taken already: only open and viable. 0 with *group_fd, or REFUSED
 * (GROUP_BUSY, with who has it if that can be seen; NOT_VIABLE, TAKE_FAILED). */
int transaction_open(struct transaction *, int *group_fd, struct refusal *);
