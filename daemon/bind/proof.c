#include "daemon/bind/proof.h"

#include "daemon/bind/opener.h"
#include "daemon/bind/undo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define OPEN_ATTEMPTS 10
#define BUSY_ATTEMPTS 6

static const struct timespec OPEN_PAUSE = { .tv_nsec = 100000000 };
static const struct timespec BUSY_PAUSE = { .tv_nsec = 20000000 };

int group_open(const struct transaction *transaction)
{
	const struct sysfs_ops *ops = transaction->ops;

	for (int attempt = 1;; attempt++) {
		transaction_step(transaction, STEP_OPEN, -1);
		int fd = ops->open_group(ops->userdata, transaction->plan->group);
		if (fd != -EBUSY || attempt == BUSY_ATTEMPTS)
			return fd;
		nanosleep(&BUSY_PAUSE, NULL);
	}
}

int group_open_patiently(const struct transaction *transaction)
{
	for (int attempt = 1;; attempt++) {
		int fd = group_open(transaction);
		if (fd != -ENOENT || attempt == OPEN_ATTEMPTS)
			return fd;
		nanosleep(&OPEN_PAUSE, NULL);
	}
}

void group_close(const struct transaction *transaction, int group_fd)
{
	const struct sysfs_ops *ops = transaction->ops;

	if (group_fd >= 0)
		ops->close_group(ops->userdata, group_fd);
}

int refuse_group(const struct transaction *transaction, enum refusal_kind kind, enum bind_step step,
	int error, struct refusal *refusal)
{
	int group = transaction->plan->group;

	if (error == -EBUSY && step == STEP_OPEN)
		refuse(refusal, REFUSAL_GROUP_BUSY, "/dev/vfio/%d is open in another process",
			group);
	else if (step == STEP_OPEN && error == -EPERM)
		refuse(refusal, kind,
			"/dev/vfio/%d could not be opened (if no IOMMU confines it, that takes "
			"CAP_SYS_RAWIO: see unsafe-noiommu in vfiod.conf(5))",
			group);
	else if (step == STEP_OPEN)
		refuse(refusal, kind, "/dev/vfio/%d could not be opened", group);
	else
		refuse(refusal, kind, "/dev/vfio/%d does not say whether it is viable", group);
	refusal->group = group;
	refusal->step = step;
	refusal->errnum = -error;
	refusal->rolled_back = true;
	return REFUSED;
}

/* Names what can be named: a device that has joined since the plan was made is not in it. */
static int refuse_unviable(const struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;
	size_t n_named = 0;

	refuse(refusal, REFUSAL_NOT_VIABLE, "group %d is not viable: ", plan->group);
	refusal->group = plan->group;
	refusal->step = STEP_VIABLE;
	refusal->errnum = EPERM;
	refusal->rolled_back = true;
	for (size_t i = 0; i < plan->n_members; i++) {
		const struct plan_member *member = &plan->members[i];
		char driver[DRIVER_NAME_SIZE];

		/* mdev's drivers are all VFIO's, whatever their names. */
		if (strcmp(member->bus, "mdev") == 0 ||
			member_read_driver(transaction, member, driver) < 0 ||
			driver_leaves_dma(driver))
			continue;
		if (n_named++ == 0)
			snprintf(refusal->device, sizeof(refusal->device), "%s", member->name);
		refusal_append(
			refusal, "%s%s is on %s", n_named > 1 ? ", " : "", member->name, driver);
	}
	if (n_named == 0)
		refusal_append(refusal,
			"a device that has joined it meanwhile is on a driver of the host");
	return REFUSED;
}

int group_prove(const struct transaction *transaction, int *group_fd, struct refusal *refusal)
{
	const struct sysfs_ops *ops = transaction->ops;

	*group_fd = group_open_patiently(transaction);
	if (*group_fd < 0) {
		int error = *group_fd;
		*group_fd = -1;
		return refuse_group(transaction, REFUSAL_TAKE_FAILED, STEP_OPEN, error, refusal);
	}
	transaction_step(transaction, STEP_VIABLE, -1);
	int viable = ops->group_viable(ops->userdata, *group_fd);
	if (viable > 0)
		return 0;
	if (viable == 0)
		return refuse_unviable(transaction, refusal);
	return refuse_group(transaction, REFUSAL_TAKE_FAILED, STEP_VIABLE, viable, refusal);
}

int group_find_opener(
	const struct transaction *transaction, bool nodes_only, struct refusal *refusal)
{
	const struct sysfs_ops *ops = transaction->ops;
	struct opener opener = { .certainty = OPENER_UNKNOWN };
	char text[128];

	/* Where /proc cannot be read, nobody is found: an unbind may hang then, and is shown. */
	if (ops->find_opener(ops->userdata, transaction->plan, nodes_only, &opener) < 0 ||
		opener.certainty != OPENER_SURE)
		return 0;
	opener_describe(&opener, text, sizeof(text));
	refuse_group(transaction, REFUSAL_GROUP_BUSY, STEP_OPEN, -EBUSY, refusal);
	refusal_append(refusal, ": %s", text);
	refusal->owner_pid = opener.pid;
	refusal->owner_uid = opener.uid;
	return REFUSED;
}

static int prove_and_close_if_not(
	const struct transaction *transaction, int *group_fd, struct refusal *refusal)
{
	int r = group_prove(transaction, group_fd, refusal);
	if (r != 0) {
		group_close(transaction, *group_fd);
		*group_fd = -1;
	}
	return r;
}

int transaction_open(struct transaction *transaction, int *group_fd, struct refusal *refusal)
{
	int r = prove_and_close_if_not(transaction, group_fd, refusal);
	if (r == REFUSED && refusal->kind == REFUSAL_GROUP_BUSY)
		group_find_opener(transaction, false, refusal);
	return r;
}

int transaction_peek(struct transaction *transaction, struct refusal *refusal)
{
	int fd;

	int r = prove_and_close_if_not(transaction, &fd, refusal);
	if (r == 0)
		group_close(transaction, fd);
	return r;
}

int transaction_check(struct transaction *transaction, int *group_fd, struct refusal *refusal)
{
	int fd;

	int r = prove_and_close_if_not(transaction, &fd, refusal);
	if (r == 0)
		r = group_find_opener(transaction, true, refusal);
	if (r == 0 && group_fd)
		*group_fd = fd;
	else
		group_close(transaction, fd);
	return r;
}
