/* The child's side of a bind job. It never returns into the daemon's code, nor into its loop. */
#include "daemon/base/child.h"
#include "daemon/bind/job-wire.h"
#include "daemon/bind/nodes.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct child {
	enum job_kind kind;
	struct transaction transaction;
	int socket;
};

/* News only: better lost than waiting for a parent that is stopped. */
static void tell_step(enum bind_step step, int member, void *userdata)
{
	const struct child *child = userdata;
	struct record record = { .kind = RECORD_STEP, .member = member, .step = (int32_t)step };

	record_send(child->socket, &record, -1, MSG_DONTWAIT);
}

static int tell_known(const struct child *child)
{
	const struct plan *plan = child->transaction.plan;

	for (size_t i = 0; i < plan->n_members; i++) {
		const struct plan_member *member = &plan->members[i];
		struct record known = { .kind = RECORD_KNOWN, .member = (int32_t)i };

		if (!member->known)
			continue;
		memcpy(known.host_driver, member->host_driver, sizeof(known.host_driver));
		memcpy(known.host_override, member->host_override, sizeof(known.host_override));
		memcpy(known.claim, member->claim, sizeof(known.claim));
		memcpy(known.target, member->target, sizeof(known.target));
		memcpy(known.module, member->module, sizeof(known.module));
		known.host_probes = member->host_probes;
		known.is_variant = member->is_variant;
		int r = record_send(child->socket, &known, -1, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static int tell_ready(const struct child *child)
{
	struct record record = { .kind = RECORD_READY, .member = -1 };
	int r = tell_known(child);

	return r < 0 ? r : record_send(child->socket, &record, -1, 0);
}

static bool may_go(const struct child *child)
{
	struct record record;
	int fd;

	return record_receive(child->socket, &record, &fd, 0) == 1 && record.kind == RECORD_GO;
}

static void tell_done(
	const struct child *child, int result, int group_fd, const struct refusal *refusal)
{
	struct record record = { .kind = RECORD_DONE, .member = -1, .result = result };

	record.refusal = *refusal;
	/* Nobody there: the transaction is finished all the same, and the journal has it. */
	int r = record_send(child->socket, &record, group_fd, 0);
	if (r < 0 && r != -EPIPE && r != -ECONNRESET && group_fd >= 0) {
		record.result = r;
		record_send(child->socket, &record, -1, 0);
	}
}

/* 0 or -errno. Who is no more has none of them, as this child ends. */
static int tell_nodes(const struct child *child)
{
	const struct nodes *nodes = child->transaction.nodes;

	for (size_t i = 0; nodes && i < nodes->n; i++) {
		struct record record = { .kind = RECORD_NODE, .member = (int32_t)i };
		int r = nodes->all[i].fd < 0
				? 0
				: record_send(child->socket, &record, nodes->all[i].fd, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of a kind that inspects nothing, once it may go. */
static int child_go(struct child *child, int *group_fd, struct refusal *refusal)
{
	struct transaction *transaction = &child->transaction;

	switch (child->kind) {
	case JOB_RETURN:
		return transaction_return(transaction, refusal);
	case JOB_RENEW:
		return transaction_renew(transaction, refusal);
	case JOB_OPEN:
		return transaction_open(transaction, group_fd, refusal);
	case JOB_OPEN_NODES:
		return transaction_open_nodes(transaction, refusal);
	case JOB_REOPEN_NODES:
		return nodes_open(transaction, refusal);
	case JOB_CHECK:
		return transaction_check(transaction, NULL, refusal);
	case JOB_KEEP:
		return transaction_check(transaction, group_fd, refusal);
	case JOB_PEEK:
		return transaction_peek(transaction, refusal);
	default:
		return -EINVAL;
	}
}

static void child_run(struct child *child)
{
	struct transaction *transaction = &child->transaction;
	struct refusal refusal;
	int group_fd = -1, r;

	memset(&refusal, 0, sizeof(refusal));
	switch (child->kind) {
	case JOB_TAKE:
	case JOB_TAKE_NODES:
		r = transaction_inspect(transaction, &refusal);
		if (r != 0)
			break;
		if (tell_ready(child) < 0 || !may_go(child))
			return;
		r = transaction_take(transaction, &group_fd, &refusal);
		break;
	case JOB_JOIN:
		transaction->joins = true;
		r = transaction_inspect(transaction, &refusal);
		if (r != 0)
			break;
		if (tell_ready(child) < 0 || !may_go(child))
			return;
		r = transaction_join(transaction, &refusal);
		break;
	case JOB_LOOK:
		r = transaction_inspect(transaction, &refusal);
		if (r == 0) {
			/* An end without a word would be taken for a death. */
			if (tell_ready(child) == 0)
				may_go(child);
			return;
		}
		transaction_look(transaction);
		if (tell_known(child) < 0)
			return;
		break;
	default:
		if (!may_go(child))
			return;
		r = child_go(child, &group_fd, &refusal);
	}
	if (r == 0)
		r = tell_nodes(child);
	tell_done(child, r, group_fd, &refusal);
}

_Noreturn void job_child(
	enum job_kind kind, struct plan *plan, const struct sysfs_ops *ops, int socket)
{
	struct child child = {
		.kind = kind,
		.transaction = { .ops = ops, .plan = plan, .on_step = tell_step },
		.socket = CHILD_FD,
	};

	child.transaction.userdata = &child;
	bool has_nodes =
		kind == JOB_TAKE_NODES || kind == JOB_OPEN_NODES || kind == JOB_REOPEN_NODES;
	if (has_nodes)
		child.transaction.nodes = nodes_new(plan);
	if ((!has_nodes || child.transaction.nodes) && child_isolate("vfiod-bind", socket) == 0)
		child_run(&child);
	_exit(0);
}
