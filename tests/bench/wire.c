#include "tests/bench/wire.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16 };

pid_t peer_fork(int type, int *end)
{
	int ends[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0)
		err(1, "socketpair");
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	*end = ends[pid == 0];
	close(ends[pid != 0]);
	return pid;
}

void wire_open(struct wire *wire, const char *socket_path, uid_t uid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(socket_path) >= sizeof(address.sun_path))
		errx(1, "%s: too long for a socket", socket_path);
	strcpy(address.sun_path, socket_path);
	*wire = (struct wire){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
		.group_fd = -1 };
	if (wire->fd < 0 || seteuid(uid) < 0)
		err(1, "socket");
	/* A backlog that is full, as under a flood of connections. */
	while (connect(wire->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		if (errno != EINTR && errno != EAGAIN)
			err(1, "%s", socket_path);
	if (seteuid(getuid()) < 0)
		err(1, "seteuid");
}

void wire_close(struct wire *wire)
{
	wire_drop_fd(wire);
	free(wire->input);
	close(wire->fd);
}

void wire_send(struct wire *wire, const char *text)
{
	size_t length = strlen(text) + 1;

	while (length > 0) {
		ssize_t n = send(wire->fd, text, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err(1, "send");
		text += n;
		length -= (size_t)n;
	}
}

void wire_drop_fd(struct wire *wire)
{
	if (wire->group_fd >= 0)
		close(wire->group_fd);
	wire->group_fd = -1;
}

/* One recvmsg(2), its descriptor kept. False: the end. */
static bool wire_read(struct wire *wire)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;

	if (wire->capacity - wire->length < READ_BYTES) {
		wire->capacity += 2 * READ_BYTES;
		wire->input = realloc(wire->input, wire->capacity);
		if (!wire->input)
			err(1, "realloc");
	}
	struct iovec vector = { wire->input + wire->length, READ_BYTES };
	struct msghdr header = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(wire->fd, &header, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 && errno == EINTR;
	wire->length += (size_t)n;
	const struct cmsghdr *first = CMSG_FIRSTHDR(&header);
	if (first && first->cmsg_type == SCM_RIGHTS) {
		wire_drop_fd(wire);
		memcpy(&wire->group_fd, CMSG_DATA(first), sizeof(wire->group_fd));
	}
	return true;
}

const char *wire_receive(struct wire *wire)
{
	size_t searched = 0;
	const char *nul;

	wire->length -= wire->taken;
	if (wire->length > 0)
		memmove(wire->input, wire->input + wire->taken, wire->length);
	wire->taken = 0;
	while (wire->length == searched ||
		!(nul = memchr(wire->input + searched, '\0', wire->length - searched))) {
		searched = wire->length;
		if (!wire_read(wire))
			return NULL;
	}
	wire->taken = (size_t)(nul - wire->input) + 1;
	return wire->input;
}

static bool is_granted(struct wire *wire, const char *reply)
{
	static const char key[] = "\"token\":\"";
	const char *token = reply ? strstr(reply, key) : NULL;
	size_t length = token ? strcspn(token += strlen(key), "\"") : 0;

	if (length == 0 || length >= sizeof(wire->token) || wire->group_fd < 0)
		return false;
	memcpy(wire->token, token, length);
	wire->token[length] = '\0';
	return true;
}

bool wire_lease(struct wire *wire, const char *device)
{
	char call[256];

	snprintf(call, sizeof(call),
		"{\"method\":\"org.vfiod.Broker.Acquire\","
		"\"parameters\":{\"selectors\":[{\"device\":\"%s\"}]}}",
		device);
	wire_send(wire, call);
	const char *reply = wire_receive(wire);
	if (!is_granted(wire, reply)) {
		warnx("%s was not granted: %s", device, reply ? reply : "it closed the connection");
		return false;
	}
	wire_drop_fd(wire);
	snprintf(call, sizeof(call),
		"{\"method\":\"org.vfiod.Broker.Release\",\"parameters\":{\"token\":\"%s\"}}",
		wire->token);
	wire_send(wire, call);
	reply = wire_receive(wire);
	if (!reply || !strstr(reply, "\"lingering\":[]"))
		errx(1, "%s was not released: %s", device, reply ? reply : "connection closed");
	return true;
}
