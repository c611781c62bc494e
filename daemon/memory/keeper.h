/*
 * The daemon's side of one vfiod-keeper process, in whichever role (base/wire.h): it is started,
 * moved, asked, and buried. It has one request at a time, with a deadline; one that is late is
 * killed.
 *
 *   keeper_new() → forked, in its cgroup, exec'ed, isolated → ready() → keeper_ask() → runs()*,
 *   done() → … → keeper_end() → gone() → keeper_free(); or gone() at any time.
 *
 * keeper_adopt() is the same for one that an earlier daemon has started. It is not our child.
 *
 * Where vfiod-privileged starts it (privilege/privilege.h), it is not our child either, and has no
 * pid before that one has told.
 */
#pragma once

#include "daemon/base/cgroup.h"
#include "daemon/base/wire.h"
#include "daemon/lease/subject.h"
#include "daemon/privilege/privilege.h"

#include <ev.h>

struct keeper;

/* What is not this process's alone to say. One table, so that a test can be the host. */
struct keeper_ops {
	/* As privilege_start_keeper(), for a client or NULL. */
	pid_t (*spawn)(const char *path, enum keeper_role role, const struct subject *client,
		int socket, int *report);
	int (*limit_locked)(int pidfd, pid_t pid, uint64_t bytes);
	int64_t (*locked)(pid_t pid);
	int (*open_container)(void); /* a new /dev/vfio/vfio, or -errno */
	int (*open_iommufd)(void);   /* a new context, billed by process; or -errno */
	/* Blocks: in an errand. */
	int (*headroom)(const struct subject *client, struct cgroup_headroom *headroom);
};
extern const struct keeper_ops keeper_ops;

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
	 * keeper_free() is left. status: as from wait(2), -1 where vfiod killed it or is not its
	 * parent; text: for a person.
	 */
	void (*gone)(struct keeper *keeper, int status, const char *text, void *userdata);
	/* Of a WIRE_LIST. NULL: it is never asked for one. */
	void (*items)(struct keeper *keeper, const struct wire_item *items, size_t n_items,
		void *userdata);
};

/*
 * `client`: whose cgroup it goes into, if it is still the same process. book: sent with WIRE_START
 * before ready() (roles of spaces, and book; stays the caller's), else -1. 0 or -errno.
 */
int keeper_new(struct ev_loop *loop, const struct keeper_ops *ops, const char *path,
	enum keeper_role role, const struct subject *client, int book,
	const struct keeper_listener *listener, void *userdata, struct keeper **keeper);
/*
 * Takes over one whose socket an earlier daemon had, be it at work for that one still: what it says
 * of that is passed over, for `seconds` at most. Then ready(). `pid` and `start_ticks`: which
 * process it is (process_start_time()); if that has ended, gone() follows. socket: taken over, also
 * on failure. book: as above, if it does not have it yet. 0 or -errno.
 */
int keeper_adopt(struct ev_loop *loop, const struct keeper_ops *ops, enum keeper_role role,
	pid_t pid, unsigned long long start_ticks, int socket, int book, double seconds,
	const struct keeper_listener *listener, void *userdata, struct keeper **keeper);
/* As keeper_free(), but it goes on, as long as its socket is somewhere, for the next daemon. */
struct keeper *keeper_leave(struct keeper *keeper);
/* Stays the keeper's. */
int keeper_socket(const struct keeper *keeper);
/* Hears nothing more; what works still is killed, what does not ends by itself. NULL-safe. */
struct keeper *keeper_free(struct keeper *keeper);
/* Closes its socket, upon which it ends by itself, or is killed if it takes its time. gone()
 * follows. */
void keeper_end(struct keeper *keeper);
/* SIGKILL, and why; gone() follows. */
void keeper_kill(struct keeper *keeper, const char *why);

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
