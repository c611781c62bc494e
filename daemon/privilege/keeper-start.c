#include "daemon/privilege/keeper-start.h"

#include "daemon/base/cgroup.h"
#include "daemon/base/child.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define OOM_FIRST 1000
#define OOM_NEVER (-1000)

static const char *const role_names[] = {
	[KEEPER_SPACE] = "keeper",
	[KEEPER_SPACE_IOMMUFD] = "keeper-iommufd",
	[KEEPER_POPULATE] = "populate",
	[KEEPER_PUNCH] = "punch",
	[KEEPER_BOOK] = "book",
};

/*
 * Not less than the client's: when there is no memory left, the client is not to die for its
 * keeper. Nor as little as a daemon's, which a child has from it.
 */
static int oom_score_for(enum keeper_role role, pid_t client)
{
	char name[64], text[32];

	if (role == KEEPER_POPULATE)
		return OOM_FIRST;
	snprintf(name, sizeof(name), "/proc/%d/oom_score_adj", (int)client);
	if (file_read(name, text, sizeof(text)) < 0)
		return 0;
	/* One that cannot be killed would have the kernel look for memory for ever. */
	long score = strtol(text, NULL, 10);
	return score > OOM_NEVER ? (int)score : OOM_NEVER + 1;
}

static void set_oom_score(int score)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d", score) < 0)
		log_warning("a keeper keeps the oom_score_adj of vfiod: %s", strerror(errno));
}

/* It goes on where that cannot be: the memory that it touches is billed to the cgroup of who
 * started it. */
static void go_where_client_is(const struct process_id *client)
{
	char path[CGROUP_PATH_SIZE];

	int r = cgroup_find(&cgroup_mounts, client->pid, client->start_ticks, path);
	if (r == 0)
		r = cgroup_enter(&cgroup_mounts, path);
	if (r < 0)
		log_warning(
			"a keeper for process %d stays in the control group it was started in: %s",
			(int)client->pid, strerror(-r));
}

_Noreturn static void child_run(
	const char *path, enum keeper_role role, const struct process_id *client, int socket)
{
	static const struct rlimit nothing = { 0, 0 };
	char *const arguments[] = { (char *)path, (char *)role_names[role], NULL };
	char *const environment[] = { NULL };

	if (child_isolate("vfiod-keeper", socket) < 0)
		_exit(1);
	set_oom_score(oom_score_for(role, client->pid > 0 ? client->pid : getpid()));
	if (client->pid > 0)
		go_where_client_is(client);
	/* What it may have locked is what is booked, and that is nothing yet. */
	setrlimit(RLIMIT_MEMLOCK, &nothing);
	execve(path, arguments, environment);
	log_error("%s cannot be started: %s", path, strerror(errno));
	_exit(127);
}

pid_t keeper_start(
	const char *path, enum keeper_role role, const struct process_id *client, int socket)
{
	pid_t pid = child_fork();
	if (pid == 0)
		child_run(path, role, client, socket);
	return pid;
}
