/* The parent's side of a bind job, on the loop. */
#include "daemon/bind/job.h"

#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/bind/job-wire.h"
#include "daemon/bind/nodes.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct job {
	struct ev_loop *loop;
	enum job_kind kind;
	struct plan *plan;
	const struct sysfs_ops *ops;
	struct job_listener listener;
	void *userdata;
	struct doorman *doorman; /* who does it before there is a child; NULL: none */
	pid_t pid;
	int socket;
	int pidfd;
	ev_io readable; /* of the socket */
	ev_io ended;    /* of the pidfd */
	ev_timer deadline;
	double deadline_seconds;
	bool is_ready; /* inspected, waits for job_go() */
	bool has_gone; /* the child was told to go */
	bool is_done;  /* the child has said how it ended */
	enum bind_step step;
	int member;
	/* What it said, for the listener. */
	int result;
	int group_fd;
	struct nodes *nodes; /* NULL: of a kind that brings none */
	struct refusal refusal;
};

static bool inspects(enum job_kind kind)
{
	return kind == JOB_TAKE || kind == JOB_TAKE_NODES || kind == JOB_JOIN || kind == JOB_LOOK;
}

static bool opens(enum job_kind kind)
{
	return kind == JOB_TAKE || kind == JOB_OPEN || kind == JOB_KEEP;
}

static bool opens_nodes(enum job_kind kind)
{
	return kind == JOB_TAKE_NODES || kind == JOB_OPEN_NODES || kind == JOB_REOPEN_NODES;
}

static void deadline_start(struct job *job)
{
	if (job->deadline_seconds <= 0)
		return;
	ev_timer_stop(job->loop, &job->deadline);
	/* Since now, not since the loop last looked at the clock: a fork takes its time. */
	if (!job->doorman)
		ev_now_update(job->loop);
	ev_timer_set(&job->deadline, job->deadline_seconds, 0);
	ev_timer_start(job->loop, &job->deadline);
}

static struct plan_member *member_of(const struct job *job, const struct record *record)
{
	return record->member >= 0 && (size_t)record->member < job->plan->n_members
		       ? &job->plan->members[record->member]
		       : NULL;
}

/* Of a success: has it brought what it is about? */
static bool has_brought(const struct job *job, int group_fd)
{
	return (!opens(job->kind) || group_fd >= 0) &&
	       (!opens_nodes(job->kind) || nodes_are_whole(job->nodes, job->plan));
}

/* 0 or -EPROTO. */
static int job_note(struct job *job, const struct record *record)
{
	struct plan_member *member = member_of(job, record);

	if (record->member >= 0 && !member)
		return -EPROTO;
	switch (record->kind) {
	case RECORD_STEP:
		job->step = (enum bind_step)record->step;
		job->member = record->member;
		return 0;
	case RECORD_KNOWN:
		if (!member)
			return -EPROTO;
		memcpy(member->host_driver, record->host_driver, sizeof(member->host_driver));
		memcpy(member->host_override, record->host_override, sizeof(member->host_override));
		memcpy(member->claim, record->claim, sizeof(member->claim));
		memcpy(member->target, record->target, sizeof(member->target));
		memcpy(member->module, record->module, sizeof(member->module));
		member->host_probes = record->host_probes;
		member->is_variant = record->is_variant;
		member->known = true;
		return 0;
	case RECORD_READY:
		if (!inspects(job->kind) || job->is_ready)
			return -EPROTO;
		job->is_ready = true;
		return 0;
	case RECORD_DONE:
		job->is_done = true;
		job->result = record->result;
		job->refusal = record->refusal;
		return 0;
	default:
		return -EPROTO;
	}
}

/* Takes one record in: its kind, or 0 when there is none for now, or no more. */
static int job_receive(struct job *job)
{
	struct record record;
	int fd;

	int r = record_receive(job->socket, &record, &fd, MSG_DONTWAIT);
	if (r == -EAGAIN)
		return 0;
	if (r == 1)
		r = record.kind == RECORD_NODE ? nodes_note(job->nodes, record.member, &fd)
					       : job_note(job, &record);
	else if (r == 0)
		r = -ECHILD; /* closed: the rest is the pidfd's to tell */
	if (fd >= 0 && r == 0 && opens(job->kind) && job->group_fd < 0)
		job->group_fd = steal_fd(&fd);
	if (fd >= 0)
		close(fd);
	/* A success without what it is about. */
	if (job->is_done && job->result == 0 && !has_brought(job, job->group_fd))
		r = -EPROTO;
	if (r == 0)
		return record.kind;
	ev_io_stop(job->loop, &job->readable);
	if (r != -ECHILD) {
		/* If it waits for us, it must not wait for ever. */
		shutdown(job->socket, SHUT_RDWR);
		job->is_done = true;
		job->result = r;
		refuse(&job->refusal, REFUSAL_SYSTEM,
			"what the bind child of group %d said could not be received",
			job->plan->group);
		job->refusal.errnum = -r;
	}
	return 0;
}

