/* The service's parts, for each other; nobody outside of this room includes this. */
#pragma once

#include "daemon/base/slots.h"
#include "daemon/base/trim.h"
#include "daemon/base/util.h"
#include "daemon/base/writing.h"
#include "daemon/lease/policy.h"
#include "daemon/service/inflight.h"
#include "daemon/service/metrics.h"
#include "daemon/service/service.h"
#include "proto/interface.h"
#include "proto/message.h"
#include "proto/transport.h"

#include <sys/queue.h>

struct session;
struct call;
struct user;
struct fetch;
TAILQ_HEAD(session_list, session);
TAILQ_HEAD(call_list, call);
TAILQ_HEAD(user_list, user);
LIST_HEAD(fetch_list, fetch);
LIST_HEAD(parked_list, parked);
LIST_HEAD(departure_list, departure);
LIST_HEAD(acquisition_list, acquisition);
LIST_HEAD(monitor_list, monitor);

struct service {
	struct ev_loop *loop;
	struct broker *broker;
	struct service_hooks hooks;
	int listen_fd;
	ev_io acceptor;
	ev_timer accept_again;                 /* after descriptors or memory ran out */
	bool accept_failed;                    /* and that has been said */
	struct varlink_interface **interfaces; /* n_varlink_files, in their order */
	struct session_list sessions;
	ev_io edges;            /* what happens on connections (watch.c) */
	struct slots *slots;    /* of connections (inflight.h) */
	bool is_leaving;        /* all is left to the next vfiod */
	size_t n_sessions;      /* but those of administrators */
	size_t max_sessions;    /* that there are descriptors for */
	size_t stored_others;   /* room in systemd's store that is not for sessions */
	struct trim trim;       /* of what sessions leave */
	struct user_list users; /* who have sessions, or something left of them */
	struct user_list turns; /* who want something done, in the order of their turns */
	ev_check turner;
	ev_idle awake; /* while somebody waits for a turn */
	struct fetch_list fetches;
	size_t n_fetches, n_parked;
	struct departure_list departures;
	struct monitor_list monitors;
	struct metrics metrics;
	double started_at;
};

void accept_start(struct service *service);
void accept_stop(struct service *service);

/* --- users (user.c) and their turns (turns.c) ----------------------------------------------- */

/* All connections of one uid: what bounds count, and what has turns. */
struct user {
	TAILQ_ENTRY(user) of_service, of_turns;
	struct service *service;
	uid_t uid;
	size_t n_references;
	size_t n_sessions; /* but those of administrators */
	size_t n_monitors;
	size_t memory_bytes;
	struct session_list ready; /* want something done; then the user is in `turns` */
	size_t n_transactions;
	struct call_list for_transactions; /* wait until there are fewer */
	size_t n_fetches;
	struct parked_list parked; /* connections that wait to be closed by a child */
	double logged_since;
	unsigned n_logged;
};

struct user *user_get(struct service *service, uid_t uid); /* finds or makes; NULL: no memory */
struct user *user_hold(struct user *user);
void user_release(struct user *user);
/* At the end: what is left of users whose connections a child was to close. */
void users_clear(struct service *service);
/* Has he something written into the log, or too often already? He must not fill it. */
bool user_may_log(struct user *user);
/* REFUSED, TOO_MANY. */
int refuse_too_many(struct refusal *refusal, const char *limit, unsigned max);

/*
 * A transaction (an acquire or a release at work) of the call's user: true if it may begin now.
 * Else the call waits, and is run again when one has ended.
 */
bool transaction_begin(struct call *call);
void transaction_end(struct call *call); /* or waits no more; nothing if it did neither */

/* session_turn() will be called when it is this session's turn: users in turn, then theirs. */
void turn_want(struct session *session);
void turn_forget(struct session *session);
void turns_init(struct service *service);
void turns_stop(struct service *service);

/* --- descriptors that clients send (fetch.c), and closing their connections (dismiss.c) ------- */

/* A child takes the next part of the session's message, with its descriptors, and then ends. */
bool fetch_is_possible(const struct user *user);
int fetch_start(struct session *session); /* 0 or -errno */
/*
 * The session is no more. True: its connection is dismissed later, when the child has ended, which
 * may take for ever.
 */
