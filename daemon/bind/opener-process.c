/* Which processes there are, and how near they are to who had the lease. */
#include "daemon/bind/opener-parts.h"

#include "daemon/base/util.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define ANCESTORS_MAX 64      /* a chain of processes is longer only on purpose */

/* The n-th field, from 1, of what follows a blank each; NULL if there are not so many. */
static const char *field(const char *text, int n)
{
	for (; text && n > 0; n--) {
		text = strchr(text, ' ');
		text = text ? text + 1 : NULL;
	}
	return text;
}

/* proc(5): the command's name may hold blanks and parentheses, so fields count from the last. */
static int parse_stat(char *stat, struct process *process)
{
	char *open = strchr(stat, '('), *close = strrchr(stat, ')');

	if (!open || !close || close < open)
		return -EBADMSG;
	/* After it: state, ppid, pgrp, session, tty_nr, tpgid, flags, … as the 20th, starttime. */
	const char *parent = field(close, 2), *session = field(close, 4), *flags = field(close, 7),
		   *start = field(close, 20);
	if (!start)
		return -EBADMSG;
	process->parent = (pid_t)strtol(parent, NULL, 10);
	process->session = (pid_t)strtol(session, NULL, 10);
	process->is_kernel = strtoul(flags, NULL, 10) & PF_KTHREAD;
	process->start_ticks = strtoull(start, NULL, 10);
	*close = '\0';
	snprintf(process->command, sizeof(process->command), "%.15s", open + 1);
	for (char *c = process->command; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
	return 0;
}

static int process_read(const char *proc, pid_t pid, struct process *process)
{
	char path[OPENER_PATH_SIZE + 32], text[1024];
	struct stat st;

	*process = (struct process){ .pid = pid };
	/* The directory itself is its user's, even if the process is not dumpable (fs/proc/base.c,
	 * task_dump_owner). */
	snprintf(path, sizeof(path), "%s/%d", proc, (int)pid);
	if (stat(path, &st) < 0)
		return -errno;
	process->uid = st.st_uid;
	snprintf(path, sizeof(path), "%s/%d/stat", proc, (int)pid);
	ssize_t n = file_read(path, text, sizeof(text));
	return n < 0 ? (int)n : parse_stat(text, process);
}

bool process_lives(const struct search *search, const struct process *process)
{
	struct process now;

	return process_read(search->proc, process->pid, &now) == 0 &&
	       now.start_ticks == process->start_ticks;
}

/* "0::/system.slice/dpdk.service": who is in the root is in no group that says anything. */
static void read_cgroup(const char *proc, pid_t pid, char *cgroup, size_t size)
{
	char path[OPENER_PATH_SIZE + 32], text[4096];

	cgroup[0] = '\0';
	snprintf(path, sizeof(path), "%s/%d/cgroup", proc, (int)pid);
	if (file_read(path, text, sizeof(text)) < 0)
		return;
	char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (!line)
		return;
	line += *line == '\n' ? 4 : 3;
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, "/") != 0)
		string_copy(cgroup, size, line);
}

int opener_kin_read(const char *root, pid_t pid, struct opener_kin *kin)
{
	char proc[OPENER_PATH_SIZE];
	struct process process;

	*kin = (struct opener_kin){ 0 };
	snprintf(proc, sizeof(proc), "%s/proc", root);
	int r = process_read(proc, pid, &process);
	if (r < 0)
		return r;
	kin->pid = pid;
	kin->start_ticks = process.start_ticks;
	kin->session = process.session;
	kin->uid = process.uid;
	read_cgroup(proc, pid, kin->cgroup, sizeof(kin->cgroup));
	return 0;
}

static int by_pid(const void *left, const void *right)
{
	const struct process *a = left, *b = right;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

static int by_relation(const void *left, const void *right)
{
	const struct process *a = left, *b = right;
	return a->relation != b->relation ? (int)b->relation - (int)a->relation : by_pid(a, b);
}

static const struct process *process_find(const struct search *search, pid_t pid)
{
	struct process key = { .pid = pid };
	return bsearch(&key, search->processes, search->n_processes, sizeof(key), by_pid);
}

static bool descends(const struct search *search, const struct process *process)
{
	const struct opener_kin *former = &search->query->former;

	for (int i = 0; process && i < ANCESTORS_MAX; i++) {
		if (process->pid == former->pid)
			return process->start_ticks == former->start_ticks;
		process = process_find(search, process->parent);
	}
	return false;
}

static enum relation relate(const struct search *search, const struct process *process)
{
	const struct opener_kin *former = &search->query->former;

	if (former->pid == 0)
		return RELATION_NONE;
	if (descends(search, process))
		return RELATION_DESCENT;
	/* Its number is not given to another process while one of the session is left. */
	if (former->session > 0 && process->session == former->session)
		return RELATION_SESSION;
	return process->uid == former->uid ? RELATION_USER : RELATION_NONE;
}

enum relation process_relation(const struct search *search, const struct process *process)
{
	const struct opener_kin *former = &search->query->former;
	char cgroup[sizeof(former->cgroup)];

	if (process->relation >= RELATION_CGROUP || !*former->cgroup)
		return process->relation;
	read_cgroup(search->proc, process->pid, cgroup, sizeof(cgroup));
	return strcmp(cgroup, former->cgroup) == 0 ? RELATION_CGROUP : process->relation;
}

static bool is_our_own(const struct search *search, const struct process *process)
{
	const struct opener_query *query = search->query;

	return process->pid == getpid() ||
	       (query->daemon > 0 &&
		       (process->pid == query->daemon || process->parent == query->daemon)) ||
	       (query->keeper > 0 && process->pid == query->keeper) ||
	       (query->former_child > 0 && process->pid == query->former_child);
}

/* Takes it out only after the ancestors were looked at: the daemon may be one. */
static void drop_our_own(struct search *search)
{
	size_t n = 0;

	for (size_t i = 0; i < search->n_processes; i++)
		if (!is_our_own(search, &search->processes[i]))
			search->processes[n++] = search->processes[i];
	search->n_processes = n;
}

static int add_process(struct search *search, const struct process *process)
{
	size_t n = search->n_processes;

	/* Grows at each power of two. */
	if ((n & (n - 1)) == 0) {
		struct process *grown =
			reallocarray(search->processes, n > 0 ? 2 * n : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		search->processes = grown;
	}
	search->processes[search->n_processes++] = *process;
	return 0;
}

int search_read_processes(struct search *search)
{
	DIR *directory = opendir(search->proc);
	const struct dirent *entry;
	int r = 0;

	if (!directory)
		return -errno;
	while (r == 0 && (entry = readdir(directory)) && search_has_time(search)) {
		struct process process;

		/* Those that end while one looks at them have nothing open any more. */
		if (isdigit((unsigned char)*entry->d_name) &&
			process_read(search->proc, (pid_t)strtol(entry->d_name, NULL, 10),
				&process) == 0 &&
			!process.is_kernel)
			r = add_process(search, &process);
	}
	closedir(directory);
	if (r < 0 || search->n_processes == 0)
		return r;
	qsort(search->processes, search->n_processes, sizeof(struct process), by_pid);
	for (size_t i = 0; i < search->n_processes; i++)
		search->processes[i].relation = relate(search, &search->processes[i]);
	drop_our_own(search);
	qsort(search->processes, search->n_processes, sizeof(struct process), by_relation);
	return 0;
}
