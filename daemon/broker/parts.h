/* The broker's parts, for each other; nobody outside of this room includes this. */
#pragma once

#include "daemon/base/record.h"
#include "daemon/bind/job.h"
#include "daemon/bind/journal.h"
#include "daemon/bind/opener.h"
#include "daemon/broker/bounding.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/memlock.h"
#include "daemon/broker/reserving.h"
#include "daemon/broker/spaces.h"
#include "daemon/lease/former.h"
#include "daemon/lease/policy.h"

#include <sys/queue.h>

struct cgroup_mounts;
struct nodes;
struct tenancy;
struct reload;
struct attachment;
TAILQ_HEAD(holding_list, holding);
TAILQ_HEAD(settling_list, settling);
TAILQ_HEAD(recovery_list, recovery);
TAILQ_HEAD(inquiry_list, inquiry);
TAILQ_HEAD(appearance_list, appearance);
TAILQ_HEAD(restored_list, restored);
LIST_HEAD(reservation_list, reservation);
LIST_HEAD(revocation_list, revocation);
LIST_HEAD(reopening_list, reopening);

/* wishing.c's: what has changed, for those that wait for an answer to descriptions. */
struct wishing {
	size_t n; /* of them */
	struct group_set changed, of_round;
	bool all_changed, is_of_all;
	bool is_running; /* a round, in which each of them is looked at once */
	unsigned round;
	ev_timer again;
};

struct broker {
	struct ev_loop *loop;
	struct inventory *inventory;
	struct config *config;
	char *state_directory;
	struct store *store; /* NULL: none */
	const struct sysfs_ops *ops;
	const struct cgroup_mounts *cgroups;
	struct doormen *doormen; /* who opens groups */
	struct lease_book book;
	struct reload *reload; /* NULL: nobody has asked for one yet */
	struct former_book former;
	struct holding_list holdings;
	struct settling_list settlings;
	struct recovery_list recoveries; /* of all groups that were in the journal at start */
	int state_lock;                  /* journal_lock(); -1: not yet */
	struct inquiry_list inquiries;   /* into groups that linger or are stuck */
	struct appearance_list appearances;
	struct ledger *ledger; /* NULL: no spaces are kept */
	char *keeper_path;
	struct observing *observing; /* NULL: nobody has reported anything yet */
	struct space_list spaces;
	struct slots *space_slots; /* NULL: spaces end with this daemon */
	unsigned long long n_named_spaces;
	unsigned long long n_leases_ahead, n_spaces_ahead; /* up to these, names are written down */
	struct reservation_list reservations;
	struct revocation_list revocations;
	struct reopening_list reopenings;
	struct memlock_book memlocks; /* of the processes that have leases with reservations */
	broker_news_fn on_news;
	void *news_userdata;
	ev_timer look_for_leavers, look_for_drift;
	ev_prepare pump_later;   /* pumps once, before the loop waits again */
	bool has_joiners;        /* a device has come to a group of ours: the next pump looks */
	bool has_appeared;       /* likewise: a group that rules may want taken */
	bool has_gone;           /* a group has left the host: the next pump looks who had it */
	unsigned n_previews;     /* that look at devices now */
	unsigned long n_changes; /* of what tenancy_check() goes by: rules, devices, former users */
	struct wishing wishing;
	unsigned long long
		n_steps; /* looks for candidates, and at places in the queue: tests count */
	unsigned long long n_served; /* requests that were held against what is free; likewise */
	unsigned long long n_offers;
	struct restored_list restored; /* until broker_restored() */
	struct tenancy *drafted;       /* the one that has the file of its record open; NULL */
	struct draft spare;            /* of a record that is over, for the next one */
	ev_timer spare_unused;
	double keep_seconds; /* what the next lease may want; tests have their own */
	bool is_stopping;
	bool is_leaving;         /* all is left to the next daemon */
	ev_tstamp patience_ends; /* while stopping: until then, what is still open is waited for */
	void (*stopped)(void *userdata);
	void *stopped_userdata;
};

/*
 * When the loop comes round: buries groups that have left the host, starts queued leases that can
 * go, and looks whether the broker has stopped. Whoever ends something calls it.
 */
void broker_pump_later(struct broker *broker);

/* --- holding: a group that vfiod does something with ------------------------------ */

