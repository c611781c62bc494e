/* How a keeper comes to be, and what else the host says of it. */
#include "daemon/base/child.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/memory/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#define OOM_FIRST 1000
#define OOM_NEVER (-1000)

static const char *const role_names[] = {
	[KEEPER_SPACE] = "keeper",
	[KEEPER_POPULATE] = "populate",
	[KEEPER_PUNCH] = "punch",
	[KEEPER_BOOK] = "book",
};

/*
 * Not less than the client's: when there is no memory left, the client is not to die for its
 * keeper. Nor as little as the daemon's, which a child has from it.
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

/* It goes on where that cannot be: the memory that it touches is billed to vfiod's cgroup then. */
static void go_where_client_is(const struct subject *client)
{
	char path[CGROUP_PATH_SIZE];

	int r = cgroup_find(&cgroup_mounts, client->pid, client->start_ticks, path);
	if (r == 0)
		r = cgroup_enter(&cgroup_mounts, path);
	if (r < 0)
		log_warning("a keeper for process %d stays in the control group of vfiod: %s",
			(int)client->pid, strerror(-r));
}

_Noreturn static void child_run(
	const char *path, enum keeper_role role, const struct subject *client, int socket)
{
	static const struct rlimit nothing = { 0, 0 };
	char *const arguments[] = { (char *)path, (char *)role_names[role], NULL };
	char *const environment[] = { NULL };

	if (child_isolate("vfiod-keeper", socket) < 0)
		_exit(1);
	set_oom_score(oom_score_for(role, client ? client->pid : getpid()));
	if (client)
		go_where_client_is(client);
	/* What it may have locked is what is booked, and that is nothing yet. */
	setrlimit(RLIMIT_MEMLOCK, &nothing);
	execve(path, arguments, environment);
	log_error("%s cannot be started: %s", path, strerror(errno));
	_exit(127);
}

static pid_t spawn(
	const char *path, enum keeper_role role, const struct subject *client, int socket)
{
	pid_t pid = child_fork();
	if (pid == 0)
		child_run(path, role, client, socket);
	return pid;
}

static int limit_locked(pid_t pid, uint64_t bytes)
{
	struct rlimit limit = { bytes, bytes };
	return prlimit(pid, RLIMIT_MEMLOCK, &limit, NULL) < 0 ? -errno : 0;
}

static int64_t locked(pid_t pid)
{
	char name[64], line[256];
	snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	_cleanup_fclose_ FILE *status = fopen(name, "re");
	if (!status)
		return -errno;
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, "VmLck:", 6) == 0)
			return strtoll(line + 6, NULL, 10) * 1024;
	return -ESRCH; /* a process without memory has none of these lines */
}

static int open_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int headroom(const struct subject *client, struct cgroup_headroom *room)
{
	char path[CGROUP_PATH_SIZE];

	int r = cgroup_find(&cgroup_mounts, client->pid, client->start_ticks, path);
	return r < 0 ? r : cgroup_headroom(&cgroup_mounts, path, room);
}

const struct keeper_ops keeper_ops = {
	.spawn = spawn,
	.limit_locked = limit_locked,
	.locked = locked,
	.open_container = open_container,
	.headroom = headroom,
};
