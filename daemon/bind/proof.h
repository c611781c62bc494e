/*
 * The group as a whole: open, and viable? Shared by take, return and open. Nobody outside of
 * this room includes this.
 */
#pragma once

#include "daemon/bind/transaction.h"

/*
 * The group's fd, or -errno. EBUSY has to last for a tenth of a second: a process that ends closes
 * its descriptors one after the other, and another bind child that was forked while the daemon had
 * this group's has its copy until it has closed what it inherited.
 */
int group_open(const struct transaction *transaction);
/*
 * The same. Waits up to a second for the node: devtmpfs has it before the bind
 * returns, but in a container it is made by somebody who hears of it later.
 */
int group_open_patiently(const struct transaction *transaction);
/*
 * Opens the group and has it say that it is viable: 0, or REFUSED with GROUP_BUSY, NOT_VIABLE or
 * TAKE_FAILED (and rolled_back true: nothing was written here). *group_fd is open after
 * NOT_VIABLE, too: kept open while its members are taken back, nobody else can open it.
 */
int group_prove(const struct transaction *transaction, int *group_fd, struct refusal *refusal);
/*
 * Before drivers let go of members: the group's own fd, or -1 where there is none to be had because
 * no member is on VFIO. Otherwise REFUSED (GROUP_BUSY, RETURN_FAILED): without it nobody could say
 * that no device is open.
 */
int group_claim(const struct transaction *transaction, int *group_fd, struct refusal *refusal);
/*
 * Looks for who has the group open, or (nodes_only) a device's own node. REFUSED with GROUP_BUSY if
 * somebody has. 0: nobody was found, the refusal is as it was.
 */
int group_find_opener(
	const struct transaction *transaction, bool nodes_only, struct refusal *refusal);
void group_close(const struct transaction *transaction, int group_fd);
/* Fills in a step of the group that failed. */
int refuse_group(const struct transaction *transaction, enum refusal_kind kind, enum bind_step step,
	int error, struct refusal *refusal);