bool fetch_adopt(struct session *session, int connection);
/* A child closes the connection, which is taken over, also on failure: 0 or -errno. */
bool burial_is_possible(const struct user *user);
int burial_start(struct user *user, int connection);
struct fetch *fetch_free(struct fetch *fetch);
void fetches_stop(struct service *service);

/* --- descriptors (descriptors.c) ---------------------------------------------------------------
 */

/* By what the kernel says of them alone: no file is asked anything. */
bool fd_is_pidfd(int fd);
bool fd_is_memory(int fd); /* of tmpfs or hugetlbfs, memfds among them */
/*
 * At most TRANSPORT_MAX_FDS, that came from clients or go to them. The last close of memory, or of
 * a device that has memory pinned, takes as long as freeing it does: a child does it.
 */
void close_client_fds(const int *fds, size_t n_fds);
static inline void cleanup_client_fd(const int *fd)
{
	close_client_fds(fd, 1);
}
#define _cleanup_client_fd_ __attribute__((cleanup(cleanup_client_fd)))

/*
 * Closes a client's connection, never by ourselves if descriptors are queued in it, and not before
 * systemd has, for which the same is true.
 */
void dismiss(struct user *user, int connection);
/* When a child has ended: those that had to wait for it. */
void dismiss_parked(struct user *user);
void dismiss_forget(struct user *user);                /* at the end */
void departures_forget(struct service *service);       /* the same of those systemd still has */
bool dismiss_is_behind(const struct service *service); /* too many wait: let no more in */
/* Descriptors may come with out-of-band data, too: as ordinary data we see them. */
void connection_prepare(int fd);

/* --- sessions ------------------------------------------------------------------------------- */

/* What a descriptor counts in max-memory-per-user: of those there are fewer than of bytes. */
enum { FD_COUNTS_BYTES = 16384 };

/* One connection. Calls are answered in their order, one at a time. */
struct session {
	TAILQ_ENTRY(session) of_service, of_ready;
	struct service *service;
	struct user *user; /* held */
	struct transport *transport;
	struct subject subject;
	bool is_undescribed; /* of the vfiod before: what its process is has not been looked up, */
	unsigned long long start_ticks; /* and that one knew this of it */
	bool is_counted;                /* not an administrator's */
	unsigned connection;  /* its number, that outlives us: its slot, plus one; 0: it has none */
	ev_timer reaper;      /* frees it when nobody is inside of it any more */
	ev_timer unfinished;  /* a message has begun to arrive */
	ev_timer unread;      /* output waits */
	struct fetch *fetch;  /* a child takes what comes next: we do not read */
	struct call *current; /* NULL: idle */
	size_t call_bytes;    /* of the current call, while it has its text */
	size_t memory_bytes;  /* what of the user's is its */
	bool is_ready;        /* waits for its turn */
	bool is_readable;     /* something may be there that was not looked at */
	bool has_hung_up;     /* nothing will be added to it */
	bool is_partial;      /* what was looked at is not a whole message */
	bool takes_parts;     /* of a message that is not whole, or has descriptors */
	bool is_receiving; /* some of a message was taken out of the socket, and is not read yet */
	bool is_answering; /* what it does must not be told to be interrupted any more */
	bool is_impatient; /* for a message that has begun to arrive, but is not taken yet */
	bool is_watched, waits_for_room;
	bool has_news, counts_waiting; /* behind the current call */
	size_t n_waiting;
	bool wants_fetch, has_drained, resumes;
	bool at_eof, is_dead;
	struct acquisition_list acquisitions; /* leases that live with this connection */
	struct reporter *reporter;            /* NULL: it has reported nothing */
	struct subject reports_for; /* of the reporter, if not itself; its pointers are subject's */
};

/*
 * Takes the fd and the subject over; 0 or -errno, and then the fd is the caller's still. It begins
 * with inflight_begin(), or as the one that had this connection number left it.
 */