enum holding_state {
	HOLDING_IDLE,      /* its plan, if there is one, is carried out: the group is taken */
	HOLDING_PREPARING, /* a take inspects, or a taken group is opened: no write yet */
	HOLDING_PREPARED,  /* inspected: waits for holding_go() */
	HOLDING_TAKING,
	HOLDING_READY,     /* taken and open: group_fd is for the tenancy */
	HOLDING_USED,      /* a lease has it */
	HOLDING_DETACHING, /* its lease is over, and its space gives it up */
	HOLDING_RETURNING,
	HOLDING_RENEWING,  /* its devices are given to their VFIO drivers anew (renewing.c) */
	HOLDING_CHECKING,  /* stays taken; is it still open? */
	HOLDING_LINGERING, /* it is: asked again from time to time */
	HOLDING_FAILED,
	HOLDING_WAITING, /* recovery: for a child of an earlier daemon to end */
};

struct holding {
	TAILQ_ENTRY(holding) of_broker;
	struct broker *broker;
	struct group *group; /* held */
	struct plan *plan;   /* what the host had; NULL before the first take */
	enum holding_state state;
	bool taken;    /* the plan has been carried out (between leases, too) */
	bool stay;     /* an administrator took it, or the rule says so */
	bool by_nodes; /* its devices' nodes were handed out, and may be open still */
	struct job *job;
	int group_fd;                  /* HOLDING_READY: open. IDLE: kept open; else -1 */
	struct nodes *nodes;           /* HOLDING_READY, for mode cdev, instead of it; else NULL */
	struct tenancy *tenancy;       /* who waits for it, or has it; NULL */
	struct settling *settling;     /* who waits for its return; NULL */
	struct attachment *attachment; /* a space has it, or is to have it; NULL */
	struct subject former;         /* who had it last, under an earlier daemon, too */
	bool has_former;
	/* Of the lease that it was let go by, until it has settled; held. NULL: none. */
	struct reservation *reservation;
	struct recovery *recovery; /* an earlier daemon left it, and it has not settled; NULL */
	struct opener_kin kin;     /* where its process belonged when it was handed over */
	double kin_read_at;        /* loop time */
	bool has_written;          /* a child has, by names, since all was last seen right */
	bool journal_rests;        /* its entry stands as stay_taken() writes it */
	ev_timer kept_unused;      /* IDLE, group_fd >= 0 */
	ev_timer retry;
	double retry_seconds;
	/* drifting.c's */
	bool has_come_home; /* HOLDING_FAILED: it has been returned for that since a driver changed
			     */
	/* leaving.c's */
	char leaving[DEVICE_NAME_SIZE]; /* the kernel waits for who has it open; "": none */
	unsigned n_leaving_looks;
	struct leaving_question *leaving_question; /* leaving-ask.c's; NULL */
	/* joining.c's */
	char **arrivals; /* syspaths of devices that came since the plan was made; NULL: none */
	struct plan *extension; /* the plan with them, until the journal has it; else NULL */
	bool joins;             /* `job` joins some of them; `state` is as without it */
	bool is_spoiled;        /* one stays with the host: the group is not viable */
	bool has_offered;       /* joining_leftovers() was true once */
};

void holding_back_init(struct holding *holding);
/* Writes the entry: 0 or -errno. Nothing where the plan moves nothing. */
int holding_journal(struct holding *holding, enum journal_phase phase);
/* The same where the kernel has acted already, and the entry from before says enough. */
int holding_journal_follow(struct holding *holding, enum journal_phase phase);
/* A rollback or return failed: shown, kept in the journal, an administrator's to return. */
void holding_fail(struct holding *holding, const struct refusal *refusal);
/* Nothing of vfiod's is left on the group: the kernel's word counts again. Frees it. */
void holding_end(struct holding *holding);

/*
 * By the group's number: there is one holding for it at a time, as there is one journal entry.
 * Where the group has left and come back as another one while a job still runs, it is the old
 * one's. NULL: none.
 */
struct holding *holding_find(struct broker *broker, const struct group *group);
struct holding *holding_find_number(struct broker *broker, int number);
/* Finds or makes. NULL: no memory. Only for a group that group_is_free(). */
struct holding *holding_get(struct broker *broker, struct group *group);
/* Will who leases its group find it there? */
bool device_is_given(const struct device *device);
/* Can a tenancy have it now, as far as holdings are concerned? */
bool group_is_free(struct broker *broker, const struct group *group);
/* Or has a lease it, or is it on its way to one or from one? */
bool group_is_occupied(struct broker *broker, const struct group *group);
/*
 * group_verdict() for who has to wait for his turn if somebody has it: what that one leaves in it
 * is asked about when it is free, RESET_REQUIRED only comes then.
 */
