/* From VFIO back to the host. */
#include "daemon/bind/proof.h"
#include "daemon/bind/undo.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_any_on_target(const struct transaction *transaction)
{
	const struct plan *plan = transaction->plan;

	for (size_t i = 0; i < plan->n_members; i++) {
		char driver[DRIVER_NAME_SIZE];

		/* Not to know is no reason to write. What is parked has no part in the node. */
		if (plan->members[i].action == PLAN_BIND && plan->members[i].known &&
			(member_read_driver(transaction, &plan->members[i], driver) < 0 ||
				strcmp(driver, plan->members[i].target) == 0))
			return true;
	}
	return false;
}

/*
 * ENODEV, ENXIO: the group's last device has just left (drivers/vfio/group.c,
 * vfio_group_fops_open; a character device that is gone).
 */
int group_claim(const struct transaction *transaction, int *group_fd, struct refusal *refusal)
{
	int fd = group_open(transaction);
	bool is_gone = fd == -ENOENT || fd == -ENODEV || fd == -ENXIO;
	if (is_gone && is_any_on_target(transaction)) {
		/* Just taken, perhaps, by a child that did not live to see the node. */
		fd = group_open_patiently(transaction);
		is_gone = false;
	}
	if (fd < 0 && !is_gone)
		return refuse_group(transaction, REFUSAL_RETURN_FAILED, STEP_OPEN, fd, refusal);
	*group_fd = fd < 0 ? -1 : fd;
	return 0;
}

int transaction_return(struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;
	int group_fd = -1;
	struct undo undo;

	transaction->returns = true;
	int r = group_claim(transaction, &group_fd, refusal);
	if (r == 0 && group_fd >= 0)
		r = group_find_opener(transaction, true, refusal);
	if (r != 0) {
		group_close(transaction, group_fd);
		return r;
	}
	/* Held open, nobody else can open it meanwhile; the kernel lets go at once all the same. */
	undo_run(transaction, plan->n_members, &undo);
	group_close(transaction, group_fd);
	if (undo.n_faults == 0)
		return 0;

	refuse(refusal, REFUSAL_RETURN_FAILED, "%s", undo.text);
	refusal->group = plan->group;
	snprintf(refusal->device, sizeof(refusal->device), "%s", plan->members[undo.first].name);
	refusal->step = undo.fault.step;
	refusal->errnum = undo.fault.errnum;
	return REFUSED;
}
