/* What the files of a space share. Nobody outside of this room includes this. */
#pragma once

#include "daemon/memory/iova.h"
#include "daemon/memory/keeper.h"
#include "daemon/memory/mappings.h"
#include "daemon/memory/space.h"

#include <sys/queue.h>

struct memory {
	TAILQ_ENTRY(memory) of_space;
	uint32_t number;
	uint32_t page_bytes;
	uint64_t size; /* bytes */
	bool is_writable;
	unsigned n_mappings;
};
TAILQ_HEAD(memory_list, memory);

struct container {
	TAILQ_ENTRY(container) of_space;
	unsigned number; /* the keeper's */
	unsigned n_groups;
	uint64_t page_sizes;
	struct iova_list ranges;
	bool is_coherent;
	bool has_mdevs_alone;  /* which pin of their own accord, at most what is charged */
	uint64_t mappings_max; /* UINT64_MAX: nobody says */
};
TAILQ_HEAD(container_list, container);

struct group {
	TAILQ_ENTRY(group) of_space;
	int number;
	struct container *container; /* NULL: the keeper died before it said which */
	bool is_let_go;              /* a device of it is open, and it only waits for that to end */
	bool is_gone;                /* it has ended, and the keeper is to be told */
	/* For its leaving, which cannot fail: a detach by force, and what follows. */
	struct operation *spares[2];
};
TAILQ_HEAD(group_list, group);

struct filling; /* space-populate.c */

/*
 * Something that was asked for. It waits in the queue, then it is the space's current one: start()
 * asks the keeper, answered() asks the next, and so on, until operation_finish(). Where a piece of
 * work is shared (reading frames, taking charges back, filling holes), that has its own
 * continuation, after_…(), which is told how it went.
 */
struct operation {
	TAILQ_ENTRY(operation) of_queue;
	struct space *space;
	void (*start)(struct operation *operation);
	space_done done; /* NULL: nobody wants to know */
	void *userdata;

	/* What was asked for. */
	uint32_t memory;
	struct space_map map;
	uint64_t iova, length;
	int group_number;
	struct iova_range *reserved; /* owned */
	size_t n_reserved;
	char account[256];
	char device[WIRE_NAME_SIZE];
	char (*members)[WIRE_NAME_SIZE]; /* of the group; owned */
	size_t n_members;
	bool force, resets_bus;
	int fd; /* memory or group; buried with it */

	/* How far it is. */
	void (*answered)(struct operation *operation, const struct wire_done *done,
		const struct wire_info *info, int fd);
	int (*runs)(struct operation *operation, const struct wire_runs *runs, size_t n_runs);
	void (*after_read)(struct operation *operation, int result);
	void (*after_uncover)(struct operation *operation);
	void (*after_uncover_all)(struct operation *operation);
	void (*after_fill)(struct operation *operation, int result);
	struct mapping *mapping; /* at work on it */
	bool has_made_mapping;   /* and it is not in the list */
	bool is_prepared;        /* and the keeper has it */
	struct wire_request reading;
	size_t index, begin; /* of the mappings */
	unsigned attempts;
	int cover_result;
	ev_timer back_off;
	struct filling *filling;
	struct memory *new_memory;
	struct group *group;         /* not in the list; from when on the keeper may have it */
	struct container *container; /* not in the list; all mappings are billed for it */
	int container_fd;
	int result; /* what it will end with, once it is undone */
	struct refusal refusal;
	struct space_answer answer;
};
TAILQ_HEAD(operation_list, operation);

struct refund;   /* space-orphan.c */
struct adoption; /* space-adopt.c */

/* What the next daemon has to finish, or to undo, if this one ends in the middle of it. */
enum space_work {
	WORK_NONE = 0,      /* as a slot is cleared */
	WORK_ADD_MEMORY,    /* number: the memory */
	WORK_REMOVE_MEMORY, /* likewise */
	WORK_MAP,           /* the mapping */
	WORK_UNMAP,         /* iova, length */
	WORK_ATTACH,        /* the group */
	WORK_DETACH,        /* the group, is_forced */
};

/* In memory that outlives the daemon (base/slots.h). */
struct space_slot {
	uint32_t is_used;
	uint32_t work; /* enum space_work; written last, cleared by slot_settle() */
	uint32_t number;
	uint32_t is_forced;
	uint32_t is_filling; /* WORK_MAP: holes of the memory, that is */
	uint32_t last_memory;
	uint32_t n_containers;
	uint32_t is_zero;
	uint64_t iova, length;
	uint64_t n_pages; /* that the request has to do with, and so how long it may take */
};

struct space {
	struct ev_loop *loop;
	struct ledger *ledger;
	char *name;
	struct subject subject;
	struct space_settings settings;
	const struct keeper_ops *ops;
	struct space_hooks hooks;
	void *userdata;

	enum space_state state;
	char why[256];         /* it is no longer live */
	struct keeper *keeper; /* NULL: none, or none any more */
	int book;
	struct account *account, *payer;

