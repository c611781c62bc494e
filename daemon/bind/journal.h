/*
 * The journal: one file a group that vfiod has taken or is taking or returning,
 * <state directory>/journal/<number>.json, written atomically before the first
 * write to sysfs and removed after the last. It holds the plan (what the host
 * had), the phase, the child's pid and start time, and who had the group. A format version
 * guards it; what an older vfiod wrote is read, too.
 *
 * /run is a tmpfs: writing it does not block, and it does not outlive the boot,
 * as group numbers do not.
 */
#pragma once

#include "daemon/bind/plan.h"

enum journal_phase {
	JOURNAL_TAKING,
	JOURNAL_TAKEN,
	JOURNAL_RETURNING,
	JOURNAL_FAILED,
	JOURNAL_RENEWING, /* taken, and its devices are given to their VFIO drivers anew */
};

struct journal_holder {
	pid_t pid;                      /* 0 = nobody: all else is 0, too */
	unsigned long long start_ticks; /* process_start_time(); 0 = unknown */
	uid_t uid;                      /* of the process */
	char command[16];
};

struct journal_entry {
	enum journal_phase phase;
	pid_t child;                          /* 0 = none */
	unsigned long long child_start_ticks; /* process_start_time() */
	bool stay;                            /* TAKEN, and a lease's end does not return it */
	bool nodes;                           /* TAKEN, and its devices' nodes were handed out */
	struct journal_holder holder;         /* who has it, or had it last */
	char failure[REFUSAL_TEXT_SIZE];      /* FAILED: what is left where; else "" */
	struct plan *plan; /* owned by the entry when it comes from journal_read() */
};

/*
 * Creates the directory (0700) if need be, and removes what a writer left that was killed before
 * its entry was whole. 0 or -errno.
 */
int journal_init(const char *state_directory);
/*
 * The journal is this process's until it ends: two daemons would give back what the other one has
 * lent. 0, or -EBUSY with *owner, who has it. For ever: *fd must not be closed before the end, nor
 * the file be opened a second time (fcntl(2), F_SETLK: both let go of it).
 */
int journal_lock(const char *state_directory, int *fd, pid_t *owner);
/* On disk when it comes back; an entry that stands there already is not written again. */
int journal_write(const char *state_directory, const struct journal_entry *entry);
/* Is there an entry, whatever is in it? */
bool journal_stands(const char *state_directory, int group);
/* No entry is no error. */
int journal_remove(const char *state_directory, int group);
/* 0, -ENOENT, -EBADMSG (not ours, or damaged: *text says what), or -errno. */
int journal_read(const char *state_directory, int group, struct journal_entry *entry, char *text,
	size_t text_size);
void journal_entry_clear(struct journal_entry *entry);
/* Numbers of all groups with an entry, ascending, malloc'ed. */
int journal_list(const char *state_directory, int **groups, size_t *n_groups);
