/*
 * How far each connection is, for the next vfiod: a slot a connection, in memory that outlives this
 * one (base/slots.h), and the connection itself in systemd's store, under the slot's number.
 *
 *   IDLE       what the client sends next is in its socket, whole or in part, and answered by
 *              whoever is there then
 *   RECEIVING  some of a message was taken out of it, and is lost with this process
 *   WORKING    it was read, and something may have been done
 *   SENDING    an answer is on its way, and nobody would know how much of it has gone
 *
 * So after a restart an idle connection goes on, one that was working is answered Interrupted, and
 * the others are closed. A stream that is established is idle between two of its answers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct service;
struct session;

enum progress { PROGRESS_IDLE, PROGRESS_RECEIVING, PROGRESS_WORKING, PROGRESS_SENDING };
enum stream { STREAM_NONE, STREAM_LEASE, STREAM_MONITOR };

/* What a slot says. */
struct inflight {
	enum progress progress;
	enum stream stream;
	bool is_oneway;                 /* nobody waits for an answer */
	unsigned long long start_ticks; /* of the client's process; 0: it had none */
};

/* 0 or -errno. */
int inflight_open(struct service *service);
/*
 * Finds a slot, and stores the connection: it may be read from session_kept() on. Without room it
 * is served all the same, and ends with this vfiod.
 */
void inflight_begin(struct session *session);
/* It is to end with this vfiod: the next one would not know what it is for. */
void inflight_end_with_us(struct session *session);
/* Out of the store, as soon as systemd comes to it; the slot is free. */
void inflight_end(struct session *session);
/* Where the session is now. Before whatever makes it so: receiving, working, sending. */
void inflight_publish(const struct session *session);

/* Of the connection `fd`, which the store had in this slot. False: the slot is not about it. */
bool inflight_read(struct service *service, unsigned slot, int fd, struct inflight *inflight);
/* Slots of connections that have not come back are free. */
void inflight_clear_others(struct service *service);
