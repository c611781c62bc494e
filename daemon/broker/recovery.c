/*
 * What an earlier daemon left: each group of its journal is finished or rolled back by itself,
 * while all others are served. A child of that daemon may still be at work; nobody touches the
 * group before it has ended.
 */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>

struct recovery {
	TAILQ_ENTRY(recovery) of_broker;
	struct holding *holding; /* NULL: settled */
	int group;
	const char *found;
	const char *outcome; /* NULL: not yet */
	enum journal_phase phase;
	char failure[REFUSAL_TEXT_SIZE]; /* JOURNAL_FAILED: what is left where */
	pid_t child;                     /* of the earlier daemon, while it lives; 0: none */
	int child_pidfd;
	ev_io child_ended;
};

/* As an administrator reads them in Status, and in the log. */
static const char *const found_words[] = {
	[JOURNAL_TAKING] = "taking",
	[JOURNAL_TAKEN] = "taken",
	[JOURNAL_RETURNING] = "returning",
	[JOURNAL_FAILED] = "failed",
	[JOURNAL_RENEWING] = "renewing",
};
static const char FOUND_UNREADABLE[] = "unreadable";

static void on_child_ended(struct ev_loop *loop, ev_io *io, int revents);

static struct recovery *recovery_new(struct holding *holding, const char *found)
{
	struct recovery *recovery = calloc(1, sizeof(*recovery));
	if (!recovery)
		return NULL;
	recovery->holding = holding;
	recovery->group = holding->group->number;
	recovery->found = found;
	recovery->child_pidfd = -1;
	ev_init(&recovery->child_ended, on_child_ended);
	recovery->child_ended.data = recovery;
	holding->recovery = recovery;
	TAILQ_INSERT_TAIL(&holding->broker->recoveries, recovery, of_broker);
	return recovery;
}

static void recovery_unwatch(struct recovery *recovery, struct ev_loop *loop)
{
	ev_io_stop(loop, &recovery->child_ended);
	if (recovery->child_pidfd >= 0)
		close(steal_fd(&recovery->child_pidfd));
	recovery->child = 0;
}

void recovery_settled(struct holding *holding, const char *outcome)
{
	struct recovery *recovery = holding->recovery;
	char number[16];

	if (!recovery)
		return;
	snprintf(number, sizeof(number), "%d", recovery->group);
	log_fields(LOG_INFO,
		(const char *[]){ "MESSAGE_ID", MESSAGE_RECOVERED, "VFIOD_GROUP", number, NULL },
		"group %d of an earlier vfiod, found %s, is %s", recovery->group, recovery->found,
		outcome);
	recovery->outcome = outcome;
	recovery_forget(holding);
}

void recovery_forget(struct holding *holding)
{
	struct recovery *recovery = holding->recovery;
	if (!recovery)
		return;
	recovery_unwatch(recovery, holding->broker->loop);
	recovery->holding = NULL;
	holding->recovery = NULL;
}

void recovery_free_all(struct broker *broker)
{
	struct recovery *recovery;
	while ((recovery = TAILQ_FIRST(&broker->recoveries))) {
		TAILQ_REMOVE(&broker->recoveries, recovery, of_broker);
		free(recovery);
	}
}

pid_t recovery_child(const struct holding *holding)
{
	return holding->recovery ? holding->recovery->child : 0;
}

void broker_recovered(struct broker *broker, broker_recovered_fn tell, void *userdata)
{
	const struct recovery *recovery;
	TAILQ_FOREACH (recovery, &broker->recoveries, of_broker)
		tell(recovery->group, recovery->found,
			recovery->outcome ? recovery->outcome : "pending", userdata);
}

