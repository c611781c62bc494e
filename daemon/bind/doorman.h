/*
 * Doormen: children that open groups, and devices' own nodes, for jobs which write nothing
 * (JOB_OPEN, JOB_CHECK, JOB_KEEP, JOB_OPEN_NODES, JOB_REOPEN_NODES), and live on: a fork costs more
 * than all the rest of a lease on a group that is ready. A doorman opens the group, has it say that
 * it is viable, sends what descriptors are wanted, and keeps none: the group would linger. He tries
 * once. What does not go well (busy, not viable, a device's own node is open, or not there) he does
 * not explain: that is for a bind child (job.c), which is patient and says who it is.
 *
 * The kernel may keep one for as long as it likes, as a bind child: whoever comes next gets
 * another. They end with the daemon. All of this is called on the loop.
 */
#pragma once

#include "daemon/bind/plan.h"
#include "daemon/bind/sysfs.h"

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

/* That are at work or at rest at a time; those that nobody waits for any more do not count. */
enum { DOORMEN_MAX = 4 };

struct doormen;
struct doorman;
struct nodes;

enum doorman_wish {
	DOORMAN_OPENS,
	DOORMAN_PEEKS,         /* nothing stays open */
	DOORMAN_CHECKS,        /* the same, and nobody may have a node of its devices open */
	DOORMAN_KEEPS,         /* the same, but the group stays open */
	DOORMAN_OPENS_NODES,   /* and closes the group: the nodes of its devices stay open */
	DOORMAN_REOPENS_NODES, /* these alone */
};

/* None is forked before somebody wants one. 0 or -ENOMEM. */
int doormen_new(struct ev_loop *loop, const struct sysfs_ops *ops, struct doormen **doormen);
/* Nobody may have one of them any more. NULL-safe. */
struct doormen *doormen_free(struct doormen *doormen);
struct ev_loop *doormen_loop(const struct doormen *doormen);
const struct sysfs_ops *doormen_ops(const struct doormen *doormen);

/*
 * Once, from the loop, after doorman_ask(); he is at rest by then, or no more. 0 with *group_fd,
 * for the receiver to take (-1 where the group does not stay open). Otherwise a bind child has to
 * look: REFUSED, it did not go well at once; -errno, he was lost (-ECHILD: he has died).
 */
typedef void (*doorman_answer)(int result, int *group_fd, void *userdata);

/*
 * One that is at rest, or a new one, to be asked about this plan. 0, -EBUSY (all are at work),
 * -E2BIG (the plan is too large to be told), or -errno: none could be forked.
 */
int doorman_get(struct doormen *doormen, const struct plan *plan, doorman_answer answer,
	void *userdata, struct doorman **doorman);
/*
 * Once. `nodes`, of this plan, is filled until he answers or is left; if he was lost, perhaps in
 * part. NULL: they are not wanted.
 */
void doorman_ask(struct doorman *doorman, const struct plan *plan, enum doorman_wish wish,
	struct nodes *nodes);
/* Not wanted any more: he is at rest, or, if he was asked, ends when the kernel lets him. */
void doorman_leave(struct doorman *doorman);
pid_t doorman_pid(const struct doorman *doorman);
