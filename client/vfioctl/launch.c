#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/vfioctl/run.h"

union rights {
	struct cmsghdr header;
	char space[CMSG_SPACE(RUN_MAX_GROUPS * sizeof(int))];
};

/* --- in the child: after fork(2), before CMD ------------------------------------------ */

/* Blocks until the descriptors are here. False: there will be none, vfioctl has gone. */
static bool fds_receive(int socket, int *fds, size_t n_fds)
{
	char byte;
	struct iovec vector = { &byte, 1 };
	union rights rights;
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = sizeof rights.space };
	struct cmsghdr *header;
	ssize_t n;

	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	header = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS || (message.msg_flags & MSG_CTRUNC) ||
		header->cmsg_len != CMSG_LEN(n_fds * sizeof(int)))
		return false;
	memcpy(fds, CMSG_DATA(header), n_fds * sizeof(int));
	return true;
}

/*
 * To RUN_FIRST_FD and up, open over execve(2). First out of the way of each other; the
 * originals are close-on-exec, as is everything that vfioctl opened.
 */
static bool fds_install(int *fds, size_t n_fds)
{
	int beyond = RUN_FIRST_FD + (int)n_fds;

	for (size_t i = 0; i < n_fds; i++) {
		if (fds[i] >= beyond)
			continue;
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, beyond);
		if (fds[i] < 0)
			return false;
	}
	for (size_t i = 0; i < n_fds; i++)
		if (dup2(fds[i], RUN_FIRST_FD + (int)i) < 0)
			return false;
	return true;
}

static bool environment_set(const char *names, size_t n_fds)
{
	char pid[24], n[24];

	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	snprintf(n, sizeof n, "%zu", n_fds);
	return setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", n, 1) == 0 &&
	       setenv("LISTEN_FDNAMES", names, 1) == 0;
}

__attribute__((noreturn)) static void child_run(
	int socket, char *const argv[], const char *names, size_t n_fds)
{
	int fds[RUN_MAX_GROUPS], error;

	if (!fds_receive(socket, fds, n_fds))
		_exit(EXIT_RUN_FAILED); /* whoever closed the socket has said why */
	if (!fds_install(fds, n_fds) || !environment_set(names, n_fds)) {
		fprintf(stderr, "vfioctl: cannot hand the groups to %s: %s\n", argv[0],
			strerrordesc_np(errno));
		_exit(EXIT_RUN_FAILED);
	}
	execvp(argv[0], argv);
	error = errno;
	fprintf(stderr, "vfioctl: cannot run %s: %s\n", argv[0], strerrordesc_np(error));
	_exit(error == ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_CANNOT_EXECUTE);
}

/* --- in vfioctl ------------------------------------------------------------------------ */

int launch_fork(struct launch *launch, char *const argv[], const char *names, size_t n_fds,
	int close_in_child)
{
	int pair[2], r;

	*launch = (struct launch){ .pid = -1, .pidfd = -1, .socket = -1 };
	if (signal(SIGCHLD, SIG_DFL) == SIG_ERR) /* if inherited as ignored, wait(2) fails */
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	launch->pid = fork();
	if (launch->pid == 0) {
		close(pair[0]);
		close(close_in_child);
		child_run(pair[1], argv, names, n_fds);
	}
	r = launch->pid < 0 ? -errno : 0;
	close(pair[1]);
	launch->socket = pair[0];
	if (r == 0) {
		launch->pidfd = pidfd_open(launch->pid, 0);
		r = launch->pidfd < 0 ? -errno : 0;
	}
	if (r < 0)
		launch_close(launch);
	return r;
}

static void signals_of_interest(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGTERM);
}

static int fds_send(int socket, const int *fds, size_t n_fds)
{
	char byte = 0;
	struct iovec vector = { &byte, 1 };
	union rights rights = { 0 };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	ssize_t n;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	do
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int launch_go(struct launch *launch, const int *fds, size_t n_fds)
{
	sigset_t set;
	int r;

	signals_of_interest(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = fds_send(launch->socket, fds, n_fds);
	close(launch->socket);
	launch->socket = -1;
	/* EPIPE: somebody killed it while it waited; launch_wait() will tell. */
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

static int exit_code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What was typed while CMD ended was meant for CMD. */
static void signals_restore(const sigset_t *set)
{
	const struct timespec now = { 0 };

	while (sigtimedwait(set, NULL, &now) > 0)
		;
	sigprocmask(SIG_UNBLOCK, set, NULL);
}

/*
 * The terminal signals its whole foreground group, so CMD has had those itself (SI_KERNEL). Only
 * what a process sends to us alone is passed on.
 */
static void signal_pass_on(const struct launch *launch, int signals)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof info) == sizeof info && info.ssi_signo != SIGCHLD &&
		info.ssi_code != SI_KERNEL)
		kill(launch->pid, (int)info.ssi_signo);
}

int launch_wait(struct launch *launch, int watched, int (*on_news)(void *userdata), void *userdata)
{
	struct pollfd fds[] = { { .events = POLLIN }, { .fd = watched, .events = POLLIN } };
	int status = 0, next = NEWS_WHEN_READABLE;
	pid_t ended;
	sigset_t set;

	signals_of_interest(&set);
	fds[0].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	/* Without it, no signal is passed on: they are blocked, and CMD ends by itself. */
	if (fds[0].fd < 0)
		ended = waitpid(launch->pid, &status, 0);
	else
		while ((ended = waitpid(launch->pid, &status, WNOHANG)) == 0) {
			int n = poll(fds, 2, next >= 0 ? next : -1);
			if (n < 0)
				continue;
			if (fds[0].revents)
				signal_pass_on(launch, fds[0].fd);
			if (n == 0 || (fds[1].fd >= 0 && fds[1].revents))
				next = on_news(userdata);
			fds[1].fd = next == NEWS_WHEN_READABLE ? watched : -1;
		}
	if (fds[0].fd >= 0)
		close(fds[0].fd);
	signals_restore(&set);
	launch->pid = -1;
	return ended < 0 ? EXIT_RUN_FAILED : exit_code_of(status);
}

void launch_close(struct launch *launch)
{
	if (launch->socket >= 0)
		close(launch->socket); /* the child reads the end, and ends */
	if (launch->pidfd >= 0)
		close(launch->pidfd);
	if (launch->pid > 0)
		while (waitpid(launch->pid, NULL, 0) < 0 && errno == EINTR)
			;
	*launch = (struct launch){ .pid = -1, .pidfd = -1, .socket = -1 };
}
