/* The parts of the search, for each other; nobody outside of this room includes this. */
#pragma once

#include "daemon/bind/opener.h"
#include "daemon/privilege/device-facts.h"

#include <sys/types.h>

#define OPENER_PATH_SIZE 512

/* What an open device is asked, so that a unit test can be the device. */
struct opener_ops {
	void *userdata;
	/* As device_facts_read(). */
	int (*facts)(void *userdata, pid_t pid, int fd, struct device_facts *facts);
};

/* How near a process is to who had the lease, the nearest last. */
enum relation {
	RELATION_NONE,
	RELATION_USER,    /* of the same user */
	RELATION_CGROUP,  /* from here on a reason to suspect it */
	RELATION_SESSION, /* setsid(2) */
	RELATION_DESCENT, /* itself, or a child of its children */
};

struct process {
	pid_t pid, parent, session;
	unsigned long long start_ticks;
	uid_t uid;
	enum relation relation;
	char command[16];
	bool is_kernel; /* a thread of the kernel's, which has no files */
};

struct search {
	const struct opener_query *query;
	const struct opener_ops *ops;
	char proc[OPENER_PATH_SIZE]; /* where /proc is */
	double until;
	bool is_cut;
	struct process *processes; /* those nearest first, after relate() */
	size_t n_processes;
	dev_t group_node;    /* 0: it has none now */
	dev_t *device_nodes; /* of each syspath; 0: none */
	struct candidate *candidates;
	size_t n_candidates;
};

/* Is there time left? Once there is none, is_cut. */
bool search_has_time(struct search *search);

/* opener-process.c: reads all processes, and how they are related. 0 or -errno. */
int search_read_processes(struct search *search);
/* Its relation, and that by cgroup, which is read for few. */
enum relation process_relation(const struct search *search, const struct process *process);
/* Does the process still run, and is it not another one with its number? */
bool process_lives(const struct search *search, const struct process *process);

/* opener-files.c: what a process has open. */
#define UNIDENTIFIED_MAX 64
struct finding {
	bool has_it;                        /* the group, or a device of it */
	size_t n_unidentified;              /* VFIO devices that only a copy can tell */
	int unidentified[UNIDENTIFIED_MAX]; /* the first of them */
};
/* True if a device has a node of its own. */
bool search_read_nodes(struct search *search);
void search_files(struct search *search, pid_t pid, struct finding *finding);

/* opener-device.c: which devices can it be? */
enum device_match {
	MATCH_NONE,
	MATCH_SOME, /* of this group, or of another */
	MATCH_OURS,
	MATCH_UNTOLD, /* the device could not be asked */
};
int search_read_candidates(struct search *search); /* 0 or -ENOMEM */
enum device_match search_match(const struct search *search, pid_t pid, int fd);
