#include "daemon/privilege/session.h"

#include "daemon/base/log.h"
#include "daemon/base/packet.h"
#include "daemon/base/util.h"
#include "daemon/privilege/direct.h"
#include "daemon/privilege/keeper-start.h"
#include "daemon/privilege/message.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Whoever has asked has given up by then; in the kernel, all of it can be killed. */
#define REQUEST_SECONDS 30

struct session {
	int socket;
	const struct privilege_server *server;
	struct privilege_request request;
	int fd; /* that came with it, or -1 */
	struct privilege_reply reply;
	int reply_fd; /* that goes with it, or -1 */
};

/* --- one kind of request each: 0 or -errno -------------------------------------------------------
 */

/* proc(5): "Pid:\t-1" once it has been reaped. */
static pid_t pid_of(int pidfd)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (pidfd < 0 || file_read(path, text, sizeof(text)) < 0)
		return -1;
	const char *line = strstr(text, "\nPid:");
	return line ? (pid_t)strtol(line + strlen("\nPid:"), NULL, 10) : -1;
}

/* Nobody waits for it. */
static int do_signal(const struct session *session)
{
	int signal = session->request.number;

	if ((signal != SIGTERM && signal != SIGKILL) || pid_of(session->fd) <= 1)
		return -EINVAL;
	return pidfd_send_signal(session->fd, signal, NULL, 0) < 0 ? -errno : 0;
}

static int do_pagemap(struct session *session)
{
	const struct process_id process = { session->request.pid, session->request.start_ticks };

	session->reply_fd = direct_pagemap(&process);
	return session->reply_fd < 0 ? session->reply_fd : 0;
}

static int do_config_space(struct session *session)
{
	const char *name = session->request.name;
	char path[128];

	/* "0000:3b:02.0", and no way anywhere else. */
	if (!memchr(name, '\0', sizeof(session->request.name)) || !*name ||
		strspn(name, "0123456789abcdef:.") != strlen(name) || strstr(name, ".."))
		return -EINVAL;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", name);
	session->reply_fd = direct_config_space(path);
	return session->reply_fd < 0 ? session->reply_fd : 0;
}

static enum open_file_next send_file(void *userdata, const struct open_file *file)
{
	static struct open_file_seen seen;
	struct session *session = userdata;
	size_t length = strlen(file->target);

	if (!open_file_matters(file))
		return OPEN_FILE_NEXT;
	seen = (struct open_file_seen){ .fd = file->fd };
	string_copy(seen.target, sizeof(seen.target),
		length < sizeof(seen.target) ? file->target
					     : file->target + length - sizeof(seen.target) + 1);
	seen.is_node = open_file_number(file, &seen.is_block, &seen.number);
	if (open_file_info(file, seen.info, sizeof(seen.info)) < 0)
		seen.info[0] = '\0';
	session->reply.result = packet_send(session->socket, &seen, sizeof(seen), -1, 0);
	return session->reply.result < 0 ? OPEN_FILE_DONE : OPEN_FILE_NEXT;
}

/* Copies that another child of this program has for a moment are nobody's. */
static bool is_this_program(pid_t pid)
{
	struct stat its, ours;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return stat(path, &its) == 0 && stat("/proc/self/exe", &ours) == 0 &&
	       its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

static int do_files(struct session *session)
{
	pid_t pid = session->request.pid;

	if (is_this_program(pid))
		return 0;
	int r = open_files_visit_process("/proc", pid, session->request.number, send_file, session);
	return r < 0 ? r : session->reply.result;
}

/* --- keepers ---------------------------------------------------------------------------------- */

static void reply(struct session *session, int result, int fd)
{
	session->reply.result = result;
	if (packet_send(session->socket, &session->reply, sizeof(session->reply), fd, 0) < 0)
		_exit(0);
}

/*
 * How it ends is told to vfiod, as long as there is one: what fills holes ends with this process
 * (keeper/isolate.c), and so with vfiod.
 */
_Noreturn static void follow_keeper(struct session *session, pid_t pid, int pidfd)
{
	struct pollfd ends[] = { { .fd = pidfd, .events = POLLIN }, { .fd = session->socket } };
	int status;

	alarm(0);
	while (ends[0].revents == 0 && ends[1].revents == 0)
		if (poll(ends, ARRAY_SIZE(ends), -1) < 0 && errno != EINTR)
			break;
	if (ends[0].revents && waitpid(pid, &status, 0) == pid)
		reply(session, status, -1);
	_exit(0);
}

_Noreturn static void do_keeper(struct session *session)
{
	const struct privilege_request *request = &session->request;
	const struct process_id client = { request->pid, request->start_ticks };
	enum keeper_role role = (enum keeper_role)request->number;

	if (request->number < 0 || request->number >= KEEPER_ROLES_ || session->fd < 0) {
		reply(session, -EINVAL, -1);
		_exit(0);
	}
	pid_t pid = keeper_start(session->server->keeper, role, &client, session->fd);
	close(steal_fd(&session->fd));
	int pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
	if (pidfd < 0) {
		reply(session, pid < 0 ? pid : -errno, -1);
		_exit(0);
	}
	session->reply.pid = pid;
	reply(session, 0, pidfd);
	if (role == KEEPER_SPACE || role == KEEPER_SPACE_IOMMUFD)
		_exit(0); /* it outlives vfiod, and need not be told of */
	follow_keeper(session, pid, pidfd);
}

/* --- the session ------------------------------------------------------------------------------ */

static int check(const struct session *session)
{
	if (session->request.version != PRIVILEGE_VERSION)
		return -EPROTO;
	return privilege_now() > session->request.until ? -ETIMEDOUT : 0;
}

static void serve(struct session *session)
{
	struct device_facts facts;

	int r = check(session);
	bool is_device = r == 0 && session->request.type == PRIVILEGE_DEVICE;
	if (r < 0)
		;
	else if (session->request.type == PRIVILEGE_SIGNAL)
		r = do_signal(session);
	else if (session->request.type == PRIVILEGE_PAGEMAP)
		r = do_pagemap(session);
	else if (session->request.type == PRIVILEGE_CONFIG_SPACE)
		r = do_config_space(session);
	else if (session->request.type == PRIVILEGE_FILES)
		r = do_files(session);
	else if (is_device)
		r = device_facts_read(session->request.pid, session->request.number, &facts);
	else if (session->request.type == PRIVILEGE_KEEPER)
		do_keeper(session);
	else
		r = -ENOSYS;
	if (session->request.type == PRIVILEGE_SIGNAL) {
		if (r < 0 && r != -ESRCH)
			log_warning("a process cannot be sent signal %d: %s",
				session->request.number, strerror(-r));
		return;
	}
	reply(session, r, session->reply_fd);
	if (is_device && r == 0 && packet_send(session->socket, &facts, sizeof(facts), -1, 0) < 0)
		_exit(0);
}

void privilege_session(int socket, const struct privilege_server *server)
{
	struct session session = { .socket = socket, .server = server };

	for (;;) {
		session.fd = session.reply_fd = -1;
		session.reply = (struct privilege_reply){ 0 };
		ssize_t n = packet_receive(
			socket, &session.request, sizeof(session.request), &session.fd, 0);
		if (n != sizeof(session.request))
			return;
		alarm(REQUEST_SECONDS);
		serve(&session);
		alarm(0);
		if (session.fd >= 0)
			close(session.fd);
		if (session.reply_fd >= 0)
			close(session.reply_fd);
	}
}
