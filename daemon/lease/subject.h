/*
 * Who asks: what the kernel says of the peer of a socket, never what the peer
 * says of itself. Filled in by service/peer.c.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct subject {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary; owned */
	size_t n_groups;
	pid_t pid;
	unsigned long long start_ticks; /* of the process (process_start_time()); 0 = unknown */
	/* Of the process pid: another than uid where an administrator holds for somebody. */
	uid_t process_uid;
	char unit[256];   /* systemd unit of the process, "dpdk.service"; "" = none or unknown */
	char command[16]; /* comm, for people */
};

int subject_copy(struct subject *to, const struct subject *from); /* 0 or -ENOMEM */
void subject_clear(struct subject *subject);
