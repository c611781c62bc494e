/*
 * A space: an I/O address space as its client sees it, backed by one or several containers. The
 * process that holds it all is its keeper (daemon/keeper/, base/wire.h); this is the daemon's side:
 * what is mapped where, who pays for it, and the queue of what is still to be done. One operation
 * runs at a time, each of them all or none.
 *
 * What is charged (ledger.h): a mapping costs nothing before a container pins it, that is, before
 * the first group is attached. Then each mapping has one set of frames, the same in all containers
 * (where they have come to differ, as the client has punched a hole, an attach is refused), and the
 * kernel's bill for it grows with each container.
 *
 * A keeper's death ends its bill but not its pins, for as long as a device or group descriptor
 * lives: such a space is `orphaned`, keeps its charges, and refunds them from the keeper's book
 * when the last of its groups could be opened again (space_group_gone()).
 *
 * All functions run on the loop and return at once. Memory: the daemon has counts only.
 */
#pragma once

#include "daemon/base/refusal.h"
#include "daemon/lease/subject.h"
#include "daemon/memory/ledger.h"

#include <ev.h>
#include <stdbool.h>

enum space_state {
	SPACE_STARTING, /* its keeper is not there yet: operations wait */
	SPACE_LIVE,
	SPACE_ENDING,   /* destroyed; the keeper gives its descriptors up */
	SPACE_ORPHANED, /* the keeper has gone, and pins may live on */
	SPACE_ENDED,    /* nothing is charged and nothing pinned: only its name is left */
};

struct space;
struct keeper_ops;

#define SPACE_SLOT_FORMAT 1 /* of what is in a space's slot */

/* What the space asks of the one who made it, and tells him. Never from within a call of his. */
struct space_hooks {
	/* The limits of the account that pays, as the rules say them now. */
	void (*limits)(struct space *space, struct limits *limits, void *userdata);
	/* The state has changed; text: why (never NULL). ENDED comes last, then it may be freed,
	 * also from within. */
	void (*changed)(struct space *space, const char *text, void *userdata);
	/* A group's descriptor is with the kernel alone now: this process cannot say when it is
	 * free. Or it is free at once (still_open false). When the keeper dies, that is every group
	 * that it had, one that was just being attached included. */
	void (*let_go)(struct space *space, int group, bool still_open, void *userdata);
	/* May it begin what it is asked for? What costs its account may not be known yet: after
	 * space_resume() it asks again. NULL: always. */
	bool (*may_begin)(const struct space *space, void *userdata);
};

struct space_settings {
	const char *keeper_path; /* the program */
	double keeper_seconds;   /* for a request; large ones have more, by their length */
	unsigned max_memories, max_mappings, max_containers;
	unsigned max_groups_per_container; /* 0: no limit */
	bool is_iommufd;                   /* its backend (keeper/backend.h); else type1 */
	const struct keeper_ops *ops;      /* NULL: the real ones */
	/* SLOT_BYTES of its own, where it writes down what it begins (base/slots.h). NULL: nobody
	 * would read it. */
	void *slot;
};

/*
 * Forks its keeper, which goes into the cgroup of subject->pid. 0 or -errno. `name` is "S1". The
 * ledger outlives it. Operations can be asked for at once.
 */
int space_new(struct ev_loop *loop, struct ledger *ledger, const char *name,
	const struct subject *subject, const struct space_settings *settings,
	const struct space_hooks *hooks, void *userdata, struct space **space);
/*
 * The same for a space whose keeper an earlier daemon has started. The keeper is asked what it has
 * (whatever answer was under way is passed over), the ledger is charged again from its book, and
 * the operation that was under way, if settings->slot says so, is finished (unmap, detach,
 * remove_memory) or undone (the others): its caller is told INTERRUPTED or has lost his connection.
 * STARTING until then: operations wait, also a destroy. hooks->changed says LIVE, ORPHANED (the
 * keeper is dead, and it is charged by its book) or ENDED. Groups that the keeper has: as
 * space_describe() says; hooks->let_go comes for those that it gives up meanwhile, and for those
 * that it was found to have let go.
 *
 * What a Map had filled of the holes of its memory stays filled: nobody can tell any more whether
 * the client has written there since, and what it has written must not be lost.
 */
struct space_kept {
	pid_t keeper; /* its number and start time, to be sure that it is the one */
	unsigned long long keeper_start_ticks;
	int socket, book;  /* taken over, also on failure */
	const char *payer; /* the account that pays for what is attached; NULL: nothing was */
	const int *groups; /* those that it has, or may have */
	size_t n_groups;
};
int space_adopt(struct ev_loop *loop, struct ledger *ledger, const char *name,
	const struct subject *subject, const struct space_settings *settings,
	const struct space_kept *kept, const struct space_hooks *hooks, void *userdata,
	struct space **space);
/* What is to be kept for that; both stay the space's. -1: it has no keeper any more. */
int space_keeper_socket(const struct space *space);
int space_book(const struct space *space);
/* As space_free(), but the keeper goes on, as long as its socket is somewhere. */
struct space *space_leave(struct space *space);
/* Kills the keeper; charges are dropped without a refund where it is not ENDED: at the end of the
 * daemon. NULL-safe. */
struct space *space_free(struct space *space);

