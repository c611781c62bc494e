/*
 * What holds of both ways of vfioctl run --shim, with the daemon of shim-daemon.h. CMD is the test
 * program once more: "cmd NAME".
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* --- in CMD -------------------------------------------------------------------------------- */

#define NULL_DEVICE ((long)makedev(1, 3))
#define FULL_DEVICE ((long)makedev(1, 7))

/* Without what sanitizers do at the end: they could not open what they want. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,        \
				strerror(errno));                                                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* What was opened, which is closed: a device; 0: something else. Or -errno. */
long opened(long fd);
void *shim_open_some(void *userdata);

/* The daemon does not answer before we let it: shim_daemon_meets. */
void wait_for_daemon(void);
void let_daemon_go(void);

/* O_CLOEXEC and others; at the end, all descriptors up to 15 are in use. */
void shim_cmd_flags(void);
/* The daemon takes its time: signals do not break an open off. */
void shim_cmd_signals(void);

/* --- in the test --------------------------------------------------------------------------- */

/* `how` is the option: "--shim", "--shim=preload"; `self` the test program. */
void shim_case_succeeds(const char *how, const char *self, const char *name);
void shim_case_meeting(const char *how, const char *self, const char *name);
void shim_case_children(const char *how);
void shim_case_any(const char *how);
void shim_case_refused(const char *how, const char *self); /* with "refused" */
void shim_case_cdev(const char *how, const char *self);    /* with "ways" */
