/*
 * The spaces that clients have made: whose each is, how long it lasts, and which groups of which
 * leases are in it. What a space does by itself is memory/space.h.
 *
 * A space follows its connection, or the process that was given for it. It is in the list until
 * nothing of it is left: also while it is orphaned, and after its keeper has ended, until its
 * client has heard of that or is no more.
 */
#pragma once

#include "daemon/broker/broker.h"
#include "daemon/memory/space.h"

#include <sys/queue.h>

struct attachment;
struct destroyer;

struct space_entry {
	TAILQ_ENTRY(space_entry) of_broker;
	struct broker *broker;
	struct space *space;        /* its userdata is this */
	char name[LEASE_NAME_SIZE]; /* "S1", unique for the life of the daemon; for people */
	char token[TOKEN_SIZE];     /* as a lease's */
	const void *owner;   /* the connection; NULL: it follows a process, or the connection is no
				more */
	unsigned connection; /* of the owner (restoring.h); 0: none */
	int holder_pidfd;    /* -1: none */
	ev_io holder_ended;
	int slot; /* of broker->space_slots; -1: none */
	unsigned max_groups_per_container;
	bool is_iommufd; /* broker/backend.h */
	pid_t keeper;    /* and when it has started: which one the next daemon has to look for */
	unsigned long long keeper_start_ticks;
	char account[256]; /* that pays for what is attached, or is just about to be */
	bool is_kept;      /* what the next daemon needs is in the store, */
	bool is_recorded;  /* and the rest written down */
	bool is_restored;  /* of an earlier daemon, and not compared with its leases yet */
	void (*kept)(void *userdata); /* who waits for that; NULL: nobody */
	void *kept_userdata;
	bool is_to_be_kept;     /* when it is known which process its keeper is */
	ev_timer grace;         /* its connection was lost in a restart */
	bool is_dismissed;      /* its client is done with it: the token means nothing any more */
	enum space_state state; /* that was told last */
	TAILQ_HEAD(, attachment) attachments;
	TAILQ_HEAD(, destroyer) destroyers; /* who wait for its end */
};
TAILQ_HEAD(space_list, space_entry);

/*
 * What spaces need; before it there are none (NOT_SUPPORTED). The ledger outlives the broker. 0 or
 * -ENOMEM.
 */
int broker_keep_spaces(struct broker *broker, struct ledger *ledger, const char *keeper_path);
const char *space_state_name(enum space_state state); /* "live"; as in org.vfiod.Space */
/* What the account may have pinned, by its own section and by the rules of all that is attached
 * for it, or has memory reserved on it. */
void broker_account_limits(
	const struct broker *broker, const char *account, struct byte_limits *limits);
/* NULL: no spaces are kept. */
const struct ledger *broker_ledger(const struct broker *broker);
struct space_list *broker_spaces(struct broker *broker);

struct space_request {
	const struct subject *subject; /* its keeper goes into the cgroup of subject->pid */
	const void *owner;
	unsigned connection; /* the owner's; see restoring.h */
	int holder_pidfd;    /* taken over, also on failure; -1: none, it follows `owner` */
	unsigned max_groups_per_container;
};
/* 0; REFUSED: NOT_SUPPORTED, TOO_MANY, INTERRUPTED; -errno. */
int space_entry_new(struct broker *broker, const struct space_request *request,
	struct space_entry **entry, struct refusal *refusal);
/*
 * Its descriptors outlive this daemon from when `kept` is called, if they can; at once, from
 * within, where there is no store. Then space_entry_record(): from there on the next daemon has it.
 * 0 or -ENOMEM. space_entry_forget() takes it back.
 */
int space_entry_when_kept(struct space_entry *entry, void (*kept)(void *userdata), void *userdata);
int space_entry_record(struct space_entry *entry); /* 0 or -errno */
/* A connection of its client's speaks of it: if its own was lost, it lives with this one now. */
void space_entry_take_up(struct space_entry *entry, unsigned connection, const void *owner);
/* The subject's own, by its token. NULL: none. */
struct space_entry *space_entry_find(
	struct broker *broker, const struct subject *subject, const char *token);
/* A connection closes: its spaces end, and who it would have told hears nothing more. */
void spaces_disconnect(struct broker *broker, const void *owner);

/*
 * Ends it, and tells when its keeper is no more: the groups of which a device is still open.
 * Nobody finds it by its token any more. destroyed may be NULL. 0 or -ENOMEM.
 */
typedef void (*destroyed_fn)(const int *lingering, size_t n_lingering, void *userdata);
int space_entry_end(struct space_entry *entry, destroyed_fn destroyed, void *userdata);
void space_entry_forget(struct space_entry *entry, void *userdata);

/* As space_done, for what goes by way of the broker; once, and not if forgotten before. */
typedef void (*attached_fn)(
	int result, const struct refusal *refusal, unsigned container, void *userdata);
/*
 * Attaches a group of a lease with mode brokered, both of this subject. 0: attached() comes later;
 * REFUSED or -errno at once.
 */
int group_attach(struct space_entry *entry, const struct subject *subject, const char *lease_token,
	int group, attached_fn attached, void *userdata, struct refusal *refusal);
int group_detach(struct space_entry *entry, int group, attached_fn detached, void *userdata,
	struct refusal *refusal);
/* Who asked is no more. It goes on. */
void attaching_forget(struct space_entry *entry, void *userdata);

/* An attached group, or one that was let go while a device of it was open. */
struct attached_group {
	int group;
	bool is_let_go;
	const struct lease *lease; /* NULL: that is over */
};
/* Up to max of them; how many there are. */
size_t space_entry_groups(
	const struct space_entry *entry, struct attached_group *groups, size_t max);

/* Somebody's request went beyond a limit: for monitors. */
void space_entry_tell_limit(struct space_entry *entry, const struct refusal *refusal);
