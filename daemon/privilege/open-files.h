/*
 * What processes have open, by /proc/PID/fd. For children only: it takes a while.
 *
 * No file system is asked: a descriptor's text comes from the kernel's names, and
 * open_file_number() takes what is cached. So neither a FUSE server nor a dead file server
 * can hold up who looks.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What another process has looked up, in one message (privilege/message.h). */
#define OPEN_FILE_INFO_SIZE 2048
struct open_file_seen {
	int fd;
	bool is_node, is_block;
	dev_t number;     /* is_node only */
	char target[256]; /* the end of it, if it is longer */
	char info[OPEN_FILE_INFO_SIZE];
};

struct open_file {
	const char *proc; /* where /proc is */
	pid_t pid;
	int fd;
	/* "/dev/nvme0n1", or "/nvme0n1" of a mount that is no more, "anon_inode:[vfio-device]",
	 * "socket:[7]" */
	char target[PATH_MAX];
	const struct open_file_seen *seen; /* NULL: look in `proc` */
};

/* What a visitor answers: on to the next descriptor, to the next process, or done. */
enum open_file_next { OPEN_FILE_NEXT, OPEN_FILE_NEXT_PROCESS, OPEN_FILE_DONE };
typedef enum open_file_next (*open_file_visitor)(void *userdata, const struct open_file *file);

/*
 * Visits every descriptor of a process; where vfiod-privileged is asked (privilege_ask()), those
 * that open_file_matters(). One that ends meanwhile, or may not be looked at, has none. Threads
 * that have unshared their table of descriptors, and mappings whose descriptor is closed, are not
 * seen. 0; 1 when the visitor is done; -ETIMEDOUT after `seconds`; -errno.
 */
int open_files_visit_process(
	const char *proc, pid_t pid, int seconds, open_file_visitor visitor, void *userdata);
/* The same for all processes but this one. 0 also when the visitor is done. */
int open_files_visit(const char *proc, int seconds, open_file_visitor visitor, void *userdata);

/* By its name: may it be a node, or is it a VFIO device? Nobody asks for others. */
bool open_file_matters(const struct open_file *file);
#define OPEN_FILE_VFIO_DEVICE "anon_inode:[vfio-device]"
/* Is it a device's node, and whose? False: no node, or closed meanwhile. */
bool open_file_number(const struct open_file *file, bool *is_block, dev_t *number);
/* Could it write with it? False also if it is closed meanwhile. */
bool open_file_can_write(const struct open_file *file);
/* The text of its fdinfo, as file_read(). */
ssize_t open_file_info(const struct open_file *file, char *text, size_t size);
/* The command of a process, printable: "qemu-system-x86"; "?" for one that is gone. */
void process_name(const char *proc, pid_t pid, char *name, size_t size);
