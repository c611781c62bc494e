/*
 * What processes have open, by /proc/PID/fd. For children only: it takes a while. Nobody outside of
 * this room includes this.
 *
 * No file system is asked: a descriptor's text comes from the kernel's names, and
 * open_file_number() takes what is cached. So neither a FUSE server nor a dead file server
 * can hold up who looks.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct open_file {
	const char *proc; /* where /proc is */
	pid_t pid;
	int fd;
	char target[PATH_MAX]; /* "/dev/nvme0n1", "anon_inode:[vfio-device]", "socket:[7]" */
};

/* What a visitor answers: on to the next descriptor, to the next process, or done. */
enum open_file_next { OPEN_FILE_NEXT, OPEN_FILE_NEXT_PROCESS, OPEN_FILE_DONE };
typedef enum open_file_next (*open_file_visitor)(void *userdata, const struct open_file *file);

/*
 * Visits every descriptor of every process but this one. A process that ends meanwhile, or may not
 * be looked at, is passed over. Threads that have unshared their table of descriptors, and
 * mappings whose descriptor is closed, are not seen. 0; -ETIMEDOUT after `seconds`; -errno.
 */
int open_files_visit(const char *proc, int seconds, open_file_visitor visitor, void *userdata);

/* The same for one process: 0; 1 when the visitor is done; -ETIMEDOUT. */
int open_files_visit_process(
	const char *proc, pid_t pid, int seconds, open_file_visitor visitor, void *userdata);

/* Is it a device's node, and whose? False: no node, or closed meanwhile. */
bool open_file_number(const struct open_file *file, bool *is_block, dev_t *number);
/* Could it write with it? False also if it is closed meanwhile. */
bool open_file_can_write(const struct open_file *file);
/* The command of a process, printable: "qemu-system-x86"; "?" for one that is gone. */
void process_name(const char *proc, pid_t pid, char *name, size_t size);
