/* Devices that stay with VFIO, each given to its VFIO driver anew. */
#include "daemon/bind/proof.h"
#include "daemon/bind/undo.h"

#include "daemon/base/util.h"

#include <string.h>

static void note_fault(const struct transaction *transaction, size_t index,
	const struct member_fault *fault, struct refusal *refusal)
{
	const struct plan_member *member = &transaction->plan->members[index];

	if (refusal->kind == REFUSAL_NONE) {
		refuse(refusal, REFUSAL_RETURN_FAILED, "%s", "");
		refusal->group = transaction->plan->group;
		string_copy(refusal->device, sizeof(refusal->device), member->name);
		refusal->step = fault->step;
		refusal->errnum = fault->errnum;
	}
	refusal_append(refusal, "%s%s could not be given to %s anew (%s: %s)",
		*refusal->text ? "; " : "", member->name, member->target,
		bind_step_name(fault->step), strerror(fault->errnum));
}

/*
 * An unbind waits for who has a node open (drivers/vfio/vfio_main.c, vfio_unregister_group_dev):
 * whom /proc shows is seen before. Whoever hides keeps the group stuck, and gets nothing of it.
 */
int transaction_renew(struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;
	struct refusal faults = { .kind = REFUSAL_NONE };
	int group_fd = -1;

	int r = group_claim(transaction, &group_fd, refusal);
	if (r == 0 && group_fd >= 0)
		r = group_find_opener(transaction, true, refusal);
	for (size_t i = 0; r == 0 && i < plan->n_members; i++) {
		struct member_fault fault;

		if (plan_member_is_renewed(&plan->members[i]) &&
			member_renew(transaction, i, &fault) < 0)
			note_fault(transaction, i, &fault, &faults);
	}
	group_close(transaction, group_fd);
	if (r == 0 && faults.kind != REFUSAL_NONE) {
		*refusal = faults;
		r = REFUSED;
	}
	return r;
}