	struct memory_list memories;
	unsigned n_memories;
	uint32_t last_memory;
	struct mappings mappings;
	struct container_list containers;
	unsigned n_containers;
	struct group_list groups;
	size_t n_groups;
	uint64_t page_sizes;     /* of all containers; 0: there is none */
	struct iova_list ranges; /* of all containers */

	struct space_slot *slot, no_slot;
	struct adoption *adoption; /* NULL: it is over, or was not adopted */
	bool is_to_end;            /* when it is over */

	struct operation_list queue;
	struct operation *current;
	struct operation *destroyer; /* that waits for space_destroy(), which cannot fail */
	ev_prepare turn;             /* what is to be done next, before the loop waits */
	struct refund *refund;

	/* For space_describe(). */
	struct space_container *described;
	int *described_groups;
};

/* --- space.c -------------------------------------------------------------------------------- */
uint64_t space_page_bytes(void);
static inline uint64_t mapping_pages(const struct mapping *mapping)
{
	return mapping->length / space_page_bytes();
}
/* How long the keeper may take for a request that has to do with so many pages. */
double space_seconds(const struct space *space, uint64_t n_pages);
/* Of all mappings, in all containers. */
uint64_t space_pages(const struct space *space);
struct group *space_group(const struct space *space, int number);
struct memory *space_memory(const struct space *space, uint32_t number);
struct container *space_container(const struct space *space, unsigned number);
/* Has the queue looked at, soon. */
void space_schedule(struct space *space);
int space_refuse_ended(const struct space *space, struct refusal *refusal);
/* The keeper has said what it must not: it is killed, and gone() follows. */
void space_distrust(struct space *space, const char *why);

/* --- space-queue.c -------------------------------------------------------------------------- */
/* In whatever state. NULL: no memory, and fd is buried. */
struct operation *operation_make(struct space *space, void (*start)(struct operation *operation),
	int fd, space_done done, void *userdata);
/* So that no memory is needed when one leaves. NULL: no memory. */
struct group *space_group_make(struct space *space, int number);
struct group *space_group_free(struct group *group);
/* One that needs no memory, if it has not been used yet. */
struct operation *space_group_spare(struct group *group, void (*start)(struct operation *operation),
	space_done done, void *userdata);
/* NULL: no memory, or it is over, as *result says; fd is buried then. */
struct operation *operation_new(struct space *space, void (*start)(struct operation *operation),
	int fd, space_done done, void *userdata, struct refusal *refusal, int *result);
void operation_queue(struct operation *operation);
/* Before it is queued: it never was. */
void operation_drop(struct operation *operation);
/* The next answer goes to answered(). If it cannot be asked, it is dying: then none comes. */
void operation_ask(struct operation *operation, struct wire_request *request, const int *fds,
	size_t n_fds, uint64_t n_pages,
	void (*answered)(struct operation *operation, const struct wire_done *done,
		const struct wire_info *info, int fd));
void operation_finish(struct operation *operation, int result);
/* Before its first request that changes something: what it is, in the slot. */
void operation_begin(struct operation *operation, enum space_work work, uint32_t number);
/* It is the space's current one from now on. */
void operation_start(struct operation *operation);
/* What the keeper's -errno, or wire_result, means to the client: REFUSED. */
int operation_refuse(struct operation *operation, const struct wire_done *done, const char *what);
/* The space has no keeper any more: all that wait are answered. */
void queue_end(struct space *space);
void queue_run(struct space *space);
void queue_clear(struct space *space);

/* --- space-charge.c ------------------------------------------------------------------------- */
/*
 * How often the kernel bills what is mapped in so many containers of the space: a page once for
 * each; with iommufd once for all, as all but the first have copies (keeper/iommufd.h).
 */
static inline unsigned space_times(const struct space *space, unsigned n_containers)
{
	return space->settings.is_iommufd && n_containers > 1 ? 1 : n_containers;
}
/* How often more, for another container besides those that it has. */
static inline unsigned space_times_more(const struct space *space)
{
	return space_times(space, space->n_containers + 1) -
	       space_times(space, space->n_containers);
}
/* Opens the charge where that has not been done, and bills the mapping so many times. */
int mapping_bill(struct space *space, struct mapping *mapping, unsigned times,
	const struct limits *limits, struct refusal *refusal);
/* Nothing where it has no charge. */
void mapping_unbill(struct mapping *mapping, unsigned times);
/* Not covered, not billed: its accounts are let go. */
void mapping_settle(struct mapping *mapping);
/* Takes back what these runs have of it; those behind were never covered. 0 or -EBADMSG. */
int mapping_take_back(struct mapping *mapping, const struct wire_runs *runs, size_t n_runs);
/* The same, as operation->runs, for operation->mapping. */
int operation_take_back(struct operation *operation, const struct wire_runs *runs, size_t n_runs);
/* The keeper may have locked what is on the kernel's bill. 0 or -errno. */
int space_limit_locked(struct space *space);
/* Has the keeper say from its book what is covered, and takes it back. Then after_uncover(). */
void mapping_uncover(struct operation *operation, struct mapping *mapping,
	void (*after_uncover)(struct operation *operation));
