#include "daemon/broker/revoking.h"

#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/broker/tenancy.h"
#include "daemon/privilege/privilege.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/pidfd.h>

/* To hear that the lease is over, and to close what is open; to come to an end. */
static const double HEED_SECONDS = 1, TERM_SECONDS = 10;
/* Until it is seen that nobody has a group open any more: holding-back.c asks every five. */
static const double SETTLE_SECONDS = 6;

enum revoke_stage {
	REVOKE_ASKED,
	REVOKE_ENDED,
	REVOKE_TERMINATED,
	REVOKE_KILLED, /* or it has ended by itself */
};

struct revocation {
	LIST_ENTRY(revocation) of_broker;
	struct broker *broker;
	enum revoke_stage stage;
	struct lease *lease; /* NULL: it is over */
	char name[16];
	char reason[256];
	bool brokered;
	struct group **groups; /* each held */
	size_t n_groups;
	pid_t pid;
	char command[sizeof(((struct subject *)0)->command)];
	int pidfd; /* -1: it has ended already, or is not to be ended */
	ev_timer next;
};

/* --- what is to come --------------------------------------------------------------------- */

int lease_revoke_seconds(struct broker *broker, const struct lease *lease)
{
	unsigned seconds = UINT_MAX;
	bool ends = false;

	for (size_t i = 0; i < lease->n_groups; i++)
		ends |= policy_revoke(broker->config, &lease->subject, lease->groups[i],
			device_needs_rule, &seconds);
	return ends ? (int)seconds : -1;
}

static struct revocation *revocation_of(const struct broker *broker, const struct lease *lease)
{
	struct revocation *revocation;
	LIST_FOREACH (revocation, &broker->revocations, of_broker)
		if (revocation->lease == lease)
			return revocation;
	return NULL;
}

double lease_revoke_left(const struct broker *broker, const struct lease *lease)
{
	struct revocation *revocation = revocation_of(broker, lease);
	return revocation ? ev_timer_remaining(broker->loop, &revocation->next) : -1;
}

/* --- its stages --------------------------------------------------------------------------- */

/* `group`: the one that is still open, if it is about that. */
__attribute__((format(printf, 4, 5))) static void tell(struct revocation *revocation,
	const char *message_id, const struct group *group, const char *format, ...)
{
	char text[512], pid[16], number[16] = "";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	struct broker_news news = {
		.event = "revokeStage",
		.group = revocation->n_groups > 0 ? revocation->groups[0]->number : -1,
		.lease = revocation->name,
		.text = text,
	};
	snprintf(pid, sizeof(pid), "%d", (int)revocation->pid);
	if (group)
		snprintf(number, sizeof(number), "%d", group->number);
	log_fields(LOG_NOTICE,
		(const char *[]){ "MESSAGE_ID", message_id, "VFIOD_LEASE", revocation->name,
			"VFIOD_PID", pid, group ? "VFIOD_GROUP" : NULL, number, NULL },
		"revoking lease %s: %s", revocation->name, text);
	broker_tell(revocation->broker, &news);
}

static void revocation_free(struct revocation *revocation)
{
	LIST_REMOVE(revocation, of_broker);
	ev_timer_stop(revocation->broker->loop, &revocation->next);
	for (size_t i = 0; i < revocation->n_groups; i++)
		group_release(revocation->groups[i]);
	if (revocation->pidfd >= 0)
		close(revocation->pidfd);
	free(revocation->groups);
	free(revocation);
}

static void wait_for(struct revocation *revocation, double seconds)
{
	ev_timer_stop(revocation->broker->loop, &revocation->next);
	ev_timer_set(&revocation->next, seconds, 0);
	ev_timer_start(revocation->broker->loop, &revocation->next);
}

enum back { IS_BACK, IS_UNKNOWN, IS_OPEN };

/* The lease is over. Somebody else's lease of the group is not this one's affair. */
static enum back group_is_back(struct broker *broker, const struct group *group)
{
	const struct holding *holding = holding_find(broker, group);

	if (group->binding == BINDING_GONE || !holding || holding->group != group ||
		lease_book_owner(&broker->book, group))
		return IS_BACK;
	if (group->owner == OWNER_LINGERING)
		return IS_OPEN;
	return holding->state == HOLDING_DETACHING || holding->state == HOLDING_CHECKING
		       ? IS_UNKNOWN
		       : IS_BACK;
}

/* The first that is not. NULL: all are back, or nobody knows yet (*back). */
static const struct group *find_open(const struct revocation *revocation, enum back *back)
{
	*back = IS_BACK;
	for (size_t i = 0; i < revocation->n_groups; i++) {
		enum back one = group_is_back(revocation->broker, revocation->groups[i]);
		if (one == IS_OPEN) {
			*back = IS_OPEN;
			return revocation->groups[i];
		}
		if (one == IS_UNKNOWN)
			*back = IS_UNKNOWN;
	}
	return NULL;
}

/* False: it has ended, and its number may be somebody else's. */
static bool send_signal(struct revocation *revocation, int signal)
{
	if (revocation->pidfd < 0)
		return false;
	int r = privilege_signal(revocation->pidfd, signal);
	if (r < 0 && r != -ESRCH)
		log_warning(
			"pid %d cannot be sent a signal: %s", (int)revocation->pid, strerror(-r));
	return r == 0;
}

/* A group is still open, and nobody is left to be ended. */
static void give_up(struct revocation *revocation, const struct group *group, const char *why)
{
	tell(revocation, MESSAGE_REVOKE_GIVEN_UP, group,
		"group %d is still open, %s; vfioctl status names who has it", group->number, why);
	revocation_free(revocation);
}

