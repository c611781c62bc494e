/*
 * What a bind child and its parent say to each other: one record a packet of a SOCK_SEQPACKET
 * pair: the struct, or, where the rest says nothing, its numbers. Nobody outside of this room
 * includes this.
 */
#pragma once

#include "daemon/bind/job.h"

enum record_kind {
	RECORD_STEP = 1, /* child: `step` of `member` is tried next (-1: of the group) */
	RECORD_KNOWN,    /* child: `member` as the host has it, and where it goes */
	RECORD_NODE,     /* child: with the open node of `member`, before DONE */
	RECORD_READY,    /* child: that was the last; may I? */
	RECORD_GO,       /* parent: yes. Every child waits for it before its first write */
	RECORD_DONE,     /* child: `result`, `refusal`; with the group's fd if there is one */
	RECORD_MAX_,
};

struct record {
	int32_t kind;
	int32_t member;
	int32_t step;
	int32_t result;
	char host_driver[DRIVER_NAME_SIZE];
	char host_override[DRIVER_NAME_SIZE];
	char claim[DRIVER_NAME_SIZE];
	char target[DRIVER_NAME_SIZE];
	char module[DRIVER_NAME_SIZE];
	bool host_probes;
	bool is_variant;
	struct refusal refusal;
};

/*
 * fd -1: none. flags: MSG_DONTWAIT where the record may be lost. Never SIGPIPE.
 * 0 or -errno; -EPIPE, -ECONNRESET: nobody listens any more.
 */
int record_send(int socket, const struct record *record, int fd, int flags);
/*
 * 1 with *record, and *fd (the caller's; -1: none came). 0: the other end is closed. -EAGAIN
 * with MSG_DONTWAIT. -EPROTO: no record of ours. -EMFILE: a record came, but its fd was lost.
 */
int record_receive(int socket, struct record *record, int *fd, int flags);

/* The child's part: runs the job and ends. job.c forks. */
_Noreturn void job_child(
	enum job_kind kind, struct plan *plan, const struct sysfs_ops *ops, int socket);
