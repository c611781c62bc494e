#include "daemon/privilege/remote.h"

#include "daemon/base/log.h"
#include "daemon/base/packet.h"
#include "daemon/base/util.h"
#include "daemon/privilege/message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Who asks has given up by then. */
#define REQUEST_NS (30 * UINT64_C(1000000000))

/* Of the whole process, one connection for what is answered at once. */
static struct {
	int fd;
	pid_t owner; /* in a child of that one, child_isolate() has closed it */
	bool is_missed;
} kept = { .fd = -1 };

/* --- connections ------------------------------------------------------------------------------ */

static int connect_new(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (string_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void kept_close(void)
{
	if (kept.fd >= 0 && kept.owner == getpid())
		close(kept.fd);
	kept.fd = -1;
}

static int kept_open(const char *path)
{
	if (kept.fd >= 0 && kept.owner == getpid())
		return 0;
	kept.fd = connect_new(path);
	kept.owner = getpid();
	return kept.fd < 0 ? kept.fd : 0;
}

/* Once, until it has answered again. */
static int tell_missed(int r)
{
	if (r < 0 && !kept.is_missed)
		log_warning("vfiod-privileged does not answer: %s", strerror(-r));
	kept.is_missed = kept.is_missed || r < 0;
	return r;
}

/* A connection that the other side has closed was of no use: nothing of it was heard. */
static int kept_send(const char *path, const struct privilege_request *request, int fd)
{
	int r = kept_open(path);

	if (r == 0)
		r = packet_send(kept.fd, request, sizeof(*request), fd, MSG_DONTWAIT);
	if (r == -EPIPE || r == -ECONNRESET) {
		kept_close();
		r = kept_open(path);
		if (r == 0)
			r = packet_send(kept.fd, request, sizeof(*request), fd, MSG_DONTWAIT);
	}
	if (r < 0)
		kept_close();
	return tell_missed(r);
}

/* One answer, of any kind. Its length or -errno: whatever came later would be of no use. */
static ssize_t kept_receive(union privilege_answer *answer, int *fd)
{
	struct pollfd readable = { .fd = kept.fd, .events = POLLIN };
	ssize_t n;

	*fd = -1;
	while ((n = packet_receive(kept.fd, answer, sizeof(*answer), fd, MSG_DONTWAIT)) == -EAGAIN)
		if (poll(&readable, 1, -1) < 0 && errno != EINTR)
			break;
	if (n > 0) {
		kept.is_missed = false;
		return n;
	}
	kept_close();
	return tell_missed(n == 0 ? -ECONNRESET : (int)n);
}

/* The reply at the end, or all there is. */
static int kept_reply(struct privilege_reply *reply, int *fd)
{
	union privilege_answer answer;

	ssize_t n = kept_receive(&answer, fd);
	if (n < 0)
		return (int)n;
	if ((size_t)n == sizeof(answer.reply)) {
		*reply = answer.reply;
		return reply->result;
	}
	if (*fd >= 0)
		close(steal_fd(fd));
	kept_close();
	return -EBADMSG;
}

static void begin(struct privilege_request *request, enum privilege_type type)
{
	request->version = PRIVILEGE_VERSION;
	request->type = type;
	request->until = privilege_now() + REQUEST_NS;
}

/* --- on the loop ------------------------------------------------------------------------------ */

int remote_signal(const char *socket, int pidfd, int signal)
{
	struct privilege_request request = { .number = signal };

	begin(&request, PRIVILEGE_SIGNAL);
	return kept_send(socket, &request, pidfd);
}

int remote_start_keeper(const char *socket, enum keeper_role role, const struct process_id *client,
	int keeper_socket, int *report)
{
	struct privilege_request request = {
		.number = (int)role,
		.pid = client->pid,
		.start_ticks = client->start_ticks,
	};

	begin(&request, PRIVILEGE_KEEPER);
	_cleanup_close_ int fd = connect_new(socket);
	int r = fd < 0 ? fd
		       : packet_send(fd, &request, sizeof(request), keeper_socket, MSG_DONTWAIT);
	if (r == 0)
		*report = steal_fd(&fd);
	return tell_missed(r);
}

int privilege_hear_keeper(int report, struct keeper_report *heard)
{
	struct privilege_reply reply;
	int fd;

	ssize_t n = packet_receive(report, &reply, sizeof(reply), &fd, MSG_DONTWAIT);
	if (n <= 0)
		return (int)n;
	*heard = (struct keeper_report){ .pidfd = fd, .pid = reply.pid, .result = reply.result };
	if ((size_t)n == sizeof(reply) && fd >= 0)
		heard->what = KEEPER_STARTED;
	else if ((size_t)n == sizeof(reply))
		heard->what = reply.result < 0 ? KEEPER_FAILED : KEEPER_ENDED;
	else if (fd >= 0)
		close(fd);
	return (size_t)n == sizeof(reply) ? 1 : -EBADMSG;
}

/* --- in children ------------------------------------------------------------------------------ */

/* The descriptor that is asked for. */
static int ask_descriptor(const char *socket, const struct privilege_request *request)
{
	struct privilege_reply reply;
	int fd = -1;

	int r = kept_send(socket, request, -1);
	if (r == 0)
		r = kept_reply(&reply, &fd);
	if (r == 0)
		return fd < 0 ? -EBADMSG : fd;
	if (fd >= 0)
		close(fd);
	return r < 0 ? r : -EBADMSG;
}

int remote_pagemap(const char *socket, const struct process_id *process)
{
	struct privilege_request request = {
		.pid = process->pid,
		.start_ticks = process->start_ticks,
	};

	begin(&request, PRIVILEGE_PAGEMAP);
	return ask_descriptor(socket, &request);
}

int remote_config_space(const char *socket, const char *directory)
{
	struct privilege_request request = { 0 };
	const char *slash = strrchr(directory, '/');

	if (string_copy(request.name, sizeof(request.name), slash ? slash + 1 : directory) < 0)
		return -ENAMETOOLONG;
	begin(&request, PRIVILEGE_CONFIG_SPACE);
	return ask_descriptor(socket, &request);
}

/* What comes after the visitor has heard enough is for nobody. */
int remote_visit_files(
	const char *socket, pid_t pid, int seconds, open_file_visitor visitor, void *userdata)
{
	struct privilege_request request = { .pid = pid, .number = seconds };
	struct open_file file = { .proc = "/proc", .pid = pid };
	union privilege_answer answer;
	bool wants_more = true, is_done = false;
	int fd;

	begin(&request, PRIVILEGE_FILES);
	int r = kept_send(socket, &request, -1);
	if (r < 0)
		return r;
	for (;;) {
		ssize_t n = kept_receive(&answer, &fd);
		if (n < 0)
			return (int)n;
		if (fd >= 0)
			close(fd);
		if ((size_t)n == sizeof(answer.reply))
			return answer.reply.result < 0 ? answer.reply.result : is_done;
		if ((size_t)n != sizeof(answer.file)) {
			kept_close();
			return -EBADMSG;
		}
		if (!wants_more)
			continue;
		file.fd = answer.file.fd;
		file.seen = &answer.file;
		string_copy(file.target, sizeof(file.target), answer.file.target);
		enum open_file_next next = visitor(userdata, &file);
		wants_more = next == OPEN_FILE_NEXT;
		is_done = next == OPEN_FILE_DONE;
	}
}

int remote_device_facts(const char *socket, pid_t pid, int fd, struct device_facts *facts)
{
	struct privilege_request request = { .pid = pid, .number = fd };
	struct privilege_reply reply;
	union privilege_answer answer;
	int none;

	begin(&request, PRIVILEGE_DEVICE);
	int r = kept_send(socket, &request, -1);
	if (r == 0)
		r = kept_reply(&reply, &none);
	if (r < 0)
		return r;
	ssize_t n = kept_receive(&answer, &none);
	if (n < 0)
		return (int)n;
	if ((size_t)n != sizeof(answer.facts)) {
		kept_close();
		return -EBADMSG;
	}
	*facts = answer.facts;
	return 0;
}
