/*
 * space-client FIFO: a client of spaces (org.vfiod.Space) that does what it is told: a command a
 * line on stdin, an answer a line to FIFO. For scenarios, which compare the lines.
 *
 *	ok …                 done; what there is to say, mostly the reply: key=value key=value
 *	error NAME …         the daemon's error, with its parameters
 *	failed WORD: TEXT    a system call of this program, or the connection
 *
 * Numbers can be hexadecimal, and end in K, M or G. Whatever has a name is called by it from then
 * on. M, S, L, D, C stand for names of memory, spaces, leases, devices and connections.
 *
 *	connect C, use C, close C              it begins with "main"; calls go over the one in use
 *	acquire L DEVICE…, release L           brokered; it lives with the connection
 *	create S [MAX_GROUPS [HOLDER_PID]], destroy S, describe S, token S, open S TOKEN
 *	attach S L [INDEX], detach S L [INDEX] of the groups of the lease
 *	add S M, remove S M
 *	map S M OFFSET IOVA LENGTH [r|w|rw], unmap S IOVA LENGTH
 *	device D S L DEVICE, drop D            its descriptor, from the lease's first group
 *	ledger                                 pages, by name: ok host=OWED/BILL uid:1000=OWED/BILL
 *… call METHOD PARAMETERS
 *
 *	memfd M SIZE [FLAG…]       MFD_ flags: hugetlb, unsealable
 *	file M PATH [ro], reopen M OTHER [ro]  the latter through /proc/self/fd
 *	receive M PID FD           another process's; fd M tells which it is
 *	seal M SEAL…               seal, shrink, grow, write, future-write
 *	touch M OFFSET LENGTH, punch M OFFSET LENGTH, truncate M SIZE, pageout M OFFSET LENGTH
 *	present M                  how many bytes of it there are
 *	pattern M OFFSET SEED, holds M OFFSET SEED   2,048 bytes; yes or no
 *	forget M
 *	churn M OFFSET LENGTH, still           punches and touches it again and again, beside the
 *rest hog SIZE                   memory of its own
 *
 *	edu D, to-device D IOVA, to-memory D IOVA    an edu's DMA
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
};

struct object {
	struct object *next;
	enum kind kind;
	char *name;
	struct vfiod *vfiod;   /* CONNECTION */
	char *token;           /* SPACE, LEASE */
	int groups[8];         /* LEASE */
	int fd;                /* MEMORY, -1 otherwise */
	long number;           /* MEMORY_OF_SPACE */
	struct edu_device edu; /* DEVICE */
};

/* Ends the program when there is one by this name already. */
struct object *object_new(enum kind kind, const char *name);
/* Ends the program when there is none: the scenario is wrong. */
struct object *object_find(enum kind kind, const char *name);
void object_forget(struct object *object);
/* The numbers of memories in a space. */
void objects_forget_in(const char *space);

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
/* The same, and the reply is the answer. */
void call_and_answer(const char *method, struct json_object *parameters);
/* key=value key=value, the fields of all levels. */
void answer_json(const char *begin, struct json_object *value);

struct command {
	const char *name;
	size_t n_words; /* at least, besides the name */
	void (*run)(const struct words *words);
};
extern const struct command call_commands[], space_commands[], memory_commands[], device_commands[];
