/* How a keeper comes to be, where the capabilities are that it takes. */
#pragma once

#include "daemon/privilege/privilege.h"

/*
 * Forks what execs `path` in this role. It closes all but the socket, gets a score for when memory
 * is short, and goes into the control group of the client by itself, before it has any memory of
 * the client's: with clone3 into a cgroup, a frozen one would stop it while it has all descriptors
 * open of who forks. Its pid or -errno; the socket stays the caller's.
 */
pid_t keeper_start(
	const char *path, enum keeper_role role, const struct process_id *client, int socket);
