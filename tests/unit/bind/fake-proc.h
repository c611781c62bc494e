/* A machine in a directory: what /proc and /sys show of processes and of what they have open. */
#pragma once

#include <stdio.h>
#include <sys/types.h>

struct fake_proc {
	char root[64];
};

void fake_proc_init(struct fake_proc *proc);
void fake_proc_clear(struct fake_proc *proc);

/* Below the root, with all directories above it. */
void fake_file(const struct fake_proc *proc, const char *text, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void fake_link(const struct fake_proc *proc, const char *target, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void fake_process(const struct fake_proc *proc, pid_t pid, pid_t parent, pid_t session,
	unsigned long long start_ticks, const char *command);
void fake_descriptor(
	const struct fake_proc *proc, pid_t pid, int fd, const char *target, const char *fdinfo);
