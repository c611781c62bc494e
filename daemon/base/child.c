#include "daemon/base/child.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

pid_t child_fork(void)
{
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		return 0;
	int error = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid < 0 ? -error : pid;
}

/*
 * What is sent to the daemon's process group, control group or terminal must not end a
 * transaction in the middle. SIGKILL does: then the journal has it.
 */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1,
		SIGUSR2 };
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	/* The daemon's handlers would write to pipes of its loop. Reserved numbers fail: fine. */
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	action.sa_handler = SIG_IGN;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the terminal's reach altogether: its ^Z would stop a transaction. */
	setsid();
}

static void close_from(int first)
{
	if (close_range((unsigned)first, ~0U, 0) == 0)
		return;
	/* A kernel or sandbox without it: a copy of a client's fd kept here would outlive it. */
	for (long fd = first, end = sysconf(_SC_OPEN_MAX); fd < end; fd++)
		close((int)fd);
}

/*
 * 0 and 1 (and 2, if it was closed) become /dev/null: what a library prints must not go into
 * an attribute of sysfs that happens to be open there.
 */
static int keep_only(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FD + 1);
	if (high < 0)
		return -errno;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	bool has_stderr = fcntl(STDERR_FILENO, F_GETFD) >= 0 && null != STDERR_FILENO;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		(!has_stderr && dup2(null, STDERR_FILENO) < 0) || dup2(high, CHILD_FD) < 0)
		return -errno;
	close_from(CHILD_FD + 1);
	return 0;
}

int child_isolate(const char *name, int fd)
{
	prctl(PR_SET_NAME, name);
	ignore_signals();
	return keep_only(fd);
}