const char *space_name(const struct space *space);
enum space_state space_state(const struct space *space);
const struct subject *space_subject(const struct space *space);
pid_t space_keeper_pid(const struct space *space);            /* 0: none (any more) */
const struct account *space_payer(const struct space *space); /* NULL: nothing is attached */
const struct account *space_account(const struct space *space);
bool space_is_iommufd(const struct space *space);

/*
 * What an operation says when it is over: result 0, REFUSED or -errno; the fields that its call
 * names. Pointers and descriptors are the space's: duplicate what you keep.
 */
struct space_answer {
	int result;
	const struct refusal *refusal;
	uint32_t memory;         /* add_memory */
	uint64_t length_bytes;   /* add_memory: its size; unmap: what was unmapped */
	uint32_t page_bytes;     /* add_memory */
	bool is_writable;        /* add_memory */
	uint64_t new_owed_bytes; /* map: what the account owes for it that it did not owe before */
	unsigned n_mappings;     /* unmap */
	unsigned container;      /* attach: its number */
	int device_fd;           /* get_device; -1 otherwise */
	uint64_t n_pages_different; /* audit: of those that are charged */
	uint64_t locked_bytes;      /* audit: VmLck of the keeper */
};
/* It may ask for more operations; it must not free the space. */
typedef void (*space_done)(struct space *space, const struct space_answer *answer, void *userdata);

/*
 * The operations. Each: 0, and done() comes later, exactly once; or REFUSED or -errno at once, and
 * it never comes. What can be seen to be wrong is refused before anything is asked of the keeper,
 * in the order of the queue. Descriptors are taken over, also on failure.
 */
int space_add_memory(struct space *space, int memory_fd, space_done done, void *userdata,
	struct refusal *refusal);
int space_remove_memory(struct space *space, uint32_t memory, space_done done, void *userdata,
	struct refusal *refusal);
struct space_map {
	uint32_t memory;
	uint64_t offset, iova, length; /* bytes */
	bool read, write;
};
int space_map(struct space *space, const struct space_map *map, space_done done, void *userdata,
	struct refusal *refusal);
/* Whole mappings only, any number of them; none is success. */
int space_unmap(struct space *space, uint64_t iova, uint64_t length, space_done done,
	void *userdata, struct refusal *refusal);

/* A group on its way into the space. */
struct space_group {
	int number;
	const struct iova_range *reserved; /* its reserved regions; copied */
	size_t n_reserved;
	const char *account; /* that pays; has to be the one that pays already, if there is one */
	const char *const *members; /* its devices that are on a driver of VFIO's; copied */
	size_t n_members;
};
/* Would an attach be refused that needs no kernel to say so? 0 or REFUSED. */
int space_may_attach(struct space *space, const struct space_group *group, struct refusal *refusal);
int space_attach(struct space *space, const struct space_group *group, int group_fd,
	space_done done, void *userdata, struct refusal *refusal);
/*
 * -EBUSY → REFUSED (GROUP_BUSY): a device of it is open. `force`: its lease has ended; it never
 * fails, and hooks->let_go says how it went. done may be NULL then.
 */
int space_detach(struct space *space, int group, bool force, space_done done, void *userdata,
	struct refusal *refusal);
/* A group that was let go while a device of it was open could be opened: nothing of it is left. */
void space_group_gone(struct space *space, int group);
int space_get_device(struct space *space, int group, const char *device, space_done done,
	void *userdata, struct refusal *refusal);
/*
 * Resets a device of an attached group, alone, or with all that its bus has: then all groups that
 * this reaches have to be attached (RESET_REACHES). NOT_SUPPORTED: it cannot be reset so.
 */
int space_reset_device(struct space *space, int group, const char *device, bool bus,
	space_done done, void *userdata, struct refusal *refusal);
/* Has the keeper read all frames again. */
int space_audit(struct space *space, space_done done, void *userdata, struct refusal *refusal);
/*
 * done() when all is over that was asked for before, result 0 however that went: of one that is
 * being taken over, not before it is known what it has. 0 or -ENOMEM.
 */
int space_wait(struct space *space, space_done done, void *userdata);
/* It may begin what it was asked for. */
void space_resume(struct space *space);
/* Detaches everything and ends the keeper: hooks->changed says when. Operations that wait are
 * REFUSED (INTERRUPTED). Once is enough. */
void space_destroy(struct space *space, const char *why);
/* Who asked is no more: the operation goes on, done() is not called; its descriptor is closed. */
void space_forget(struct space *space, void *userdata);

/* What it looks like; pointers are the space's, until the next turn of the loop. */
struct space_container {
	unsigned number;
	const int *groups; /* those that were let go while a device was open included */
	size_t n_groups;
};
struct space_description {
	uint64_t page_sizes; /* a bit each, that all containers have; 0: no container yet */
	const struct iova_range *ranges;
	size_t n_ranges;
	bool is_coherent;       /* all are */
	uint32_t mappings_left; /* the least of all; UINT32_MAX: nobody says */
	const struct space_container *containers;
	size_t n_containers;
	/* Of them, those with nothing but mdevs, for which nothing is pinned until a device does
	 * it. */
	size_t n_of_mdevs;
	unsigned n_memories, n_mappings;
	uint64_t mapped_bytes;
};
void space_describe(const struct space *space, struct space_description *description);
bool space_has_group(const struct space *space, int group);
/* It was let go while a device of it was open, and the keeper does not know yet that it is free. */
bool space_group_is_let_go(const struct space *space, int group);
