/* The loop's side of doormen. */
#include "daemon/bind/doorman.h"

#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/bind/doorman-wire.h"
#include "daemon/bind/job-wire.h"
#include "daemon/bind/nodes.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum doorman_state {
	DOORMAN_AT_REST,
	DOORMAN_TAKEN, /* by somebody who has not asked yet */
	DOORMAN_AT_WORK,
};

struct doorman {
	LIST_ENTRY(doorman) of_all;
	struct doormen *doormen;
	enum doorman_state state;
	pid_t pid;
	int socket;
	ev_io readable;
	struct nodes *nodes; /* his, who has asked: AT_WORK only, or NULL */
	doorman_answer answer;
	void *userdata;
};

struct doormen {
	struct ev_loop *loop;
	const struct sysfs_ops *ops;
	LIST_HEAD(, doorman) all;
	size_t n_all;
};

int doormen_new(struct ev_loop *loop, const struct sysfs_ops *ops, struct doormen **doormen)
{
	*doormen = calloc(1, sizeof(**doormen));
	if (!*doormen)
		return -ENOMEM;
	(*doormen)->loop = loop;
	(*doormen)->ops = ops;
	return 0;
}

/* The end of his socket is the end of him, now or when the kernel lets him go. */
static void doorman_dismiss(struct doorman *doorman)
{
	ev_io_stop(doorman->doormen->loop, &doorman->readable);
	LIST_REMOVE(doorman, of_all);
	doorman->doormen->n_all--;
	close(doorman->socket);
	free(doorman);
}

struct doormen *doormen_free(struct doormen *doormen)
{
	struct doorman *doorman;

	if (!doormen)
		return NULL;
	while ((doorman = LIST_FIRST(&doormen->all)))
		doorman_dismiss(doorman);
	free(doormen);
	return NULL;
}

struct ev_loop *doormen_loop(const struct doormen *doormen)
{
	return doormen->loop;
}

const struct sysfs_ops *doormen_ops(const struct doormen *doormen)
{
	return doormen->ops;
}

/* True: he has answered, or is no more (-ECHILD). `result` as in doorman_answer. */
static bool receive(const struct doorman *doorman, int *result, int *group_fd)
{
	struct record record;
	int r;

	do {
		r = record_receive(doorman->socket, &record, group_fd, MSG_DONTWAIT);
		if (r == -EAGAIN)
			return false;
		if (r == 1 && record.kind == RECORD_DONE)
			*result = record.result;
		else if (r == 1 && record.kind == RECORD_NODE)
			r = *result = nodes_note(doorman->nodes, record.member, group_fd);
		else
			*result = r == 0 ? -ECHILD : r < 0 ? r : -EPROTO;
	} while (r == 0 && record.kind == RECORD_NODE);
	return true;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)revents;
	struct doorman *doorman = watcher->data;
	const struct sysfs_ops *ops = doorman->doormen->ops;
	doorman_answer answer = doorman->state == DOORMAN_AT_WORK ? doorman->answer : NULL;
	void *userdata = doorman->userdata;
	int result, group_fd = -1;

	if (!receive(doorman, &result, &group_fd))
		return;
	doorman->nodes = NULL;
	if (answer && result >= 0) {
		doorman->state = DOORMAN_AT_REST;
	} else if (doorman->state == DOORMAN_TAKEN) {
		/* Who has him hears of it when he asks. */
		shutdown(doorman->socket, SHUT_RDWR);
		ev_io_stop(loop, &doorman->readable);
	} else {
		doorman_dismiss(doorman);
	}
	if (answer)
		answer(result, &group_fd, userdata);
	if (group_fd >= 0)
		ops->close_group(ops->userdata, group_fd);
}

static int doorman_new(struct doormen *doormen, struct doorman **doorman)
{
	int pair[2];

	struct doorman *made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int r = -errno;
		free(made);
		return r;
	}
	pid_t pid = child_fork();
	if (pid == 0)
		doorman_child(doormen->ops, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		free(made);
		return pid;
	}
	*made = (struct doorman){ .doormen = doormen, .pid = pid, .socket = pair[0] };
	ev_io_init(&made->readable, on_readable, made->socket, EV_READ);
	made->readable.data = made;
	ev_io_start(doormen->loop, &made->readable);
	LIST_INSERT_HEAD(&doormen->all, made, of_all);
	doormen->n_all++;
	*doorman = made;
	return 0;
}

int doorman_get(struct doormen *doormen, const struct plan *plan, doorman_answer answer,
	void *userdata, struct doorman **doorman)
{
	struct doorman *found;
	int r = 0;

	*doorman = NULL;
	if (doorman_request_size(plan) > DOORMAN_REQUEST_MAX)
		return -E2BIG;
	/* One for one group after the other: who has opened it last is the first to have closed it.
	 */
	LIST_FOREACH (found, &doormen->all, of_all)
		if (found->state == DOORMAN_AT_REST)
			break;
	if (!found)
		r = doormen->n_all < DOORMEN_MAX ? doorman_new(doormen, &found) : -EBUSY;
	if (r < 0)
		return r;
	found->state = DOORMAN_TAKEN;
	found->answer = answer;
	found->userdata = userdata;
	*doorman = found;
	return 0;
}

void doorman_ask(struct doorman *doorman, const struct plan *plan, enum doorman_wish wish,
	struct nodes *nodes)
{
	doorman->state = DOORMAN_AT_WORK;
	doorman->nodes = nodes;
	/* Then the end of the socket is the answer. */
	if (doorman_request_send(doorman->socket, plan, wish) < 0)
		shutdown(doorman->socket, SHUT_RDWR);
	ev_io_start(doorman->doormen->loop, &doorman->readable);
}

void doorman_leave(struct doorman *doorman)
{
	if (doorman->state == DOORMAN_AT_WORK) {
		doorman_dismiss(doorman);
		return;
	}
	doorman->state = DOORMAN_AT_REST;
	ev_io_start(doorman->doormen->loop, &doorman->readable);
}

pid_t doorman_pid(const struct doorman *doorman)
{
	return doorman->pid;
}
