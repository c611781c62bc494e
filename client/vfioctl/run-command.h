/*
 * What the files of the command itself share, where run.h has the parts that they put together: its
 * options, what is acquired, the lease while CMD runs.
 */
#pragma once

#include <limits.h>

#include "client/vfioctl/run.h"

struct run {
	struct context *context;
	struct run_groups groups;
	char **argv; /* CMD and its arguments, expanded; NULL at the end */
	struct handover handovers[N_HANDOVERS];
	enum run_mode mode;
	int argc; /* CMD and its arguments, as typed, when they have to wait for the lease */
	char **typed;
	int script;  /* where CMD's process will find them; -1 */
	char *near;  /* of --near; NULL */
	char *lease; /* its name, once there is one */
	int wait_seconds;
	uint64_t memory_bytes; /* for CMD to map by itself */
	bool is_dry;
	bool is_shim;    /* CMD opens the groups by itself */
	bool is_preload; /* and asks for them by a library */
	bool observes;   /* and what it maps is told to vfiod */
	char library[PATH_MAX];
	int pidfd; /* of CMD; launch's */
	char end[512];
	bool is_lost; /* the lease has ended before CMD, or nobody will say so: told already */
	bool is_away; /* the daemon has gone, and may come back */
};

/* --- run-options.c ----------------------------------------------------------------- */

/* 0, or an exit code; *is_done: there is nothing to run. */
int run_options_read(struct run *run, int argc, char *argv[], bool *is_done);

/* --- run-acquire.c ----------------------------------------------------------------- */

/* 0 with a reply to be put, or as ask(). */
int run_describe(struct context *context, const char *target, struct json_object **reply);
/* Of the others: 0, or an exit code, said. Before anything is acquired: */
/* Which groups there will be, so that all of CMD's arguments are known; with --any, which ones are
 * those that are named. */
int run_resolve(struct run *run);
int run_arguments_read(struct run *run, int argc, char *argv[]);
int run_count_check(struct run *run);
/* For the process that will be CMD. */
int run_acquire(struct run *run, const struct launch *launch, struct vfiod_lease **lease);
/* With --any, afterwards. */
int run_arguments_late(struct run *run, const struct vfiod_lease *lease);

/* --- run-lease.c ------------------------------------------------------------------- */

/* For vfiod_lease_on_event() and launch_wait(), with the run. */
void run_on_event(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata);
int run_on_stream(void *userdata);
/* And waits until its groups have gone back. */
void run_release(struct run *run, struct vfiod_lease *lease);
