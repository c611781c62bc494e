#include "fake-systemd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { FROM = 3, OUT_OF_THE_WAY = 100 };

static const char *value_of(const char *text, const char *key)
{
	const char *found = strstr(text, key);
	return found && (found == text || found[-1] == '\n') ? found + strlen(key) : NULL;
}

static void keep(struct fake_systemd *systemd, const char *name, size_t length, int fd)
{
	assert_true(length < STORE_NAME_SIZE);
	if (systemd->is_forgetful) {
		close(fd);
		return;
	}
	assert_true(systemd->n_kept < KEPT_MAX);
	memcpy(systemd->names[systemd->n_kept], name, length);
	systemd->names[systemd->n_kept][length] = '\0';
	systemd->fds[systemd->n_kept++] = fcntl(fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	close(fd);
}

static void drop(struct fake_systemd *systemd, const char *name)
{
	for (size_t i = 0; i < systemd->n_kept; i++) {
		if (strcmp(systemd->names[i], name) != 0)
			continue;
		close(systemd->fds[i]);
		systemd->n_kept--;
		systemd->fds[i] = systemd->fds[systemd->n_kept];
		memmove(systemd->names[i], systemd->names[systemd->n_kept], STORE_NAME_SIZE);
		return;
	}
	fail_msg("%s was not kept", name);
}

static void handle(struct fake_systemd *systemd, const char *text, int fd)
{
	const char *name = value_of(text, "FDNAME=");

	if (strcmp(text, "BARRIER=1") == 0) {
		assert_true(fd >= 0);
		systemd->n_barriers++;
		close(fd);
	} else if (value_of(text, "FDSTORE=1")) {
		assert_non_null(name);
		assert_true(fd >= 0);
		assert_non_null(value_of(text, "FDPOLL=0"));
		keep(systemd, name, strcspn(name, "\n"), fd);
	} else if (value_of(text, "FDSTOREREMOVE=1")) {
		assert_non_null(name);
		assert_true(fd < 0);
		drop(systemd, name);
	} else {
		fail_msg("systemd is told '%s'", text);
	}
}

static bool take_one(struct fake_systemd *systemd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char text[256];
	struct iovec vector = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd = -1;
	ssize_t n = recvmsg(systemd->socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (CMSG_FIRSTHDR(&header))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
	handle(systemd, text, fd);
	return true;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	while (take_one(io->data))
		;
}

void fake_systemd_start(struct fake_systemd *systemd, struct ev_loop *loop)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[64];

	*systemd = (struct fake_systemd){ .loop = loop };
	int n = snprintf(name, sizeof(name), "@vfiod-test-%d", (int)getpid());
	memcpy(address.sun_path + 1, name + 1, (size_t)n - 1);
	int socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	systemd->socket = fcntl(socket_fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	close(socket_fd);
	assert_int_equal(bind(systemd->socket, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
		0);
	setenv("NOTIFY_SOCKET", name, 1);
	ev_io_init(&systemd->readable, on_readable, systemd->socket, EV_READ);
	systemd->readable.data = systemd;
	ev_io_start(loop, &systemd->readable);
}

void fake_systemd_be_busy(struct fake_systemd *systemd, bool is_busy)
{
	if (is_busy)
		ev_io_stop(systemd->loop, &systemd->readable);
	else
		ev_io_start(systemd->loop, &systemd->readable);
}

void fake_systemd_stop(struct fake_systemd *systemd)
{
	ev_io_stop(systemd->loop, &systemd->readable);
	close(systemd->socket);
	while (systemd->n_kept > 0)
		close(systemd->fds[--systemd->n_kept]);
	unsetenv("NOTIFY_SOCKET");
}

int fake_systemd_has(const struct fake_systemd *systemd, const char *name)
{
	for (size_t i = 0; i < systemd->n_kept; i++)
		if (strcmp(systemd->names[i], name) == 0)
			return systemd->fds[i];
	return -1;
}

static void hand(int fd, int as)
{
	assert_int_equal(fcntl(as, F_GETFD), -1);
	assert_int_equal(dup2(fd, as), as);
}

void fake_systemd_hand_over(struct fake_systemd *systemd, int listening)
{
	char names[KEPT_MAX * STORE_NAME_SIZE] = "";
	char number[16];
	int n = FROM;

	for (size_t i = 0; i < systemd->n_kept; i++) {
		hand(systemd->fds[i], n++);
		strcat(names, systemd->names[i]);
		strcat(names, ":");
		/* In no useful order: the socket is amid the rest. */
		if (i == 0 && listening >= 0) {
			hand(listening, n++);
			strcat(names, "varlink:");
		}
	}
	if (systemd->n_kept == 0 && listening >= 0) {
		hand(listening, n++);
		strcat(names, "varlink:");
	}
	if (*names)
		names[strlen(names) - 1] = '\0';
	setenv("LISTEN_FDNAMES", names, 1);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%d", n - FROM);
	setenv("LISTEN_FDS", number, 1);
}

void close_everything(void)
{
	close_range(FROM, ~0U, 0);
}
