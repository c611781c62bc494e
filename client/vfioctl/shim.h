/*
 * vfioctl run --shim: a program that opens /dev/vfio/N by itself gets the lease's group; with mode
 * cdev, one that opens /dev/vfio/devices/vfioX and /dev/iommu gets the lease's devices and a
 * context.
 *
 * Either a seccomp filter lets a process of ours, the supervisor, answer each open(2) of CMD and of
 * all that it starts (SECCOMP_RET_USER_NOTIF; no other system call is touched). Or a library that
 * is preloaded into them asks it, about what the kernel has refused them (--shim=preload): no
 * filter, and no cost for other calls; but not in programs that are static or make their system
 * calls by themselves. If the path means something of the lease, the supervisor has vfiod open it
 * anew, and puts the descriptor into the caller. Everything else the kernel does itself, as if
 * nobody had looked: so whoever rewrites a path while it is read gets no more than the kernel gives
 * him anyway, or what is of his own lease (seccomp_unotify(2)).
 *
 *   vfioctl ── acquires the lease, waits for the status, as without --shim
 *   └─ supervisor ── lives on until nobody has the filter any more; without one, until CMD has
 * ended └─ CMD
 *
 * The supervisor keeps no group open: that a second open of one is EBUSY, and one after the last
 * close is not, is what the kernel says to vfiod. vfioctl may be killed; without its supervisor CMD
 * can open no file at all (ENOSYS), or, preloaded, no group.
 */
#pragma once

#include <linux/seccomp.h>
#include <pthread.h>

#include "client/vfioctl/run.h"

/* --- shim-filter.c ----------------------------------------------------------------- */

enum shim_call { SHIM_OPEN, SHIM_CREAT, SHIM_OPENAT, SHIM_OPENAT2, SHIM_IOCTL, SHIM_N_CALLS };

/*
 * In CMD, before execve(2): from here on no privilege can be gained (no_new_privs), and opens wait
 * for who has *listener; and VFIO_IOMMU_MAP_DMA and UNMAP_DMA if it observes. 0 or -errno.
 */
int shim_filter_install(bool observes, int *listener);
/* Of a notification; SHIM_N_CALLS: none that we asked for. */
enum shim_call shim_call_of(const struct seccomp_data *data);

/* --- shim-path.c ------------------------------------------------------------------- */

/* An open(2) as its caller meant it. */
struct shim_open {
	int dirfd;
	uint64_t path; /* where, in its memory */
	uint64_t flags, resolve;
};
/* At most `size` bytes, up to where its memory ends: how many, or -errno. */
ssize_t shim_memory_read(pid_t pid, uint64_t address, void *buffer, size_t size);
/* 0, or -errno where the kernel has to say what is wrong with it. */
int shim_open_read(const struct seccomp_notif *notif, struct shim_open *open);
/*
 * The character device that it would open, by the caller's own root and directories: 0 with
 * *device, or -errno. Nothing is opened. What it says is true of a process that is still there
 * afterwards.
 */
int shim_open_device(pid_t pid, const struct shim_open *open, dev_t *device);

/* --- shim-answer.c ----------------------------------------------------------------- */

/* /dev/vfio/N, or, with mode cdev, /dev/vfio/devices/vfioX and /dev/iommu. */
enum shim_kind { SHIM_GROUP, SHIM_DEVICE, SHIM_IOMMUFD };
struct shim_node {
	uint64_t device; /* its number */
	enum shim_kind kind;
	int32_t group; /* SHIM_GROUP */
	char name[80]; /* SHIM_DEVICE: in sysfs */
};
/* What vfioctl tells the supervisor when it has the lease. */
struct shim_lease {
	char token[80];
	uint32_t n_nodes;
	struct shim_node nodes[RUN_MAX_FDS];
};
struct shim {
	const char *socket; /* of vfiod */
	const struct shim_lease *lease;
	int listener;
	pthread_mutex_t lock; /* one of them is opened at a time */

	bool tells; /* what is mapped is told to vfiod: --observe, and it is heeded */
	pthread_mutex_t observing;
	struct shim_reporter *reporters;
	time_t quiet_until; /* CLOCK_MONOTONIC: vfiod hung, and is not told before that */
};
/* Who waits for an answer. The first member of what knows how to reach him. */
struct shim_asker {
	bool (*is_waiting)(const struct shim_asker *asker);
	/* 0: he has it, or has gone. Or -errno: his open fails with it. `fd` stays the caller's. */
	int (*give)(const struct shim_asker *asker, int fd, uint64_t flags);
};
/* As the result of an open: what the kernel says by itself. */
#define SHIM_NOT_OURS 1
/*
 * Gives him what he would open: 0. -errno: that is what his open fails with; or SHIM_NOT_OURS. May
 * take as long as open(2) might.
 */
int shim_answer(struct shim *shim, const struct shim_asker *asker, dev_t device, uint64_t flags);

/* --- shim-lease.c ------------------------------------------------------------------ */

/* What handover_take() has taken is the lease's. 0 or -errno. */
int shim_lease_make(const struct run_groups *groups, unsigned char which, const char *token,
	const int *fds, struct shim_lease *made);

/* --- shim-notify.c ----------------------------------------------------------------- */

/* Answers it; `response` is room for that: the kernel says how large it is. */
void shim_notified(
	struct shim *shim, const struct seccomp_notif *notif, struct seccomp_notif_resp *response);

/* --- shim-socket.c ----------------------------------------------------------------- */

/* In a new directory, for its user alone: in $XDG_RUNTIME_DIR, or /tmp. 0 or -errno, with no path.
 */
int shim_socket_make(char path[SHIM_SOCKET_SIZE], int *listener);
/* With its directory, and the path; which may be none, and gone already. */
void shim_socket_remove(char path[SHIM_SOCKET_SIZE]);
/* Begins to answer, in threads. 0 or -errno. */
int shim_socket_serve(struct shim *shim);

/* --- shim-program.c ---------------------------------------------------------------- */

/* Can the library be preloaded into CMD, and where is it? 0 or an exit code, said. */
int shim_program_check(const char *name, const char *file, char *library, size_t size);

/* --- shim-observe.c ---------------------------------------------------------------- */

/*
 * Of an ioctl that may map or unmap: tells vfiod, which looks for the pages in the caller's memory,
 * and looks again later. The kernel is next: it may refuse what was told, which then stays told
 * until it is mapped over or unmapped.
 */
void shim_observe(struct shim *shim, const struct seccomp_notif *notif);

/* --- shim-serve.c ------------------------------------------------------------------ */

/*
 * Begins to answer, in threads: one more than wait for somebody, as a path can lead into a file
 * system that is served by CMD itself. 0 or -errno.
 */
int shim_serve(struct shim *shim);

/* --- shim-launch.c ----------------------------------------------------------------- */

struct shim_options {
	char *const *argv;  /* CMD and its arguments */
	int script;         /* where they are told when they are known; -1 */
	const char *socket; /* vfiod's; NULL: the default */
	bool observes;
	const char *library; /* to be preloaded; NULL: the filter */
};
/* As launch_fork(), with the supervisor in between. */
int shim_launch(struct launch *launch, const struct shim_options *options, int close_in_child);
/* As launch_go(). */
int shim_go(struct launch *launch, const struct shim_lease *lease);
