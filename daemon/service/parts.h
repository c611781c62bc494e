/* The service's parts, for each other; nobody outside of this room includes this. */
#pragma once

#include "daemon/lease/policy.h"
#include "daemon/service/service.h"
#include "proto/interface.h"
#include "proto/message.h"
#include "proto/transport.h"

#include <sys/queue.h>

struct session;
struct call;
TAILQ_HEAD(session_list, session);
TAILQ_HEAD(call_list, call);
LIST_HEAD(acquisition_list, acquisition);
LIST_HEAD(monitor_list, monitor);

struct service {
	struct ev_loop *loop;
	struct broker *broker;
	struct service_hooks hooks;
	int listen_fd;
	ev_io acceptor;
	ev_timer accept_again;                 /* after descriptors or memory ran out */
	struct varlink_interface **interfaces; /* n_varlink_files, in their order */
	struct session_list sessions;
	size_t n_sessions;
	struct monitor_list monitors;
	double started_at;
};

/* One connection. Calls are answered in their order, one at a time. */
struct session {
	TAILQ_ENTRY(session) of_service;
	struct service *service;
	struct transport *transport;
	struct subject subject;
	ev_io reader, writer;
	ev_timer reaper;      /* frees it when nobody is inside of it any more */
	struct call *current; /* NULL: idle */
	struct call_list waiting;
	size_t n_waiting;
	bool at_eof, is_dead;
	struct acquisition_list acquisitions; /* leases that live with this connection */
};

int session_new(struct service *service, int fd); /* takes the fd over; 0 or -errno */
struct session *session_free(struct session *session);
/* Closes it soon: its calls hear of it when the caller is out of the way. */
void session_kill(struct session *session, const char *why);

/* Who is at the other end: SO_PEERCRED, SO_PEERGROUPS, /proc. 0 or -errno. */
int peer_identify(int fd, struct subject *subject);
/* A process's command as it is now, printable. 0 or -errno. */
int process_command(pid_t pid, char *command, size_t size);
/*
 * Is this a pidfd, and of which process? 0 with *pid and *uid; -EBADF: not a pidfd;
 * -ESRCH: the process has ended.
 */
int pidfd_identify(int fd, pid_t *pid, uid_t *uid);

/* One call, from its message to its last reply, which frees it. */
struct call {
	TAILQ_ENTRY(call) of_session;
	struct session *session;
	struct message message;
	struct varlink_call varlink;
	const struct method *method;
	/* The connection closes before the last reply: undo. The call is freed after it. */
	void (*cancel)(struct call *call);
	/* All output has been sent. NULL: nobody wants to know. */
	void (*drained)(struct call *call);
	void *state; /* the method's */
};

struct method {
	const char *name; /* "org.vfiod.Broker.List" */
	/* Parameters have been checked against the interface file. */
	void (*run)(struct call *call);
	bool for_admins;
	bool takes_fds; /* descriptors that come with the call mean something */
	bool lasts;     /* goes on for as long as the client is there, not to an end of its own */
};
extern const struct method service_methods[], broker_methods[], acquire_methods[], admin_methods[],
	why_methods[], check_methods[];

/* Dispatches a call that was read. */
void call_run(struct call *call);
void call_free(struct call *call);
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

/* drained() is called when the loop comes round and the socket takes more: for long streams. */
void call_continue_later(struct call *call);

/* The error's full name and its parameters; NULL parameters: no memory. */
const char *refusal_to_varlink(const struct refusal *refusal, struct json_object **parameters);

/* JSON of what the broker knows. NULL: no memory. */
struct json_object *describe_group(
	struct broker *broker, const struct subject *subject, const struct group *group);
struct json_object *describe_lease(struct broker *broker, const struct lease *lease);
bool group_is_covered(const struct broker *broker, const struct group *group);
/*
 * The group that parameters {group, device} name, of which exactly one has to be given: NULL
 * after the call has been answered with an error.
 */
struct group *call_group(struct call *call, struct json_object *parameters);
/* The same for one object of a list; NULL with *refusal. */
struct group *select_group(
	struct broker *broker, struct json_object *selector, struct refusal *refusal);

/* JSON in few words. Values that are NULL become null. */
struct json_object *json_text(const char *text);
int json_put(struct json_object *object, const char *key, struct json_object *value);
/* NULL where the key is absent or null. */
struct json_object *json_field(struct json_object *object, const char *key);
const char *json_field_text(struct json_object *object, const char *key);

/* Releases what a connection holds when it closes. */
void acquisitions_disconnect(struct session *session);
