/*
 * One member of a plan: reading how it stands, and moving it from driver to driver. Shared by
 * take, return and rollback. Nobody outside of this room includes this.
 */
#pragma once

#include "daemon/bind/transaction.h"

/* What went wrong with a member, and where. */
struct member_fault {
	enum bind_step step;
	int errnum;          /* positive; ENODEV if vanished */
	bool vanished;       /* the device has left the host, or its group */
	bool driver_missing; /* the driver to bind to is not there, nor could its module be loaded
			      */
};

void transaction_step(const struct transaction *transaction, enum bind_step step, int member);

/* "" = none. 0 or -errno. */
int member_read_driver(const struct transaction *transaction, const struct plan_member *member,
	char driver[DRIVER_NAME_SIZE]);
int member_read_override(const struct transaction *transaction, const struct plan_member *member,
	char override[DRIVER_NAME_SIZE]);

/*
 * All of them: 0, or -1 with *fault filled. `index` is the member's, for on_step.
 */
/* Is it moved by this transaction? */
bool member_is_moved(const struct transaction *transaction, const struct plan_member *member);
/* The override that it has at home. */
const char *member_home_override(
	const struct transaction *transaction, const struct plan_member *member);
/* Reads driver and override as the host has them into the plan. */
int member_inspect(const struct transaction *transaction, size_t index, struct member_fault *fault);
/* Where a variant driver is made for it: loads its module, and makes it the target. */
int member_choose_variant(
	const struct transaction *transaction, size_t index, struct member_fault *fault);
/* To its target. What was done before a fault is left to member_restore(). */
int member_take(const struct transaction *transaction, size_t index, struct member_fault *fault);
/* Is it still on its target? What was moved first may have left since. */
int member_verify(const struct transaction *transaction, size_t index, struct member_fault *fault);
/*
 * Off its target and onto it again, or only the latter, if it was left between the two. One that
 * has vanished is fine, and so is one that somebody else has given to another driver.
 */
int member_renew(const struct transaction *transaction, size_t index, struct member_fault *fault);
/*
 * To where the host had it, from wherever it is: goes by the state that it finds, not by what
 * was done. One with `host_probes` that returns is offered to all drivers, and may end on none. A
 * member that was never inspected is not touched, but for such an offer, and its claim; one that
 * has vanished is fine.
 */
int member_restore(const struct transaction *transaction, size_t index, struct member_fault *fault);
