/*
 * keep-running FILE SOCKET COMMAND…: what systemd is for vfiod, as far as a restart goes: a
 * listening socket, a store of descriptors, and another process as soon as one was killed. As root.
 *
 * FILE has the pid of the one that runs, written anew each time. Who is sent SIGTERM passes it on,
 * and ends with the same status; so it does when the command ends by itself. What was stored is
 * gone then.
 */
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first of what is handed over (sd_listen_fds(3)). */
enum { FIRST_FD = 3, STORE_MAX = 16384, NAMES_BYTES = 128 << 10 };

struct stored {
	char name[32];
	int fd;
};

static struct stored store[STORE_MAX];
static size_t n_stored;

static void store_add(const char *name, int fd)
{
	if (n_stored == STORE_MAX)
		errx(EXIT_WRONG, "more than %d descriptors", STORE_MAX);
	snprintf(store[n_stored].name, sizeof(store[n_stored].name), "%s", name);
	store[n_stored++].fd = fd;
}

static void store_remove(const char *name)
{
	for (size_t i = n_stored; i-- > 0;) {
		if (strcmp(store[i].name, name) != 0)
			continue;
		close(store[i].fd);
		store[i] = store[--n_stored];
	}
}

static void obey(char *text, int fd)
{
	const char *name = "stored";
	bool puts = false, removes = false;

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		puts |= strcmp(line, "FDSTORE=1") == 0;
		removes |= strcmp(line, "FDSTOREREMOVE=1") == 0;
		if (strncmp(line, "FDNAME=", 7) == 0)
			name = line + 7;
	}
	if (removes)
		store_remove(name);
	if (puts && fd >= 0)
		store_add(name, fd);
	else if (fd >= 0)
		close(fd); /* BARRIER=1: it is waited for */
}

/* One message. False: there is none. */
static bool message_take(int notify)
{
	char text[4096];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vector = { text, sizeof(text) - 1 };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int fd = -1;

	ssize_t n = recvmsg(notify, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return false;
	const struct cmsghdr *first = CMSG_FIRSTHDR(&message);
	if (first && first->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(first), sizeof(fd));
	text[n] = '\0';
	obey(text, fd);
	return true;
}

static int socket_at(int type, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err(EXIT_SYSTEM, "%s", path);
	return fd;
}

/* In the child. Two at a time may be where they are to be: they all go out of the way first. */
static void hand_over(int listener)
{
	static char names[NAMES_BYTES];
	char number[16];
	size_t used = (size_t)snprintf(names, sizeof(names), "varlink");
	int above = FIRST_FD + (int)n_stored + 1;

	listener = fcntl(listener, F_DUPFD_CLOEXEC, above);
	for (size_t i = 0; i < n_stored; i++)
		store[i].fd = fcntl(store[i].fd, F_DUPFD_CLOEXEC, above);
	dup2(listener, FIRST_FD);
	for (size_t i = 0; i < n_stored; i++) {
		if (dup2(store[i].fd, FIRST_FD + 1 + (int)i) < 0)
			err(EXIT_SYSTEM, "dup2");
		used += (size_t)snprintf(names + used, sizeof(names) - used, ":%s", store[i].name);
	}
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%zu", n_stored + 1);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}

static pid_t start(int listener, const char *file, char *command[])
{
	char path[4096];
	sigset_t none;
	pid_t pid = fork();

	if (pid < 0)
		err(EXIT_SYSTEM, "fork");
	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		hand_over(listener);
		execvp(command[0], command);
		err(EXIT_SYSTEM, "%s", command[0]);
	}
	/* Who reads it sees all of it or nothing. */
	snprintf(path, sizeof(path), "%s.new", file);
	FILE *stream = fopen(path, "we");
	if (!stream || fprintf(stream, "%d\n", (int)pid) < 0 || fclose(stream) != 0 ||
		rename(path, file) < 0)
		err(EXIT_SYSTEM, "%s", file);
	return pid;
}

int main(int argc, char *argv[])
{
	char path[108];
	sigset_t mask;
	bool ends = false;

	if (argc < 4)
		errx(EXIT_USAGE, "usage: keep-running FILE SOCKET COMMAND…");
	snprintf(path, sizeof(path), "%s.notify", argv[1]);
	int notify = socket_at(SOCK_DGRAM, path), listener = socket_at(SOCK_STREAM, argv[2]);
	if (chmod(argv[2], 0666) < 0 || listen(listener, SOMAXCONN) < 0)
		err(EXIT_SYSTEM, "%s", argv[2]);
	setenv("NOTIFY_SOCKET", path, 1);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	int signals = signalfd(-1, &mask, SFD_CLOEXEC);
	pid_t pid = start(listener, argv[1], argv + 3);
	for (;;) {
		struct pollfd polled[] = { { notify, POLLIN, 0 }, { signals, POLLIN, 0 } };
		struct signalfd_siginfo info;
		int status;
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			err(EXIT_SYSTEM, "poll");
		/* What it has said before its end counts, as with systemd. */
		while (message_take(notify))
			;
		if (!(polled[1].revents & POLLIN) ||
			read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo == SIGTERM) {
			ends = true;
			kill(pid, SIGTERM);
		}
		if (waitpid(pid, &status, WNOHANG) != pid)
			continue;
		while (message_take(notify))
			;
		if (ends || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		pid = start(listener, argv[1], argv + 3);
	}
}
