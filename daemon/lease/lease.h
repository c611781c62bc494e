/*
 * A lease: the right of one client to one or several groups, from grant to its
 * end; and, before the grant, its place in the queue. A group has one lease at
 * most. This file is the object and the book of all of them; the broker drives
 * both. No I/O, no loop.
 */
#pragma once

#include "daemon/inventory/group.h"
#include "daemon/lease/group-set.h"
#include "daemon/lease/subject.h"

#include <sys/queue.h>

enum lease_state {
	LEASE_QUEUED,    /* waits for groups that others have */
	LEASE_ACQUIRING, /* its groups are its own, and are being taken and opened */
	LEASE_GRANTED,
	LEASE_ENDED, /* no longer in the book */
};

enum lease_event {
	LEASE_RELEASE_REQUESTED, /* text: what the administrator says, or what happens */
	LEASE_DEVICE_GONE,       /* text: the device's name */
};

struct lease;
struct nodes;

/* What a lease with mode cdev hands out. */
struct lease_nodes {
	struct nodes **of_groups; /* each of the group in lease->groups (bind/nodes.h) */
	int context;              /* an iommufd context of its own */
};

/* What the client has to hear. Each is called from the loop; none may free the lease. */
struct lease_listener {
	/* `position` requests are before this one. Called again whenever that changes. */
	void (*queued)(struct lease *lease, size_t position, void *userdata);
	/*
	 * The next thing is to write it down: from then on the next daemon has it, and a call that
	 * waits for it must not be told that nothing was done. granted() follows, or, if that
	 * fails, refused(). May be NULL.
	 */
	void (*granting)(struct lease *lease, void *userdata);
	/*
	 * group_fds[i] is of lease->groups[i]: the listener's to take (-1 in its place then); what
	 * is left is closed when it returns. NULL: it is brokered, or, with mode cdev, the same
	 * goes for lease->nodes.
	 */
	void (*granted)(struct lease *lease, int *group_fds, void *userdata);
	void (*event)(
		struct lease *lease, enum lease_event event, const char *text, void *userdata);
	/* Not granted. The last call; the lease is freed after it. */
	void (*refused)(struct lease *lease, const struct refusal *refusal, void *userdata);
	/* It was granted, and is over. The last call; the lease is freed after it. */
	void (*ended)(struct lease *lease, const char *reason, void *userdata);
};

/* "L12", and 32 hexadecimal digits, with their NULs. */
enum { LEASE_NAME_SIZE = 16, TOKEN_SIZE = 33 };

struct lease {
	TAILQ_ENTRY(lease) of_book;
	enum lease_state state;
	char name[LEASE_NAME_SIZE]; /* "L1", unique for the life of the daemon; for people */
	char token[TOKEN_SIZE];     /* 128 random bits in hexadecimal; for the client alone */
	struct subject subject;
	char account[256];
	bool stay;       /* at its end its groups stay taken */
	bool brokered;   /* nothing was handed out: its groups are attached to spaces */
	bool cdev;       /* its devices' nodes were handed out, and a context, not its groups */
	bool is_trusted; /* not brokered: no memory.max is demanded, and reports are observed */
	struct lease_nodes *nodes;       /* mode cdev, while granted() is called; else NULL */
	uint64_t memory_max_bytes;       /* that bounds its process, as granted; UINT64_MAX: none */
	struct reservation *reservation; /* the broker's; NULL: it has reserved nothing */

	struct group **groups; /* each held (group_hold) */
	size_t n_groups;
	/* QUEUED: all groups that it could come to have, those of `groups` included. */
	struct group_set wanted;
	size_t n_before; /* QUEUED: see lease_book_position() */
	char **selected; /* when granted: which device answers which selector; NULL */

	double granted_at; /* loop time */
	bool follows_process;
	unsigned connection; /* that it lives with, or that has its stream (restoring.h); 0: none */
	bool is_stream;      /* its Acquire or Resume goes on */
	bool is_release_requested;

	struct tenancy *tenancy;               /* the broker's side of it; owned there */
	const struct lease_listener *listener; /* NULL: nobody listens any more */
	void *userdata;
};
TAILQ_HEAD(lease_list, lease);

struct lease_book {
	struct lease_list leases; /* in the order of their coming */
	size_t n_leases;
	unsigned long long n_named;
};

/* 128 random bits in hexadecimal: 0, or what getrandom(2) says. */
int token_make(char token[TOKEN_SIZE]);
/* In constant time, where the lengths are the same. */
bool token_equal(const char *a, const char *b);

void lease_book_init(struct lease_book *book);

/*
 * A new lease, QUEUED, at the end of the book, with a name and a token. Copies the subject, holds
 * the groups (each given once). 0, -ENOMEM, or what getrandom(2) says.
 */
int lease_new(struct lease_book *book, const struct subject *subject, struct group *const *groups,
	size_t n_groups, struct lease **lease);
/*
 * One that an earlier daemon has granted, as it was named then: GRANTED, and no later one gets this
 * name. 0 or -ENOMEM.
 */
int lease_restore(struct lease_book *book, const struct subject *subject, const char *name,
	const char *token, struct group *const *groups, size_t n_groups, struct lease **lease);
/*
 * It gets these groups (each given once) in place of those that it has: 0, or -ENOMEM and nothing
 * has changed.
 */
int lease_set_groups(struct lease *lease, struct group *const *groups, size_t n_groups);

/* Out of the book, groups released. NULL-safe. */
struct lease *lease_free(struct lease_book *book, struct lease *lease);

/* How its groups are handed over, as the value of Mode in org.vfiod.Broker. */
const char *lease_mode(const struct lease *lease);
bool lease_has_group(const struct lease *lease, const struct group *group);
/* Lets go of one group, which has left the host. */
void lease_drop_group(struct lease *lease, struct group *group);

/* The lease that has the group: ACQUIRING or GRANTED. NULL: none. */
struct lease *lease_book_owner(const struct lease_book *book, const struct group *group);
struct lease *lease_book_by_name(const struct lease_book *book, const char *name);
/* Compares in constant time. */
struct lease *lease_book_by_token(const struct lease_book *book, const char *token);
size_t lease_book_count(const struct lease_book *book, enum lease_state state);

/*
 * The fair queue: how many QUEUED leases before this one want any of the groups that it wants.
 * Known without a look at the others; a change looks at each of them once.
 */
size_t lease_book_position(const struct lease *lease);
/* It is QUEUED, and wants these groups from now on; the set is taken over. */
void lease_want(struct lease_book *book, struct lease *lease, struct group_set *wanted);
/* QUEUED → `state`, and out of the way of those behind it. Nothing if it is not QUEUED. */
void lease_leave_queue(struct lease_book *book, struct lease *lease, enum lease_state state);
/* ACQUIRING → QUEUED, in its old place: it was there before all that came later. */
void lease_requeue(struct lease_book *book, struct lease *lease);
