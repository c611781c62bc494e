/*
 * What goes between the daemon and a keeper (vfiod-keeper), the process that is a brokered space.
 *
 * A SOCK_SEQPACKET pair: one message is one struct below, beginning with its header, at most
 * WIRE_MAX bytes. The daemon asks; each request has one answer: first any number of WIRE_RUNS,
 * where it says so, then one WIRE_DONE. One request at a time. Both sides check type and length of
 * what they get before they look at it, and close the socket when it is wrong; the keeper ends when
 * its socket closes. Numbers are the host's own.
 *
 * A keeper outlives the daemon where its socket does (base/store.h), and the next one may be of
 * another build. So the first thing that one says is a WIRE_SYNC, which is for ever the same, as
 * are the header, WIRE_HELLO and the WIRE_STATE that answers it. All that comes before that answer
 * was for the former daemon, and is passed over. What is added to the rest gets numbers of its own
 * and does not move what is there; where an older keeper could not be served all the same,
 * WIRE_VERSION goes up, and such a keeper is ended, as it cannot be said any more what it pins: its
 * devices stop, and its groups are given back when they are free.
 *
 * A keeper has one of two backends (keeper/backend.h) from the start: with iommufd its first
 * request brings a context, it opens its containers itself, and wants to be told the members of a
 * group before the group comes.
 *
 * The same program does the other work with a client's memory in other roles, each a process
 * with the same start and the same isolation:
 *
 *   keeper    holds one space, by type1 containers
 *   keeper-iommufd   the same by an iommufd context
 *   populate  fills the holes of a file before it is pinned; the first to die where there is no
 *             memory left for them, and with the daemon that started it
 *   punch     makes holes again of what a populate filled
 *   book      reads the book of a keeper that is no more
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_VERSION 2
#define WIRE_MAX 32768
#define WIRE_FDS_MAX 2

/* Consecutive frames: first << RUN_BITS | (n - 1). Longer ones are several. */
typedef uint64_t frame_run;
#define RUN_BITS 20
#define RUN_FRAMES_MAX (UINT64_C(1) << RUN_BITS)
static inline frame_run run_make(uint64_t first, uint64_t n)
{
	return first << RUN_BITS | (n - 1);
}
static inline uint64_t run_first(frame_run run)
{
	return run >> RUN_BITS;
}
static inline uint64_t run_length(frame_run run)
{
	return (run & (RUN_FRAMES_MAX - 1)) + 1;
}

enum wire_type {
	/* From the keeper, unasked, when it is isolated: struct wire_hello. Nothing is sent to it
	 * before. It may lock nothing then: RLIMIT_MEMLOCK is 0, soft and hard. */
	WIRE_HELLO = 1,

	/*
	 * role keeper, book. First of all. Descriptor: the book, a memfd of the daemon's in which
	 * the keeper writes down the runs of its mappings; and in role keeper-iommufd its context,
	 * empty, which bills by process (IOMMU_OPTION_RLIMIT_MODE). Charged to the keeper's cgroup,
	 * and it outlives the keeper.
	 */
	WIRE_START,