static void end_process(struct revocation *revocation, const struct group *group)
{
	int signal = revocation->stage == REVOKE_ENDED ? SIGTERM : SIGKILL;
	bool is_sent = send_signal(revocation, signal);

	if (!is_sent && signal == SIGTERM) {
		give_up(revocation, group, "and the process that had the lease has ended");
		return;
	}
	if (!is_sent) {
		revocation->stage = REVOKE_KILLED;
		wait_for(revocation, SETTLE_SECONDS);
		return;
	}
	revocation->stage++;
	tell(revocation, signal == SIGTERM ? MESSAGE_REVOKE_TERMINATED : MESSAGE_REVOKE_KILLED,
		group, "group %d is still open: SIG%s was sent to pid %d (%s)", group->number,
		sigabbrev_np(signal), (int)revocation->pid, revocation->command);
	wait_for(revocation, signal == SIGTERM ? TERM_SECONDS : SETTLE_SECONDS);
}

static void end_lease(struct revocation *revocation)
{
	char reason[sizeof(revocation->reason) + 64];
	struct lease *lease = revocation->lease;

	/* First: its end asks. */
	revocation->lease = NULL;
	revocation->stage = REVOKE_ENDED;
	tell(revocation, MESSAGE_REVOKE_ENDED, NULL, "it was not given back in time, and is ended");
	snprintf(reason, sizeof(reason), "it was not given back in time: %s", revocation->reason);
	wait_for(revocation, HEED_SECONDS);
	broker_end(revocation->broker, lease, reason);
}

static void on_next(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct revocation *revocation = timer->data;
	enum back back;

	if (revocation->lease) {
		end_lease(revocation);
		return;
	}
	const struct group *group = find_open(revocation, &back);
	if (back == IS_UNKNOWN) {
		wait_for(revocation, HEED_SECONDS);
	} else if (!group) {
		tell(revocation, MESSAGE_REVOKE_DONE, NULL, "all of its groups are back");
		revocation_free(revocation);
	} else if (revocation->brokered) {
		give_up(revocation, group, "as its client has a device of it open");
	} else if (revocation->stage == REVOKE_KILLED) {
		give_up(revocation, group, "though the process that had the lease has ended");
	} else {
		end_process(revocation, group);
	}
}

/* --- how it begins, and what ends it ------------------------------------------------------ */

/* Of the process that has the lease, as it was when it got it. -1: it has ended. */
static int open_process(const struct lease *lease)
{
	const struct subject *subject = &lease->subject;
	unsigned long long start_ticks;

	/* Whoever has asked for devices from there: the host does not go down for them. */
	if (subject->pid <= 1 || subject->pid == getpid())
		return -1;
	int pidfd = pidfd_open(subject->pid, 0);
	if (pidfd >= 0 && (process_start_time(subject->pid, &start_ticks) < 0 ||
				  start_ticks != subject->start_ticks)) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

static struct revocation *revocation_new(
	struct broker *broker, struct lease *lease, const char *reason)
{
	struct revocation *revocation = calloc(1, sizeof(*revocation));
	struct group **groups = calloc(lease->n_groups + 1, sizeof(struct group *));

	if (!revocation || !groups) {
		free(revocation);
		free(groups);
		return NULL;
	}
	revocation->broker = broker;
	revocation->lease = lease;
	revocation->brokered = lease->brokered;
	revocation->groups = groups;
	for (size_t i = 0; i < lease->n_groups; i++)
		groups[revocation->n_groups++] = group_hold(lease->groups[i]);
	string_copy(revocation->name, sizeof(revocation->name), lease->name);
	string_copy(revocation->reason, sizeof(revocation->reason), reason);
	string_copy(revocation->command, sizeof(revocation->command), lease->subject.command);
	revocation->pid = lease->subject.pid;
	revocation->pidfd = lease->brokered ? -1 : open_process(lease);
	ev_init(&revocation->next, on_next);
	revocation->next.data = revocation;
	LIST_INSERT_HEAD(&broker->revocations, revocation, of_broker);
	return revocation;
}

int broker_revoke(struct broker *broker, struct lease *lease, const char *reason, bool now)
{
	int seconds = lease->state == LEASE_GRANTED ? lease_revoke_seconds(broker, lease) : -1;
	struct revocation *revocation = revocation_of(broker, lease);
	bool begins = seconds >= 0 && !revocation;

	if (begins) {
		revocation = revocation_new(broker, lease, reason);
		if (!revocation)
			return -ENOMEM;
		wait_for(revocation, seconds);
	}
	if (!now) {
		broker_request_release(broker, lease, reason);
		if (begins && revocation->lease)
			tell(revocation, MESSAGE_REVOKE_BEGUN, NULL,
				"it ends in %d s if it is not given back before", seconds);
		return 0;
	}
	if (revocation) {
		revocation->lease = NULL;
		revocation->stage = REVOKE_ENDED;
		wait_for(revocation, HEED_SECONDS);
	}
	broker_end(broker, lease, reason);
	return 0;
}

void revoking_forget_lease(struct broker *broker, const struct lease *lease)
{
	struct revocation *revocation = revocation_of(broker, lease);

	if (!revocation)
		return;
	/* He has given it back, and what he has open may be closed in a moment. */
	revocation->lease = NULL;
	revocation->stage = REVOKE_ENDED;
	wait_for(revocation, HEED_SECONDS);
}

void revoking_free_all(struct broker *broker)
{
	struct revocation *revocation;
	while ((revocation = LIST_FIRST(&broker->revocations)))
		revocation_free(revocation);
}
