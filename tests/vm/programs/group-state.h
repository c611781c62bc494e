/*
 * A group of PCI devices as the kernel has it, and the journal of the daemon: for programs that
 * look often. Read from sysfs, never asked of the daemon.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define MAX_MEMBERS 8

struct member {
	char name[32];
	bool is_bridge;                /* vfiod leaves it alone */
	char driver[64], override[64]; /* as they were when the group was read; "" = none */
};

struct group_state {
	int number;
	struct member members[MAX_MEMBERS];
	size_t n_members;
};

/* The group of this device, as it is now: as the host has it. */
void group_state_read(struct group_state *group, const char *device);
/* Is every member as the host had it? / Is every one that is no bridge on vfio-pci, by override? */
bool group_state_is_host(const struct group_state *group);
bool group_state_is_taken(const struct group_state *group);
/* How many members are no bridges. */
size_t group_state_n_moved(const struct group_state *group);
/* How all members are, a line for each member, on stdout. */
void group_state_print(const struct group_state *group);

/* How many files the journal has, of whatever kind. */
size_t journal_count(const char *state_directory);
/* The entry of this group, "" if there is none. */
void journal_text(const char *state_directory, int group, char *text, size_t size);
