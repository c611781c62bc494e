/*
 * A client that floods the daemon, in a process of its own: as fast as it can, reading what it is
 * answered, until flood_stop().
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

struct flood_kind {
	const char *name;     /* as the table has it */
	size_t n_connections; /* at a time */
	size_t n_in_flight;   /* calls of a connection that are not answered yet */
	const char *call;     /* NULL: leases of a device, one after another */
	/* Behind it, again and again up to so many bytes, and then the end; NULL: nothing. */
	const char *filler, *end;
	size_t filled_bytes;
	size_t n_calls_a_connection; /* then it closes it and opens another; 0: never */
};
extern const struct flood_kind flood_kinds[];
extern const size_t n_flood_kinds;

/* Shared with the process. */
struct flood_count {
	atomic_ulong answered; /* calls */
	atomic_ulong cut_off;  /* connections that the daemon closed */
};

struct flood {
	pid_t pid;
	struct flood_count *count;
};

/* Returns when it has been answered, or cut off. `device` is for leases. */
void flood_start(struct flood *flood, const struct flood_kind *kind, const char *socket, uid_t uid,
	const char *device);
void flood_stop(struct flood *flood);
