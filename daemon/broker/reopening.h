/*
 * What a lease has handed over, opened once more. vfiod keeps no copy of it, and a group is open
 * once at a time: so it is the kernel that says whether the holder has closed it. A device's own
 * node can be open more than once, and is bound to one iommufd context at a time
 * (drivers/vfio/device_cdev.c, vfio_df_ioctl_bind_iommufd; vfio_main.c, vfio_df_open).
 */
#pragma once

#include "daemon/broker/broker.h"

/*
 * Once. 0: *fd is the listener's to take (-1 in its place then). REFUSED: GROUP_BUSY (it is
 * open), NO_SUCH_LEASE (that has ended meanwhile), NOT_VIABLE, STUCK, …; or -errno.
 */
typedef void (*reopened_fn)(int result, int *fd, const struct refusal *refusal, void *userdata);

/*
 * For a granted lease that has its descriptors. 0: reopened() comes, later. At once: REFUSED
 * (NO_SUCH_LEASE; ACCESS_DENIED: the group is not of this lease, or it is brokered; …) or -errno.
 */
int lease_reopen(struct broker *broker, const struct subject *subject, const char *token, int group,
	reopened_fn reopened, void *userdata, struct refusal *refusal);
/* Likewise the node of a device, of a lease with mode cdev. */
int lease_reopen_device(struct broker *broker, const struct subject *subject, const char *token,
	const char *device, reopened_fn reopened, void *userdata, struct refusal *refusal);
/*
 * Of such a lease, too, at once: a further iommufd context, the caller's. 0 or REFUSED. It is as
 * empty as the first, and bills the same user: nothing is to be had by it but what the kernel gives
 * whoever opens /dev/iommu.
 */
int lease_open_context(struct broker *broker, const struct subject *subject, const char *token,
	int *fd, struct refusal *refusal);
/* Who asked is no more: what is opened for him is closed again. */
void lease_reopen_forget(struct broker *broker, const void *userdata);
