#include "tests/bench/flood.h"
#include "tests/bench/wire.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 64, WITHOUT_END = 1 << 20, READ_BYTES = 1 << 16 };

#define GET_INFO "{\"method\":\"org.varlink.service.GetInfo\""

/* max-calls is 16: who has more in flight of those that do not end at once is cut off. */
const struct flood_kind flood_kinds[] = {
	{
		.name = "GetInfo, pipelined",
		.n_connections = 1,
		.n_in_flight = WITHOUT_END,
		.call = GET_INFO "}",
	},
	{
		.name = "GetInfo on 32 connections",
		.n_connections = 32,
		.n_in_flight = WITHOUT_END,
		.call = GET_INFO "}",
	},
	{
		/* A value is what costs a byte most. */
		.name = "GetInfo with 500 values",
		.n_connections = 1,
		.n_in_flight = WITHOUT_END,
		.call = GET_INFO ",\"parameters\":{\"a\":[{}",
		.filler = ",{}",
		.end = "]}}",
		.filled_bytes = 3 * 500,
	},
	{
		.name = "GetInfo with a long string",
		.n_connections = 1,
		.n_in_flight = WITHOUT_END,
		.call = GET_INFO ",\"parameters\":{\"a\":\"",
		.filler = "long",
		.end = "\"}}",
		.filled_bytes = 15 << 10,
	},
	{
		.name = "List of all, more",
		.n_connections = 1,
		.n_in_flight = 12,
		.call = "{\"method\":\"org.vfiod.Broker.List\","
			"\"parameters\":{\"all\":true},\"more\":true}",
	},
	{
		.name = "connect, GetInfo, close",
		.n_connections = 8,
		.n_in_flight = 1,
		.call = GET_INFO "}",
		.n_calls_a_connection = 1,
	},
	{ .name = "Acquire + Release", .n_connections = 1, .n_in_flight = 1 },
};
const size_t n_flood_kinds = sizeof(flood_kinds) / sizeof(flood_kinds[0]);

struct flooder {
	const struct flood_kind *kind;
	const char *socket;
	struct flood_count *count;
	char *call; /* with its NUL, several times over: one write has many */
	size_t call_length, n_copies;
};

struct connection {
	struct wire wire;
	size_t sent; /* bytes of the calls */
	size_t n_answered;
	char end[32]; /* of the message that is arriving */
	size_t end_length;
};

static void make_call(struct flooder *flooder)
{
	const struct flood_kind *kind = flooder->kind;
	size_t length = strlen(kind->call), step = kind->filler ? strlen(kind->filler) : 0;
	char *call = calloc(1, length + kind->filled_bytes + step + 8);

	if (!call)
		err(1, "calloc");
	memcpy(call, kind->call, length);
	for (size_t filled = 0; filled < kind->filled_bytes; filled += step) {
		memcpy(call + length, kind->filler, step);
		length += step;
	}
	if (kind->end)
		strcpy(call + length, kind->end);
	flooder->call_length = strlen(call) + 1;
	flooder->n_copies =
		flooder->call_length < READ_BYTES ? READ_BYTES / flooder->call_length : 1;
	flooder->call = calloc(flooder->n_copies, flooder->call_length);
	if (!flooder->call)
		err(1, "calloc");
	for (size_t i = 0; i < flooder->n_copies; i++)
		memcpy(flooder->call + i * flooder->call_length, call, flooder->call_length);
	free(call);
}

static void reconnect(struct flooder *flooder, struct connection *connection, bool is_new)
{
	if (!is_new)
		wire_close(&connection->wire);
	*connection = (struct connection){ 0 };
	wire_open(&connection->wire, flooder->socket, getuid());
	if (fcntl(connection->wire.fd, F_SETFL, O_NONBLOCK) < 0)
		err(1, "fcntl");
}

/* How much may be written: calls that are begun are written to their end. */
static size_t may_send(const struct flooder *flooder, const struct connection *connection)
{
	size_t n_begun = (connection->sent + flooder->call_length - 1) / flooder->call_length;
	size_t n_max = connection->n_answered + flooder->kind->n_in_flight;
	size_t per_connection = flooder->kind->n_calls_a_connection;
	size_t rest = n_begun * flooder->call_length - connection->sent;
	size_t at = connection->sent % flooder->call_length;

	if (per_connection > 0 && n_max > per_connection)
		n_max = per_connection;
	if (n_max > n_begun)
		rest += (n_max - n_begun) * flooder->call_length;
	size_t room = flooder->n_copies * flooder->call_length - at;
	return rest < room ? rest : room;
}

