/*
 * What `vfioctl check` finds: lines about this host, its vfiod, and its configuration. Each is
 * fine, or wants attention, or keeps devices from being leased, and then says what to do.
 */
#pragma once

#include "client/vfioctl/vfioctl.h"

enum finding_level {
	FINDING_OK,
	FINDING_WARNING,
	FINDING_PROBLEM,
};
const char *finding_level_name(enum finding_level level); /* "ok" */

struct finding {
	enum finding_level level;
	const char *topic; /* static: "iommu" */
	char *text;        /* what is */
	char *advice;      /* what to do about it; NULL where it is fine */
};

struct findings {
	struct finding *list;
	size_t n;
	bool is_short; /* of memory: some are missing */
};

/* Copies both texts; advice may be NULL. Without memory: is_short. */
void finding_add(struct findings *findings, enum finding_level level, const char *topic,
	const char *text, const char *advice);
void findings_clear(struct findings *findings);

/* Where the kernel is seen; tests bring their own. */
struct host {
	const char *root;    /* "" in front of /sys, /proc, /dev, /run and /lib */
	const char *release; /* of the kernel, as uname(2) says */
	/* RLIMIT_MEMLOCK of who asks, in bytes; UINT64_MAX: none, or a privilege past it */
	uint64_t memlock_bytes;
};

/* Without the daemon and without privilege: what /sys, /proc and /dev tell everybody. */
void check_host(struct findings *findings, const struct host *host);
/* The daemon: is it there, of which version, what does it say of itself and its configuration? */
void check_daemon(struct findings *findings, struct context *context);
