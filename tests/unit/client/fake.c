#include "tests/unit/client/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/interface.h"
#include "proto/message.h"
#include "proto/transport.h"

#define MAX_PEERS FAKE_MAX_PEERS

struct peer {
	struct transport *transport;
	int fd;
	const struct varlink_method *method; /* of the last call */
	bool more;
};

struct fake {
	char directory[64], path[96];
	pid_t pid;
	int control; /* the test closes it: the end */
	struct varlink_interface *interfaces[8];
	size_t n_interfaces;
	struct peer peers[MAX_PEERS];
	int n_peers;
	fake_method_fn on_method;
};

void fake_expect(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "fake daemon: expected: %s\n", what);
	_exit(1);
}

static void interfaces_load(struct fake *fake)
{
	for (size_t i = 0; i < n_varlink_files; i++) {
		char error[128];

		fake_expect(
			varlink_interface_parse(varlink_files[i].text,
				&fake->interfaces[fake->n_interfaces++], error, sizeof error) == 0,
			"an interface file that parses");
	}
}

static const struct varlink_interface *interface_find(
	const struct fake *fake, const char *qualified, const char **name)
{
	char interface[128];

	*name = varlink_method_split(qualified, interface, sizeof interface);
	for (size_t i = 0; *name && i < fake->n_interfaces; i++)
		if (strcmp(fake->interfaces[i]->name, interface) == 0)
			return fake->interfaces[i];
	return NULL;
}

static void check(const struct varlink_type *type, struct json_object *value, const char *what)
{
	char path[256];

	if (varlink_check(type, value, path, sizeof path) == 0)
		return;
	fprintf(stderr, "fake daemon: %s: %s does not fit: %s\n", what, path,
		json_object_to_json_string(value));
	_exit(1);
}

static void send_message(
	struct fake *fake, int peer, struct json_object *message, const int *fds, size_t n_fds)
{
	int copies[TRANSPORT_MAX_FDS], r;

	if (!fake->peers[peer].transport) {
		json_object_put(message);
		return;
	}
	for (size_t i = 0; i < n_fds; i++)
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	fake_expect(transport_send(fake->peers[peer].transport, message, copies, n_fds) == 0,
		"a reply that can be queued");
	json_object_put(message);
	/* The client may have had enough of a stream and closed it. */
	r = transport_flush(fake->peers[peer].transport);
	fake_expect(r == 0 || r == -EPIPE || r == -ECONNRESET, "a reply that is sent");
	if (r < 0)
		fake_hang_up(fake, peer);
}

void fake_reply_fds(struct fake *fake, int peer, bool continues, const char *parameters,
	const int *fds, size_t n_fds)
{
	struct json_object *object = json_tokener_parse(parameters);

	fake_expect(object != NULL, parameters);
	fake_expect(fake->peers[peer].method != NULL, "a call before the reply");
	fake_expect(!continues || fake->peers[peer].more, "a stream that was asked for");
	check(fake->peers[peer].method->out, object, "reply");
	send_message(fake, peer, varlink_reply_build(object, continues), fds, n_fds);
}

void fake_reply(struct fake *fake, int peer, bool continues, const char *parameters)
{
	fake_reply_fds(fake, peer, continues, parameters, NULL, 0);
}

void fake_error(struct fake *fake, int peer, const char *error, const char *parameters)
{
	struct json_object *object = json_tokener_parse(parameters);
	const char *name;
	const struct varlink_interface *interface = interface_find(fake, error, &name);

	fake_expect(object != NULL, parameters);
	if (interface) {
		const struct varlink_type *type = varlink_interface_error(interface, name);

		fake_expect(type != NULL, error);
		check(type, object, error);
	}
	send_message(fake, peer, varlink_error_build(error, object), NULL, 0);
}

void fake_raw_fds(
	struct fake *fake, int peer, const char *bytes, size_t size, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} rights = { 0 };
	struct iovec vector = { (char *)bytes, size };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (size == 0)
		return;
	fake_expect(n_fds <= 8, "fewer descriptors");
	if (n_fds > 0) {
		message.msg_control = rights.space;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof *fds);
		rights.header.cmsg_level = SOL_SOCKET;
		rights.header.cmsg_type = SCM_RIGHTS;
		rights.header.cmsg_len = CMSG_LEN(n_fds * sizeof *fds);
		memcpy(CMSG_DATA(&rights.header), fds, n_fds * sizeof *fds);
	}
	fake_expect(sendmsg(fake->peers[peer].fd, &message, MSG_NOSIGNAL) == (ssize_t)size,
		"bytes that are sent");
}

