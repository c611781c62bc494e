#include "tests/fuzz/fake-job.h"

#include "daemon/base/errand.h"
#include "daemon/base/util.h"
#include "daemon/bind/job.h"
#include "daemon/bind/journal.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/bound.h"
#include "daemon/inventory/inventory.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>

/* The linker's names for them; the contracts are in the headers. */
int __wrap_job_new(struct ev_loop *loop, enum job_kind kind, struct plan *plan,
	const struct sysfs_ops *ops, double deadline_seconds, const struct job_listener *listener,
	void *userdata, struct job **job);
int __wrap_job_new_open(struct doormen *doormen, enum job_kind kind, struct plan *plan,
	double deadline_seconds, const struct job_listener *listener, void *userdata,
	struct job **job);
void __wrap_job_go(struct job *job);
struct job *__wrap_job_free(struct job *job);
struct nodes *__wrap_job_take_nodes(struct job *job);
pid_t __wrap_job_pid(const struct job *job);
enum bind_step __wrap_job_step(const struct job *job, const char **device);
void __wrap_inventory_refresh(struct inventory *inventory, struct group *group);
struct device *__wrap_inventory_look(struct inventory *inventory, const char *syspath);
int __wrap_journal_init(const char *state_directory);
int __wrap_journal_write(const char *state_directory, const struct journal_entry *entry);
int __wrap_journal_remove(const char *state_directory, int group);
int __wrap_journal_list(const char *state_directory, int **groups, size_t *n_groups);
int __wrap_peer_identify(int fd, struct subject *subject);
int __wrap_errand_new(struct ev_loop *loop, const char *name, errand_work work, void *work_userdata,
	double deadline_seconds, errand_done done, void *userdata, struct errand **errand);
struct errand *__wrap_errand_free(struct errand *errand);

struct job {
	LIST_ENTRY(job) of_all;
	struct ev_loop *loop;
	enum job_kind kind;
	struct plan *plan;
	struct job_listener listener;
	void *userdata;
	struct nodes *nodes;
	ev_timer turn;
	bool is_ready, has_gone, is_late, is_held;
};
static LIST_HEAD(, job) jobs = LIST_HEAD_INITIALIZER(jobs);
static LIST_HEAD(, errand) errands = LIST_HEAD_INITIALIZER(errands);
static enum fake_outcome outcome, bound_outcome;
static struct inventory *host;

void fake_job_host(struct inventory *inventory)
{
	host = inventory;
}

static void come_round(struct job *job)
{
	ev_timer_stop(job->loop, &job->turn);
	ev_timer_set(&job->turn, 0, 0);
	ev_timer_start(job->loop, &job->turn);
}

void fake_job_outcome(enum fake_outcome new)
{
	struct job *job;

	outcome = new;
	LIST_FOREACH (job, &jobs, of_all)
		if (job->is_late)
			come_round(job);
	fake_bound_outcome(new);
}

static bool inspects(enum job_kind kind)
{
	return kind == JOB_TAKE || kind == JOB_TAKE_NODES || kind == JOB_LOOK;
}

/* The inventory's devices are on the drivers that the kernel would have them on. */
static void move_devices(const struct job *job)
{
	struct group *group = inventory_group(host, job->plan->group);
	struct device *device;

	if (!group || job->kind == JOB_RENEW || job->kind == JOB_OPEN ||
		job->kind == JOB_OPEN_NODES || job->kind == JOB_REOPEN_NODES ||
		job->kind == JOB_CHECK || job->kind == JOB_KEEP || job->kind == JOB_LOOK)
		return;
	TAILQ_FOREACH (device, &group->devices, of_group)
		for (size_t i = 0; i < job->plan->n_members; i++) {
			const struct plan_member *member = &job->plan->members[i];
			if (member->action == PLAN_BIND && strcmp(member->name, device->name) == 0)
				strcpy(device->driver, job->kind == JOB_RETURN ? member->host_driver
									       : member->target);
		}
}

/* Some plans are of the group alone. */
static const char *job_device(const struct job *job)
{
	return job->plan->n_members > 0 ? job->plan->members[0].name : "";
}

static unsigned long long used_groups, failing_groups, held_groups;
static bool holds_ready;

void fake_job_uses(unsigned long long groups)
{
	used_groups = groups;
}

static bool is_one_of(const struct job *job, unsigned long long groups)
{
	return job->plan->group < 64 && groups >> job->plan->group & 1;
}

static bool is_used(const struct job *job)
{
	return is_one_of(job, used_groups);
}

void fake_job_takes_fail(unsigned long long groups)
{
	failing_groups = groups;
}

void fake_job_hold(unsigned long long groups, bool ready)
{
	struct job *job;

	held_groups = groups;
	holds_ready = ready;
	LIST_FOREACH (job, &jobs, of_all)
		if (job->is_held) {
			job->is_held = false;
			come_round(job);
		}
}

static int refuse_use(const struct job *job, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_DEVICE_IN_USE, "it has an address");
	refusal->group = job->plan->group;
	string_copy(refusal->device, sizeof(refusal->device), job_device(job));
	return REFUSED;
}