/* Nobody else works on it: as it would have gone on. */
static void recovery_go(struct recovery *recovery)
{
	struct holding *holding = recovery->holding;
	struct group *group = holding->group;

	/* What of it has come back meanwhile is in another group. */
	if (group->binding == BINDING_GONE) {
		holding_go_home(holding);
		return;
	}
	switch (recovery->phase) {
	case JOURNAL_TAKING:
	case JOURNAL_RETURNING:
		/* Its client has gone with the daemon. A return goes by the state that it finds. */
		holding_begin_return(holding);
		return;
	case JOURNAL_TAKEN:
		group_set_binding(holding->broker->inventory, group, BINDING_TAKEN, NULL);
		holding_begin_check(holding);
		return;
	case JOURNAL_RENEWING:
		holding_begin_renewal(holding);
		return;
	case JOURNAL_FAILED:
		/* It failed before, and somebody may be mending it by hand: an administrator's,
		 * unless nothing is left to mend. */
		holding->state = HOLDING_FAILED;
		group_set_binding(
			holding->broker->inventory, group, BINDING_FAILED, recovery->failure);
		recovery_settled(holding, "failed");
		drifting_look_at(holding);
		return;
	}
}

static void on_child_ended(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)revents;
	struct recovery *recovery = io->data;
	struct holding *holding = recovery->holding;

	log_info("the child %d of an earlier vfiod, at work on group %d, has ended",
		(int)recovery->child, recovery->group);
	recovery_unwatch(recovery, loop);
	inventory_refresh(holding->broker->inventory, holding->group);
	recovery_go(recovery);
}

/*
 * Does the child still live? 1: yes, with its pidfd. 0: no. Or -errno. The start time is read while
 * the pidfd keeps a process from being mistaken for the one that has its number next.
 */
static int child_find(const struct journal_entry *entry, int *child_pidfd)
{
	unsigned long long ticks;

	if (entry->child <= 0)
		return 0;
	_cleanup_close_ int pidfd = pidfd_open(entry->child, 0);
	if (pidfd < 0)
		/* EINVAL: the number is a thread's now (kernel/pid.c, pidfd_open). */
		return errno == ESRCH || errno == EINVAL ? 0 : -errno;
	int r = process_start_time(entry->child, &ticks);
	if (r == -ENOENT || r == -ESRCH || (r == 0 && ticks != entry->child_start_ticks))
		return 0;
	if (r < 0)
		return r;
	*child_pidfd = steal_fd(&pidfd);
	return 1;
}

static void recovery_watch(struct recovery *recovery, pid_t child, int pidfd)
{
	struct holding *holding = recovery->holding;
	char text[REFUSAL_TEXT_SIZE];

	recovery->child = child;
	recovery->child_pidfd = pidfd;
	/* It was never ours: there is nothing to wait for but the pidfd, waitid(2) says ECHILD. */
	ev_io_set(&recovery->child_ended, recovery->child_pidfd, EV_READ);
	ev_io_start(holding->broker->loop, &recovery->child_ended);
	snprintf(text, sizeof(text),
		"a child of an earlier vfiod (pid %d) still works on it, %s it; when that process "
		"ends, the group goes on by itself",
		(int)child, recovery->found);
	holding->state = HOLDING_WAITING;
	group_set_binding(holding->broker->inventory, holding->group, BINDING_STUCK, text);
}

static void remember_former(struct holding *holding, const struct journal_holder *holder)
{
	if (holder->pid <= 0)
		return;
	holding->former = (struct subject){
		.uid = holder->uid,
		.process_uid = holder->uid,
		.pid = holder->pid,
		.start_ticks = holder->start_ticks,
	};
	string_copy(holding->former.command, sizeof(holding->former.command), holder->command);
	holding->has_former = true;
}

/* One entry that cannot be read is one group's misfortune, not that of all others. */
static int recover_unreadable(struct holding *holding, const char *text)
{
	struct broker *broker = holding->broker;
	char failure[REFUSAL_TEXT_SIZE];

	if (!recovery_new(holding, FOUND_UNREADABLE))
		return -ENOMEM;
	snprintf(failure, sizeof(failure),
		"the journal of an earlier vfiod cannot be read (%s); give the devices back by "
		"hand "
		"and remove %.200s/journal/%d.json",
		text, broker->state_directory, holding->group->number);
	holding->state = HOLDING_FAILED;
	group_set_binding(broker->inventory, holding->group, BINDING_FAILED, failure);
	recovery_settled(holding, "failed");
	return 0;
}

