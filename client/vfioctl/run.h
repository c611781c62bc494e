/*
 * The parts of `vfioctl run`: which groups there will be, the arguments with their
 * descriptors' numbers in them, and the process that becomes CMD.
 */
#pragma once

#include <sys/types.h>

#include "client/vfioctl/vfioctl.h"

#define RUN_FIRST_FD 3  /* sd_listen_fds(3): SD_LISTEN_FDS_START */
#define RUN_MAX_FDS 253 /* SCM_MAX_FD: they go to the child in one message */

/* --- placeholder.c ----------------------------------------------------------------- */

struct run_target {
	char name[256];       /* as typed, made whole: "0000:01:00.0", "group:7", "enp3s0" */
	size_t group;         /* index into run_groups */
	size_t any;           /* "any:…": the how manieth, from 1; 0: it has a name */
	int number;           /* of the group of one that is named beside --any; -1 */
	const char *selected; /* and the device that answers it, once that is known; the lease's */
};

struct run_group {
	int number;
	struct json_object *described; /* org.vfiod.Broker.Group; owned */
};

struct run_device {
	const char *name; /* in sysfs; of its group's description */
	size_t group;     /* index into run_groups */
};

/*
 * What was asked for and, from Describe, the groups it means, each once, in that order, and their
 * devices that would be handed over, likewise.
 */
struct run_groups {
	struct run_target *targets;
	size_t n_targets;
	struct run_group *groups;
	size_t n;
	struct run_device *devices;
	size_t n_devices;
	size_t n_any; /* targets; then what they mean is known only when it is acquired */
};
void run_groups_clear(struct run_groups *groups);
/* "7" is group 7, as for every command. 0, -ENOMEM. */
int run_groups_add_target(struct run_groups *groups, const char *name);
/* The group of target `target` is this one. Takes a reference. 0, -ENOMEM, -EPROTO, -E2BIG. */
int run_groups_describe(struct run_groups *groups, size_t target, struct json_object *group);
/* The groups of a lease that was granted. 0, -ENOMEM, -EPROTO, -E2BIG. */
int run_groups_granted(struct run_groups *groups, const struct vfiod_lease *lease);
/*
 * Of "7", "group:7", a target or any device of a group, "any" or "any2" for the first or second
 * target that is any device, "" where there is one group: or -1.
 */
int run_groups_find(const struct run_groups *groups, const char *name);

/*
 * Of a device's name, a target that is a device, "any" as above, "" where there is one device: an
 * index into `devices`, or -1.
 */
int run_devices_find(const struct run_groups *groups, const char *name);

enum placeholder {
	PLACEHOLDER_NONE,
	PLACEHOLDER_GROUP,   /* {group}, {group:NAME} */
	PLACEHOLDER_DEVICE,  /* {device}, {device:NAME} */
	PLACEHOLDER_IOMMUFD, /* {iommufd} */

	PLACEHOLDER_GROUP_NUMBER, /* {group-number}, {group-number:NAME} */
	PLACEHOLDER_DEVICE_NAME,  /* {device-name}, {device-name:NAME} */
};
/* Which one `text` begins with, and how long it is, to the end of `text` if it is never closed. */
enum placeholder placeholder_at(const char *text, size_t *length);
/*
 * argument with its placeholders replaced by RUN_FIRST_FD + the index of the group or device, or,
 * for the iommufd, of the one after the devices; or by what the group or device is called: 0 and a
 * new string, -ENOMEM, or -EINVAL with the placeholder that means nothing in wrong[].
 */
int placeholders_expand(const struct run_groups *groups, const char *argument, char **expanded,
	char *wrong, size_t wrong_size);

/* --- arguments.c ------------------------------------------------------------------- */

enum run_mode { RUN_AUTO, RUN_GROUP, RUN_CDEV };
int run_mode_parse(const char *text, enum run_mode *mode); /* of --mode: 0 or -EINVAL */
/* What CMD's arguments make of --mode. 0, or an exit code: they contradict, said. */
int run_mode_choose(int argc, char *const argv[], enum run_mode *mode);
/*
 * CMD and its arguments with their placeholders replaced, into expanded[], zeros before, argc
 * strings for the caller to free, also on failure. 0, or an exit code, said. is_shim: there are no
 * descriptors to be named.
 */
