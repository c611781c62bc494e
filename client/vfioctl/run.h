/*
 * The parts of `vfioctl run`: which groups there will be, the arguments with their
 * descriptors' numbers in them, and the process that becomes CMD.
 */
#pragma once

#include <sys/types.h>

#include "client/vfioctl/vfioctl.h"

#define RUN_FIRST_FD 3     /* sd_listen_fds(3): SD_LISTEN_FDS_START */
#define RUN_MAX_GROUPS 253 /* SCM_MAX_FD: they go to the child in one message */

/* --- placeholder.c ----------------------------------------------------------------- */

struct run_target {
	char name[256]; /* as typed, made whole: "0000:01:00.0", "group:7", "enp3s0" */
	size_t group;   /* index into run_groups */
};

struct run_group {
	int number;
	struct json_object *described; /* org.vfiod.Broker.Group; owned */
};

/* What was asked for and, from Describe, the groups it means, each once, in that order. */
struct run_groups {
	struct run_target *targets;
	size_t n_targets;
	struct run_group *groups;
	size_t n;
};
void run_groups_clear(struct run_groups *groups);
/* "7" is group 7, as for every command. 0, -ENOMEM. */
int run_groups_add_target(struct run_groups *groups, const char *name);
/* The group of target `target` is this one. Takes a reference. 0, -ENOMEM, -EPROTO, -E2BIG. */
int run_groups_describe(struct run_groups *groups, size_t target, struct json_object *group);
/* Of "7", "group:7", a target or any device of a group, "" where there is one group: or -1. */
int run_groups_find(const struct run_groups *groups, const char *name);

/*
 * argument with {group}, {group:NAME} replaced by RUN_FIRST_FD + the group's index: 0 and a new
 * string, -ENOMEM, or -EINVAL with the placeholder that means nothing in wrong[].
 */
int placeholders_expand(const struct run_groups *groups, const char *argument, char **expanded,
	char *wrong, size_t wrong_size);

/* --- lookup.c ---------------------------------------------------------------------- */

/* Can execvp(3) be expected to run it? 0 or -errno: -ENOENT, -EACCES, … */
int command_lookup(const char *name);

/* --- passing.c --------------------------------------------------------------------- */

/* One message of a SOCK_SEQPACKET pair, with at most RUN_MAX_GROUPS descriptors. 0 or -errno. */
int fds_send(int socket, const void *data, size_t size, const int *fds, size_t n_fds);
/* Waits for one of just this form; they are close-on-exec. False: there will be none. */
bool fds_receive(int socket, void *data, size_t size, int *fds, size_t n_fds);

/* --- launch.c ---------------------------------------------------------------------- */

struct launch {
	pid_t pid;
	int pidfd;
	int socket;       /* to the child, which waits for its descriptors; to the supervisor */
	pid_t supervisor; /* shim.h's; 0: none */
};
/*
 * Forks the process that will be CMD; it waits until launch_go(), and ends silently when
 * `socket` is closed instead. names: LISTEN_FDNAMES. close_in_child: a descriptor of ours.
 */
int launch_fork(struct launch *launch, char *const argv[], const char *names, size_t n_fds,
	int close_in_child);
/* Sends it its descriptors, and stops signals from ending us before it. 0 or -errno. */
int launch_go(struct launch *launch, const int *fds, size_t n_fds);
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
