/*
 * What the daemon before this one had lent goes on: leases and spaces are written down while they
 * live (base/record.h), and taken over at the start.
 *
 *   lease     record "leases/L3": token, subject, account, groups, mode, reservation, whether it
 *             follows a process (pidfd l3 in the store, or found by pid and start time), and which
 *             connection it lives with. Its groups are not recovered by their journal: they are
 *             adopted as they are, taken and used.
 *   space     record "spaces/S2": token, subject, connection or holder, what is attached by which
 *             lease. Everything else says its keeper (memory/space.h, space_adopt()).
 *
 * The order of a start (main.c): store, inventory, broker_new() (leases), broker_keep_spaces()
 * (spaces), service_new() (the connections that are in the store; each takes its leases and spaces
 * up again), broker_restored(). Whatever is not there any more (a connection was lost, its process
 * has ended, its keeper is dead) ends as it would have ended then, group by group; each
 * disagreement is logged. Other groups are served at once.
 *
 * Connections are named by a number that outlives the daemon: `connection`, the slot plus one;
 * 0 is none.
 */
#pragma once

#include "daemon/broker/spaces.h"

/* An earlier daemon has lent something to somebody, and it is not over. */
bool broker_is_owed(const char *state_directory);

/*
 * Calls visit() for each lease that lives with this connection, or whose stream it was. The
 * listener is the connection's from then on, as after broker_acquire(). `is_stream`: the call that
 * acquired it has not ended (more).
 */
typedef void (*restored_lease)(struct lease *lease, bool is_stream, void *userdata);
void broker_reconnect(
	struct broker *broker, unsigned connection, restored_lease visit, void *userdata);
/* What the visitor answers with. */
void lease_listen(struct lease *lease, const struct lease_listener *listener, void *userdata);
/* The spaces that live with it have this owner from now on. */
void spaces_reconnect(struct broker *broker, unsigned connection, const void *owner);

/*
 * All connections that there are have come back. A lease or a space that lives with none of them
 * waits for broker_resume() for `resume-timeout`, and ends then.
 */
void broker_restored(struct broker *broker);

/*
 * Resume(token): the lease's stream goes on with this listener, and the lease lives with this
 * connection; a stream that it has now ends (its listener hears ended(), "resumed elsewhere").
 * `is_stream`: as that of an Acquire. Only for the same uid. 0 with *lease, granted() is not called
 * again. REFUSED: NO_SUCH_LEASE; -errno, and nothing has changed.
 */
int broker_resume(struct broker *broker, const struct subject *subject, const char *token,
	unsigned connection, bool is_stream, const struct lease_listener *listener, void *userdata,
	struct lease **lease, struct refusal *refusal);

/*
 * The daemon ends, and the next one is to find everything as it is: nothing is ended or returned.
 * Jobs that run go on by themselves. Then broker_free().
 */
void broker_leave(struct broker *broker);
