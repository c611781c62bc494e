/*
 * The broker: the one room that calls several others. It gives groups to leases
 * and takes them back, and keeps what the client, the kernel and the
 * configuration say in step:
 *
 *   holding   a group that vfiod does something with: its plan, its job, its journal
 *   tenancy   a lease on its way: queue → prepare → take → grant → end
 *   bounding  which memory.max bounds the process of a lease that maps by itself
 *   settling  groups on their way back, and who waits for that
 *   joining   devices that come to a group which is taken
 *   appearing groups that rules have taken without a lease
 *   recovery  what an earlier daemon left in its journal
 *   inquiry   who has a group that lingers or is stuck
 *   spaces    I/O address spaces of clients (spaces.h)
 *   attaching groups of leases into spaces, and out of them
 *   observing what clients that map by themselves report to have mapped (observing.h)
 *   reserving what the kernel may bill those who map by themselves (reserving.h)
 *   reopening groups of leases whose holders have closed them (reopening.h)
 *
 * All functions run on the loop and return at once; what takes time is told to
 * listeners later.
 */
#pragma once

#include "daemon/bind/opener.h"
#include "daemon/bind/sysfs.h"
#include "daemon/inventory/inventory.h"
#include "daemon/lease/config.h"
#include "daemon/lease/lease.h"
#include "daemon/lease/policy.h"

#include <ev.h>

struct broker;
struct store;

/* What monitors see; the names are those of MonitorEvent in org.vfiod.Broker. */
struct broker_news {
	const char *event;
	int group;                                                  /* -1: none */
	const char *device, *lease, *space, *before, *after, *text; /* NULL: none */
};
typedef void (*broker_news_fn)(const struct broker_news *news, void *userdata);

/*
 * What an earlier daemon had lent goes on (restoring.h). All other groups with a journal entry are
 * recovered, each by itself, from here on: what it was taking or returning goes back to the host;
 * what stays taken stays. Nobody gets such a group before that. `failed` ones are left to an
 * administrator, `stuck` are those where a child of that daemon is still at work. `store` may be
 * NULL, and outlives the broker. Takes the config over. 0 or -errno; -EBUSY: another daemon has
 * this state directory, and the log says which.
 */
int broker_new(struct ev_loop *loop, struct inventory *inventory, struct config *config,
	const char *state_directory, const struct sysfs_ops *ops, struct store *store,
	struct broker **broker);
/*
 * Jobs that run are left to finish by themselves, and what is granted is left to the next daemon:
 * ends nothing that broker_shutdown() has not. NULL-safe.
 */
struct broker *broker_free(struct broker *broker);

void broker_listen(struct broker *broker, broker_news_fn on_news, void *userdata);
void broker_tell(struct broker *broker, const struct broker_news *news);
/* The inventory's news; main.c connects it. */
void broker_on_inventory(const struct inventory_change *change, void *broker);

struct inventory *broker_inventory(struct broker *broker);
struct lease_book *broker_book(struct broker *broker);
const struct config *broker_config(const struct broker *broker);
double broker_now(const struct broker *broker);
/* Takes the new configuration over. Leases that are granted stay; those that wait are asked again.
 */
void broker_reconfigure(struct broker *broker, struct config *config);

/*
 * Reads the configuration again, in the background; then it is in force (0), or stays as it was:
 * REFUSED (CONFIGURATION) or -errno. -ENOMEM at once.
 */
typedef void (*reloaded_fn)(int result, const struct refusal *refusal, void *userdata);
int broker_reload(struct broker *broker, const char *path, reloaded_fn reloaded, void *userdata);
void broker_reload_forget(struct broker *broker, void *userdata); /* who asked is no more */
/* Why the last reading changed nothing. NULL: what it read is in force. */
const char *broker_reload_failure(const struct broker *broker);

/* Who has leased the group. NULL: nobody. */
const struct subject *broker_holder(struct broker *broker, const struct group *group);
/* Whose lease it was last, while it lingers or is stuck, whether he still runs or not. */
const struct subject *broker_former(
	struct broker *broker, const struct group *group, bool *still_runs);
/*
 * Who has it open while it lingers or is stuck, as far as it could be found out; he still runs.
 * NULL: unknown. `seconds` (may be NULL): for how long that has been so.
 */
const struct opener *broker_opener(
	const struct broker *broker, const struct group *group, double *seconds);
/* What it means that he is unknown. */
enum opener_search {
	SEARCH_BEGINS, /* nobody has looked yet */
	SEARCH_CUT,    /* there was no time to look at all processes */
	SEARCH_DONE,   /* none shows that it has it */
};
enum opener_search broker_opener_search(const struct broker *broker, const struct group *group);
/* A refusal about a group that somebody keeps, with who it is if that is known. */
void refuse_busy(struct broker *broker, const struct group *group, enum refusal_kind kind,
	struct refusal *refusal);

/*
 * What was found in the journal at start, and what became of it; both as in org.vfiod.Admin,
 * Recovery.
 */
typedef void (*broker_recovered_fn)(
	int group, const char *found, const char *outcome, void *userdata);
