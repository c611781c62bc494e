/* vfioctl's two children with --shim: the supervisor, and CMD, which is his. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/shim/wire.h"
#include "client/vfioctl/shim.h"

struct supervision {
	const struct shim_options *options;
	char *path; /* with a library: where it asks, who listens there */
	int listener;
};

/* --- in CMD's process, before CMD ------------------------------------------------------- */

/* The library first, as what it interposes is others' to be asked next. 0 or -errno. */
static int environment_set(const char *library, const char *socket)
{
	const char *others = getenv("LD_PRELOAD");
	char *libraries;
	int r;

	if (asprintf(&libraries, "%s%s%s", library, others && *others ? ":" : "",
		    others ? others : "") < 0)
		return -ENOMEM;
	r = setenv("LD_PRELOAD", libraries, 1) < 0 || setenv(SHIM_ENVIRONMENT, socket, 1) < 0
		    ? -errno
		    : 0;
	free(libraries);
	return r;
}

/* 0: the supervisor has it. Or -errno. */
static int filter_send(int socket, bool observes)
{
	int listener, r = shim_filter_install(observes, &listener);
	char byte = 0;

	/* From here on it must open nothing by itself before the supervisor has it. */
	if (r < 0)
		return r;
	r = fds_send(socket, &byte, 1, &listener, 1);
	close(listener);
	return r;
}

__attribute__((noreturn)) static void child_run(int socket, const struct supervision *what)
{
	const struct shim_options *options = what->options;
	char *const *argv = options->argv;
	char byte, *names, **told;
	int r;

	if (read(socket, &byte, 1) != 1)
		_exit(EXIT_RUN_FAILED); /* whoever closed it has said why */
	if (options->script >= 0) {
		if (script_read(options->script, &names, &told) < 0) {
			fprintf(stderr, "vfioctl: cannot run %s: its arguments are lost\n",
				argv[0]);
			_exit(EXIT_RUN_FAILED);
		}
		argv = told;
	}
	r = options->library ? environment_set(options->library, what->path)
			     : filter_send(socket, options->observes);
	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot answer for what %s opens: %s%s\n", argv[0],
			strerrordesc_np(-r),
			r == -EBUSY ? "; vfioctl runs under another such supervisor" : "");
		_exit(EXIT_RUN_FAILED);
	}
	command_execute(argv);
}

/* --- in the supervisor ------------------------------------------------------------------ */

/* Those that come from the terminal, or to everybody, are meant for CMD. */
static void signals_ignore(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU,
		SIGPIPE };

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		signal(signals[i], SIG_IGN);
}

/* Who reads what CMD writes must not wait for us. */
static void stdio_drop(int first, int last)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = first; fd <= last; fd++)
		if (null < 0)
			close(fd);
		else
			dup2(null, fd);
	if (null > last)
		close(null);
}

/* CMD's end is told to vfioctl; ours is when nobody has the filter any more. */
static void wait_for_all(pid_t pid, int pidfd, int vfioctl, int listener)
{
	/* kernel/seccomp.c, seccomp_notify_poll(): POLLHUP. Others are the workers'. */
	struct pollfd fds[] = { { .fd = pidfd, .events = POLLIN }, { .fd = listener } };

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		int status;

		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			fds[1].fd = -1;
		if (!fds[0].revents || waitpid(pid, &status, WNOHANG) != pid)
			continue;
		send(vfioctl, &status, sizeof status, MSG_NOSIGNAL);
		close(vfioctl);
		stdio_drop(2, 2);
		fds[0].fd = -1;
	}
}

/* Until CMD is to be run: false, it is not. */
static bool cmd_begin(struct shim *shim, struct shim_lease *lease, int vfioctl, int cmd)
{
	bool is_preloaded = shim->listener >= 0;
	char byte = 0;
	int r;

	if (recv(vfioctl, lease, sizeof *lease, 0) != sizeof *lease)
		return false;
	shim->lease = lease;
	stdio_drop(0, 1);
	pthread_mutex_init(&shim->lock, NULL);
	pthread_mutex_init(&shim->observing, NULL);
	/* If it does not get as far as that, it says so by its status. */
	if (send(cmd, &byte, 1, MSG_NOSIGNAL) < 0 ||
		(!is_preloaded && !fds_receive(cmd, &byte, 1, &shim->listener, 1)))
		return true;
	r = is_preloaded ? shim_socket_serve(shim) : shim_serve(shim);
	if (r < 0)
		fprintf(stderr, "vfioctl: nobody can answer for what it opens: %s\n",
			strerrordesc_np(-r));
	return r == 0;
}

__attribute__((noreturn)) static void supervise(int vfioctl, const void *userdata)
{
	static struct shim_lease lease;
	static struct shim shim;
	const struct supervision *what = userdata;
	int pair[2], pidfd;
	bool begins;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		_exit(EXIT_RUN_FAILED);
	pid = fork();
	if (pid == 0) {
		close(vfioctl);
		close(pair[0]);
		child_run(pair[1], what);
	}
	close(pair[1]);
	if (what->options->script >= 0)
		close(what->options->script);
	pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
	if (pidfd < 0 || fds_send(vfioctl, &pid, sizeof pid, &pidfd, 1) < 0)
		_exit(EXIT_RUN_FAILED);
	signals_ignore();
	prctl(PR_SET_NAME, "vfioctl-shim");
	shim.socket = what->options->socket;
	shim.tells = what->options->observes;
	shim.listener = what->listener;
	begins = cmd_begin(&shim, &lease, vfioctl, pair[0]);
	close(pair[0]);
	if (begins) {
		wait_for_all(pid, pidfd, vfioctl, *what->path ? -1 : shim.listener);
	} else {
		if (shim.listener >= 0)
			close(shim.listener);
		waitpid(pid, NULL, 0);
	}
	shim_socket_remove(what->path);
	_exit(begins ? 0 : EXIT_RUN_FAILED);
}

/* --- in vfioctl ------------------------------------------------------------------------ */

int shim_launch(struct launch *launch, const struct shim_options *options, int close_in_child)
{
	char path[SHIM_SOCKET_SIZE] = "";
	struct supervision what = { .options = options, .path = path, .listener = -1 };
	pid_t supervisor;
	int r = options->library ? shim_socket_make(path, &what.listener) : 0;

	if (r < 0) {
		*launch = (struct launch){ .pid = -1, .pidfd = -1, .socket = -1 };
		return r;
	}
	supervisor = launch_begin(launch, supervise, &what, close_in_child);
	if (what.listener >= 0)
		close(what.listener);
	if (supervisor < 0) {
		shim_socket_remove(path);
		return supervisor;
	}
	launch->supervisor = supervisor;
	memcpy(launch->shim_socket, path, sizeof path);
	if (fds_receive(launch->socket, &launch->pid, sizeof launch->pid, &launch->pidfd, 1))
		return 0;
	launch_close(launch);
	return -EAGAIN;
}

int shim_go(struct launch *launch, const struct shim_lease *lease)
{
	int r = launch_block_signals();

	if (r == 0 && send(launch->socket, lease, sizeof *lease, MSG_NOSIGNAL) < 0)
		r = -errno;
	/* EPIPE: somebody killed it while it waited; launch_wait() will tell. */
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}