/* child_pidfd: -1: it has ended; is taken over. */
static int recover_entry(struct holding *holding, struct journal_entry *entry, int child_pidfd)
{
	struct recovery *recovery = recovery_new(holding, found_words[entry->phase]);
	char number[16];
	if (!recovery) {
		if (child_pidfd >= 0)
			close(child_pidfd);
		return -ENOMEM;
	}
	recovery->phase = entry->phase;
	snprintf(recovery->failure, sizeof(recovery->failure), "%s",
		*entry->failure ? entry->failure
				: "an earlier vfiod could not give it back; vfioctl return "
				  "tries again");
	holding->plan = steal_pointer(&entry->plan);
	holding->taken = true;
	holding->has_written = entry->child > 0;
	holding->stay = entry->stay;
	holding->by_nodes = entry->nodes || entry->phase == JOURNAL_RENEWING;
	remember_former(holding, &entry->holder);
	snprintf(number, sizeof(number), "%d", recovery->group);
	log_fields(LOG_WARNING,
		(const char *[]){ "MESSAGE_ID", MESSAGE_LEFT_BEHIND, "VFIOD_GROUP", number, NULL },
		"group %d was left %s by an earlier vfiod", recovery->group, recovery->found);
	if (child_pidfd >= 0)
		recovery_watch(recovery, entry->child, child_pidfd);
	else
		recovery_go(recovery);
	return 0;
}

/*
 * Its devices have left the host while no daemon ran: nothing to give back. But a child that still
 * works on them does so by their names, and they may come back while it does: it is waited for, as
 * by a daemon that has seen them leave.
 */
static int recover_departed(struct broker *broker, int number, struct journal_entry *entry)
{
	int child_pidfd = -1, r = entry->plan ? child_find(entry, &child_pidfd) : 0;

	if (r < 0)
		return r;
	if (r == 0) {
		log_warning("group %d of the journal is not on this host any more", number);
		return journal_remove(broker->state_directory, number);
	}
	log_warning("group %d of the journal is not on this host any more, but process %d, of an "
		    "earlier vfiod, is still at work on its devices",
		number, (int)entry->child);
	struct group *group = group_departed(number);
	struct holding *holding = group ? holding_get(broker, group) : NULL;
	group_release(group);
	if (!holding) {
		close(child_pidfd);
		return -ENOMEM;
	}
	return recover_entry(holding, entry, child_pidfd);
}

static int recover_present(struct broker *broker, struct group *group, struct journal_entry *entry,
	const char *unreadable)
{
	int child_pidfd = -1, r = unreadable ? 0 : child_find(entry, &child_pidfd);
	struct holding *holding = r < 0 ? NULL : holding_get(broker, group);

	if (holding)
		return unreadable ? recover_unreadable(holding, unreadable)
				  : recover_entry(holding, entry, child_pidfd);
	if (child_pidfd >= 0)
		close(child_pidfd);
	return r < 0 ? r : -ENOMEM;
}

int holding_recover(struct broker *broker, int number)
{
	struct journal_entry entry = { 0 };
	char text[REFUSAL_TEXT_SIZE] = "";
	struct group *group = inventory_group(broker->inventory, number);

	int r = journal_read(broker->state_directory, number, &entry, text, sizeof(text));
	if (r == -ENOENT || r == -ENOMEM)
		return r == -ENOENT ? 0 : r;
	if (r < 0 && r != -EBADMSG)
		snprintf(text, sizeof(text), "%s", strerror(-r));
	r = group ? recover_present(broker, group, &entry, r < 0 ? text : NULL)
		  : recover_departed(broker, number, &entry);
	journal_entry_clear(&entry);
	return r;
}