static int refuse_job(const struct job *job, struct refusal *refusal)
{
	static const enum refusal_kind kinds[] = {
		[JOB_TAKE] = REFUSAL_TAKE_FAILED,
		[JOB_TAKE_NODES] = REFUSAL_NOT_SUPPORTED,
		[JOB_RETURN] = REFUSAL_RETURN_FAILED,
		[JOB_OPEN] = REFUSAL_GROUP_BUSY,
		[JOB_OPEN_NODES] = REFUSAL_NOT_SUPPORTED,
		[JOB_REOPEN_NODES] = REFUSAL_TAKE_FAILED,
		[JOB_CHECK] = REFUSAL_GROUP_BUSY,
		[JOB_KEEP] = REFUSAL_GROUP_BUSY,
		[JOB_LOOK] = REFUSAL_DEVICE_IN_USE,
		[JOB_RENEW] = REFUSAL_RETURN_FAILED,
	};
	bool is_open = job->kind == JOB_RETURN && job->plan->group % 2 == 0;

	refuse(refusal, is_open ? REFUSAL_GROUP_BUSY : kinds[job->kind], "it does not work");
	refusal->group = job->plan->group;
	refusal->step = STEP_OPEN;
	refusal->errnum = EBUSY;
	refusal->rolled_back = true;
	string_copy(refusal->device, sizeof(refusal->device), job_device(job));
	return REFUSED;
}

