/*
 * messages SOCKET
 *
 * GetInfo of the daemon against a peer that does no more than a stream of messages asks for: it
 * reads up to the NUL, and writes the same answer. One call at a time, and sixteen in flight.
 */
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET_INFO "{\"method\":\"org.varlink.service.GetInfo\"}"

enum { N_CALLS = 20000, IN_FLIGHT = 16, N_BATCHES = 40 };

_Noreturn static void echo(int socket, const char *answer)
{
	struct wire wire = { .fd = socket, .group_fd = -1 };

	while (wire_receive(&wire))
		wire_send(&wire, answer);
	_exit(0);
}

/* Calls a second: each sample is of one part of N_CALLS. */
static void measure(struct sample_case *sample, struct wire *wire, size_t n_in_flight)
{
	for (size_t batch = 0; batch < N_BATCHES; batch++) {
		size_t n = N_CALLS / N_BATCHES, n_sent = 0, n_received = 0;
		double begin = now_us();

		while (n_received < n) {
			for (; n_sent < n && n_sent - n_received < n_in_flight; n_sent++)
				wire_send(wire, GET_INFO);
			if (!wire_receive(wire))
				errx(1, "it has closed the connection");
			n_received++;
		}
		sample_add(sample, (double)n / (now_us() - begin) * 1e6);
	}
	sample_end_round(sample, "messages");
}

static void print_row(struct sample_case *sample, double base)
{
	printf("%-38s%10.0f%10.0f%10.0f%9.2f\n", sample->name, sample->min, sample->median,
		sample->max, base / sample->median);
}

int main(int argc, char *argv[])
{
	static struct sample_case cases[] = {
		{ .name = "echo, one at a time" },
		{ .name = "vfiod, one at a time" },
		{ .name = "echo, 16 in flight" },
		{ .name = "vfiod, 16 in flight" },
	};
	struct wire daemon, peer = { .group_fd = -1 };

	if (argc != 2)
		errx(2, "see tests/bench/messages.c");
	wire_open(&daemon, argv[1], getuid());
	wire_send(&daemon, GET_INFO);
	const char *answer = wire_receive(&daemon);
	if (!answer || !strstr(answer, "vfiod"))
		errx(1, "no answer");
	pid_t pid = peer_fork(SOCK_STREAM, &peer.fd);
	if (pid == 0)
		echo(peer.fd, strdup(answer));
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		measure(&cases[0], &peer, 1);
		measure(&cases[1], &daemon, 1);
		measure(&cases[2], &peer, IN_FLIGHT);
		measure(&cases[3], &daemon, IN_FLIGHT);
	}
	for (size_t i = 0; i < 4; i++)
		sample_finish(&cases[i]);
	printf("%-38s%10s%10s%10s%9s\n", "GetInfo, calls a second", "min", "median", "max",
		"ratio");
	for (size_t i = 0; i < 4; i++)
		print_row(&cases[i], cases[i & 2].median);
	wire_close(&peer);
	wire_close(&daemon);
	return 0;
}
