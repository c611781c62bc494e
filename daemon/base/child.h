/*
 * What all children have in common that the daemon forks to have something done that may block.
 * They run the daemon's own code, without exec, and end with _exit().
 */
#pragma once

#include <sys/types.h>

/*
 * fork(2): the pid in the parent, 0 in the child, or -errno. The child has all signals blocked
 * until child_isolate(), so that no handler of the loop's runs in it.
 */
pid_t child_fork(void);

/* Where the one descriptor is that a child keeps, besides /dev/null as 0 and 1, and stderr. */
#define CHILD_FD 3

/*
 * In the child: signals as in a new process, those that end or stop a daemon ignored; a session of
 * its own; `name` as its command; only `fd` stays open, as CHILD_FD. 0 or -errno: then the child
 * has to end, it may have descriptors of clients open.
 */
int child_isolate(const char *name, int fd);

/*
 * Closes descriptors that may be the last of a client's memory, or of a device that has it pinned:
 * freeing a TiB takes minutes, so a child makes the last close(2), by ending. They are taken over;
 * negative ones are none. Without a child (none can be forked) they stay open, and the log says so:
 * better lost than a daemon that hangs.
 */
void fds_bury(const int *fds, size_t n_fds);
void fd_bury(int fd);