int group_verdict_in_turn(struct broker *broker, const struct subject *subject,
	const struct group *group, struct verdict *verdict, struct refusal *refusal);
/* Can it be lent by this mode? 0 or REFUSED. */
int group_check_mode(const struct group *group, bool brokered, bool cdev, struct refusal *refusal);
/* Does it change without a lease, so that the broker must not stop yet? */
bool holding_is_moving(const struct holding *holding);
/* Can it not be had at all for now? 0, or REFUSED: STUCK, GROUP_FAILED, NO_SUCH_GROUP. */
int group_is_usable(struct broker *broker, const struct group *group, struct refusal *refusal);

/*
 * For the tenancy: inspects (a group with the host), or opens (a taken one); tenancy_prepared()
 * comes later, unless it was kept open: it is READY at once. 0, or REFUSED or -errno at once.
 */
int holding_prepare(struct holding *holding, struct tenancy *tenancy, struct refusal *refusal);
/* PREPARED → TAKING, with the journal written first; tenancy_taken() comes later. Likewise. */
int holding_go(struct holding *holding, struct refusal *refusal);
/*
 * PREPARING or PREPARED: as it was before holding_prepare(), nothing was written. The holding may
 * be no more after it.
 */
void holding_cancel(struct holding *holding);
/* READY → USED: gives the open descriptor to the tenancy; with mode cdev, -1, and *nodes. */
int holding_use(struct holding *holding, struct nodes **nodes);
/*
 * The tenancy is over (or never came to be): the group goes back to the host, or stays taken if
 * `stay`. `settling` (NULL: nobody waits) hears of it once.
 */
void holding_let_go(struct holding *holding, bool stay, struct settling *settling);
/*
 * IDLE, and kept open: a group that stays taken is opened after each lease, to see that nobody else
 * has it open, and so it remains for a moment, for who leases it next. He is spared a doorman's
 * way, and nobody gets in between. It is nobody's copy: no other descriptor of it is there. It is
 * closed before a child is to open the group, when a device comes to it, leaves or changes its
 * driver (that it is viable has to be seen anew), and when nobody has come. An unbind, a hot-unplug
 * or a reset does not wait for a group that is open, only for open devices.
 */
void holding_drop_kept(struct holding *holding);
/* Taken, and nobody has it open: it stays so, for a lease to come. */
void holding_stay(struct holding *holding);
/* Can it be returned now, as far as is known without opening it? 0, or REFUSED. */
int holding_may_return(const struct holding *holding, struct refusal *refusal);
/* For an administrator: returns a group that is taken without a lease, or that failed. */
int holding_return(struct holding *holding, struct settling *settling, struct refusal *refusal);
/* The start of the last part of either, which waited for a join. */
void holding_check_now(struct holding *holding);
/* Nothing of it is with vfiod any more, but what came meanwhile may have to be told so. */
void holding_go_home(struct holding *holding);
/* The job that opens it for a tenancy becomes a check: there is no tenancy any more. */
void holding_check_on(struct holding *holding);
/* CHECKING: what the job that opened it says, or that it does not say anything. */
void holding_checked(struct holding *holding, int result, const struct refusal *refusal);
void holding_check_late(struct holding *holding);
/* Ends it if its group has left the host and no job runs: true, then it is no more. */
bool holding_bury(struct holding *holding);
struct holding *holding_free(struct holding *holding);
/* Starts looking whether a taken group is open; then it stays, is returned, or lingers. */
void holding_begin_check(struct holding *holding);
/* Starts returning it, whatever an earlier transaction has left. Lingers if it is open. */
void holding_begin_return(struct holding *holding);

/* --- renewing: devices whose nodes were handed out, and that stay with VFIO ---------------- */

/* Before that: 0 or -errno. If it is never done, nothing is lost by it. */
int holding_note_nodes(struct holding *holding);
/* Are its devices to be given to their drivers anew before anybody else has them? */
bool holding_needs_renewal(const struct holding *holding);
/* Starts it, whatever an earlier one has left. Lingers if it is open. */
void holding_begin_renewal(struct holding *holding);
/* holding-back.c's: it has been tried, and what comes next. */
void holding_renewed(struct holding *holding, int result, const struct refusal *refusal);
void holding_renewal_late(struct holding *holding, enum bind_step step, const char *device);

