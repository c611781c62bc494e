/*
 * Spaces that outlive the daemon (restoring.h): what is written of each, and what of it is in the
 * store. Without a store nothing is: its keeper ends with the daemon.
 */
#pragma once

#include "daemon/broker/parts.h"

#include <json-c/json.h>

#define SPACE_RECORDS "spaces"
#define SPACE_RECORD_VERSION 1

struct space_mark {
	int number;
	uint64_t inode; /* a number that is used again has another one */
	char lease[sizeof(((struct lease *)NULL)->name)]; /* "": its lease is over */
};

struct space_record {
	char name[LEASE_NAME_SIZE];
	char token[TOKEN_SIZE];
	struct subject subject; /* owned */
	unsigned connection, max_groups_per_container;
	bool follows_process, is_dismissed, is_iommufd;
	pid_t keeper;
	unsigned long long keeper_start_ticks;
	size_t slot;
	char payer[256];           /* "": nothing is attached */
	struct space_mark *groups; /* owned */
	size_t n_groups;
};

/* As it is now. NULL: no memory. */
struct json_object *space_encode(const struct space_entry *entry);
/* 0 with *record, the caller's to clear; -ENOMEM; -EBADMSG, and *problem is the key. */
int space_decode(struct json_object *json, const char *name, struct space_record *record,
	const char **problem);
void space_record_clear(struct space_record *record);

/* Takes over what there is of an earlier daemon's. 0 or -errno. */
int spaces_restore(struct broker *broker);
/* All connections that there are have come back: the others' spaces have a while. */
void spaces_restored(struct broker *broker);
/* Its state has changed for the first time: what it has is compared with its leases. */
void space_entry_compare(struct space_entry *entry);
