/*
 * A group of a lease, opened once more. vfiod keeps no copy of what it has handed over, and a group
 * is open once at a time: so it is the kernel that says whether the holder has closed it.
 */
#pragma once

#include "daemon/broker/broker.h"

/*
 * Once. 0: *group_fd is the listener's to take (-1 in its place then). REFUSED: GROUP_BUSY (it is
 * open), NO_SUCH_LEASE (that has ended meanwhile), NOT_VIABLE, STUCK, …; or -errno.
 */
typedef void (*reopened_fn)(
	int result, int *group_fd, const struct refusal *refusal, void *userdata);

/*
 * For a granted lease that has its descriptors. 0: reopened() comes, later. At once: REFUSED
 * (NO_SUCH_LEASE; ACCESS_DENIED: the group is not of this lease, or it is brokered; …) or -errno.
 */
int lease_reopen(struct broker *broker, const struct subject *subject, const char *token, int group,
	reopened_fn reopened, void *userdata, struct refusal *refusal);
/* Who asked is no more: what is opened for him is closed again. */
void lease_reopen_forget(struct broker *broker, const void *userdata);
