#include "daemon/keeper/isolate.h"

#include "daemon/base/util.h"
#include "daemon/keeper/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define KEEPER_USER "vfiod-keeper"

void complain(const char *format, ...)
{
	char line[256] = "vfiod-keeper: ";
	size_t length = strlen(line);
	va_list arguments;

	/* No stdio stream: it might want system calls that the filter does not have. */
	va_start(arguments, format);
	vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	length = strlen(line);
	line[length++] = '\n';
	ssize_t n = write(STDERR_FILENO, line, length);
	(void)n;
}

static int failed(const char *what)
{
	int error = errno;
	complain("%s: %s", what, strerror(error));
	return -error;
}

/*
 * Stage 1, still all of root's power: nothing of the daemon's is left but the socket, and what is
 * sent to the client's session or unit does not end it: a client's devices are to be given up in
 * order.
 */
static int leave_daemon(void)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1,
		SIGUSR2 };
	struct sigaction action = { .sa_handler = SIG_DFL };
	socklen_t size = sizeof(int);
	sigset_t none;
	int type;

	if (getsockopt(SOCKET_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
		type != SOCK_SEQPACKET) {
		complain("descriptor 3 is not its socket: it is started by vfiod only");
		return -EBADF;
	}
	if (fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC) < 0 || close_range(SOCKET_FD + 1, ~0U, 0) < 0)
		return failed("descriptors");
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL); /* those that cannot be set fail: fine */
	action.sa_handler = SIG_IGN;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid(); /* fails where it leads one already */
	return chdir("/") < 0 ? failed("/") : 0;
}

/*
 * Stage 2: what only root may open. Frames are shown to whom the file was opened by
 * (fs/proc/task_mmu.c: pagemap_read() asks for the capability of file->f_cred).
 */
static int open_pagemap(enum role role, int *pagemap)
{
	*pagemap = -1;
	if (role != ROLE_KEEPER && role != ROLE_KEEPER_IOMMUFD)
		return 0;
	*pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return *pagemap < 0 ? failed("/proc/self/pagemap") : 0;
}

/* Stage 3: from here on it has the files and the signals of a user who owns nothing else. */
static int become_keeper(void)
{
	if (geteuid() != 0)
		return 0;
	errno = 0;
	const struct passwd *user = getpwnam(KEEPER_USER);
	if (!user && errno)
		return failed("user " KEEPER_USER);
	if (!user || user->pw_uid == 0) {
		complain("there is no user " KEEPER_USER ": systemd-sysusers makes it, from "
			 "sysusers.d/vfiod.conf");
		return -ESRCH;
	}
	if (setgroups(0, NULL) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
		setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
		return failed("becoming " KEEPER_USER);
	return 0;
}

/*
 * Stage 2½, as it needs a capability itself: none can come back by exec. Without CAP_SETPCAP it
 * stays as vfiod's own unit has it, and no_new_privs does as well.
 */
static void empty_bounding_set(void)
{
	for (unsigned long capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			break;
}

/* Stage 4: no capability, whoever it is, and no way to get one. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed("no_new_privs");
	if (syscall(SYS_capset, &header, sets) < 0)
		return failed("capabilities");
	if (syscall(SYS_capget, &header, sets) < 0)
		return failed("capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		if (sets[i].effective || sets[i].permitted || sets[i].inheritable) {
			complain("capabilities are left");
			return -EPERM;
		}
	return 0;
}

/*
 * Stage 5: nobody reads it, traces it (other processes of this user are keepers, too) or has it
 * written to disk, it cannot multiply, and nothing can be pinned before the daemon says how much
 * (its prlimit(2) raises hard limits).
 */
static int set_limits(enum role role)
{
	static const int limited[] = { RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_MEMLOCK };
	const struct rlimit zero = { 0, 0 };
	struct rlimit files;

	for (size_t i = 0; i < ARRAY_SIZE(limited); i++)
		if (setrlimit(limited[i], &zero) < 0)
			return failed("resource limits");
	/* Each memory is one. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* What it would fill for a daemon that is no more, nobody would ever make a hole again.
	 * After the change of identity, which forgets it. */
	if (role == ROLE_POPULATE && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return failed("the end of vfiod");
	/* Last: a change of identity sets it as fs.suid_dumpable says. */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? failed("dumpable") : 0;
}

int isolate(enum role role, int *pagemap)
{
	int r = leave_daemon();
	if (r == 0)
		r = open_pagemap(role, pagemap);
	if (r == 0) {
		empty_bounding_set();
		r = become_keeper();
	}
	if (r == 0)
		r = drop_capabilities();
	if (r == 0)
		r = set_limits(role);
	/* Stage 6: the system calls of its work, and no other. */
	if (r == 0) {
		r = filter_load(role);
		if (r < 0)
			complain("system call filter: %s", strerror(-r));
	}
	return r;
}
