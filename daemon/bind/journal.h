/*
 * The journal: one file a group that vfiod has taken or is taking or returning,
 * <state directory>/journal/<number>.json, written atomically before the first
 * write to sysfs and removed after the last. It holds the plan (what the host
 * had), the phase, and the child's pid and start time. A format version guards it.
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
};

struct journal_entry {
	enum journal_phase phase;
	pid_t child;                          /* 0 = none */
	unsigned long long child_start_ticks; /* process_start_time() */
	bool stay;         /* TAKEN by an administrator: not returned with a lease's end */
	struct plan *plan; /* owned by the entry when it comes from journal_read() */
};

/* Creates the directory (0700) if need be. 0 or -errno. */
int journal_init(const char *state_directory);
int journal_write(const char *state_directory, const struct journal_entry *entry);
/* No entry is no error. */
int journal_remove(const char *state_directory, int group);
/* 0, -ENOENT, -EBADMSG (not ours, or damaged: *text says what), or -errno. */
int journal_read(const char *state_directory, int group, struct journal_entry *entry, char *text,
	size_t text_size);
void journal_entry_clear(struct journal_entry *entry);
/* Numbers of all groups with an entry, ascending, malloc'ed. */
int journal_list(const char *state_directory, int **groups, size_t *n_groups);
