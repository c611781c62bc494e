/*
 * The configuration: /etc/vfiod/vfiod.conf, then vfiod.conf.d/ *.conf in the order of their
 * names. Read as one, or not at all: an error names file and line, what is wrong and
 * what is allowed. Only keys that have an effect are known. The grammar is in vfiod.conf(5).
 */
#pragma once

#include "daemon/base/refusal.h"
#include "daemon/lease/bounds.h"

#include <stdint.h>
#include <stdio.h>

enum match_kind {
	MATCH_ADDRESS,  /* pci:address=0000:01:00.0 (a shell pattern: 0000:3b:*) */
	MATCH_ID,       /* pci:id=10de:2704, 10de:* */
	MATCH_CLASS,    /* pci:class=0200 (a prefix of the six digits) */
	MATCH_PF,       /* pci:pf=0000:3b:00.0,vf=0-63 */
	MATCH_BUS,      /* bus:platform, bus:mdev=<name pattern> */
	MATCH_TAG,      /* udev:tag=vfio */
	MATCH_PROPERTY, /* udev:property=KEY=pattern */
	MATCH_NUMA,     /* numa:1 */
};

/* One `match =` line: terms separated by blanks, all of which must hold. */
struct match_term {
	enum match_kind kind;
	char *text;  /* pattern, tag, bus … as the kind needs; owned */
	char *value; /* second pattern (MATCH_PROPERTY value, MATCH_BUS name) or NULL; owned */
	unsigned first, last;     /* MATCH_PF: VF range, inclusive; MATCH_NUMA: first */
	unsigned vendor, product; /* MATCH_ID; ID_ANY = any */
};
#define ID_ANY 0x10000u

struct match {
	struct match_term *terms;
	size_t n_terms;
};

/*
 * One line as clients write it, appended to the list: 0, -ENOMEM, or REFUSED (INVALID_MATCH: what
 * is wrong and what is allowed). Free the list with matches_free(), also after a failure.
 */
int match_parse(
	const char *text, struct match **matches, size_t *n_matches, struct refusal *refusal);
void matches_free(struct match *matches, size_t n_matches);

/* [pool NAME]: devices of one kind, by a name that clients can ask for. It allows nothing. */
struct pool {
	char *name;
	char *file; /* where it stands, for messages */
	unsigned line;
	struct match *matches; /* any of them */
	size_t n_matches;
};

enum allow_kind {
	ALLOW_USER,  /* user:alice or user:1000 */
	ALLOW_GROUP, /* group:dpdk */
	ALLOW_UNIT,  /* unit:dpdk.service, a shell pattern */
};
struct allow {
	enum allow_kind kind;
	unsigned id;   /* uid or gid, resolved when the file is read */
	char *pattern; /* ALLOW_UNIT; owned */
};

/* When the devices are taken from the host; the earlier, the higher. */
enum take_when {
	TAKE_LEASE,  /* when somebody leases them */
	TAKE_APPEAR, /* when vfiod sees them */
	TAKE_BOOT,   /* before a driver of the host does: by a udev rule */
};

/*
 * What an account may have pinned, bytes: the distinct pages that it owes, and what the kernel
 * bills for them, a page once for each container.
 */
#define BYTES_UNLIMITED UINT64_MAX
struct byte_limits {
	uint64_t owed, kernel_bill;
};
#define BYTE_LIMITS_NONE ((struct byte_limits){ BYTES_UNLIMITED, BYTES_UNLIMITED })

/* [account NAME]: of one account, or of each of a kind ("uid", "unit", "lease"). */
struct account_section {
	char *name; /* "alice", "uid", "uid:1000", "unit:dpdk.service" */
	char *file; /* where it stands, for messages */
	unsigned line;
	struct byte_limits limits;
};

#define REVOKE_SECONDS 60 /* unless the rule says other */

struct rule {
	char *name;
	char *file; /* where it stands, for messages */
	unsigned line;
	struct match *matches; /* any of them */
	size_t n_matches;
	struct allow *allows; /* any of them; none = nobody but administrators' take */
	size_t n_allows;
	char *account;    /* "uid", "lease", "unit" or a name; NULL = uid */
	char *driver;     /* NULL = the bus's */
	bool whole_group; /* covers every member of a group of which it matches one */
	bool stay;        /* at the end of a lease: stay taken (return = no) */
	bool force;       /* past the guard */
	bool skips_reset; /* require-reset = no: also what was not reset since another had it */
	bool revoke_ends; /* revoke = end: who does not give a lease back is ended */
	unsigned revoke_seconds;   /* how long he has */
	bool unsafe_noiommu;       /* also what no IOMMU confines */
	bool trusted;              /* who has its devices may map for himself with no memory.max */
	enum take_when take;       /* other than TAKE_LEASE: `stay`, too */
	struct byte_limits limits; /* of whichever account pays */
};

/* What new spaces are made of (keeper/backend.h). */
enum backend_choice {
	BACKEND_AUTO, /* type1 */
	BACKEND_TYPE1,
	BACKEND_IOMMUFD,
};

struct config {
	struct rule *rules; /* in file order */
	size_t n_rules;
	size_t n_drop_ins;    /* files of the .d directory that were read, too */
	struct allow *admins; /* besides uid 0 */
	size_t n_admins;
	struct account_section *accounts; /* in file order; each one could be some account's */
	size_t n_accounts;
	struct pool *pools; /* in file order */
	size_t n_pools;
	unsigned take_timeout_seconds;
	unsigned resume_timeout_seconds; /* 0: who has lost its connection has lost its lease */
	bool stop_leaves; /* a stop, too, leaves everything to the next vfiod, as a restart does */
	enum backend_choice backend;
	struct bounds bounds;
	/* What all accounts together may have pinned; config_host_limit() reckons with both. */
	unsigned host_limit_percent; /* of the host's memory; 0: in bytes */
	uint64_t host_limit_bytes;   /* may be BYTES_UNLIMITED */
	char *text;                  /* all lines that were read; NULL: the defaults alone */
};

/*
 * path NULL: the defaults alone. 0, -ENOMEM or REFUSED (CONFIGURATION, text = "file:line: …").
 * A missing main file is REFUSED; a missing .d directory (path + ".d") is fine.
 */
int config_read(const char *path, struct config **config, struct refusal *refusal);
/*
 * The same without looking up names of users and groups, for who asks of devices only: as early as
 * udev does there may be nobody who knows them. Admins and allows mean nothing then.
 */
int config_read_devices(const char *path, struct config **config, struct refusal *refusal);

/*
 * Users and groups, "user alice 1000", a line each. `noted`: those that are looked up are written
 * there. `known`, not NULL: none is looked up, these are all; another one is REFUSED.
 */
struct config_names {
	FILE *noted;
	const char *known;
	bool ignored; /* none is looked up: config_read_devices() */
};
int config_read_names(const char *path, const struct config_names *names, struct config **config,
	struct refusal *refusal);
struct config *config_free(struct config *config);

/* NULL: there is none of this name. */
const struct pool *config_pool(const struct config *config, const char *name);

/* Of a host with so much memory (MemTotal): bytes, or BYTES_UNLIMITED. */
uint64_t config_host_limit(const struct config *config, uint64_t memory_bytes);
