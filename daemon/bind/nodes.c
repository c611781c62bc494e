#include "daemon/bind/nodes.h"

#include "daemon/base/util.h"
#include "daemon/bind/member.h"
#include "daemon/bind/proof.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define OPEN_ATTEMPTS 10

static const struct timespec OPEN_PAUSE = { .tv_nsec = 100000000 };

struct nodes *nodes_new(const struct plan *plan)
{
	struct nodes *nodes = calloc(1, sizeof(*nodes) + plan->n_members * sizeof(nodes->all[0]));

	if (!nodes)
		return NULL;
	nodes->n = plan->n_members;
	for (size_t i = 0; i < nodes->n; i++) {
		string_copy(nodes->all[i].device, DEVICE_NAME_SIZE, plan->members[i].name);
		nodes->all[i].fd = -1;
	}
	return nodes;
}

void nodes_close(struct nodes *nodes)
{
	for (size_t i = 0; nodes && i < nodes->n; i++)
		if (nodes->all[i].fd >= 0)
			close(steal_fd(&nodes->all[i].fd));
}

struct nodes *nodes_free(struct nodes *nodes)
{
	nodes_close(nodes);
	free(nodes);
	return NULL;
}

int nodes_note(struct nodes *nodes, int member, int *fd)
{
	if (!nodes || *fd < 0 || member < 0 || (size_t)member >= nodes->n ||
		nodes->all[member].fd >= 0)
		return -EPROTO;
	nodes->all[member].fd = steal_fd(fd);
	return 0;
}

bool nodes_are_whole(const struct nodes *nodes, const struct plan *plan)
{
	bool are_whole = nodes;

	for (size_t i = 0; are_whole && i < plan->n_members; i++)
		are_whole = nodes->all[i].fd >= 0 || !plan_hands_out(plan->members[i].action);
	return are_whole;
}

int nodes_try(const struct sysfs_ops *ops, const struct plan *plan, struct nodes *nodes)
{
	for (size_t i = 0; i < plan->n_members; i++) {
		if (!plan_hands_out(plan->members[i].action))
			continue;
		int fd = ops->open_node(ops->userdata, plan->members[i].syspath);
		if (fd < 0) {
			nodes_close(nodes);
			return fd;
		}
		nodes->all[i].fd = fd;
	}
	return 0;
}

/* devtmpfs has it before a bind returns, but in a container somebody else makes it, later. */
static int open_patiently(const struct transaction *transaction, size_t index)
{
	const struct sysfs_ops *ops = transaction->ops;

	for (int attempt = 1;; attempt++) {
		transaction_step(transaction, STEP_OPEN, (int)index);
		int fd = ops->open_node(ops->userdata, transaction->plan->members[index].syspath);
		if (fd != -ENOENT || attempt == OPEN_ATTEMPTS)
			return fd;
		nanosleep(&OPEN_PAUSE, NULL);
	}
}

static int refuse_node(
	const struct transaction *transaction, size_t index, int error, struct refusal *refusal)
{
	const struct plan_member *member = &transaction->plan->members[index];

	if (error == -ENXIO)
		refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"%s has no node of its own (/dev/vfio/devices): this kernel was built "
			"without CONFIG_VFIO_DEVICE_CDEV, or its driver makes none",
			member->name);
	else
		refuse(refusal, REFUSAL_TAKE_FAILED,
			"%s: its node in /dev/vfio/devices could not be opened", member->name);
	refusal->group = transaction->plan->group;
	string_copy(refusal->device, sizeof(refusal->device), member->name);
	refusal->step = STEP_OPEN;
	refusal->errnum = -error;
	refusal->rolled_back = true;
	return REFUSED;
}

int nodes_open(const struct transaction *transaction, struct refusal *refusal)
{
	const struct plan *plan = transaction->plan;

	for (size_t i = 0; i < plan->n_members; i++) {
		if (!plan_hands_out(plan->members[i].action))
			continue;
		int fd = open_patiently(transaction, i);
		if (fd < 0) {
			nodes_close(transaction->nodes);
			return refuse_node(transaction, i, fd, refusal);
		}
		transaction->nodes->all[i].fd = fd;
	}
	return 0;
}

bool nodes_may_be_kept(const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_members; i++)
		if (plan_hands_out(plan->members[i].action) &&
			strcmp(plan->members[i].bus, "mdev") == 0)
			return true;
	return false;
}

int transaction_open_nodes(struct transaction *transaction, struct refusal *refusal)
{
	int group_fd;

	int r = nodes_may_be_kept(transaction->plan)
			? transaction_check(transaction, &group_fd, refusal)
			: transaction_open(transaction, &group_fd, refusal);
	if (r != 0)
		return r;
	r = nodes_open(transaction, refusal);
	group_close(transaction, group_fd);
	return r;
}
