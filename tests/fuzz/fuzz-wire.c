/*
 * What clients send → the service, the broker behind it, and what they are answered. The input
 * is lines; each is sent as a message, after what it begins with:
 *
 *	@0 … @9	so many descriptors go with it, @p a pidfd	@+	the next comes right behind
 *it
 *	@a @b @c	who speaks: an administrator, a user, another one
 *	@x	hangs up, and connects again	@e	only stops sending
 *	@w @r @d @h	bind jobs go well from now on, are refused, die, hang
 *
 * A byte 1 in the middle splits a message in two writes.
 *
 * Every answer is a reply to the call whose turn it is, with the parameters that the
 * interface file declares; descriptors come with grants only; what is no call ends the connection;
 * afterwards nothing is left, no descriptor either.
 */
#include "daemon/base/util.h"
#include "proto/interface.h"
#include "proto/json.h"
#include "proto/message.h"
#include "proto/transport.h"
#include "tests/fuzz/fake-job.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/world.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

enum { N_CLIENTS = 3, MAX_CALLS = 256, MAX_LINES = 200, HIGHEST_FD = 128 };

struct asked {
	char method[96]; /* "" where the name is longer than any that is declared */
	bool more;
};

struct client {
	int fd; /* -1: not connected */
	struct asked asked[MAX_CALLS];
	size_t first, n_asked;
	bool is_wrong; /* it has sent what is no call: nothing more comes */
	bool at_end;
	char *input;
	size_t length;
	size_t n_fds; /* that came with the message at its end */
};
static struct client clients[N_CLIENTS];
static struct varlink_interface *interfaces[16];

static void parse_interfaces(void)
{
	char error[160];

	for (size_t i = 0; i < n_varlink_files; i++)
		if (varlink_interface_parse(
			    varlink_files[i].text, &interfaces[i], error, sizeof(error)) < 0)
			errx(1, "%s: %s", varlink_files[i].name, error);
}

/* The interface of "org.vfiod.Broker.List", and "List". NULL: it is not one of ours. */
static const struct varlink_interface *interface_of(const char *name, const char **member)
{
	char interface[128];

	*member = varlink_method_split(name, interface, sizeof(interface));
	for (size_t i = 0; *member && i < n_varlink_files; i++)
		if (strcmp(interfaces[i]->name, interface) == 0)
			return interfaces[i];
	return NULL;
}

/* --- what comes back ------------------------------------------------------------------------ */

static void check_parameters(
	const struct varlink_type *type, struct json_object *parameters, const char *message)
{
	char path[128];
	struct json_object *empty = parameters ? NULL : json_object_new_object();

	must(type, "not declared: %s", message);
	must(varlink_check(type, parameters ? parameters : empty, path, sizeof(path)) == 0,
		"%s: %s", path, message);
	json_object_put(empty);
}

/* An answer to the call whose turn it is. */
static void check_reply(
	struct client *client, const struct varlink_reply *reply, const char *message, size_t n_fds)
{
	must(client->first < client->n_asked, "nobody has asked: %s", message);
	const struct asked *asked = &client->asked[client->first];
	const char *name = reply->error ? reply->error : asked->method, *member;
	const struct varlink_interface *interface = interface_of(name, &member);

	must(!reply->continues || asked->more, "more than was asked for: %s", message);
	must(n_fds == 0 ||
			(!reply->error && strcmp(asked->method, "org.vfiod.Broker.Acquire") == 0),
		"%zu descriptors with %s", n_fds, message);
	if (reply->error && strncmp(name, "io.systemd.", 11) == 0)
		;
	else if (reply->error)
		check_parameters(interface ? varlink_interface_error(interface, member) : NULL,
			reply->parameters, message);
	else
		check_parameters(
			interface ? varlink_interface_method(interface, member)->out : NULL,
			reply->parameters, message);
	if (!reply->continues)
		client->first++;
}

static void check_message(struct client *client, const char *message, size_t n_fds)
{
	struct json_object *json = NULL;
	struct varlink_reply reply;

	must(json_read(message, strlen(message), transport_default_limits.max_depth, &json) == 0,
		"not JSON: %s", message);
	must(varlink_reply_read(json, &reply) == 0, "no reply: %s", message);
	check_reply(client, &reply, message, n_fds);
	json_object_put(json);
}

/* One recvmsg(2): false where there is nothing. */
static bool client_read(struct client *client)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control;
	static char part[1 << 16];
	struct iovec vector = { part, sizeof(part) };
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	ssize_t n = recvmsg(client->fd, &header, MSG_CMSG_CLOEXEC);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		client->at_end = true;
	if (n <= 0)
		return false;
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
	size_t n_fds = rights ? (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
	for (size_t i = 0; i < n_fds; i++) {
		memcpy(&fd, CMSG_DATA(rights) + i * sizeof(int), sizeof(fd));
		close(fd);
	}
	client->n_fds += n_fds;
	client->input = realloc(client->input, client->length + (size_t)n);
	memcpy(client->input + client->length, part, (size_t)n);
	client->length += (size_t)n;
	return true;
}

/* Descriptors are the last message's: a read ends behind what came with some (af_unix.c). */
static void take_messages(struct client *client)
{
	size_t done = 0;
	const char *nul;

	while ((nul = memchr(client->input + done, '\0', client->length - done))) {
		const char *message = client->input + done;
		done = (size_t)(nul - client->input) + 1;
		check_message(client, message, done == client->length ? client->n_fds : 0);
	}
	if (done == client->length)
		client->n_fds = 0;
	client->length -= done;
	memmove(client->input, client->input + done, client->length);
}

