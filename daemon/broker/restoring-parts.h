/*
 * Leases that outlive the daemon (restoring.h), for the files that see to that:
 *
 *   lease-record.c  a lease as JSON, and back
 *   recording.c     when it is written, and removed
 *   restoring.c     what an earlier daemon had lent is taken over
 *   adopting.c      one group of it
 *   resuming.c      connections that come back, and those that do not
 */
#pragma once

#include "daemon/base/writing.h"
#include "daemon/broker/restoring.h"
#include "daemon/broker/tenancy.h"

#include <json-c/json.h>

#define LEASE_RECORDS "leases"
/* 2: cdev */
#define LEASE_RECORD_VERSION 2

struct group_mark {
	int number;
	uint64_t inode; /* a number that is used again has another one */
	bool was_journalled;
	char **devices; /* names of those that clients find in it; owned */
};

struct lease_record {
	char name[LEASE_NAME_SIZE];
	char token[TOKEN_SIZE];
	char account[sizeof(((struct lease *)NULL)->account)];
	struct subject subject; /* owned */
	bool stay, brokered, cdev, is_trusted, follows_process, is_stream, is_release_requested;
	unsigned connection;
	uint64_t memory_max_bytes;
	double granted_at;
	uint64_t reserved_pages;
	struct memlock_note lock;
	struct group_mark *groups; /* owned */
	size_t n_groups;
};

/* A lease that was taken over, until broker_restored(). */
struct restored {
	TAILQ_ENTRY(restored) of_broker;
	struct lease *lease;
	uint64_t reserved_pages; /* that are not charged yet */
	struct memlock_note lock;
	const char *end; /* why it cannot go on; NULL: it does */
	bool is_back;    /* its connection is there */
};

/* As it is now, but for what its process may lock, which is `lock`. It may fail (writing.h). */
void lease_write(
	struct writing *writing, const struct lease *lease, const struct memlock_note *lock);
/*
 * 0 with *record, the caller's to clear; -ENOMEM; or -EBADMSG, and *problem is the key of what is
 * missing, or not what it can be.
 */
int lease_decode(
	struct json_object *json, int version, struct lease_record *record, const char **problem);
void lease_record_clear(struct lease_record *record);

/* Of these, the ones that are no more: strv, NULL = none. 0 or -ENOMEM. */
int devices_missing(char *const *names, const struct group *group, char ***missing);

/*
 * Has this group of a lease stayed as it was? Then the tenancy has it, used, with the plan of its
 * journal. 1; 0: not, and what it has been found to be is logged; -ENOMEM.
 */
int group_adopt(struct tenancy *tenancy, struct group *group, bool was_journalled);
