#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5, include/uapi/asm-generic/socket.h */
#endif

static int peer_groups(int fd, struct subject *subject)
{
	socklen_t size = 0;
	/* Asked with no room, the kernel says how much there is to know (net/core/sock.c). */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || size == 0)
		return 0;
	if (errno != ERANGE)
		return -errno;
	subject->groups = malloc(size);
	if (!subject->groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, subject->groups, &size) < 0)
		return -errno;
	subject->n_groups = size / sizeof(gid_t);
	return 0;
}

static bool pidfd_has_ended(int pidfd)
{
	return poll_now(pidfd, POLLIN) != 0;
}

/*
 * Before Linux 6.5: the process that has the number now. Whose it was at connect(2) cannot be
 * told any more, so peer_describe() believes no process of another user.
 */
static int peer_pidfd(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t size = sizeof(pidfd);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		return pidfd;
	pidfd = pidfd_open(pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

int process_command(pid_t pid, char *command, size_t size)
{
	char path[64], text[64];
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	ssize_t n = file_read(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	snprintf(command, size, "%.15s", text); /* TASK_COMM_LEN, include/linux/sched.h */
	for (char *c = command; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
	return 0;
}

/*
 * Command, start time and unit are read by number. The number belonged to the peer all the while if
 * the peer's pidfd says, after reading, that it still runs; otherwise they stay empty.
 */
void peer_describe(int fd, struct subject *subject)
{
	_cleanup_close_ int pidfd = peer_pidfd(fd, subject->pid);
	char path[64], command[sizeof(subject->command)];
	unsigned long long start_ticks;
	_cleanup_free_ char *unit = NULL;
	struct stat st;

	if (pidfd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d", (int)subject->pid);
	/* A recycled number: the process that has it now is somebody else's. Its unit's rights
	 * would be, too. */
	if (stat(path, &st) < 0 || st.st_uid != subject->uid)
		return;
	if (process_command(subject->pid, command, sizeof(command)) < 0 ||
		process_start_time(subject->pid, &start_ticks) < 0)
		return;
	if (sd_pid_get_unit(subject->pid, &unit) < 0)
		unit = NULL;
	if (pidfd_has_ended(pidfd))
		return;
	string_copy(subject->command, sizeof(subject->command), command);
	subject->start_ticks = start_ticks;
	if (unit)
		string_copy(subject->unit, sizeof(subject->unit), unit);
}

int peer_credentials(int fd, struct subject *subject)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	*subject = (struct subject){ 0 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	subject->uid = credentials.uid;
	subject->gid = credentials.gid;
	subject->pid = credentials.pid;
	subject->process_uid = credentials.uid;
	int r = peer_groups(fd, subject);
	if (r < 0)
		subject_clear(subject);
	return r;
}

int peer_identify(int fd, struct subject *subject)
{
	int r = peer_credentials(fd, subject);
	if (r == 0)
		peer_describe(fd, subject);
	return r;
}

int pidfd_identify(int fd, pid_t *pid, uid_t *uid)
{
	char path[64], text[1024];
	struct stat st;

	if (!fd_is_pidfd(fd))
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	ssize_t n = file_read(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	/* proc(5): "Pid:\t-1" once it has been reaped. */
	const char *line = strstr(text, "\nPid:");
	*pid = line ? (pid_t)strtol(line + 5, NULL, 10) : -1;
	if (*pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d", (int)*pid);
	if (stat(path, &st) < 0 || pidfd_has_ended(fd))
		return -ESRCH;
	*uid = st.st_uid;
	return 0;
}