static void client_listen(struct client *client)
{
	while (client->fd >= 0 && client_read(client))
		take_messages(client);
	must(client->fd < 0 || !client->at_end || client->length == 0, "a message is cut off");
}

static void listen_all(void)
{
	world_run();
	for (size_t i = 0; i < N_CLIENTS; i++)
		client_listen(&clients[i]);
}

/* --- what is sent ----------------------------------------------------------------------------- */

static void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->input);
	*client = (struct client){ .fd = -1 };
}

static void client_open(struct client *client)
{
	static const unsigned uids[N_CLIENTS] = { 0, WORLD_USER, WORLD_OTHER };

	if (client->fd < 0)
		client->fd = world_connect(uids[client - clients]);
}

static void send_part(
	const struct client *client, const char *text, size_t length, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec vector = { (char *)text, length };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (n_fds > 0) {
		control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	/* The daemon may have hung up, or not read so fast: then less arrives. */
	sendmsg(client->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What the daemon is to make of it. */
static void expect(struct client *client, const char *text, size_t length, size_t n_fds)
{
	const struct bounds *bounds = world_bounds();
	struct json_object *json = NULL;
	struct varlink_call call;

	if (client->is_wrong)
		return;
	client->is_wrong = true;
	if (n_fds > bounds->descriptors || length > bounds->message_bytes ||
		json_read_bounded(text, length, bounds->depth, bounds->values, &json) != 0)
		return;
	if (varlink_call_read(json, &call) == 0) {
		struct asked *asked = &client->asked[client->n_asked];
		client->is_wrong = false;
		string_copy(asked->method, sizeof(asked->method), call.method);
		asked->more = call.more;
		client->n_asked += !call.oneway;
		varlink_call_clear(&call);
	}
	json_object_put(json);
}

static void client_send(
	struct client *client, const char *line, size_t length, size_t n_fds, bool has_pidfd)
{
	char *text = fuzz_text((const uint8_t *)line, length), *split;
	int fds[32];
	size_t n = 0;

	while (n < n_fds && n < ARRAY_SIZE(fds))
		fds[n++] = STDIN_FILENO;
	if (has_pidfd && (fds[0] = pidfd_open(getpid(), 0)) < 0)
		err(1, "pidfd_open");
	if (has_pidfd && n == 0)
		n = 1;
	split = memchr(text, 1, length);
	if (split && split > text) {
		send_part(client, text, (size_t)(split - text), fds, n);
		world_run();
		length -= (size_t)(split + 1 - text);
		memmove(split, split + 1, length + 1);
		send_part(client, split, length + 1, NULL, 0);
		length += (size_t)(split - text);
	} else {
		send_part(client, text, length + 1, fds, n);
	}
	if (has_pidfd)
		close(fds[0]);
	expect(client, text, length, n);
	free(text);
}

/* --- lines ------------------------------------------------------------------------------------ */

struct line {
	size_t n_fds;
	bool has_pidfd, goes_on;
};

static void command(struct client **client, char what, struct line *line)
{
	static const char outcomes[] = "wrdh"; /* in the order of enum fake_outcome */
	const char *outcome = what ? strchr(outcomes, what) : NULL;

	if (what >= '0' && what <= '9')
		line->n_fds += (size_t)(what - '0');
	else if (what >= 'a' && what < 'a' + N_CLIENTS)
		*client = &clients[what - 'a'];
	else if (outcome)
		fake_job_outcome((enum fake_outcome)(outcome - outcomes));
	else if (what == 'p')
		line->has_pidfd = true;
	else if (what == '+')
		line->goes_on = true;
	else if (what == 'x')
		client_close(*client);
	else if (what == 'e' && (*client)->fd >= 0)
		shutdown((*client)->fd, SHUT_WR);
}

static void do_line(struct client **client, const char *text, size_t length)
{
	struct line line = { 0 };

	for (; length >= 2 && *text == '@'; text += 2, length -= 2)
		command(client, text[1], &line);
	client_open(*client);
	if (length > 0 && (*client)->n_asked < MAX_CALLS)
		client_send(*client, text, length, line.n_fds, line.has_pidfd);
	if (!line.goes_on)
		listen_all();
}

/* The open descriptors, as bits. */
static void see_fds(unsigned char *fds)
{
	for (int fd = 0; fd < HIGHEST_FD; fd++)
		fds[fd] = fcntl(fd, F_GETFD) >= 0;
}

static void begin(unsigned char *fds)
{
	if (!interfaces[0])
		parse_interfaces();
	for (size_t i = 0; i < N_CLIENTS; i++)
		clients[i].fd = -1;
	world_begin();
	see_fds(fds);
}

static void finish(const unsigned char *fds)
{
	unsigned char now[HIGHEST_FD];

	listen_all();
	for (size_t i = 0; i < N_CLIENTS; i++) {
		struct client *client = &clients[i];
		/* Where a call lasts, what comes behind it is not looked at before it has ended. */
		must(client->fd < 0 || !client->is_wrong || client->at_end ||
				client->first < client->n_asked,
			"what is no call was taken");
		client_close(client);
	}
	world_settle();
	world_begin();
	see_fds(now);
	for (int fd = 0; fd < HIGHEST_FD; fd++)
		must(now[fd] == fds[fd], "descriptor %d is %s", fd, now[fd] ? "left" : "gone");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char fds[HIGHEST_FD];
	struct client *client = &clients[1];
	const char *at = (const char *)data, *end = at + size;

	begin(fds);
	for (int i = 0; i < MAX_LINES && at < end; i++) {
		size_t length = 0;
		while (at + length < end && at[length] && at[length] != '\n')
			length++;
		do_line(&client, at, length);
		at += length + 1;
	}
	finish(fds);
	return 0;
}