/* --- recovery: groups that an earlier daemon left ---------------------------------- */

/* Starts to finish or to roll back what the journal has of this group: 0 or -errno. */
int holding_recover(struct broker *broker, int number);
/* That is over, with this outcome (static, as in org.vfiod.Admin). Nothing if there was none. */
void recovery_settled(struct holding *holding, const char *outcome);
/* The holding is no more. */
void recovery_forget(struct holding *holding);
/* HOLDING_WAITING: the child that is waited for. Else 0. */
pid_t recovery_child(const struct holding *holding);
void recovery_free_all(struct broker *broker);

/* --- following: devices that left their group while a child wrote to them ---------------- */

/*
 * The child has ended, and what it left in `settled` (NULL: that has left the host) is known: those
 * of the plan's devices that are in groups which nobody has are given back there. `plan` may be
 * NULL.
 */
void following_begin(struct broker *broker, const struct plan *plan, const struct group *settled);
/* Is a child at work that may write to a device of the group, as one of another group? */
bool following_is_due(const struct broker *broker, const struct group *group);
/* The same for the journal, before it is recovered: entries for the groups of now. 0 or -errno. */
int following_rewrite(struct broker *broker, int number);

/* --- inquiry: who has a group in trouble --------------------------------------------- */

void inquiries_init(struct broker *broker);
void inquiries_free(struct broker *broker);
/* The group's binding or owner has changed: its inquiry begins, goes on, or ends. */
void inquiry_follow(struct broker *broker, struct group *group);

/* --- joining: devices that come to a group of ours ---------------------------------- */

/* What the inventory says of a device. */
void joining_hear(struct broker *broker, const struct inventory_change *change);
/* It may be quiet now: has the next pump look. */
void joining_resume(struct holding *holding);
/* Joins what has come, unless another job runs or the group is on its way. */
void joining_start(struct holding *holding);
/*
 * Are there devices in a group whose return has ended, which came too late to be joined and were
 * kept from the host all the same? Then the plan has them, for one more return.
 */
bool joining_leftovers(struct holding *holding);
/* Notes all devices of its group that the plan does not know. */
void joining_look(struct holding *holding);
bool device_is_stray(const struct device *device);
/* Gives devices back that were parked for a group which nobody holds (any more). */
void joining_release(struct broker *broker, struct group *group);
void joining_clear(struct holding *holding);

/* --- leaving: devices that the kernel takes away from who has them ---------------------- */

void leaving_init(struct broker *broker);
void leaving_free(struct broker *broker);
/* What the inventory says: whether there is anybody to take something away from. */
void leaving_hear(struct broker *broker, const struct inventory_change *change);
/*
 * Once a second, of a device without a driver that an earlier daemon has lent: does the kernel wait
 * to take it away? What the last answer was; a child asks anew. false where there was no earlier
 * daemon.
 */
bool leaving_ask(struct holding *holding, const struct device *device);
void leaving_forget(struct holding *holding);

/* --- drifting: devices that change drivers, and not by us -------------------------------- */

void drifting_init(struct broker *broker);
void drifting_free(struct broker *broker);
/* What the inventory says of drivers. */
void drifting_hear(struct broker *broker, const struct inventory_change *change);
/* It has come to rest, or has failed: is it as it should be, or could be? */
void drifting_look_at(struct holding *holding);

/* --- appearing: groups that rules have taken without a lease ------------------------- */

/* What the inventory says. */
void appearing_hear(struct broker *broker, const struct inventory_change *change);
/* At the start, and when the rules have changed. */
void appearing_look_at_all(struct broker *broker);
/* Starts to take what has appeared since the last time. */
void appearing_take(struct broker *broker);
/* An administrator returns it: it is not taken again until it appears anew. */
void appearing_decline(struct broker *broker, const struct group *group);
bool appearing_is_declined(struct broker *broker, const struct group *group);
/* It has lost a driver, and is given back: after too many times it is not taken anew. */
void appearing_note_loss(struct broker *broker, const struct group *group);
/* Did vfiod's udev rule keep all of it from the host, from the beginning? */
bool appearing_is_claimed(const struct holding *holding);
void appearing_free_all(struct broker *broker);

/* --- tenancy: a lease on its way -------------------------------------------------- */

struct lease *tenancy_lease(struct tenancy *tenancy);

