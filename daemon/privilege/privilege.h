/*
 * All that vfiod does which takes a capability, and that nothing else in it may need: installed, it
 * has one, CAP_SYS_RESOURCE. vfiod-privileged does the rest for it then (privilege/serve.h), a
 * process that hears neither clients nor JSON. A vfiod that was started by hand does all itself.
 *
 * Whose privilege it is belongs to the process, as its uid does: so it is no object to be passed
 * around.
 */
#pragma once

#include "daemon/privilege/device-facts.h"
#include "daemon/privilege/open-files.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Where vfiod-privileged listens; the text stays the caller's. NULL, as at first: it is done here.
 */
void privilege_ask(const char *socket);

/* --- on the loop -------------------------------------------------------------------------------
 * None of these waits for anybody. -EAGAIN, -ECONNREFUSED, …: vfiod-privileged is not there.
 */

/*
 * prlimit(2) of RLIMIT_MEMLOCK, always here: what is charged and what a process may lock go
 * together, with nobody in between who might not answer. pid: whose pidfd it is, which is looked at
 * before and after. limit: NULL leaves it as it is; before: NULL, or what it was. 0 or -errno, as
 * -ESRCH.
 */
int privilege_memlock(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before);
/* SIGTERM or SIGKILL: 0 or -errno: -ESRCH if it has ended. Another's is sent later; that it cannot
 * be sent, the log says then. */
int privilege_signal(int pidfd, int signal);

/* In the order of base/wire.h's programs: what vfiod-keeper is started as. */
enum keeper_role {
	KEEPER_SPACE,
	KEEPER_POPULATE,
	KEEPER_PUNCH,
	KEEPER_SPACE_IOMMUFD, /* with an iommufd context that is opened for it */
	KEEPER_BOOK,          /* stays in the control group of who starts it */
	KEEPER_ROLES_,
};
/* A process, and no other that has got its number. pid 0: none. */
struct process_id {
	pid_t pid;
	unsigned long long start_ticks;
};
/*
 * Starts `path` (here; vfiod-privileged has its own), which goes into the control group of the
 * client. The socket stays the caller's. Its pid: it is our child; or 0: *report tells of it; or
 * -errno.
 */
pid_t privilege_start_keeper(const char *path, enum keeper_role role,
	const struct process_id *client, int socket, int *report);
struct keeper_report {
	enum { KEEPER_STARTED, KEEPER_FAILED, KEEPER_ENDED } what;
	pid_t pid;  /* started */
	int pidfd;  /* started: the caller's */
	int result; /* failed: -errno; ended: as from wait(2) */
};
/* 1: *heard; 0: there will be nothing more, as of one that was started with its socket to outlive
 * vfiod; or -errno, -EAGAIN. */
int privilege_hear_keeper(int report, struct keeper_report *heard);

/* --- in children -------------------------------------------------------------------------------
 * What a client can make hang, for as long as it likes: the caller has a deadline of its own.
 */

/* The page map of the process, which shows page frames: a descriptor or -errno, -ESRCH. */
int privilege_pagemap(const struct process_id *process);
/* All of a PCI device's config space: a descriptor or -errno. directory: the device's in sysfs. */
int privilege_config_space(const char *directory);
/* As open_files_visit_process(). Of a /proc that is none, as tests have it, there is nothing to
 * ask. */
int privilege_visit_files(
	const char *proc, pid_t pid, int seconds, open_file_visitor visitor, void *userdata);
/* device_facts_read() */
int privilege_device_facts(pid_t pid, int fd, struct device_facts *facts);
