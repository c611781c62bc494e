/*
 * Counts the system calls of a running process, or those of its children, all together, and kills
 * the one that makes the N-th at its entry: that call has no effect any more. (`strace` counts for
 * each thread by itself.) The tracer is a process of its own.
 *
 * A daemon that is traced for its own sake has its children left alone: they live on when it is
 * killed, as they would without a tracer.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum tracer_who {
	TRACE_DAEMON,
	TRACE_CHILDREN,
};

struct tracer_plan {
	enum tracer_who who;
	/*
	 * Only calls that others can tell from their not having been made, once the process is
	 * dead: a read, an open for reading, a close, a mapping leave nothing behind that its death
	 * does not undo. So nobody can tell at which call between two of the others it was killed,
	 * and these are all there is to try. (Calls that are not known to be such count.)
	 */
	bool only_effects;
	unsigned kill_at; /* the how-manieth of those that count, from 1; 0: none */
};

struct tracer {
	pid_t pid;
	int answer; /* a pipe: armed, then the result */
};

struct tracer_result {
	unsigned n_calls;   /* made, or begun */
	unsigned n_effects; /* of these, with an effect */
	bool has_killed;
	int call; /* the number of the one at whose entry it has killed */
};

/* Returns when every system call from now on is seen. */
void tracer_start(struct tracer *tracer, pid_t daemon, const struct tracer_plan *plan);
/* It has killed, or the daemon has died: there is nothing more to wait for. */
bool tracer_has_ended(const struct tracer *tracer);
/*
 * Ends when the daemon has nothing to do (it sleeps in epoll_wait) and no children but those that
 * wait for work, or is dead; at once if it has killed: then only its victim is dead, and nobody is
 * traced any more.
 */
struct tracer_result tracer_stop(struct tracer *tracer);
