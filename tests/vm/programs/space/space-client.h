/*
 * space-client FIFO: a client of spaces (org.vfiod.Space) that does what it is told: a command a
 * line on stdin, an answer a line to FIFO. For scenarios, which compare the lines.
 *
 *	ok …                 done; what there is to say, mostly the reply: key=value key=value
 *	error NAME …         the daemon's error, with its parameters
 *	failed WORD: TEXT    a system call of this program, or the connection
 *
 * Numbers can be hexadecimal, and end in K, M or G. Whatever has a name is called by it from then
 * on. M, S, L, D, C, V, P stand for names of memory, spaces, leases, devices, connections,
 * VFIO containers and processes.
 *
 *	connect C, use C, close C              it begins with "main"; calls go over the one in use
 *	acquire L DEVICE…, release L           brokered; it lives with the connection
 *	create S [MAX_GROUPS [HOLDER_PID]], destroy S, describe S, token S, open S TOKEN
 *	attach S L [INDEX], detach S L [INDEX] of the groups of the lease
 *	add S M, remove S M
 *	map S M OFFSET IOVA LENGTH [r|w|rw], unmap S IOVA LENGTH
 *	reset S L DEVICE [function|bus]        likewise of the first group
 *	device D S L DEVICE, drop D            its descriptor, from the lease's first group
 *	call METHOD PARAMETERS
 *	ledger                                 pages, by name: ok host=OWED/BILL uid:1000=OWED/BILL
 *	reserved, observed                     likewise, of accounts that have it: uid:1000=PAGES,
 *	                                       uid:1000=OBSERVED/BILL
 *
 *	memfd M SIZE [FLAG…]       MFD_ flags: hugetlb, unsealable
 *	file M PATH [ro], reopen M OTHER [ro]  the latter through /proc/self/fd
 *	receive M PID FD           another process's; fd M tells which it is
 *	seal M SEAL…               seal, shrink, grow, write, future-write
 *	touch M OFFSET LENGTH, punch M OFFSET LENGTH, truncate M SIZE, pageout M OFFSET LENGTH
 *	present M                  how many bytes of it there are
 *	pattern M OFFSET SEED, holds M OFFSET SEED   2,048 bytes; yes or no
 *	forget M
 *	churn M OFFSET LENGTH, still           punches and touches it again and again meanwhile
 *	hog SIZE                   memory of its own
 *
 *	lease L BYTES DEVICE…, reserve L BYTES   with descriptors and memoryBytes; release ends it
 *	close-groups L                         but containers have it still
 *	container V L [INDEX], forget-container V    type1, of a group of the lease
 *	pin V M IOVA LENGTH [r], unpin V IOVA LENGTH   the bare ioctls; memory as it is here
 *	dma-map L V M IOVA LENGTH, dma-unmap L V IOVA LENGTH   libvfiod's, which tell the daemon
 *	address M, anonymous M SIZE, replace M OTHER   the last: in the page tables, not for devices
 *	pinners V N LENGTH                     N children, each pins that much of its own and ends
 *	fork P, child-pins P V IOVA LENGTH, child-ends P
 *
 *	edu D, to-device D IOVA, to-memory D IOVA    an edu's DMA
 *	word D OFFSET [VALUE]                  of its first BAR; VALUE is written first
 *	mdev-pin D IOVA PAGES, mdev-unpin D IOVA PAGES    by a device of tests/vm/module
 *	mdev-word D IOVA [VALUE]               what it sees of a page that it has pinned; likewise
 *	quit
 */
#pragma once

#include "client/include/vfiod.h"
#include "tests/vm/programs/edu-device.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
	CONNECTION,
	SPACE,
	LEASE,
	MEMORY,
	MEMORY_OF_SPACE, /* "S M": its number there */
	DEVICE,
	CONTAINER,
	CHILD,
};
enum { MAX_GROUPS = 8 };

struct object {
	struct object *next;
	enum kind kind;
	char *name;
	struct vfiod *vfiod;                           /* CONNECTION */
	char *token;                                   /* SPACE, LEASE */
	int groups[MAX_GROUPS], group_fds[MAX_GROUPS]; /* LEASE; the latter of a direct one */
	size_t n_group_fds;
	int fd;        /* MEMORY, CONTAINER, CHILD: a socket; -1 otherwise */
	void *address; /* MEMORY that is mapped here, NULL otherwise */
	size_t n_bytes;
	long number;           /* MEMORY_OF_SPACE, CHILD: its pid */
	struct edu_device edu; /* DEVICE */
};

/* Ends the program when there is one by this name already. */
struct object *object_new(enum kind kind, const char *name);
/* Ends the program when there is none: the scenario is wrong. */
struct object *object_find(enum kind kind, const char *name);
void object_forget(struct object *object);
/* The numbers of memories in a space. */
void objects_forget_in(const char *space);

/* Where the memory is in this process; it stays there. Ends the program where there is no room. */
void *memory_address(struct object *memory);

/* Of a lease with descriptors. */
void lease_close_groups(struct object *lease);
/* VFIO_IOMMU_MAP_DMA */
bool container_pin(
	int container, const void *address, uint64_t iova, uint64_t length, uint32_t flags);

/* What was said is cut into words; those that are not there are NULL. */
enum { MAX_WORDS = 12 };
struct words {
	char *word[MAX_WORDS + 1];
	size_t n;
};
/* Word number i as a number; ends the program if it is none. */
uint64_t word_number(const struct words *words, size_t i);

/* The answer: once for each command. */
void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* With errno. */
void answer_failed(const char *what);

/*
 * A call over the connection in use. The parameters are taken over. The reply, the caller's; or
 * NULL: the error has been answered. fd: -1, or a descriptor to send; reply_fd: NULL, or where the
 * descriptor that comes with the reply goes.
 */
struct json_object *call(const char *method, struct json_object *parameters, int fd, int *reply_fd);
/* The connection in use. */
struct vfiod *handle(void);
/* The same without a descriptor to send, and with up to MAX_GROUPS that come. */
struct json_object *call_for_fds(
	const char *method, struct json_object *parameters, int fds[MAX_GROUPS], size_t *n_fds);
/* The same, and the reply is the answer. */
void call_and_answer(const char *method, struct json_object *parameters);
/* key=value key=value, the fields of all levels. */
void answer_json(const char *begin, struct json_object *value);

struct command {
	const char *name;
	size_t n_words; /* at least, besides the name */
	void (*run)(const struct words *words);
};
extern const struct command call_commands[], ledger_commands[], space_commands[], memory_commands[],
	device_commands[], direct_commands[], child_commands[];