int arguments_expand(
	const struct run_groups *groups, bool is_shim, int argc, char *argv[], char **expanded);

/* --- handover.c -------------------------------------------------------------------- */

/* What CMD may be given; which of them, the lease's mode says. */
enum { HANDOVER_GROUPS, HANDOVER_DEVICES, N_HANDOVERS };
struct handover {
	char *names; /* LISTEN_FDNAMES: "group13:group14", "device-0000-01-00.0:iommufd"; owned */
	size_t n_fds;
};
/* 0 or an exit code, said. The caller frees the names, also on failure. */
int handovers_make(const struct run_groups *groups, struct handover handovers[N_HANDOVERS]);
/*
 * Takes out of the lease what CMD gets, into fds[], -1 where there is none, to be closed by the
 * caller, also on failure. *which: the handover that it is. 0, or -ESTALE: it is not what was
 * described.
 */
int handover_take(const struct run_groups *groups, const struct handover handovers[N_HANDOVERS],
	struct vfiod_lease *lease, int fds[RUN_MAX_FDS], unsigned char *which);

/* --- run.c ------------------------------------------------------------------------- */

int run_out_of_memory(void); /* says so; the exit code */

/* --- lookup.c ---------------------------------------------------------------------- */

/*
 * Can execvp(3) be expected to run it? 0 with the file, for the caller to free, or -errno: -ENOENT,
 * -EACCES, …
 */
int command_lookup(const char *name, char **file);

/* --- passing.c --------------------------------------------------------------------- */

/* One message of a SOCK_SEQPACKET pair, with at most RUN_MAX_FDS descriptors. 0 or -errno. */
int fds_send(int socket, const void *data, size_t size, const int *fds, size_t n_fds);
/* Waits for one of just this form; they are close-on-exec. False: there will be none. */
bool fds_receive(int socket, void *data, size_t size, int *fds, size_t n_fds);
/* The same with any number, in `fds`, which has room for RUN_MAX_FDS. Or -1. */
int fds_receive_any(int socket, void *data, size_t size, int *fds);

/* --- launch.c ---------------------------------------------------------------------- */

#define SHIM_SOCKET_SIZE 108 /* sun_path */
struct launch {
	pid_t pid;
	int pidfd;
	int socket;       /* to the child, which waits for its descriptors; to the supervisor */
	pid_t supervisor; /* shim.h's; 0: none */
	char shim_socket[SHIM_SOCKET_SIZE]; /* its own, if CMD's library asks there */
};
/*
 * Forks a child with a socket to us, launch->socket, for child() not to come back from; its pid, or
 * -errno, with the launch closed. close_in_child: a descriptor of ours.
 */
pid_t launch_begin(struct launch *launch, void (*child)(int socket, const void *userdata),
	const void *userdata, int close_in_child);
/*
 * Forks the process that will be CMD; it waits until launch_go(), and ends silently when
 * `socket` is closed instead.
 */
int launch_fork(struct launch *launch, char *const argv[],
	const struct handover handovers[N_HANDOVERS], int script, int close_in_child);
/*
 * Where CMD's arguments are known only when it has its lease: a file for them and the names of its
 * descriptors, which the process that waits reads then, in place of what it was forked with. An
 * open file, or -errno; -1 as `script` is none.
 */
int script_new(void);
int script_write(int script, const char *names, char *const argv[]); /* 0 or -errno */
/* In the child: 0 with *names and *argv, which are never freed, or -errno. */
int script_read(int script, char **names, char ***argv);
/*
 * Sends it its descriptors, those of handovers[which], and stops signals from ending us before it.
 * 0 or -errno.
 */
int launch_go(struct launch *launch, unsigned char which, const int *fds, size_t n_fds);
/*
 * Waits for its end, passing signals on: an exit code. Meanwhile on_news is called, first when
 * `watched` is readable, and then when it says: so many milliseconds later, or one of these.
 */
enum { NEWS_WHEN_READABLE = -1, NEWS_NEVER = -2 };
int launch_wait(struct launch *launch, int watched, int (*on_news)(void *userdata), void *userdata);
/* For who lets it go by other means. 0 or -errno. */
int launch_block_signals(void);
/* In a child: becomes CMD, or says why not, and ends. */
__attribute__((noreturn)) void command_execute(char *const argv[]);
/* For one that was never let go, or after launch_wait(). */
void launch_close(struct launch *launch);