/* result 0, REFUSED or -errno, refusal filled unless 0. */
void tenancy_prepared(struct tenancy *tenancy, struct holding *holding, int result,
	const struct refusal *refusal);
void tenancy_taken(struct tenancy *tenancy, struct holding *holding, int result,
	const struct refusal *refusal);
/*
 * Its turn has come if its groups are there (`offer`, which is served): true if it started, or is
 * no more.
 */
struct offer;
bool tenancy_try(struct lease *lease, struct offer *offer);
/* Draws the consequences if a group of it has left the host: true if there were any. */
bool tenancy_bury(struct lease *lease);
/* It has failed or was withdrawn, and its end is under way. */
bool tenancy_is_ending(const struct lease *lease);
/* Frees it without a word, at the end of the daemon. */
void tenancy_discard(struct lease *lease);
/* Ends it, in whatever state it is. `settling` may be NULL. */
void tenancy_end(struct lease *lease, const char *reason, struct settling *settling);

/* --- mode cdev: devices' nodes and an iommufd context are handed out -------------------------- */

/* Can this kernel do it, as far as that is known without a device? 0, or REFUSED: NOT_SUPPORTED. */
int cdev_check(struct broker *broker, struct refusal *refusal);
/* An empty iommufd context, the caller's; or -1, refused. */
int cdev_open_context(const struct broker *broker, struct refusal *refusal);
/*
 * What it is to hand out, with room for its nodes, which are with its holdings; not with mode cdev:
 * NULL. 0, REFUSED (tenancy->refusal) or -ENOMEM.
 */
int cdev_begin(struct tenancy *tenancy, struct lease_nodes **nodes);
/*
 * Before anybody has one: whatever happens from here on, its groups' devices are renewed. 0 or
 * REFUSED.
 */
int cdev_note(struct tenancy *tenancy);
/* Closes what nobody has taken. NULL-safe. */
void cdev_end(const struct tenancy *tenancy, struct lease_nodes *nodes);

/* --- settling: groups on their way back ---------------------------------------------- */

/* token NULL: it cannot be joined by one. Freed by itself when the last group has settled. */
struct settling *settling_new(struct broker *broker, const char *token, uid_t uid);
int settling_join(struct settling *settling, settled_fn settled, void *userdata); /* or -ENOMEM */
void settling_expect(
	struct settling *settling); /* one group more; NULL-safe, like the next three */
void settling_is_home(struct settling *settling);
void settling_lingers(struct settling *settling, int group);
void settling_failed(struct settling *settling, const struct refusal *refusal);
/* All expectations are announced: ends at once if there are none left. */
void settling_begin(struct settling *settling);
struct settling *settling_by_token(
	struct broker *broker, const char *token, uid_t uid, bool any_uid);
struct settling *settling_free(struct settling *settling);

/* Is there nothing in the way of an administrator who returns the group? 0, or REFUSED. */
int group_may_return(struct broker *broker, const struct group *group, struct refusal *refusal);
/* What is to be done with its devices if this subject takes it: as plan_make(). */
int group_plan(struct broker *broker, const struct subject *subject, const struct group *group,
	struct plan **plan, struct refusal *refusal);
/* What the rules say of one device for this subject; NULL: for anybody. */
struct plan_wish broker_wish(
	struct broker *broker, const struct subject *subject, const struct device *device);
/* Before the group is handed out to the subject: it counts as his from here on. 0 or -errno. */
int broker_note_user(struct broker *broker, const struct group *group,
	const struct subject *subject, bool by_nodes);

/* --- leases that outlive the daemon (restoring.h) ------------------------------------------ */

/* Names go on where those of earlier daemons ended. 0 or -errno. */
int names_read(struct broker *broker);
void names_reserve(struct broker *broker); /* one more was given */
void names_settle(struct broker *broker);  /* at the end: none more will be */
/* Takes over what an earlier daemon had lent, before the rest of its journal is recovered. */
int leases_restore(struct broker *broker);
/* There is a ledger now: 0 or -errno. */
int leases_restore_reservations(struct broker *broker);
void restored_free_all(struct broker *broker);
void restored_forget(struct broker *broker, const struct lease *lease);
/*
 * While its groups are being opened, with nothing else to do: what takes long of its record is done
 * when they are. If what it says changes before (but for devices, which come and go also after it),
 * it has to be dropped. Without a draft the record takes longer.
 */
