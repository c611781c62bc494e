/* The child's side of a bind job. It never returns into the daemon's code, nor into its loop. */
#include "daemon/base/util.h"
#include "daemon/bind/job-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define CHILD_SOCKET 3

/*
 * What is sent to the daemon's process group, control group or terminal must not end a
 * transaction in the middle. SIGKILL does: then the journal has it.
 */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1,
		SIGUSR2 };
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	/* The daemon's handlers would write to pipes of its loop. Reserved numbers fail: fine. */
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	action.sa_handler = SIG_IGN;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the terminal's reach altogether: its ^Z would stop a transaction. */
	setsid();
}

static void close_from(int first)
{
	if (close_range((unsigned)first, ~0U, 0) == 0)
		return;
	/* A kernel or sandbox without it: a copy of a client's fd kept here would outlive it. */
	for (long fd = first, end = sysconf(_SC_OPEN_MAX); fd < end; fd++)
		close((int)fd);
}

/*
 * Only the socket and stderr stay. 0 and 1 (and 2, if it was closed) become /dev/null: what
 * a library prints must not go into an attribute of sysfs that happens to be open there.
 */
static int keep_socket_only(int socket)
{
	int high = fcntl(socket, F_DUPFD_CLOEXEC, CHILD_SOCKET + 1);
	if (high < 0)
		return -errno;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	bool has_stderr = fcntl(STDERR_FILENO, F_GETFD) >= 0 && null != STDERR_FILENO;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		(!has_stderr && dup2(null, STDERR_FILENO) < 0) || dup2(high, CHILD_SOCKET) < 0)
		return -errno;
	close_from(CHILD_SOCKET + 1);
	return 0;
}

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
	struct record record = { .kind = RECORD_READY, .member = -1 };

	for (size_t i = 0; i < plan->n_members; i++) {
		const struct plan_member *member = &plan->members[i];
		struct record known = { .kind = RECORD_KNOWN, .member = (int32_t)i };

		if (!member->known)
			continue;
		memcpy(known.host_driver, member->host_driver, sizeof(known.host_driver));
		memcpy(known.host_override, member->host_override, sizeof(known.host_override));
		int r = record_send(child->socket, &known, -1, 0);
		if (r < 0)
			return r;
	}
	return record_send(child->socket, &record, -1, 0);
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

static void child_run(struct child *child)
{
	struct transaction *transaction = &child->transaction;
	struct refusal refusal;
	int group_fd = -1, r;

	memset(&refusal, 0, sizeof(refusal));
	switch (child->kind) {
	case JOB_TAKE:
		r = transaction_inspect(transaction, &refusal);
		if (r != 0)
			break;
		if (tell_known(child) < 0 || !may_go(child))
			return;
		r = transaction_take(transaction, &group_fd, &refusal);
		break;
	case JOB_RETURN:
		if (!may_go(child))
			return;
		r = transaction_return(transaction, &refusal);
		break;
	case JOB_OPEN:
		if (!may_go(child))
			return;
		r = transaction_open(transaction, &group_fd, &refusal);
		break;
	default:
		r = -EINVAL;
	}
	tell_done(child, r, group_fd, &refusal);
}

_Noreturn void job_child(
	enum job_kind kind, struct plan *plan, const struct sysfs_ops *ops, int socket)
{
	struct child child = {
		.kind = kind,
		.transaction = { .ops = ops, .plan = plan, .on_step = tell_step },
		.socket = CHILD_SOCKET,
	};

	child.transaction.userdata = &child;
	prctl(PR_SET_NAME, "vfiod-bind");
	ignore_signals();
	if (keep_socket_only(socket) == 0)
		child_run(&child);
	_exit(0);
}