/* One record a call: the listener may free the job. */
static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)revents;
	struct job *job = watcher->data;

	if (job_receive(job) != RECORD_READY)
		return;
	/* From here on it is the caller whom the child waits for. */
	ev_timer_stop(loop, &job->deadline);
	job->listener.ready(job, job->userdata);
}

static void refuse_silence(struct job *job)
{
	const char *device;
	enum bind_step step = job_step(job, &device);

	job->result = -ECHILD;
	refuse(&job->refusal, REFUSAL_SYSTEM,
		"the bind child of group %d was killed at step %s%s%s", job->plan->group,
		bind_step_name(step), *device ? " of " : "", device);
	job->refusal.group = job->plan->group;
	job->refusal.step = step;
	job->refusal.errnum = ECHILD;
	string_copy(job->refusal.device, sizeof(job->refusal.device), device);
}

static void finish(struct job *job, int result, int *group_fd, const struct refusal *refusal)
{
	ev_timer_stop(job->loop, &job->deadline);
	job->listener.done(job, result, group_fd, refusal, job->userdata);
}

static void on_ended(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)revents;
	struct job *job = watcher->data;
	siginfo_t ignored;

	/* ECHILD is fine: libev's default loop reaps every child that ends (ev_child, libev(3)). */
	waitid(P_PIDFD, (id_t)job->pidfd, &ignored, WEXITED | WNOHANG);
	while (ev_is_active(&job->readable) && job_receive(job) != 0)
		;
	ev_io_stop(loop, &job->readable);
	ev_io_stop(loop, &job->ended);
	if (!job->is_done)
		refuse_silence(job);

	/* Copies: the listener may free the job and still look at them. */
	struct refusal refusal = job->refusal;
	int result = job->result, group_fd = steal_fd(&job->group_fd);
	finish(job, result, &group_fd, &refusal);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct job *job = timer->data;
	const char *device;
	enum bind_step step = job_step(job, &device);

	if (job->listener.late)
		job->listener.late(job, step, device, job->userdata);
}

/* A child of its own: 0 or -errno. */
static int job_fork(struct job *job)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	job->socket = pair[0];
	pid_t pid = child_fork();
	if (pid == 0)
		job_child(job->kind, job->plan, job->ops, pair[1]);
	close(pair[1]);
	if (pid < 0)
		return pid;
	/* Not reaped before we are back in the loop: the pid is still this child's. */
	job->pid = pid;
	job->pidfd = pidfd_open(pid, 0);
	/* It waits for GO, and ends when the job is freed. */
	if (job->pidfd < 0)
		return -errno;
	ev_io_set(&job->readable, job->socket, EV_READ);
	ev_io_set(&job->ended, job->pidfd, EV_READ);
	ev_io_start(job->loop, &job->readable);
	ev_io_start(job->loop, &job->ended);
	return 0;
}

static void tell_go(struct job *job)
{
	struct record record = { .kind = RECORD_GO, .member = -1 };

	/* A child that has died meanwhile is told by its pidfd. */
	record_send(job->socket, &record, -1, MSG_DONTWAIT);
}

/* To try again, and to say why not. The deadline goes on: the client waits for both. */
static void go_by_child(struct job *job)
{
	struct refusal refusal;
	int no_fd = -1;

	int r = job_fork(job);
	if (r == 0) {
		tell_go(job);
		return;
	}
	refuse(&refusal, REFUSAL_SYSTEM, "no child to open group %d", job->plan->group);
	refusal.group = job->plan->group;
	refusal.errnum = -r;
	finish(job, r, &no_fd, &refusal);
}

