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
#include "client/vfioctl/shim.h"

/* --- in the child: after fork(2), before CMD ------------------------------------------ */

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

__attribute__((noreturn)) void command_execute(char *const argv[])
{
	int error;

	execvp(argv[0], argv);
	error = errno;
	fprintf(stderr, "vfioctl: cannot run %s: %s\n", argv[0], strerrordesc_np(error));
	_exit(error == ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_CANNOT_EXECUTE);
}

struct handed_over {
	char *const *argv;
	const struct handover *handovers;
	int script; /* where they are told when they are known; -1 */
};

__attribute__((noreturn)) static void child_run(int socket, const void *userdata)
{
	const struct handed_over *what = userdata;
	const struct handover *handovers = what->handovers;
	char *const *argv = what->argv;
	int fds[RUN_MAX_FDS], n;
	unsigned char which;
	char *names, **told = NULL;

	/* Blocks until the descriptors are here. */
	n = fds_receive_any(socket, &which, 1, fds);
	if (n < 0 || which >= N_HANDOVERS)
		_exit(EXIT_RUN_FAILED); /* whoever closed the socket has said why */
	names = handovers[which].names;
	if (what->script < 0 && (size_t)n != handovers[which].n_fds)
		_exit(EXIT_RUN_FAILED);
	if (what->script >= 0 && script_read(what->script, &names, &told) < 0) {
		fprintf(stderr, "vfioctl: cannot run %s: its arguments are lost\n", argv[0]);
		_exit(EXIT_RUN_FAILED);
	}
	if (told)
		argv = told;
	if (!fds_install(fds, (size_t)n) || !environment_set(names, (size_t)n)) {
		fprintf(stderr, "vfioctl: cannot hand the %s to %s: %s\n",
			which == HANDOVER_GROUPS ? "groups" : "devices", argv[0],
			strerrordesc_np(errno));
		_exit(EXIT_RUN_FAILED);
	}
	command_execute(argv);
}

/* --- in vfioctl ------------------------------------------------------------------------ */

pid_t launch_begin(struct launch *launch, void (*child)(int socket, const void *userdata),
	const void *userdata, int close_in_child)
{
	int pair[2];
	pid_t pid;

	*launch = (struct launch){ .pid = -1, .pidfd = -1, .socket = -1 };
	if (signal(SIGCHLD, SIG_DFL) == SIG_ERR) /* if inherited as ignored, wait(2) fails */
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		close(close_in_child);
		child(pair[1], userdata);
		_exit(EXIT_RUN_FAILED);
	}
	if (pid < 0)
		pid = -errno;
	close(pair[1]);
	launch->socket = pair[0];
	if (pid < 0)
		launch_close(launch);
	return pid;
}

int launch_fork(struct launch *launch, char *const argv[],
	const struct handover handovers[N_HANDOVERS], int script, int close_in_child)
{
	const struct handed_over what = { argv, handovers, script };
	pid_t pid = launch_begin(launch, child_run, &what, close_in_child);
	int r;

	if (pid < 0)
		return pid;
	launch->pid = pid;
	launch->pidfd = pidfd_open(pid, 0);
	r = launch->pidfd < 0 ? -errno : 0;
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

int launch_block_signals(void)
{
	sigset_t set;

	signals_of_interest(&set);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

int launch_go(struct launch *launch, unsigned char which, const int *fds, size_t n_fds)
{
	int r = launch_block_signals();

	if (r < 0)
		return r;
	r = fds_send(launch->socket, &which, 1, fds, n_fds);
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
		pidfd_send_signal(launch->pidfd, (int)info.ssi_signo, NULL, 0);
}

/* What the supervisor says of it, who is its parent: as launch_ended(). */
static int shim_ended(struct launch *launch, int *status)
{
	ssize_t n = recv(launch->socket, status, sizeof *status, MSG_DONTWAIT);
	struct pollfd cmd = { .fd = launch->pidfd, .events = POLLIN };

	if (n == sizeof *status)
		return 1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	fprintf(stderr, "vfioctl: the supervisor of --shim was killed: %s\n",
		*launch->shim_socket ? "no group can be opened any more"
				     : "nothing can be opened any more");
	while (poll(&cmd, 1, -1) < 0)
		;
	return -ESRCH;
}

/* 1 and its status; 0: not yet; -errno: nobody knows how. */
static int launch_ended(struct launch *launch, int *status)
{
	pid_t ended;

	if (launch->supervisor)
		return shim_ended(launch, status);
	ended = waitpid(launch->pid, status, WNOHANG);
	return ended < 0 ? -errno : ended > 0;
}

int launch_wait(struct launch *launch, int watched, int (*on_news)(void *userdata), void *userdata)
{
	struct pollfd fds[] = { { .events = POLLIN }, { .fd = watched, .events = POLLIN },
		{ .fd = launch->socket, .events = POLLIN } };
	int status = 0, next = NEWS_WHEN_READABLE, ended;
	sigset_t set;

	signals_of_interest(&set);
	fds[0].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	/* Without it, no signal is passed on: they are blocked, and CMD ends by itself. */
	if (fds[0].fd < 0)
		fds[0].fd = fcntl(launch->pidfd, F_DUPFD_CLOEXEC, 0);
	while ((ended = launch_ended(launch, &status)) == 0) {
		int n = poll(fds, 3, next >= 0 ? next : -1);
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
	pid_t child;

	if (launch->socket >= 0)
		close(launch->socket); /* the child reads the end, and ends */
	if (launch->pidfd >= 0)
		close(launch->pidfd);
	child = launch->supervisor ? launch->supervisor : launch->pid;
	if (launch->pid > 0 && child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	shim_socket_remove(launch->shim_socket);
	*launch = (struct launch){ .pid = -1, .pidfd = -1, .socket = -1 };
}
