/*
 * What the files of libvfiod share: the handle, the lease, and the three things
 * that every call is made of: send, wait for a message, say what went wrong.
 */
#pragma once

#include <json-c/json.h>
#include <stdarg.h>
#include <sys/queue.h>

#include "client/include/vfiod.h"
#include "proto/message.h"
#include "proto/transport.h"

#define SENTENCE_SIZE 1024 /* of vfiod_strerror(); cut if it does not fit */

struct granted_device {
	char *name;
	int fd; /* mode cdev; -1: stolen, or another mode */
};

struct granted_group {
	int number;
	int fd; /* mode group; -1: stolen, or another mode */
	struct granted_device *devices;
	size_t n_devices;
};

struct vfiod_lease {
	LIST_ENTRY(vfiod_lease) link; /* in vfiod->leases */
	char *name, *token;
	struct granted_group *groups;
	size_t n_groups;
	char **selected; /* which device answers which of what was asked for */
	size_t n_selected;
	int iommufd; /* mode cdev; -1: stolen, or another mode */
	vfiod_event_fn on_event;
	void *userdata;
	bool is_ended;   /* the daemon said so: there is nothing to release */
	bool follows;    /* a process, and not the connection */
	bool is_resumed; /* on the connection that vfiod_resume() has made */
};

struct vfiod_space {
	LIST_ENTRY(vfiod_space) link; /* in vfiod->spaces */
	char *name, *token;
};

struct vfiod {
	struct transport *transport;
	char *socket; /* vfiod_release() of a stream's lease needs a second connection */
	LIST_HEAD(lease_list, vfiod_lease) leases;
	LIST_HEAD(space_list, vfiod_space) spaces;
	struct vfiod_lease *stream; /* whose stream this connection is; in leases, too */
	bool is_busy;               /* a call is running: it was called from its callback */
	bool is_unusable;           /* replies and calls can no longer be matched */
	bool is_resuming;           /* the connection is vfiod_resume()'s, */
	struct vfiod_lease *asked;  /* which waits for what is said of this one */
	int old;                    /* the connection before it, while it resumes */
	int n_over;                 /* of its leases */

	char *error_name, *error_parameters; /* of the last error reply, or NULL */
	char sentence[SENTENCE_SIZE];
};

/* A point in time to wait for; timeout_ms as in poll(2). */
struct deadline {
	bool is_finite;
	int64_t at_ms; /* CLOCK_MONOTONIC */
};
struct deadline deadline_in(int timeout_ms);
int deadline_left(const struct deadline *deadline); /* as poll(2) wants it; never below 0 */

/* --- handle.c ------------------------------------------------------------------ */

/* 0 with *fd, or -errno. */
int socket_connect(const char *path, int *fd);
/* Its transport is one of this connection, which is taken over, also on failure. 0 or -errno. */
int handle_transport(struct vfiod *vfiod, int fd);

/*
 * What every function of the API begins with: forgets the last error. 0, -EBUSY when the handle
 * is in a call or is a stream (unless may_stream), -ECONNRESET when it is unusable.
 */
int vfiod_begin(struct vfiod *vfiod, bool may_stream);
/*
 * Sends a call whole. parameters are taken over (NULL = none), fds are copied. -ETIMEDOUT,
 * -ECONNRESET, … leave the connection unusable; -ENOMEM, -EMFILE, -EBADF and -ENOBUFS do not.
 */
int vfiod_send(struct vfiod *vfiod, const char *method, struct json_object *parameters, bool more,
	const int *fds, size_t n_fds, const struct deadline *deadline);
/*
 * Sends a call that wants no answer. What the daemon does not read in time is kept, and goes with
 * the next call: -ETIMEDOUT then, and the connection is as good as before. Else as vfiod_send().
 */
int vfiod_tell(struct vfiod *vfiod, const char *method, struct json_object *parameters);
/* Waits for the socket: 0 when something of `events` is there (hang-up included), or -errno. */
int vfiod_wait(struct vfiod *vfiod, short events, const struct deadline *deadline);
/* A reply that is there already, or -EAGAIN. */
int vfiod_receive_now(struct vfiod *vfiod, struct message *message, struct varlink_reply *reply);
/* Waits for one reply. Any failure leaves the connection unusable. `reply` borrows `message`. */
int vfiod_receive(struct vfiod *vfiod, struct message *message, struct varlink_reply *reply,
	const struct deadline *deadline);

/*
 * A call with one answer, on a handle that vfiod_begin() let through: 0, its parameters in *reply,
 * which borrows `message` (message_clear()); or -errno, and nothing to clear. `parameters` are
 * taken over.
 */
int vfiod_exchange(struct vfiod *vfiod, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds, struct message *message, struct json_object **reply);
/* Adds what it takes over; a value of NULL is memory that was wanting: false. */
bool object_add(struct json_object *object, const char *key, struct json_object *value);

/* --- error.c ------------------------------------------------------------------- */

/* Sets what vfiod_strerror() says, control characters replaced, and returns `error`. */
int vfiod_fail(struct vfiod *vfiod, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same from an error reply; returns the errno that the header promises for it. */
int vfiod_fail_reply(struct vfiod *vfiod, const struct varlink_reply *reply);
void vfiod_error_clear(struct vfiod *vfiod);

/* --- reserve.c ----------------------------------------------------------------- */

/* What Varlink's integers cannot say is no memory: 0, or -EINVAL, said. */
int memory_check(struct vfiod *vfiod, uint64_t bytes);

/* --- grant.c ------------------------------------------------------------------- */

/*
 * Makes a lease of a reply that grants it, taking the descriptors; it is in no list yet. flags: the
 * mode that was asked for, of enum vfiod_acquire_flags; another one makes no sense. -EPROTO,
 * -ENOMEM.
 */
int lease_from_grant(struct json_object *parameters, struct message *message, unsigned flags,
	struct vfiod_lease **lease);

/* --- lease.c ------------------------------------------------------------------- */

/* NULL-safe; takes it out of the list that it is in. */
struct vfiod_lease *lease_free(struct vfiod_lease *lease);
