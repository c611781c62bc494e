/* From the host to VFIO: inspect, bind each, prove the group; or all back again. */
#include "daemon/bind/nodes.h"
#include "daemon/bind/proof.h"
#include "daemon/bind/undo.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

static const char *reason_of(const struct plan_member *member, const struct member_fault *fault)
{
	switch (fault->step) {
	case STEP_GUARD:
		return "it could not be seen whether the host uses it";
	case STEP_MODULE:
		return member->is_variant ? "the module of its VFIO driver could not be loaded, or "
					    "has none"
					  : "the module of its VFIO driver could not be loaded";
	case STEP_READ:
		return "its driver or driver_override could not be read";
	case STEP_OVERRIDE:
		return "its driver_override could not be written";
	case STEP_UNBIND:
		return "its driver did not let go of it";
	case STEP_BIND:
		return fault->driver_missing ? "its VFIO driver is not there"
					     : "its VFIO driver did not accept it";
	default:
		return member->action == PLAN_PARK ? "a driver came back to it"
						   : "another driver has it, or none";
	}
}

/* As if nothing was written; the caller rolls back what was, and says so. */
static int refuse_member(const struct transaction *transaction, size_t index,
	const struct member_fault *fault, struct refusal *refusal)
{
	const struct plan_member *member = &transaction->plan->members[index];

	refuse(refusal, REFUSAL_TAKE_FAILED, "%s: %s", member->name,
		fault->vanished ? "it has left the host" : reason_of(member, fault));
	if (member->is_variant && !fault->vanished)
		refusal_append(refusal,
			" (module %s, which is made for this device; driver = vfio-pci in its rule "
			"chooses the general one)",
			member->module);
	refusal->group = transaction->plan->group;
	snprintf(refusal->device, sizeof(refusal->device), "%s", member->name);
	refusal->step = fault->step;
	refusal->errnum = fault->errnum;
	refusal->rolled_back = true;
	return REFUSED;
}

static int inspect_member(
	const struct transaction *transaction, size_t index, struct refusal *refusal)
{
	const struct plan_member *member = &transaction->plan->members[index];
	const struct sysfs_ops *ops = transaction->ops;
	struct member_fault fault;

	if (!member->force) {
		transaction_step(transaction, STEP_GUARD, (int)index);
		int r = ops->guard(ops->userdata, member->syspath, member->name, refusal);
		if (r == REFUSED) {
			refusal->group = transaction->plan->group;
			refusal->step = STEP_GUARD;
			refusal->rolled_back = true;
			return REFUSED;
		}
		if (r < 0) {
			fault = (struct member_fault){ .step = STEP_GUARD, .errnum = -r };
			return refuse_member(transaction, index, &fault, refusal);
		}
	}
	if (member_inspect(transaction, index, &fault) < 0 ||
		member_choose_variant(transaction, index, &fault) < 0)
		return refuse_member(transaction, index, &fault, refusal);
	return 0;
}

int transaction_inspect(struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;

	for (size_t i = 0; i < plan->n_members; i++) {
		if (!member_is_moved(transaction, &plan->members[i]))
			continue;
		int r = inspect_member(transaction, i, refusal);
		if (r != 0)
			return r;
	}
	return 0;
}

void transaction_look(struct transaction *transaction)
{
	const struct plan *plan = transaction->plan;
	struct member_fault fault;

	for (size_t i = 0; i < plan->n_members; i++)
		if (member_is_moved(transaction, &plan->members[i]) && !plan->members[i].known)
			member_inspect(transaction, i, &fault);
}

/* Before the first write: a module that cannot be loaded must not cost anybody a driver. */
static int load_modules(const struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;
	const struct sysfs_ops *ops = transaction->ops;

	for (size_t i = 0; i < plan->n_members; i++) {
		if (!member_is_moved(transaction, &plan->members[i]) ||
			plan->members[i].action == PLAN_PARK)
			continue;
		transaction_step(transaction, STEP_MODULE, (int)i);
		int r = ops->load_module(ops->userdata, plan->members[i].module);
		if (r < 0) {
			struct member_fault fault = { .step = STEP_MODULE, .errnum = -r };
			return refuse_member(transaction, i, &fault, refusal);
		}
	}
	return 0;
}

/* Takes the first `n` members back, and the refusal tells what came of it: REFUSED. */
static int roll_back(const struct transaction *transaction, size_t n, struct refusal *refusal)
{
	struct undo undo;

	undo_run(transaction, n, &undo);
	if (undo.n_faults > 0) {
		/* Whatever it was, the group is not as before: the kind has to say so. */
		refusal->kind = REFUSAL_TAKE_FAILED;
		refusal->rolled_back = false;
		refusal_append(refusal, ". Left behind: %s", undo.text);
	}
	return REFUSED;
}

/* The group would be viable without a member that left while others were moved: not what was asked
 * for. */
static int verify_all(const struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;

	for (size_t i = 0; i < plan->n_members; i++) {
		struct member_fault fault;

		if (member_is_moved(transaction, &plan->members[i]) &&
			member_verify(transaction, i, &fault) < 0)
			return refuse_member(transaction, i, &fault, refusal);
	}
	return 0;
}

/* Modules, then each member: 0, or REFUSED after a rollback. */
static int move_all(const struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;

	int r = load_modules(transaction, refusal);
	if (r != 0)
		return r;
	for (size_t i = 0; i < plan->n_members; i++) {
		struct member_fault fault;

		if (!member_is_moved(transaction, &plan->members[i]))
			continue;
		assert(plan->members[i].known);
		if (member_take(transaction, i, &fault) < 0) {
			refuse_member(transaction, i, &fault, refusal);
			return roll_back(transaction, i + 1, refusal);
		}
	}
	return 0;
}

int transaction_take(struct transaction *transaction, int *group_fd, struct refusal *refusal)
{
	*group_fd = -1;
	int r = move_all(transaction, refusal);
	if (r != 0)
		return r;
	r = verify_all(transaction, refusal);
	if (r == 0)
		r = group_prove(transaction, group_fd, refusal);
	if (r == 0 && transaction->nodes)
		r = nodes_open(transaction, refusal);
	if (r != 0) {
		/*
		 * EBUSY here: somebody opened a group that has just been taken. If he has a
		 * device of it, the unbind waits for him: the job's deadline tells.
		 */
		r = roll_back(transaction, transaction->plan->n_members, refusal);
	}
	if (r != 0 || transaction->nodes) {
		group_close(transaction, *group_fd);
		*group_fd = -1;
	}
	return r;
}

/* Whoever has the group open keeps it so: whether it is viable is not asked. */
int transaction_join(struct transaction *transaction, struct refusal *refusal)
{
	int r = move_all(transaction, refusal);
	if (r != 0)
		return r;
	r = verify_all(transaction, refusal);
	return r == 0 ? 0 : roll_back(transaction, transaction->plan->n_members, refusal);
}