void broker_recovered(struct broker *broker, broker_recovered_fn tell, void *userdata);

/* Why a group that rules want to be taken is not: for an administrator. NULL: all is well. */
const char *broker_problem(struct broker *broker, const struct group *group);

/* May this subject lease the group? 0 or REFUSED (ACCESS_DENIED, RESET_REQUIRED, NOT_SUPPORTED). */
int broker_may_lease(struct broker *broker, const struct subject *subject,
	const struct group *group, struct refusal *refusal);

/*
 * How many of the group's devices are in the pool, for a subject that may lease it, now or when its
 * turn comes: others are told of none, and administrators of all.
 */
size_t broker_n_pooled(struct broker *broker, const struct subject *subject,
	const struct pool *pool, const struct group *group);
/* How many requests wait for any of the pool. */
size_t broker_n_waiting(const struct broker *broker, const char *pool);

/* The same, with what the rules say: 0 with *verdict, or REFUSED. */
int group_verdict(struct broker *broker, const struct subject *subject, const struct group *group,
	struct verdict *verdict, struct refusal *refusal);
/* Members that are left alone need no rule. */
bool device_needs_rule(const struct device *device);
/* Who pays for a lease that this rule (NULL: none) lets the subject have: "uid:1000". */
void account_name(const struct rule *rule, const struct subject *subject, const char *lease,
	char *account, size_t size);

struct wishes;
struct acquire_request {
	const struct subject *subject;
	struct group *const *groups; /* each once */
	size_t n_groups;
	/* What they were named by, and descriptions besides; taken over, also on failure. NULL. */
	struct wishes *wishes;
	double wait_seconds;   /* 0: not at all */
	bool brokered;         /* no descriptors: see spaces.h */
	bool cdev;             /* the devices' nodes and an iommufd context, not the groups */
	uint64_t memory_bytes; /* to reserve: see reserving.h */
	int holder_pidfd;      /* taken over, also on failure; -1: none */
	unsigned connection;   /* see restoring.h */
	bool is_stream;
	const struct lease_listener *listener;
	void *userdata;
};
/*
 * 0: *lease is queued or acquiring, and the listener will hear. REFUSED at once: GROUP_BUSY,
 * ACCESS_DENIED, RESET_REQUIRED, GROUP_FAILED, STUCK, NOT_SUPPORTED, … and the listener is never
 * called. -ENOMEM.
 */
int broker_acquire(struct broker *broker, const struct acquire_request *request,
	struct lease **lease, struct refusal *refusal);
/*
 * What would be chosen for the subject now, and if not all of it can be had, any that could be
 * later: 0 with the groups, for which there is room for one a wish, and wishes->selected. REFUSED
 * as above, but for what is only busy. -ENOMEM.
 */
int broker_choose(struct broker *broker, const struct subject *subject, struct wishes *wishes,
	struct group **groups, size_t *n_groups, struct refusal *refusal);
/*
 * The lease is over, or no longer wanted: its listener hears ended() or nothing if it was not
 * granted yet. Its groups settle in the background.
 */
void broker_end(struct broker *broker, struct lease *lease, const char *reason);
/* The listener is gone: it hears nothing more. The lease goes on if it follows a process. */
void broker_disconnect(struct broker *broker, struct lease *lease);
/* Tells the holder that it is wanted back, and no more (revoking.h). */
void broker_request_release(struct broker *broker, struct lease *lease, const char *reason);

/*
 * Where groups ended that were let go. refusal NULL: each is where it belongs, or lingers (the
 * numbers are given); else the first failure.
 */
typedef void (*settled_fn)(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata);
struct settling;
/*
 * Ends the lease with this token, if it is the subject's own or he is an administrator, and tells
 * when its groups have settled; joins if that is under way already. 0 with *settling, which can
 * be given to settling_forget() until `settled` was called. REFUSED (NO_SUCH_LEASE). -ENOMEM.
 */
int broker_release(struct broker *broker, const struct subject *subject, const char *token,
	settled_fn settled, void *userdata, struct settling **settling, struct refusal *refusal);
void settling_forget(struct settling *settling, void *userdata);

/*
 * Takes a group without a lease, to stay. *lease stands for it until it is taken: granted() is
 * then the listener's last call, the lease is freed after it. Otherwise as broker_acquire()
 * without waiting; a broker_disconnect() meanwhile undoes the take.
 */
int broker_take(struct broker *broker, const struct subject *subject, struct group *group,
	const struct lease_listener *listener, void *userdata, struct lease **lease,
	struct refusal *refusal);
/* Gives a group back that no lease has. REFUSED at once: GROUP_BUSY, STUCK. */
int broker_return(struct broker *broker, struct group *group, settled_fn settled, void *userdata,
	struct settling **settling, struct refusal *refusal);

/*
 * Ends all leases and returns all groups; `done` when all have settled. Those that a process still
 * has open are given a moment, and then left lingering, to the journal.
 */
void broker_shutdown(struct broker *broker, void (*done)(void *userdata), void *userdata);
