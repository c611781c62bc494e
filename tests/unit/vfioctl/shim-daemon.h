/*
 * A daemon whose "groups" are devices that everybody has: /dev/null is group 13, /dev/zero group 7,
 * and what it opens for them is /dev/full.
 */
#pragma once

#include "tests/unit/vfioctl/ctl.h"

/* For fake_start(). Describe, Acquire, Reopen, Release. */
void shim_daemon_answer(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds);
/*
 * For Reopen: busy at first, then a restart, at last without the lease; a tenth of a second late;
 * not before there is a file `go` in its directory, `begun` says that it waits.
 */
extern bool shim_daemon_refuses, shim_daemon_is_slow, shim_daemon_meets;
/* A lease of mode cdev, of 0000:01:00.0 in group 13: /dev/null is its node, /dev/zero the iommufd.
 */
extern bool shim_daemon_is_cdev;