void fake_raw(struct fake *fake, int peer, const char *bytes, size_t size, int fd)
{
	fake_raw_fds(fake, peer, bytes, size, &fd, fd >= 0 ? 1 : 0);
}

void fake_hang_up(struct fake *fake, int peer)
{
	fake->peers[peer].transport = transport_free(fake->peers[peer].transport);
}

bool fake_is_connected(const struct fake *fake, int peer)
{
	return peer < fake->n_peers && fake->peers[peer].transport;
}

static void call_answer(struct fake *fake, int peer, struct message *message)
{
	struct varlink_call call;
	const struct varlink_interface *interface;
	const char *name;

	fake_expect(varlink_call_read(message->json, &call) == 0, "a call");
	interface = interface_find(fake, call.method, &name);
	fake->peers[peer].more = call.more;
	fake->peers[peer].method = interface ? varlink_interface_method(interface, name) : NULL;
	if (fake->peers[peer].method)
		check(fake->peers[peer].method->in, call.parameters, call.method);
	fake->on_method(fake, peer, call.method, call.parameters, message->fds, message->n_fds);
	varlink_call_clear(&call);
}

static void peer_serve(struct fake *fake, int peer)
{
	struct message message = { 0 };
	int r;

	while (fake->peers[peer].transport &&
		(r = transport_receive(fake->peers[peer].transport, &message)) != 0) {
		if (r == 1) {
			call_answer(fake, peer, &message);
			message_clear(&message);
			continue;
		}
		fake_hang_up(fake, peer);
	}
}

static void accept_peer(struct fake *fake, int listener)
{
	struct peer *peer = &fake->peers[fake->n_peers];

	fake_expect(fake->n_peers < MAX_PEERS, "fewer peers");
	peer->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	fake_expect(peer->fd >= 0 && transport_new(peer->fd, &transport_default_limits,
					     &peer->transport) == 0,
		"a connection");
	fake->n_peers++;
}

static void serve(struct fake *fake, int listener)
{
	for (;;) {
		struct pollfd polls[2 + MAX_PEERS] = {
			{ .fd = fake->control, .events = POLLIN },
			{ .fd = listener, .events = POLLIN },
		};
		int n_peers = fake->n_peers;

		for (int i = 0; i < n_peers; i++) {
			polls[2 + i].fd = fake->peers[i].transport ? fake->peers[i].fd : -1;
			polls[2 + i].events = POLLIN;
		}
		fake_expect(poll(polls, 2 + (nfds_t)n_peers, 60000) > 0, "something within 60 s");
		for (int i = 0; i < n_peers; i++)
			if (polls[2 + i].revents)
				peer_serve(fake, i);
		if (polls[1].revents)
			accept_peer(fake, listener);
		else if (polls[0].revents)
			return;
	}
}

static void child_end(struct fake *fake)
{
	for (int i = 0; i < fake->n_peers; i++)
		transport_free(fake->peers[i].transport);
	for (size_t i = 0; i < fake->n_interfaces; i++)
		varlink_interface_free(fake->interfaces[i]);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

struct fake *fake_start(fake_method_fn on_method)
{
	struct fake *fake = calloc(1, sizeof *fake);
	int pair[2], listener;

	assert_non_null(fake);
	snprintf(fake->directory, sizeof fake->directory, "/tmp/vfiod-fake-XXXXXX");
	assert_non_null(mkdtemp(fake->directory));
	snprintf(fake->path, sizeof fake->path, "%s/socket", fake->directory);
	listener = listen_at(fake->path);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	fake->on_method = on_method;
	fake->pid = fork();
	assert_true(fake->pid >= 0);
	if (fake->pid == 0) {
		close(pair[1]);
		fake->control = pair[0];
		interfaces_load(fake);
		serve(fake, listener);
		child_end(fake);
		free(fake);
		_exit(0);
	}
	close(pair[0]);
	close(listener);
	fake->control = pair[1];
	return fake;
}

const char *fake_socket(const struct fake *fake)
{
	return fake->path;
}

void fake_stop(struct fake *fake)
{
	int status;

	close(fake->control);
	assert_int_equal(waitpid(fake->pid, &status, 0), fake->pid);
	unlink(fake->path);
	rmdir(fake->directory);
	free(fake);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}