/* An answer is a message that says nothing of more to come. False: the daemon has closed. */
static bool take_answers(struct flooder *flooder, struct connection *connection)
{
	static const char more[] = "\"continues\":true}";
	char input[READ_BYTES];
	ssize_t n = read(connection->wire.fd, input, sizeof(input));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	for (const char *at = input, *end = input + n; at < end;) {
		const char *nul = memchr(at, '\0', (size_t)(end - at));
		size_t length = (size_t)((nul ? nul : end) - at);

		/* The last bytes of the message, what came with the last read included. */
		char tail[2 * sizeof(connection->end)];
		size_t keep = length < sizeof(connection->end) ? length : sizeof(connection->end);
		memcpy(tail, connection->end, connection->end_length);
		memcpy(tail + connection->end_length, at + length - keep, keep);
		size_t total = connection->end_length + keep;
		size_t last = total < sizeof(connection->end) ? total : sizeof(connection->end);
		memcpy(connection->end, tail + total - last, last);
		connection->end_length = last;
		if (!nul)
			return true;
		if (last < sizeof(more) - 1 || memcmp(connection->end + last - (sizeof(more) - 1),
						       more, sizeof(more) - 1) != 0) {
			connection->n_answered++;
			atomic_fetch_add(&flooder->count->answered, 1);
		}
		connection->end_length = 0;
		at = nul + 1;
	}
	return true;
}

static void serve(struct flooder *flooder, struct connection *connection, short events)
{
	size_t n = may_send(flooder, connection);
	bool is_alive = true;

	if ((events & POLLOUT) && n > 0) {
		size_t at = connection->sent % flooder->call_length;
		ssize_t sent = send(
			connection->wire.fd, flooder->call + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0)
			connection->sent += (size_t)sent;
		else
			is_alive = errno == EAGAIN || errno == EINTR;
	}
	if (is_alive && (events & (POLLIN | POLLHUP | POLLERR)))
		is_alive = take_answers(flooder, connection);
	if (!is_alive)
		atomic_fetch_add(&flooder->count->cut_off, 1);
	if (!is_alive || (flooder->kind->n_calls_a_connection > 0 &&
				 connection->n_answered >= flooder->kind->n_calls_a_connection))
		reconnect(flooder, connection, false);
}

_Noreturn static void flood_with_calls(struct flooder *flooder)
{
	static struct connection connections[MAX_CONNECTIONS];
	struct pollfd fds[MAX_CONNECTIONS];
	size_t n = flooder->kind->n_connections;

	make_call(flooder);
	for (size_t i = 0; i < n; i++)
		reconnect(flooder, &connections[i], true);
	for (;;) {
		for (size_t i = 0; i < n; i++) {
			fds[i].fd = connections[i].wire.fd;
			fds[i].events = POLLIN;
			if (may_send(flooder, &connections[i]) > 0)
				fds[i].events |= POLLOUT;
		}
		if (poll(fds, n, -1) < 0)
			err(1, "poll");
		for (size_t i = 0; i < n; i++)
			serve(flooder, &connections[i], fds[i].revents);
	}
}

_Noreturn static void flood_with_leases(struct flooder *flooder, const char *device)
{
	struct wire wire;

	wire_open(&wire, flooder->socket, getuid());
	for (;;) {
		if (!wire_lease(&wire, device))
			exit(1);
		atomic_fetch_add(&flooder->count->answered, 2);
	}
}

void flood_start(struct flood *flood, const struct flood_kind *kind, const char *socket, uid_t uid,
	const char *device)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };
	struct flood_count *count = mmap(
		NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t parent = getpid();

	if (count == MAP_FAILED)
		err(1, "mmap");
	flood->count = count;
	flood->pid = fork();
	if (flood->pid < 0)
		err(1, "fork");
	if (flood->pid == 0) {
		struct flooder flooder = { .kind = kind, .socket = socket, .count = count };
		if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
			err(1, "setresuid");
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(1);
		if (!kind->call)
			flood_with_leases(&flooder, device);
		flood_with_calls(&flooder);
	}
	while (atomic_load(&count->answered) + atomic_load(&count->cut_off) == 0) {
		if (waitpid(flood->pid, NULL, WNOHANG) != 0)
			errx(1, "the flood has ended: %s", kind->name);
		nanosleep(&pause, NULL);
	}
}

void flood_stop(struct flood *flood)
{
	kill(flood->pid, SIGKILL);
	waitpid(flood->pid, NULL, 0);
	munmap(flood->count, sizeof(*flood->count));
}