int session_new(struct user *user, int fd, struct subject *subject, struct session **session);
void session_kept(struct session *session); /* from here on it is read */
/* --- their input (session-input.c) --- */
void session_init_input(struct session *session);
bool session_may_receive(const struct session *session);
/* 1: the next message; 0: it is not there yet, or the last one was; -errno. */
int session_receive(struct session *session, struct message *message);
/* Its call, the current one from now on; the message is taken over. NULL: no memory. */
struct call *session_call(struct session *session, struct message *message);
/* Behind the current call: has the client gone, does too much wait? */
void session_look_behind(struct session *session);
const char *session_error(int r);
void timer_restart(struct ev_loop *loop, ev_timer *timer, double seconds);
/* News from watch.c. */
void session_has_input(struct session *session, bool is_last);
void session_has_room(struct session *session);
struct session *session_free(struct session *session);
/* Closes it soon: its calls hear of it when the caller is out of the way. */
void session_kill(struct session *session, const char *why);
bool session_is_admin(const struct session *session);
/* Sends what it can; counts what is left. */
void session_flush(struct session *session);
/* What it holds, counted: kills it if its user's connections hold too much. */
void session_charge(struct session *session);
/* Its turn: a small piece of work. */
void session_turn(struct session *session);
/* A child has brought something (result 1), nothing (0), or -errno. */
void session_fetched(struct session *session, int result);

/* The epoll set of connections (watch.c). 0 or -errno. */
int watch_init(struct service *service);
void watch_stop(struct service *service);
int watch_add(struct session *session);
void watch_output(struct session *session, bool waits); /* for room to send */
void watch_remove(struct session *session);

/* How many calls wait behind the current one: counted up to `enough` and one (waiting.c). */
size_t waiting_count(struct session *session, size_t enough);
void waiting_forget(struct session *session);
void waiting_restart(struct session *session); /* another vfiod may have counted */

/* The sessions of the vfiod before this one (restore.c). */
void sessions_restore(struct service *service);
/* Its leases: those of whose stream the call goes on, if it has one. 0 or -ENOMEM. */
int acquisitions_restore(struct session *session, bool has_stream);
/* A stream that goes on: as if the client had just called. NULL: no memory. */
struct call *call_restore(struct session *session, const char *method, enum stream stream);
int monitor_restore(struct session *session); /* 0 or -ENOMEM */

/* Who is at the other end: SO_PEERCRED, SO_PEERGROUPS, /proc. 0 or -errno. */
int peer_identify(int fd, struct subject *subject);
/* In two steps: what the socket says, and the command, start time and unit of its process. */
int peer_credentials(int fd, struct subject *subject); /* 0 or -errno */
void peer_describe(int fd, struct subject *subject);
/* The second of them, where it is due: before anything that depends on it (restore.c). */
void session_describe(struct session *session);
/* A process's command as it is now, printable. 0 or -errno. */
int process_command(pid_t pid, char *command, size_t size);
/*
 * Is this a pidfd, and of which process? 0 with *pid and *uid; -EBADF: not a pidfd;
 * -ESRCH: the process has ended.
 */
int pidfd_identify(int fd, pid_t *pid, uid_t *uid);

/* One call, from its message to its last reply, which frees it. */
struct call {
	struct session *session;
	struct message message;
	struct varlink_call varlink; /* after run(): only its flags are left */
	size_t counted_bytes;        /* in the session's call_bytes */
	enum stream stream;          /* that a restart does not interrupt: set before its reply */
	bool has_transaction, waits_for_transaction;
	TAILQ_ENTRY(call) of_user; /* waits_for_transaction */
	const struct method *method;
	/* The connection closes before the last reply: undo. The call is freed after it. */
	void (*cancel)(struct call *call);
	/* All output has been sent. NULL: nobody wants to know. */
	void (*drained)(struct call *call);
	void *state; /* the method's */
	/* Of the descriptors in its replies; NULL: close_client_fds(). */
	close_fds_fn close_fds;
};

struct method {
	const char *name; /* "org.vfiod.Broker.List" */
	/* Parameters have been checked against the interface file. */
	void (*run)(struct call *call);
	bool for_admins;
	bool takes_fds; /* descriptors that come with the call mean something */
	bool lasts;     /* goes on for as long as the client is there, not to an end of its own */
	bool transacts; /* takes groups or gives them back: a user has few of these at a time */
};
extern const struct method service_methods[], broker_methods[], acquire_methods[], admin_methods[],
	why_methods[], check_methods[], plan_methods[], can_methods[], space_methods[],
	attach_methods[], ledger_methods[], report_methods[], audit_methods[], metrics_methods[],
	reopen_methods[], pool_methods[];
/* Once, of each interface: which of its methods is served by which of these. */
void methods_bind(struct varlink_interface *interface);

/*
 * Reads the session's current call and dispatches it; again, if it had to wait. 0, or what is wrong
 * with the message: then the connection has to be closed.
 */
