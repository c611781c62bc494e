/* The walk through all processes. */
#include "daemon/base/util.h"
#include "daemon/privilege/privilege.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <time.h>

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* A decimal name. 0: it is no process. */
static pid_t read_pid(const char *name)
{
	char *end;

	if (!isdigit((unsigned char)name[0]))
		return 0;
	errno = 0;
	long value = strtol(name, &end, 10);
	return errno || *end || value > INT_MAX ? 0 : (pid_t)value;
}

int open_files_visit(const char *proc, int seconds, open_file_visitor visitor, void *userdata)
{
	time_t end = seconds_now() + seconds;
	const struct dirent *entry;
	int r = 0;

	DIR *processes = opendir(proc);
	if (!processes)
		return -errno;
	while (r == 0 && (errno = 0, entry = readdir(processes))) {
		pid_t pid = read_pid(entry->d_name);
		if (pid > 0 && pid != getpid())
			r = privilege_visit_files(
				proc, pid, (int)(end - seconds_now()), visitor, userdata);
	}
	if (r == 0 && errno != 0)
		r = -errno;
	closedir(processes);
	return r < 0 ? r : 0;
}
