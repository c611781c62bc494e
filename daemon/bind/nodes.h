/*
 * The own nodes of a group's devices (/dev/vfio/devices/vfioX), open and bound to no iommufd
 * context: what a lease with mode cdev hands out. They are opened while the group is, which proves
 * that nobody else has anything of it; but as long as the group is open, no node of it can be bound
 * (drivers/vfio/group.c, vfio_device_block_group): so it is closed before they are handed out.
 */
#pragma once

#include "daemon/bind/transaction.h"

struct node {
	char device[DEVICE_NAME_SIZE];
	int fd; /* -1: a member that is handed out to nobody */
};
struct nodes {
	size_t n;
	struct node all[]; /* in the order of the plan, one a member */
};

/* Without any open. NULL: no memory. */
struct nodes *nodes_new(const struct plan *plan);
/* Closes what nobody has taken. NULL-safe. */
struct nodes *nodes_free(struct nodes *nodes);
/* Likewise, and it can be filled again. NULL-safe. */
void nodes_close(struct nodes *nodes);
/* Another process has sent that of this member: takes it over, or -EPROTO. `nodes` may be NULL. */
int nodes_note(struct nodes *nodes, int member, int *fd);
/* Are those of all members that clients find in the group open? */
bool nodes_are_whole(const struct nodes *nodes, const struct plan *plan);

/*
 * Opens those of all members that clients find in the group, into transaction->nodes. 0, or
 * REFUSED: NOT_SUPPORTED (this kernel makes none), TAKE_FAILED at STEP_OPEN; rolled_back true, as
 * nothing was written here. Then none is open.
 */
int nodes_open(const struct transaction *transaction, struct refusal *refusal);
/* The same without patience, and without a word: 0 or -errno. */
int nodes_try(const struct sysfs_ops *ops, const struct plan *plan, struct nodes *nodes);
/*
 * May a client have kept the node of a member beyond its lease, unbound? Not where it had to be
 * made anew since (transaction_renew()): that is the end of it. An mdev is not renewed.
 */
bool nodes_may_be_kept(const struct plan *plan);
/*
 * As transaction_open(), but it is the nodes that stay open, and not the group. With
 * nodes_may_be_kept(), as transaction_check(). Otherwise only who may open them without vfiod can
 * have one open, as he still can a moment later: he is not looked for in all of /proc.
 */
int transaction_open_nodes(struct transaction *transaction, struct refusal *refusal);