int call_run(struct call *call);
void call_free(struct call *call);
void call_uncount(struct call *call); /* its message's text has gone */
/* The last reply: parameters are taken over, NULL = none. The call is gone after it. */
void call_reply(struct call *call, struct json_object *parameters);
void call_error(struct call *call, const char *error, struct json_object *parameters);
void call_refuse(struct call *call, const struct refusal *refusal);
void call_fail(struct call *call, int error, const char *origin); /* io.systemd.System */
void call_invalid(struct call *call, const char *parameter);      /* InvalidParameter */
/*
 * A reply of a stream; descriptors are taken over. The call goes on. False: it could not be
 * sent, and never will be. The same below.
 */
bool call_reply_more(
	struct call *call, struct json_object *parameters, const int *fds, size_t n_fds);
/* The same as the last reply when the client did not ask for a stream. */
bool call_reply_fds(
	struct call *call, struct json_object *parameters, const int *fds, size_t n_fds);

/*
 * The same for answers that are given often, written without a tree: reply_begin(), then their
 * parameters, and this closes and clears it.
 */
void reply_begin(struct writing *reply);
bool call_reply_text(
	struct call *call, struct writing *reply, bool continues, const int *fds, size_t n_fds);

/* drained() is called when the loop comes round and the socket takes more: for long streams. */
void call_continue_later(struct call *call);

/* The error's full name and its parameters; NULL parameters: no memory. */
const char *refusal_to_varlink(const struct refusal *refusal, struct json_object **parameters);
/* Those of org.vfiod.Space; NULL: it is none. */
const char *space_error(const struct refusal *refusal, struct json_object *parameters);

/* JSON of what the broker knows. NULL: no memory. */
struct json_object *describe_group(
	struct broker *broker, const struct subject *subject, const struct group *group);
/* What a reset of the bus of each of its devices reaches: ResetSet of org.vfiod.Broker. NULL: none
 * has one. */
struct json_object *describe_resets(struct broker *broker, const struct group *group);
struct json_object *describe_lease(struct broker *broker, const struct lease *lease);
/* What is wrong with a group, and what to do; false: nothing is. */
#define PROBLEM_TEXT_SIZE 768
bool describe_problem(struct broker *broker, const struct group *group, char *text, size_t size);
struct space_entry;
/* The same of a space. */
bool describe_space_problem(
	struct broker *broker, const struct space_entry *entry, char *text, size_t size);
bool group_is_covered(const struct broker *broker, const struct group *group);
/*
 * The group that parameters {group, device} name, of which exactly one has to be given: NULL
 * after the call has been answered with an error.
 */
struct group *call_group(struct call *call, struct json_object *parameters);
/* The same for one object of a list; NULL with *refusal. */
struct group *select_group(
	struct broker *broker, struct json_object *selector, struct refusal *refusal);

enum { MAX_SELECTORS = 64 }; /* the most that max-selectors may be */
/* What all of the call's selectors ask for: 0, -ENOMEM, or REFUSED. */
struct wishes;
/* The same of one object with the fields of a Selector. */
int selector_read(struct broker *broker, struct json_object *selector, struct wishes **wishes,
	struct refusal *refusal);
int selectors_read(struct call *call, struct wishes **wishes, struct refusal *refusal);

/*
 * The process of holderFileDescriptor: 0 with its pidfd taken out of the message, and *holder's
 * process set to it; -1 and *holder as it was, if there is none. Or REFUSED.
 */
int call_take_holder(
	struct call *call, int *pidfd, struct subject *holder, struct refusal *refusal);

/* JSON in few words. Values that are NULL become null. */
struct json_object *json_text(const char *text);
/* As org.vfiod.Space has them: "0x1000", {first, last}, and sizes, which fit an int64. */
struct json_object *json_iova(uint64_t iova);
struct json_object *json_range(const struct iova_range *range);
struct json_object *json_ranges(const struct iova_range *ranges, size_t n_ranges);
struct json_object *json_bytes(uint64_t bytes);
struct json_object *json_pages(uint64_t pages); /* in bytes */
int json_put(struct json_object *object, const char *key, struct json_object *value);
/* NULL where the key is absent or null. */
struct json_object *json_field(struct json_object *object, const char *key);
const char *json_field_text(struct json_object *object, const char *key);

/* Releases what a connection holds when it closes. */
void acquisitions_disconnect(struct session *session);
