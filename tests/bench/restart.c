/*
 * restart SOCKET PID-FILE
 *
 * The daemon is killed while 1,000 clients are connected, and another takes their connections over
 * (from what stands for systemd's store, tests/vm/programs/keep-running.c, which writes its pid to
 * PID-FILE). All of them ask something at once: when has the first, the one in the middle, and the
 * last its answer, from the SIGKILL on? Who finds his connection closed counts as lost: none may
 * be.
 */
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N_CLIENTS = 1000, N_USERS = 50, FIRST_UID = 20000, PATIENCE_MS = 60000 };

static const char question[] = "{\"method\":\"org.varlink.service.GetInfo\"}";
static const double GOAL_US = 50000;
static struct wire wires[N_CLIENTS];

static pid_t running(const char *file)
{
	int pid = 0;
	FILE *stream = fopen(file, "re");

	if (!stream || fscanf(stream, "%d", &pid) != 1)
		errx(1, "%s has no pid", file);
	fclose(stream);
	return pid;
}

static void connect_one(const char *socket, size_t i)
{
	wire_open(&wires[i], socket, FIRST_UID + (uid_t)(i % N_USERS));
	wire_send(&wires[i], question);
	if (!wire_receive(&wires[i]))
		errx(1, "client %zu was not served", i);
}

/* When each was answered, in µs after `begin`, in that order; how many were not. */
static size_t collect(double begin, double answered[N_CLIENTS])
{
	static struct pollfd polled[N_CLIENTS];
	size_t n_left = N_CLIENTS, n = 0;

	for (size_t i = 0; i < N_CLIENTS; i++)
		polled[i] = (struct pollfd){ .fd = wires[i].fd, .events = POLLIN };
	while (n_left > 0) {
		if (poll(polled, N_CLIENTS, PATIENCE_MS) <= 0)
			errx(1, "%zu clients hear nothing for %d ms", n_left, PATIENCE_MS);
		for (size_t i = 0; i < N_CLIENTS; i++) {
			if (!polled[i].revents)
				continue;
			if (wire_receive(&wires[i]))
				answered[n++] = now_us() - begin;
			polled[i].fd = -1;
			n_left--;
		}
	}
	return N_CLIENTS - n;
}

/* What it has begun to read when it dies is lost by right: so it is dead before it is asked. */
static void end_daemon(pid_t pid)
{
	struct pollfd polled = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

	if (polled.fd < 0 || kill(pid, SIGKILL) < 0 || poll(&polled, 1, PATIENCE_MS) != 1)
		err(1, "killing the daemon");
	close(polled.fd);
}

static size_t round_of(const char *socket, const char *file, double answered[N_CLIENTS])
{
	for (size_t i = 0; i < N_CLIENTS; i++)
		connect_one(socket, i);
	/* When somebody else is answered, it is done with all of these. */
	struct wire other;
	wire_open(&other, socket, FIRST_UID);
	wire_send(&other, question);
	if (!wire_receive(&other))
		errx(1, "the daemon closed a connection");
	wire_close(&other);
	double begin = now_us();
	end_daemon(running(file));
	for (size_t i = 0; i < N_CLIENTS; i++) {
		/* Not wire_send(): whose connection is lost is counted below. */
		ssize_t ignored = send(wires[i].fd, question, sizeof(question), MSG_NOSIGNAL);
		(void)ignored;
	}
	size_t n_lost = collect(begin, answered);
	for (size_t i = 0; i < N_CLIENTS; i++)
		wire_close(&wires[i]);
	return n_lost;
}

int main(int argc, char *argv[])
{
	static struct sample_case cases[] = { { .name = "first" }, { .name = "half" },
		{ .name = "last" } };
	static double answered[N_CLIENTS];
	size_t n_lost = 0;

	if (argc != 3)
		errx(2, "see tests/bench/restart.c");
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		size_t lost = round_of(argv[1], argv[2], answered), n = N_CLIENTS - lost;
		n_lost += lost;
		if (n == 0)
			errx(1, "all connections were lost");
		sample_add(&cases[0], answered[0]);
		sample_add(&cases[1], answered[n / 2]);
		sample_add(&cases[2], answered[n - 1]);
		for (size_t i = 0; i < 3; i++)
			sample_end_round(&cases[i], "restart");
	}
	printf("%-44s%9s%9s%9s\n", "served again after SIGKILL, 1,000 clients, ms", "least",
		"median", "most");
	for (size_t i = 0; i < 3; i++) {
		sample_finish(&cases[i]);
		printf("%-44s%9.1f%9.1f%9.1f\n", cases[i].name, cases[i].min / 1e3,
			cases[i].median / 1e3, cases[i].max / 1e3);
	}
	printf("connections lost: %zu of %d\n", n_lost, SAMPLE_ROUNDS * N_CLIENTS);
	if (n_lost > 0 || cases[2].median > GOAL_US)
		printf("MISSED: none lost, all served within 50 ms\n");
	return 0;
}