void lease_draft_record(struct lease *lease);
void lease_drop_draft(struct lease *lease);
/* It is freed: likewise, but a record stays. */
void lease_forget_draft(struct lease *lease);
/*
 * A file that was a lease's record is kept for the next lease, who may come at once, as that one's
 * draft; not for long.
 */
void drafts_init(struct broker *broker);
void drafts_free(struct broker *broker);
/* Before it is granted: 0 or REFUSED, and then lease_unrecord() is still due. */
int lease_record_grant(struct lease *lease, struct refusal *refusal);
/* As it is now: 0 or -errno. `lock`: what its process may lock. */
int lease_record(struct lease *lease);
int lease_record_as(struct lease *lease, const struct memlock_note *lock);
int refuse_record(const struct lease *lease, int result, struct refusal *refusal);
/* Where it has changed already. Nothing if it was never written. */
void lease_record_follow(struct lease *lease);
void lease_unrecord(struct lease *lease);
void tenancy_store_holder(struct tenancy *tenancy);
int tenancy_take_holder(struct tenancy *tenancy); /* its pidfd, or -1 */

/* The lease is over: what is left of its revocation goes on. */
void revoking_forget_lease(struct broker *broker, const struct lease *lease);
void revoking_free_all(struct broker *broker);

/* Before the doormen. Who asked hears nothing more. */
void reopenings_free_all(struct broker *broker);

/* --- what leases have reserved ------------------------------------------------------------ */

void reservations_init(struct broker *broker);
/*
 * Its groups are to be handed over: writes its lease down, and raises the limit of its process. 0
 * or REFUSED.
 */
int reservation_grant(struct reservation *reservation, struct refusal *refusal);
uint64_t reservation_pages(const struct reservation *reservation); /* NULL-safe, as the next */
void reservation_note(const struct reservation *reservation, struct memlock_note *note);
/* As an earlier daemon has written it down, beyond any limit: 0 or -errno. Needs the ledger. */
int reservation_adopt(struct broker *broker, struct lease *lease, uint64_t pages,
	const struct memlock_note *note);
/*
 * Of a lease that is over: charged, and the caller's to release. `uid`: as reservation_user(). 0 or
 * -errno.
 */
int reservation_left(struct broker *broker, const char *account, const char *lease,
	const uid_t *uid, uint64_t pages, struct reservation **reservation);
/* Whom the kernel bills for it, where that is not the process. NULL-safe. */
const uid_t *reservation_user(const struct reservation *reservation);
void reservation_of_process(
	struct reservation *reservation, pid_t pid, unsigned long long start_ticks);
/*
 * The lease ends: takes the limit back, and what it has reserved stays written down until the last
 * group is back.
 */
void lease_leave_reservation(struct lease *lease);
void lease_record_reserved(const struct lease *lease);
void reserved_unrecord(const struct broker *broker, const char *lease);
/* After the journal was recovered. 0 or -errno. */
int reserved_restore(struct broker *broker);
/* Takes the limit back. NULL-safe. */
void reservation_lower(struct reservation *reservation);
/*
 * Takes the limit back, and lease->reservation; what is charged stays while somebody holds it. At
 * the end of the daemon, the limit stays for the next one.
 */
void lease_end_reservation(struct lease *lease);
/* NULL-safe. The last one refunds it. */
struct reservation *reservation_hold(struct reservation *reservation);
struct reservation *reservation_release(struct reservation *reservation);
/* Narrows *limits by the rules of all leases that have reserved something on the account. */
void reservations_limits(
	const struct broker *broker, const char *account, struct byte_limits *limits);
/* The most that limits in bytes leave of whole pages. */
uint64_t limit_pages(uint64_t bytes);

/* All reporters are gone. NULL-safe. */
struct observing;
struct observing *observing_free(struct observing *observing);

/* --- spaces, and the groups in them ----------------------------------------------------- */

enum attachment_state {
	ATTACHMENT_OPENING,  /* a job opens the group for it */
	ATTACHMENT_ENTERING, /* the space attaches it */
	ATTACHMENT_INSIDE,
	ATTACHMENT_LEAVING,   /* the space detaches it */
	ATTACHMENT_LINGERING, /* out of the space's hands, and a device of it is still open */
};