/* The same for all mappings, one after the other. */
void space_uncover_all(
	struct operation *operation, void (*after_uncover)(struct operation *operation));
void space_limits(struct space *space, struct limits *limits);

/* --- space-read.c --------------------------------------------------------------------------- */
#define READ_ATTEMPTS 4
/*
 * Reads the frames of operation->mapping and covers them; holes are filled first. Then
 * after_read(), with 0, or REFUSED or -errno: then nothing is covered.
 */
void mapping_read(struct operation *operation, void (*after_read)(struct operation *, int result));
/*
 * The same with operation->reading, a PREPARE, to begin with: is_prepared says whether the keeper
 * has the mapping afterwards. One that nothing pins need not have all its pages yet.
 */
void mapping_prepare(
	struct operation *operation, void (*after_read)(struct operation *, int result));
/*
 * It has changed between reading and pinning: uncovers, waits, and reads it again; or says that it
 * has changed too often.
 */
void mapping_read_again(
	struct operation *operation, void (*after_read)(struct operation *, int result));
int mapping_refuse_changed(const struct mapping *mapping, struct refusal *refusal);

/* --- space-populate.c ----------------------------------------------------------------------- */
/* Fills n_pages of holes in operation->mapping. Then after_fill(): 0, or REFUSED or -errno. */
void mapping_fill(struct operation *operation, uint64_t n_pages,
	void (*after_fill)(struct operation *operation, int result));
struct filling *filling_free(struct filling *filling);

/* --- space-attach.c, space-attach-new.c ----------------------------------------------------- */
/* operation->group, which the keeper has, NEEDS_CONTAINER. */
void attach_new(struct operation *operation);
/* It is in this container, which is in the list: what that can do now is asked next. */
void attach_joined(struct operation *operation, struct container *container);
/* Has the keeper give the group up, takes back what it has cost, and ends with this result. */
void attach_undo(struct operation *operation, int result);

/* --- space-container.c ---------------------------------------------------------------------- */
/* What the container can do now. 0 or -errno. */
int container_learn(struct space *space, struct container *container, const struct wire_info *info);
struct container *container_free(struct container *container);
void space_add_container(struct space *space, struct container *container);
void space_add_group(struct space *space, struct group *group, struct container *container);
/* What all containers have in common. 0 or -errno, with nothing changed. */
int space_intersect(struct space *space);
/*
 * It is out of its container; a container that is empty is no more. Whether that was so, which
 * unbills the mappings; they are still covered.
 */
bool space_remove_group(struct space *space, struct group *group);
/* Nothing is attached: nobody pays. */
void space_let_payer_go(struct space *space);

/* --- what an adopted space may have to finish ------------------------------------------------ */
void unmap_start(struct operation *operation);
void detach_start(struct operation *operation);
void remove_memory_start(struct operation *operation);

/* --- space-adopt.c, space-adopt-book.c ------------------------------------------------------ */
struct adoption {
	struct space *space;
	char *payer;              /* NULL: none is known */
	struct group_list groups; /* those that it may have; each is the space's once it is found */
	struct wire_item *items;  /* all that the keeper has; or its book */
	size_t n_items, size, index;
	struct container *container; /* the next to be asked */
	struct operation *work;      /* what is to be finished or undone */
	struct keeper *reader;       /* of the book of a keeper that is no more */
};
int adoption_new(struct space *space, const struct space_kept *kept); /* or -ENOMEM */
struct adoption *adoption_free(struct adoption *adoption);
/* The keeper is ready to be asked what it has. */
void adoption_start(struct space *space);
int adoption_add_items(struct adoption *adoption, const struct wire_item *items, size_t n);
/* The mapping of such an item. 0, -ENOMEM, -EBADMSG. */
int adoption_add_mapping(struct space *space, const struct wire_item *item);
/* Bills and covers are as they were: 0 or -ENOMEM. */
int adoption_bill(struct adoption *adoption, struct mapping *mapping, unsigned n_containers);
int adoption_cover(struct mapping *mapping, const struct wire_runs *runs, size_t n_runs);
/* The runs of the item that are not covered yet. */
struct wire_request adoption_rest(const struct mapping *mapping, const struct wire_item *item);
struct group *adoption_take_group(struct adoption *adoption, int number);
/* Its keeper is no more: goes by its book. Then space_keeper_gone(). */
void adoption_orphan(struct space *space, const char *text);

/* --- space-destroy.c, space-orphan.c -------------------------------------------------------- */
void destroy_start(struct operation *operation);
/* The keeper is no more. */
void space_keeper_gone(struct space *space, const char *text);
/* No group is left that could keep pins alive: the charges are taken back, by the book. */
void space_refund(struct space *space);
struct refund *refund_free(struct refund *refund);
/* The last call: the space may be freed by whom it tells. */
void space_end(struct space *space);
