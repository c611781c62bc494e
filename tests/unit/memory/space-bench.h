/*
 * A space on a loop, with a keeper and a kernel that are the test's: a model of what is pinned, to
 * which the ledger is compared, and which can fail at any request.
 */
#pragma once

#include "fake-keeper.h"

#include "daemon/memory/space.h"

#define BENCH_PAGE UINT64_C(4096)
#define BENCH_FRAMES 65536
#define BENCH_NUMBERS 64 /* of mappings, groups, memories: below */

enum fault {
	FAULT_NONE,
	FAULT_DIES_BEFORE,  /* it has done nothing of the request */
	FAULT_DIES_AFTER,   /* it has done all of it, and said nothing */
	FAULT_DIES_HALFWAY, /* it has done all of it, and said half of the runs */
	FAULT_ERROR,        /* -EIO, and nothing done */
	FAULTS,
	/* The daemon is killed, and another takes over. */
	FAULT_DAEMON_BEFORE = FAULTS, /* it has not come to send it */
	FAULT_DAEMON_AFTER,           /* the answer is for nobody */
	FAULT_DAEMON_HALFWAY,         /* half of the answer comes later */
	FAULT_BOTH,                   /* it is done, and then the keeper dies, too */
	ALL_FAULTS,
};

struct bench_mapping {
	bool is_there, is_made;
	uint32_t memory;
	uint64_t iova;
	uint64_t first, n;       /* pages of the memory */
	uint64_t offset, n_runs; /* in the book */
};

struct bench_group {
	bool is_there, has_fd;
	int container; /* -1: it needs one */
};

struct bench {
	struct ev_loop *loop;
	struct ledger *ledger;
	struct limits limits;
	struct space_settings settings;
	unsigned n_members; /* that were said of the group that comes */
	struct space *space;
	int n_fds_before;

	/* What the space has said. */
	unsigned n_done, n_changed;
	struct space_answer answer;
	uint32_t work_before_answer,
		work_in_answer; /* as written down, when it begins to be sent */
	struct refusal refusal;
	enum space_state state;
	bool has_ended;
	bool is_waiting[BENCH_NUMBERS]; /* groups that were let go, still open */
	unsigned n_let_go;

	/* The model. */
	frame_run book[BENCH_FRAMES];
	uint64_t book_end; /* runs */
	struct bench_mapping mappings[BENCH_NUMBERS];
	struct bench_group groups[BENCH_NUMBERS];
	bool containers[BENCH_NUMBERS], memories[BENCH_NUMBERS];
	bool has_device_open[BENCH_NUMBERS];
	uint64_t moved;     /* added to each frame: they were migrated */
	uint64_t run_pages; /* of each run */
	unsigned n_changes; /* a map finds the frames changed, so many times */
	uint64_t n_holes;   /* a read finds so many, until they are filled */
	int map_error;      /* -errno, in the container */
	int attach_error, new_error, reset_error;
	unsigned n_wanted;                 /* groups that a reset of a bus reaches beside */
	unsigned n_asked_to_leave, n_busy; /* refused so many times, as by who only looks */
	bool dies_when_busy, dies_soon;    /* and then it dies */
	bool populate_dies, populate_fails, keeps_holes;
	bool book_lies;
	unsigned n_populated, n_punched, n_requests;
	uint32_t last_type;
	unsigned fault_at;
	enum fault fault;
	/* The daemon before this one. */
	uint64_t slot[16];
	size_t keeper; /* of fake_host's */
	unsigned long long start_ticks;
	bool is_killed;           /* it is, as soon as the loop comes round */
	struct fake_keeper *late; /* what is still to be answered, */
	struct wire_done late_done;
	uint64_t late_offset, late_runs;
	int coming; /* a group that it was to attach; -1: none */
	bool is_destroyed;
	unsigned n_restarts, again_after; /* killed again, so many requests later; 0: not */
};

extern struct bench bench;
extern const struct space_hooks bench_hooks;

/* What spaces are made of from then on. */
extern bool bench_is_iommufd;
int bench_set_up(void **state);
/* Destroys the space if there is one; everything is at zero. */
int bench_tear_down(void **state);
void bench_start(void);
/* Another daemon takes the space over; taken(), if not NULL, is called when it has begun to. */
void bench_kill_daemon(void (*taken)(void));
/* Runs the loop until it is so. */
void bench_wait(bool (*is_so)(void));
bool bench_is_over(void);

/* Each waits for the answer, and gives its result. */
/* Of 64 pages; the second cannot be written, the third is unsuitable. */
int bench_add_memory(void);
int bench_remove_memory(uint32_t memory);
int bench_map(uint32_t memory, uint64_t page, uint64_t n, uint64_t iova);
int bench_map_exactly(const struct space_map *map);
int bench_unmap(uint64_t iova, uint64_t n_pages);
int bench_attach(int group);
int bench_attach_for(const struct space_group *group);
int bench_detach(int group, bool force);
int bench_get_device(int group);
int bench_reset_device(int group, bool bus);
int bench_audit(void);
/* Who waits for groups that are open sees them free; the space ends if it is over. */
void bench_close_devices(void);
void bench_destroy(void);

/* What is billed, limited and owed is what is pinned. */
void bench_check(void);
uint64_t bench_owed(void); /* by the host */