struct attachment {
	TAILQ_ENTRY(attachment) of_entry;
	struct space_entry *entry;
	struct group *group;     /* held */
	struct holding *holding; /* NULL: that is no more, or LINGERING */
	struct lease *lease;     /* NULL: that is over */
	enum attachment_state state;
	bool has_to_leave; /* by force, as soon as what is under way is done */
	bool is_forced;    /* LEAVING */
	struct plan *plan; /* for `job`; owned */
	struct job *job;   /* OPENING; LINGERING: looks whether it can be opened */
	ev_timer again;    /* LINGERING */
	bool has_looked;   /* LINGERING: once at least */
	double again_seconds;
	attached_fn told; /* who waits for ENTERING or LEAVING to be over; NULL */
	void *userdata;
};

void spaces_init(struct broker *broker);
void spaces_free(struct broker *broker);
/* At the end of the daemon, and is it over with all of them, but for what lingers? */
void spaces_end_all(struct broker *broker);
bool spaces_have_ended(const struct broker *broker);
/* hooks->limits of a space: the smallest that hold, also in other spaces of its account. */
void space_entry_limits(struct space *space, struct limits *limits, void *entry);
/* It is known now of one more group whether it is still open: who waits for the end may be told. */
void space_entry_looked(struct space_entry *entry);
/* With all that the next daemon needs: in the store; written down again; no more. */
void space_entry_keep(struct space_entry *entry);
/* Its keeper is there, or never will be: what waited for that. */
void space_entry_has_keeper(struct space_entry *entry);
void space_entry_follow(struct space_entry *entry);
void space_entry_unrecord(struct space_entry *entry);
/* Without its space. NULL: no memory. */
struct space_entry *space_entry_make(struct broker *broker);
void space_entry_settings(const struct space_entry *entry, struct space_settings *settings);
void space_entry_watch(struct space_entry *entry, int holder_pidfd); /* takes it over */
void space_entry_dismiss(struct space_entry *entry, const char *why);
struct space_entry *space_entry_free(struct space_entry *entry); /* nothing of it is left */
extern const struct space_hooks space_entry_hooks;
/* `news` with its group and space filled in. */
void space_entry_news(const struct space_entry *entry, const struct broker_news *news);
/* Frees those that nobody wants to hear of any more. */
void spaces_sweep(struct broker *broker);
/* The rules have changed: so may the host's limit have. */
void spaces_reconfigure(struct broker *broker);
/* Inside, of a space that was restored. NULL: no memory. */
struct attachment *attachment_restore(
	struct space_entry *entry, struct lease *lease, struct group *group);
/* NULL: no space has it. Not one that lingers. */
struct attachment *attachment_of(struct broker *broker, const struct group *group);
void attachment_free(struct attachment *attachment);
/* It is not attached any more: frees it, and its holding goes on, if that has waited. */
void attachment_end(struct attachment *attachment);
/* The same, but a device of it is open: asks until it is not. */
void attachment_linger(struct attachment *attachment);
/* The one or the other: without its keeper, a space does not know. */
void attachment_out(struct attachment *attachment);
void attachment_init_again(struct attachment *attachment);
/* As its client wants it: as space_detach(). */
int attachment_detach(struct attachment *attachment, attached_fn detached, void *userdata,
	struct refusal *refusal);
/* Out of its space by force. Its holding, if it has one, hears of it: holding_detached(). */
void attachment_leave(struct attachment *attachment);
/* The space has finished what it was asked to do with it. */
void attachment_tell(struct attachment *attachment, int result, const struct refusal *refusal,
	unsigned container);
void attachment_news(const struct attachment *attachment, const char *event, const char *text);
/* Starts a job for it: 0 or -errno. */
int attachment_job(
	struct attachment *attachment, enum job_kind kind, const struct job_listener *listener);
/* hooks->let_go of a space. */
void attachments_let_go(struct space_entry *entry, int group, bool still_open);
/* The keeper is no more. */
void attachments_orphan(struct space_entry *entry);
/* The group could be opened, or is with the host: nothing of it lingers in any space. */
void attachments_opened(struct broker *broker, const struct group *group);
/* Groups that have left the host are in no space. */
void attachments_bury(struct broker *broker);
void attachments_forget_lease(struct broker *broker, const struct lease *lease);
/* Its lease is over. True: a space has it, and holding_detached() comes when it has no more. */
bool holding_detach(struct holding *holding);
void holding_detached(struct holding *holding);

/* At the end: who waits for a reload hears nothing more. NULL-safe. */
struct reload *reload_free(struct reload *reload);