	/* role keeper. `memory`, `mapping`, `group` are numbers that the daemon gives. */
	WIRE_ADD_MEMORY,    /* memory. Descriptor. DONE: size, page_bytes, flags: what it permits */
	WIRE_REMOVE_MEMORY, /* memory, which nothing maps */
	WIRE_GIVE_MEMORY,   /* memory. DONE with its descriptor */
	/*
	 * A mapping, not made yet: mapping, memory, offset, iova, length, flags. Its frames are
	 * read, as with READ. With WIRE_HOLES it is there; with any other failure it is forgotten.
	 */
	WIRE_PREPARE,
	/*
	 * mapping, which is in no container. Its frames are read anew, into the book: RUNS of all
	 * of them, DONE with book_offset and n_runs. Or, without RUNS, result WIRE_HOLES: n_pages
	 * of the file are not there; populate, and READ again. WIRE_CHANGED: pages come and go.
	 * -errno, WIRE_UNSUITABLE, WIRE_CHANGED: without RUNS too, and the book has nothing of it.
	 */
	WIRE_READ,
	/*
	 * mapping. Made in every container, its frames read again and compared with the book's;
	 * what fails is undone. DONE: 0; -errno with `container`; WIRE_CHANGED, which may be pages
	 * that are gone: READ again.
	 */
	WIRE_MAP,
	/*
	 * mapping. Unmade in every container, and forgotten, its part of the book only when RUNS
	 * have been sent: RUNS of it. Cannot fail.
	 */
	WIRE_UNMAP,
	/*
	 * group. Descriptor: its open /dev/vfio/N. Tried in each container that has fewer than
	 * max_groups. DONE: 0 with `container`, or WIRE_NEEDS_CONTAINER: all said EINVAL, or there
	 * is none. Then ATTACH_NEW or DETACH follows; meanwhile the keeper has the descriptor.
	 * Otherwise -errno, or as with ATTACH_NEW WIRE_CHANGED and `mapping` (where there were only
	 * mdevs nothing was pinned before), and it is closed.
	 */
	WIRE_ATTACH,
	/*
	 * group, which NEEDS_CONTAINER. Descriptor: a new /dev/vfio/vfio; with iommufd none. All
	 * mappings are made in it and compared with the book. DONE: 0 with `container`; or -errno
	 * or WIRE_CHANGED, with `mapping` if one is to blame: the container is closed, the group
	 * NEEDS_CONTAINER as before.
	 */
	WIRE_ATTACH_NEW,
	/*
	 * group. Out of its container, its descriptor closed; a container that has none left is
	 * closed, and its pins go. DONE: 0, `container`, n_groups left in it; -EBUSY: a device of
	 * it is open, and nothing has changed. flags WIRE_FORCE: -EBUSY as well, but the descriptor
	 * is closed: the kernel detaches the group when the last device is closed, and GROUP_GONE
	 * follows. A container with none but such groups gets no new group.
	 */
	WIRE_DETACH,
	/* group, which was detached by force, is out of its container now. DONE: as DETACH */
	WIRE_GROUP_GONE,
	WIRE_INFO,       /* DONE, followed by struct wire_info of `container` */
	WIRE_GET_DEVICE, /* group, name. DONE with the descriptor of the device; not kept */
	/* mapping. Frames are read and compared. DONE: n_pages that differ from the book */
	WIRE_AUDIT,
	/*
	 * group, name. The device is opened for it, and reset; with flags WIRE_BUS the whole bus
	 * is, for which the kernel wants the descriptors of all groups that it reaches. DONE: 0;
	 * WIRE_GROUPS_WANTED: n_groups of those are not here, the first of them in `groups`, and
	 * nothing was done; -EOPNOTSUPP: it cannot be reset in this way, see text; -errno.
	 */
	WIRE_RESET,

	/* role keeper, book. book_offset, n_runs. RUNS */
	WIRE_BOOK,

	/*
	 * role populate. Descriptors: a memory, and a book for its holes; offset, length. DONE
	 * twice: WIRE_HOLES with n_runs, the holes that it has written down as wire_hole; and 0 or
	 * -errno when they are filled.
	 */
	WIRE_POPULATE,
	/* role punch. Descriptors: the same; n_runs. DONE */
	WIRE_PUNCH,

	/* To the daemon. */
	WIRE_RUNS,
	WIRE_DONE,

	/*
	 * role keeper, book. All that it has: ITEMS, memories, then groups, then mappings, and DONE
	 * with their number in `size`. A container is the groups that are in it. In role book:
	 * mappings, those that were in the book when their keeper ended.
	 */
	WIRE_LIST,
	WIRE_ITEMS, /* to the daemon */

	/*
	 * role keeper-iommufd. group, name: a device of the group that comes next with ATTACH,
	 * which is bound to a driver of VFIO's. DONE
	 */
	WIRE_MEMBER,
	WIRE_TYPE_MAX_,

	/* role keeper: struct wire_sync, answered with struct wire_state only. */
	WIRE_SYNC = 1000,
	WIRE_STATE,
};

enum wire_flag {
	WIRE_READ_ALLOWED = 1 << 0,  /* the device may read: VFIO_DMA_MAP_FLAG_READ */
	WIRE_WRITE_ALLOWED = 1 << 1, /* the device may write */
	WIRE_FORCE = 1 << 2,
	WIRE_BUS = 1 << 3,
};

/* Results besides 0 and -errno. */
enum wire_result {
	WIRE_HOLES = 1,
	WIRE_CHANGED,
	WIRE_NEEDS_CONTAINER,
	WIRE_UNSUITABLE,    /* ADD_MEMORY, PREPARE, READ: see text */
	WIRE_GROUPS_WANTED, /* RESET */
};

struct wire_header {
	uint32_t type;
	uint32_t length; /* of the whole message */
};

struct wire_hello {
	struct wire_header header;
	uint32_t version;
	uint32_t page_bytes;
};

struct wire_sync {
	struct wire_header header;
	uint64_t nonce; /* so that no other answer is taken for the one to this */
};

