/*
 * The daemon's side of one vfiod-keeper process, in whichever role (base/wire.h): it is started,
 * moved, asked, and buried. It has one request at a time, with a deadline; one that is late is
 * killed.
 *
 *   keeper_new() → forked, exec'ed, in its cgroup, isolated → ready() → keeper_ask() → runs()*,
 *   done() → … → keeper_free(), which closes its socket: then it ends by itself; or gone().
 *
 * It is forked in the daemon's cgroup, and moved by its pid before it has any memory of the
 * client's: clone3 into a cgroup can kill or freeze the child before exec.
 */
#pragma once

#include "daemon/base/wire.h"
#include "daemon/lease/subject.h"

#include <ev.h>

struct keeper;

enum keeper_role {
	KEEPER_SPACE,
	KEEPER_POPULATE,
	KEEPER_PUNCH,
	KEEPER_BOOK, /* stays in the daemon's cgroup */
};

struct keeper_listener {
	/* It is isolated and where it belongs: the first request can go. */
	void (*ready)(struct keeper *keeper, void *userdata);
	void (*runs)(
		struct keeper *keeper, const struct wire_runs *runs, size_t n_runs, void *userdata);
	/*
	 * The answer; fd: -1 or the descriptor that came with it, the listener's. `info`: of a
	 * WIRE_INFO, else NULL. A WIRE_POPULATE has two.
	 */
	void (*done)(struct keeper *keeper, const struct wire_done *done,
		const struct wire_info *info, int fd, void *userdata);
	/*
	 * It is no more, or was killed: as it was late, or said nonsense. The last call; only
	 * keeper_free() is left. status: as from wait(2), where that is known, else -1; text: for a
	 * person.
	 */
	void (*gone)(struct keeper *keeper, int status, const char *text, void *userdata);
};

/*
 * `client`: whose cgroup it goes into, if it is still the same process. book: sent with WIRE_START
 * before ready() (roles keeper and book; stays the caller's), else -1. 0 or -errno.
 */
int keeper_new(struct ev_loop *loop, const char *path, enum keeper_role role,
	const struct subject *client, int book, const struct keeper_listener *listener,
	void *userdata, struct keeper **keeper);
/* Hears nothing more. A process that has not ended yet does so when its socket closes. NULL-safe.
 */
struct keeper *keeper_free(struct keeper *keeper);
/* SIGKILL; gone() follows. */
void keeper_kill(struct keeper *keeper);

/*
 * Asks; only when nothing is under way. fds stay the caller's. 0 or -errno: it is dying then,
 * and gone() follows.
 */
int keeper_ask(struct keeper *keeper, struct wire_request *request, const int *fds, size_t n_fds,
	double seconds);
pid_t keeper_pid(const struct keeper *keeper);
/* How much it may have locked (RLIMIT_MEMLOCK, soft and hard): 0 or -errno. Bytes. */
int keeper_limit_locked(struct keeper *keeper, uint64_t bytes);
/* What the kernel says it has locked (VmLck), in bytes; or -errno. */
int64_t keeper_locked(const struct keeper *keeper);