static void on_answer(int result, int *group_fd, void *userdata)
{
	struct job *job = userdata;
	struct refusal none = { .kind = REFUSAL_NONE, .group = -1 };

	job->doorman = NULL;
	if (result == 0 && has_brought(job, *group_fd)) {
		finish(job, 0, group_fd, &none);
		return;
	}
	/* What he has sent before he was lost: the child opens it again. */
	nodes_close(job->nodes);
	go_by_child(job);
}

static enum doorman_wish wish_of(enum job_kind kind)
{
	switch (kind) {
	case JOB_OPEN:
		return DOORMAN_OPENS;
	case JOB_KEEP:
		return DOORMAN_KEEPS;
	case JOB_PEEK:
		return DOORMAN_PEEKS;
	case JOB_OPEN_NODES:
		return DOORMAN_OPENS_NODES;
	case JOB_REOPEN_NODES:
		return DOORMAN_REOPENS_NODES;
	default:
		return DOORMAN_CHECKS;
	}
}

static struct job *job_alloc(struct ev_loop *loop, enum job_kind kind, struct plan *plan,
	const struct sysfs_ops *ops, double deadline_seconds, const struct job_listener *listener,
	void *userdata)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	*job = (struct job){
		.loop = loop,
		.kind = kind,
		.plan = plan,
		.ops = ops,
		.listener = *listener,
		.userdata = userdata,
		.socket = -1,
		.pidfd = -1,
		.deadline_seconds = deadline_seconds,
		.member = -1,
		.group_fd = -1,
		.nodes = opens_nodes(kind) ? nodes_new(plan) : NULL,
	};
	if (opens_nodes(kind) && !job->nodes) {
		free(job);
		return NULL;
	}
	ev_init(&job->readable, on_readable);
	ev_init(&job->ended, on_ended);
	ev_init(&job->deadline, on_deadline);
	job->readable.data = job->ended.data = job->deadline.data = job;
	return job;
}

int job_new(struct ev_loop *loop, enum job_kind kind, struct plan *plan,
	const struct sysfs_ops *ops, double deadline_seconds, const struct job_listener *listener,
	void *userdata, struct job **job)
{
	*job = NULL;
	struct job *made = job_alloc(loop, kind, plan, ops, deadline_seconds, listener, userdata);
	int r = made ? job_fork(made) : -ENOMEM;
	if (r < 0) {
		job_free(made);
		return r;
	}
	if (inspects(kind))
		deadline_start(made);
	*job = made;
	return 0;
}

int job_new_open(struct doormen *doormen, enum job_kind kind, struct plan *plan,
	double deadline_seconds, const struct job_listener *listener, void *userdata,
	struct job **job)
{
	*job = NULL;
	struct job *made = job_alloc(doormen_loop(doormen), kind, plan, doormen_ops(doormen),
		deadline_seconds, listener, userdata);
	int r = made ? doorman_get(doormen, plan, on_answer, made, &made->doorman) : -ENOMEM;
	if (r < 0 && made)
		r = job_fork(made);
	if (r < 0) {
		job_free(made);
		return r;
	}
	*job = made;
	return 0;
}

void job_go(struct job *job)
{
	if ((inspects(job->kind) && !job->is_ready) || job->has_gone)
		return;
	job->has_gone = true;
	deadline_start(job);
	if (!job->doorman) {
		tell_go(job);
		return;
	}
	job->step = STEP_OPEN;
	doorman_ask(job->doorman, job->plan, wish_of(job->kind), job->nodes);
}

/* Closing the socket is what tells a child that waits; one that works does not look at it. */
struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;
	ev_io_stop(job->loop, &job->readable);
	ev_io_stop(job->loop, &job->ended);
	ev_timer_stop(job->loop, &job->deadline);
	if (job->doorman)
		doorman_leave(job->doorman);
	if (job->socket >= 0)
		close(job->socket);
	if (job->pidfd >= 0)
		close(job->pidfd);
	if (job->group_fd >= 0)
		close(job->group_fd);
	nodes_free(job->nodes);
	free(job);
	return NULL;
}

pid_t job_pid(const struct job *job)
{
	return job->doorman ? doorman_pid(job->doorman) : job->pid;
}

struct nodes *job_take_nodes(struct job *job)
{
	struct nodes *nodes = job->nodes;

	job->nodes = NULL;
	return nodes;
}

enum bind_step job_step(const struct job *job, const char **device)
{
	*device = job->member >= 0 ? job->plan->members[job->member].name : "";
	return job->step;
}
