/*
 * What vfiod and vfiod-privileged say to each other, in packets (base/packet.h): numbers only, each
 * message of one size. Connections are served one request after the other.
 *
 *   SIGNAL       request (the pidfd with it)    no reply
 *   PAGEMAP, CONFIG_SPACE                     → reply (the descriptor with it)
 *   FILES        struct open_file_seen for each that matters, then a reply
 *   DEVICE       reply, and if it is 0, struct device_facts
 *   KEEPER       request (its socket with it) → reply (its pidfd with it), and but for
 * a space's, when it has ended, another one; the connection serves nothing else
 */
#pragma once

#include "daemon/privilege/privilege.h"

/* Both are of one build: they are installed together. One that was not restarted is refused. */
#define PRIVILEGE_VERSION 1

enum privilege_type {
	PRIVILEGE_SIGNAL = 1,
	PRIVILEGE_PAGEMAP,
	PRIVILEGE_CONFIG_SPACE,
	PRIVILEGE_FILES,
	PRIVILEGE_DEVICE,
	PRIVILEGE_KEEPER,
};

struct privilege_request {
	uint32_t version, type;
	uint64_t until;       /* CLOCK_MONOTONIC in ns: it is not begun later */
	uint64_t start_ticks; /* of pid; PAGEMAP, KEEPER */
	int32_t pid;
	int32_t number; /* SIGNAL: which; DEVICE: the descriptor; FILES: seconds; KEEPER: its role
			 */
	char name[32];  /* CONFIG_SPACE: "0000:3b:02.0", terminated */
};

struct privilege_reply {
	int32_t result; /* 0, 1 or -errno; of a KEEPER that has ended: as from wait(2) */
	int32_t pid;
};

union privilege_answer {
	struct privilege_reply reply;
	struct open_file_seen file;
	struct device_facts facts;
};

/* CLOCK_MONOTONIC in ns. */
uint64_t privilege_now(void);
