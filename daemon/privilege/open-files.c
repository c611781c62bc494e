#include "daemon/privilege/open-files.h"

#include "daemon/base/util.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

static void cleanup_closedir(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}
#define _cleanup_closedir_ __attribute__((cleanup(cleanup_closedir)))

/* A decimal name: a process, a descriptor. */
static bool read_number(const char *name, int *number)
{
	char *end;

	if (!isdigit((unsigned char)name[0]))
		return false;
	errno = 0;
	long value = strtol(name, &end, 10);
	if (errno || *end || value > INT_MAX)
		return false;
	*number = (int)value;
	return true;
}

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

struct visit {
	time_t deadline;
	open_file_visitor visitor;
	void *userdata;
};

/* 0, -ETIMEDOUT, or 1: the visitor is done. */
static int visit_process(const struct visit *visit, struct open_file *file)
{
	const struct dirent *entry;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d/fd", file->proc, (int)file->pid);
	_cleanup_closedir_ DIR *open = opendir(path);
	while (open && (entry = readdir(open))) {
		if (!read_number(entry->d_name, &file->fd))
			continue;
		if (seconds_now() > visit->deadline)
			return -ETIMEDOUT;
		ssize_t n = readlinkat(
			dirfd(open), entry->d_name, file->target, sizeof(file->target) - 1);
		if (n < 0)
			continue;
		file->target[n] = '\0';
		switch (visit->visitor(visit->userdata, file)) {
		case OPEN_FILE_NEXT:
			break;
		case OPEN_FILE_NEXT_PROCESS:
			return 0;
		case OPEN_FILE_DONE:
			return 1;
		}
	}
	return 0;
}

int open_files_visit_process(
	const char *proc, pid_t pid, int seconds, open_file_visitor visitor, void *userdata)
{
	const struct visit visit = {
		.deadline = seconds_now() + seconds,
		.visitor = visitor,
		.userdata = userdata,
	};
	struct open_file file = { .proc = proc, .pid = pid };

	return visit_process(&visit, &file);
}

/*
 * By its name: "/dev/dri/card0"; or "/dri/card0", as the name ends where a mount does that is in no
 * namespace any more (fs/d_path.c, __prepend_path). That is how a node looks that was opened by a
 * service with a namespace of its own, as vfiod's, which has ended since.
 */
static bool may_be_node(const char *target)
{
	static const char *const directories[] = { "/vfio/", "/dri/", "/infiniband/", "/input/",
		"/snd/" };

	if (strstr(target, "/dev/"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (strncmp(target, directories[i], strlen(directories[i])) == 0)
			return true;
	/* "/nvme0n1"; "/memfd:memory (deleted)" is none. */
	return target[0] == '/' && !strpbrk(target + 1, "/ ");
}

bool open_file_matters(const struct open_file *file)
{
	return may_be_node(file->target) || strcmp(file->target, OPEN_FILE_VFIO_DEVICE) == 0;
}

bool open_file_number(const struct open_file *file, bool *is_block, dev_t *number)
{
	char path[PATH_MAX];
	struct statx node;

	if (file->seen) {
		*is_block = file->seen->is_block;
		*number = file->seen->number;
		return file->seen->is_node;
	}
	/*
	 * What is no node by its name is not looked up: NFS asks its server even for a name that
	 * needs no look-up (fs/nfs/dir.c, nfs_weak_revalidate). FUSE does not ask (fs/fuse/dir.c,
	 * fuse_update_get_attr), with this flag.
	 */
	if (!may_be_node(file->target))
		return false;
	snprintf(path, sizeof(path), "%s/%d/fd/%d", file->proc, (int)file->pid, file->fd);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &node) < 0 ||
		(!S_ISBLK(node.stx_mode) && !S_ISCHR(node.stx_mode)))
		return false;
	*is_block = S_ISBLK(node.stx_mode);
	*number = makedev(node.stx_rdev_major, node.stx_rdev_minor);
	return true;
}

ssize_t open_file_info(const struct open_file *file, char *text, size_t size)
{
	char path[PATH_MAX];

	if (file->seen) {
		int r = string_copy(text, size, file->seen->info);
		return r < 0 ? r : (ssize_t)strlen(text);
	}
	snprintf(path, sizeof(path), "%s/%d/fdinfo/%d", file->proc, (int)file->pid, file->fd);
	return file_read(path, text, size);
}

/* proc(5): "pos:\t0\nflags:\t0100002\n…", the flags of open(2) in octal. */
bool open_file_can_write(const struct open_file *file)
{
	char info[OPEN_FILE_INFO_SIZE];

	if (open_file_info(file, info, sizeof(info)) < 0)
		return false;
	const char *flags = strstr(info, "flags:");
	return flags && (strtol(flags + strlen("flags:"), NULL, 8) & O_ACCMODE) != O_RDONLY;
}

void process_name(const char *proc, pid_t pid, char *name, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d/comm", proc, (int)pid);
	if (file_read(path, name, size) <= 0)
		string_copy(name, size, "?");
	for (char *c = name; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}