struct wire_state {
	struct wire_header header;
	uint64_t nonce;
	uint32_t version;
	uint32_t page_bytes;
	uint32_t has_book; /* else WIRE_START is still to come */
	uint32_t is_zero;
};

#define WIRE_NAME_SIZE 64
#define WIRE_TEXT_SIZE 128
#define WIRE_GROUPS_MAX 16

/* All requests; what a type does not use is 0. */
struct wire_request {
	struct wire_header header;
	uint32_t memory, mapping, group, flags;
	uint32_t container, max_groups;
	uint64_t offset, iova, length; /* bytes */
	uint64_t book_offset;          /* bytes: the run with index i is at 8 * i */
	uint64_t n_runs;
	char name[WIRE_NAME_SIZE]; /* terminated */
};

struct wire_done {
	struct wire_header header;
	int32_t result;
	uint32_t flags;
	uint32_t mapping, container, n_groups;
	uint32_t page_bytes; /* of a memory: 4096, or a huge page's */
	uint64_t size;       /* bytes */
	uint64_t n_pages;    /* of the base page size, as everywhere */
	uint64_t book_offset, n_runs;
	uint32_t groups[WIRE_GROUPS_MAX];
	char text[WIRE_TEXT_SIZE]; /* terminated; what failed, for a person */
};

#define WIRE_RUNS_MAX ((WIRE_MAX - 2 * sizeof(uint64_t)) / sizeof(frame_run))
struct wire_runs {
	struct wire_header header;
	uint64_t book_offset; /* of the first of them: they are in the book before they are sent */
	frame_run runs[WIRE_RUNS_MAX]; /* as many as `length` says */
};

#define WIRE_NO_CONTAINER UINT32_MAX

enum wire_item_kind {
	WIRE_ITEM_MEMORY = 1,
	WIRE_ITEM_GROUP,
	WIRE_ITEM_MAPPING,
};

/* What a keeper has; what a kind does not use is 0. */
struct wire_item {
	uint32_t kind;
	uint32_t number;
	uint32_t flags;                /* of a memory and a mapping, as in requests and answers */
	uint32_t page_bytes;           /* memory */
	uint32_t memory;               /* mapping */
	uint32_t container;            /* group; WIRE_NO_CONTAINER: it needs one */
	uint32_t is_held;              /* group; else it was let go while a device was open */
	uint32_t is_made;              /* mapping: in every container, and there is one */
	uint64_t offset, iova, length; /* mapping; memory: its size. Bytes */
	uint64_t book_offset, n_runs;  /* mapping; 0 runs: its frames were not read */
};

#define WIRE_ITEMS_MAX ((WIRE_MAX - sizeof(struct wire_header)) / sizeof(struct wire_item))
struct wire_items {
	struct wire_header header;
	struct wire_item items[WIRE_ITEMS_MAX]; /* as many as `length` says */
};

#define WIRE_RANGES_MAX 256
struct wire_range {
	uint64_t first, last;
};
/* What a container can do; behind the DONE of a WIRE_INFO. */
struct wire_info {
	struct wire_header header; /* type WIRE_INFO */
	uint64_t page_sizes;       /* a bit each, as VFIO_IOMMU_GET_INFO has them */
	uint32_t mappings_left;    /* UINT32_MAX: the kernel does not say */
	uint32_t is_coherent;      /* VFIO_DMA_CC_IOMMU */
	uint32_t has_any_iova;     /* no list: any IOVA is valid (mdevs only) */
	uint32_t n_ranges;
	struct wire_range ranges[WIRE_RANGES_MAX];
};

struct wire_hole {
	uint64_t offset, length; /* bytes */
};

/*
 * One message with its descriptors, which stay the caller's: 0 or -errno. flags: MSG_DONTWAIT or 0.
 * The header's length has been set.
 */
int wire_send(int socket, const void *message, const int *fds, size_t n_fds, int flags);
/*
 * One message: its length, 0 at the end of the connection, or -errno; -EBADMSG: it is not one of
 * the above by type and length, or has more than WIRE_FDS_MAX descriptors (all are closed then).
 * fds[]: room for WIRE_FDS_MAX, close-on-exec, the caller's.
 */
union wire_message {
	struct wire_header header;
	struct wire_hello hello;
	struct wire_request request;
	struct wire_done done;
	struct wire_runs runs;
	struct wire_info info;
	struct wire_items items;
	struct wire_sync sync;
	struct wire_state state;
	char bytes[WIRE_MAX];
};
ssize_t wire_receive(int socket, union wire_message *message, int *fds, size_t *n_fds, int flags);
