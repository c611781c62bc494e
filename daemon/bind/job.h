/*
 * A bind job: one child process that runs one transaction on one group, seen
 * from the loop. Writes to sysfs can block for ever and survive SIGKILL, so they
 * never happen in the daemon itself. The child is forked, closes every fd but
 * its socket to the parent, and ends when the transaction ends; it does not die
 * with the daemon in the middle of a transaction.
 *
 *   job_new(TAKE) → ready (inspected, nothing written) → the caller journals →
 *   job_go() → done. Or job_free() before job_go(): the child ends, nothing written.
 *   LOOK is never told to go. RETURN, OPEN and REOPEN (and _NODES), CHECK, KEEP and PEEK inspect
 * nothing, ready is not called: job_new(), journal, job_go() at once. So the journal holds the
 * child's pid before its first write, whatever the kind of job.
 */
#pragma once

#include "daemon/bind/doorman.h"
#include "daemon/bind/transaction.h"

enum job_kind {
	JOB_TAKE,
	JOB_RETURN,
	JOB_OPEN,
	JOB_JOIN,  /* as TAKE, for the members of the plan that join; no fd comes of it */
	JOB_CHECK, /* brings no descriptor */
	JOB_KEEP,  /* as CHECK, but brings it */
	JOB_PEEK,  /* as CHECK, but it is not looked for who has a device's own node open */
	JOB_LOOK,  /* as TAKE until ready, for a dry run: whoever is ready has to free it */
	/* As TAKE and OPEN, but they bring the devices' nodes (job_take_nodes()), not the group. */
	JOB_TAKE_NODES,
	JOB_OPEN_NODES, /* REFUSED as CHECK is, too */
	/* The nodes alone, of who has the group's devices already: nobody else's can be in the way.
	 */
	JOB_REOPEN_NODES,
	JOB_RENEW, /* brings no descriptor, and inspects nothing */
};

struct job;
struct nodes;

struct job_listener {
	/*
	 * JOB_TAKE (and _NODES), JOB_JOIN, JOB_LOOK: inspected; the plan is complete (`known`). Not
	 * called if inspection refuses; a LOOK has read then what it could.
	 */
	void (*ready)(struct job *job, void *userdata);
	/*
	 * The end, exactly once, after which the job may be freed (also from within). result 0:
	 * *group_fd (TAKE, OPEN, KEEP) is the listener's to keep or close. REFUSED: see refusal.
	 * Negative: the child died without a word (-ECHILD), or what it said was lost (-EMFILE: no
	 * room for the fd); text in refusal. Then nobody knows how far it came: a RETURN finds out.
	 * What the pointers point to outlives a job_free() from within.
	 */
	void (*done)(struct job *job, int result, int *group_fd, const struct refusal *refusal,
		void *userdata);
	/*
	 * The deadline has passed and the child still runs: at `step` of `device`. The job goes on;
	 * done will come if the kernel ever lets go. May be NULL.
	 */
	void (*late)(struct job *job, enum bind_step step, const char *device, void *userdata);
};

/*
 * Forks. The plan stays the caller's and must outlive the job. deadline_seconds > 0 counts
 * from job_go, and for TAKE, JOIN and LOOK from now until ready, too (reading driver_override waits
 * for the device's lock). 0 or -errno, and then there was no write.
 *
 * A child whose job was freed is reaped by libev's default loop, as every child is: the process
 * must have it (ev_default_loop), if only for that.
 */
int job_new(struct ev_loop *loop, enum job_kind kind, struct plan *plan,
	const struct sysfs_ops *ops, double deadline_seconds, const struct job_listener *listener,
	void *userdata, struct job **job);
/*
 * Likewise, of the kinds OPEN, CHECK, KEEP, OPEN_NODES and REOPEN_NODES, by a doorman if he can.
 * The doormen must outlive the job.
 */
int job_new_open(struct doormen *doormen, enum job_kind kind, struct plan *plan,
	double deadline_seconds, const struct job_listener *listener, void *userdata,
	struct job **job);
void job_go(struct job *job);
/* Before job_go(): the child ends without a write. Later: the child goes on, unheard. NULL-safe. */
struct job *job_free(struct job *job);

/* Of who does it now. */
pid_t job_pid(const struct job *job);
/* What it has brought: the caller's. NULL: it brings none, or has not. */
struct nodes *job_take_nodes(struct job *job);
enum bind_step job_step(const struct job *job, const char **device); /* where it is now */