static void open_nodes(struct job *job)
{
	bool opens = job->kind == JOB_TAKE_NODES || job->kind == JOB_OPEN_NODES ||
		     job->kind == JOB_REOPEN_NODES;

	job->nodes = opens ? nodes_new(job->plan) : NULL;
	for (size_t i = 0; job->nodes && i < job->nodes->n; i++)
		if (plan_hands_out(job->plan->members[i].action))
			job->nodes->all[i].fd = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void job_end(struct job *job)
{
	int group_fd = -1, result = 0;
	struct refusal refusal = { .kind = REFUSAL_NONE, .group = -1 };

	if (inspects(job->kind) && !job->is_ready && is_used(job)) {
		result = refuse_use(job, &refusal);
	} else if (outcome == FAKE_REFUSED || (job->is_ready && is_one_of(job, failing_groups))) {
		result = refuse_job(job, &refusal);
	} else if (outcome == FAKE_DIES) {
		result = -ECHILD;
		refuse(&refusal, REFUSAL_SYSTEM, "the bind child was killed");
		refusal.errnum = ECHILD;
	} else {
		move_devices(job);
		if (job->kind == JOB_TAKE || job->kind == JOB_OPEN || job->kind == JOB_KEEP)
			group_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		open_nodes(job);
	}
	job->listener.done(job, result, &group_fd, &refusal, job->userdata);
}

static void on_turn(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct job *job = timer->data;

	if (outcome == FAKE_HANGS) {
		bool was_late = job->is_late;
		job->is_late = true;
		if (!was_late && job->listener.late)
			job->listener.late(job, STEP_UNBIND, job_device(job), job->userdata);
		return;
	}
	job->is_late = false;
	job->is_held =
		inspects(job->kind) && job->is_ready == holds_ready && is_one_of(job, held_groups);
	if (job->is_held)
		return;
	if (!inspects(job->kind) || job->is_ready || outcome != FAKE_WELL || is_used(job)) {
		job_end(job);
		return;
	}
	for (size_t i = 0; i < job->plan->n_members; i++) {
		struct plan_member *member = &job->plan->members[i];
		member->known = true;
		strcpy(member->host_driver, strstr(member->name, ":02:") ? "e1000" : "");
	}
	job->is_ready = true;
	job->listener.ready(job, job->userdata);
}

int __wrap_job_new(struct ev_loop *loop, enum job_kind kind, struct plan *plan,
	const struct sysfs_ops *ops, double deadline_seconds, const struct job_listener *listener,
	void *userdata, struct job **job)
{
	(void)ops;
	(void)deadline_seconds;
	*job = calloc(1, sizeof(**job));
	if (!*job)
		return -ENOMEM;
	**job = (struct job){ .loop = loop,
		.kind = kind,
		.plan = plan,
		.listener = *listener,
		.userdata = userdata };
	ev_init(&(*job)->turn, on_turn);
	(*job)->turn.data = *job;
	LIST_INSERT_HEAD(&jobs, *job, of_all);
	if (inspects(kind))
		come_round(*job);
	return 0;
}

int __wrap_job_new_open(struct doormen *doormen, enum job_kind kind, struct plan *plan,
	double deadline_seconds, const struct job_listener *listener, void *userdata,
	struct job **job)
{
	return __wrap_job_new(
		doormen_loop(doormen), kind, plan, NULL, deadline_seconds, listener, userdata, job);
}

void __wrap_job_go(struct job *job)
{
	if ((inspects(job->kind) && !job->is_ready) || job->has_gone)
		return;
	job->has_gone = true;
	come_round(job);
}

struct job *__wrap_job_free(struct job *job)
{
	if (!job)
		return NULL;
	ev_timer_stop(job->loop, &job->turn);
	LIST_REMOVE(job, of_all);
	nodes_free(job->nodes);
	free(job);
	return NULL;
}

struct nodes *__wrap_job_take_nodes(struct job *job)
{
	struct nodes *nodes = job->nodes;

	job->nodes = NULL;
	return nodes;
}

pid_t __wrap_job_pid(const struct job *job)
{
	(void)job;
	return getpid();
}

enum bind_step __wrap_job_step(const struct job *job, const char **device)
{
	*device = job->plan->members[0].name;
	return STEP_UNBIND;
}

/*
 * --- errands: what they look at is not there, so they are late or are killed; but what bounds a
 * client is as the test says
 * ---------------------------------------------------------------------------
 */

struct errand {
	LIST_ENTRY(errand) of_all;
	struct ev_loop *loop;
	bool is_bound, is_late;
	ev_timer turn;
	errand_done done;
	void *userdata;
};

static void on_errand(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct errand *errand = timer->data;
	struct memory_bound bound = {
		.max_bytes = bound_outcome == FAKE_WELL ? FAKE_MEMORY_MAX : UINT64_MAX,
		.cgroup = "/fake",
		.is_controlled = true,
	};

	errand->is_late = errand->is_bound && bound_outcome == FAKE_HANGS;
	if (errand->is_late)
		return;
	if (errand->is_bound && bound_outcome != FAKE_DIES)
		errand->done(errand, 0, (const char *)&bound, sizeof(bound), errand->userdata);
	else
		errand->done(errand, outcome == FAKE_DIES ? -ECHILD : -ETIMEDOUT, "", 0,
			errand->userdata);
}

void fake_bound_outcome(enum fake_outcome new)
{
	struct errand *errand;

	bound_outcome = new;
	LIST_FOREACH (errand, &errands, of_all)
		if (errand->is_late) {
			ev_timer_set(&errand->turn, 0, 0);
			ev_timer_start(errand->loop, &errand->turn);
		}
}

static int errand_errnum;

void fake_errands_fail(int errnum)
{
	errand_errnum = errnum;
}

bool fake_bounds_are_looked_for(void)
{
	const struct errand *errand;

	LIST_FOREACH (errand, &errands, of_all)
		if (errand->is_bound)
			return true;
	return false;
}

int __wrap_errand_new(struct ev_loop *loop, const char *name, errand_work work, void *work_userdata,
	double deadline_seconds, errand_done done, void *userdata, struct errand **errand)
{
	(void)work;
	(void)work_userdata;
	(void)deadline_seconds;
	*errand = errand_errnum == 0 ? calloc(1, sizeof(**errand)) : NULL;
	if (!*errand)
		return errand_errnum == 0 ? -ENOMEM : -errand_errnum;
	**errand = (struct errand){
		.loop = loop,
		.is_bound = strcmp(name, "vfiod-bound") == 0,
		.done = done,
		.userdata = userdata,
	};
	LIST_INSERT_HEAD(&errands, *errand, of_all);
	ev_timer_init(&(*errand)->turn, on_errand, 0, 0);
	(*errand)->turn.data = *errand;
	ev_timer_start(loop, &(*errand)->turn);
	return 0;
}

struct errand *__wrap_errand_free(struct errand *errand)
{
	if (!errand)
		return NULL;
	ev_timer_stop(errand->loop, &errand->turn);
	LIST_REMOVE(errand, of_all);
	free(errand);
	return NULL;
}

/* --- what else the system would be asked for ------------------------------------------------ */

void __wrap_inventory_refresh(struct inventory *inventory, struct group *group)
{
	(void)inventory;
	(void)group;
}

/* Groups do not change on this host. */
struct device *__wrap_inventory_look(struct inventory *inventory, const char *syspath)
{
	(void)inventory;
	(void)syspath;
	return NULL;
}

int __wrap_journal_init(const char *state_directory)
{
	(void)state_directory;
	return 0;
}

static unsigned n_journalled;

unsigned fake_journal_writes(void)
{
	return n_journalled;
}

int __wrap_journal_write(const char *state_directory, const struct journal_entry *entry)
{
	(void)state_directory;
	(void)entry;
	n_journalled++;
	return 0;
}

int __wrap_journal_remove(const char *state_directory, int group)
{
	(void)state_directory;
	(void)group;
	return 0;
}

int __wrap_journal_list(const char *state_directory, int **groups, size_t *n_groups)
{
	(void)state_directory;
	*groups = NULL;
	*n_groups = 0;
	return 0;
}

static unsigned next_uid;

void fake_peer(unsigned uid)
{
	next_uid = uid;
}

int __wrap_peer_identify(int fd, struct subject *subject)
{
	(void)fd;
	*subject = (struct subject){
		.uid = next_uid,
		.gid = next_uid,
		.process_uid = next_uid,
		.pid = getpid(),
		.start_ticks = 1,
		.unit = "qemu.service",
		.command = "qemu",
	};
	return 0;
}
