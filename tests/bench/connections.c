/*
 * connections SOCKET PID
 *
 * What idle connections cost the daemon: 10,000 of 50 users, each of which has asked something
 * once. How much more memory it has (VmRSS), for each of them; and how much of that it still has
 * when all of them are closed, as in the beginning. As root, with as many descriptors allowed as
 * connections, here and there.
 */
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CONNECTIONS = 10000, N_USERS = 50, FIRST_UID = 20000, PATIENCE_S = 120 };

static const char *pid;

/* Bytes. */
static double memory(void)
{
	char path[64], line[128];
	double kilobytes = -1;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	FILE *status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		if (strncmp(line, "VmRSS:", 6) == 0)
			kilobytes = strtod(line + 6, NULL);
	if (!status || kilobytes < 0)
		errx(1, "%s has no VmRSS", path);
	fclose(status);
	return kilobytes * 1024;
}

static size_t n_descriptors(void)
{
	char path[64];
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *directory = opendir(path);
	if (!directory)
		err(1, "%s", path);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static void wait_for_descriptors(size_t n)
{
	for (double end = now_us() + PATIENCE_S * 1e6; n_descriptors() != n; usleep(10000))
		if (now_us() > end)
			errx(1, "the daemon has %zu descriptors, should have %zu", n_descriptors(),
				n);
}

/* The daemon gives it back a moment after they have gone. */
static void wait_for_memory(double bytes)
{
	for (double end = now_us() + 5e6; memory() > bytes && now_us() < end; usleep(10000))
		;
}

static void ask(struct wire *wire)
{
	wire_send(wire, "{\"method\":\"org.varlink.service.GetInfo\"}");
	if (!wire_receive(wire))
		errx(1, "the daemon closed a connection");
}

int main(int argc, char *argv[])
{
	static struct sample_case open_ms = { .name = "connect-and-ask" },
				  idle = { .name = "idle" }, left = { .name = "left" };
	static struct wire wires[N_CONNECTIONS];

	if (argc != 3)
		errx(2, "see tests/bench/connections.c");
	pid = argv[2];
	/* What it opens for the first one. */
	wire_open(&wires[0], argv[1], FIRST_UID);
	ask(&wires[0]);
	size_t n_before = n_descriptors() - 1;
	wire_close(&wires[0]);
	wait_for_descriptors(n_before);
	double before = memory();
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		double begin = now_us(), at_begin = memory();
		for (size_t i = 0; i < N_CONNECTIONS; i++) {
			wire_open(&wires[i], argv[1], FIRST_UID + (uid_t)(i % N_USERS));
			ask(&wires[i]);
			/* Of this side only what must be. */
			free(wires[i].input);
			wires[i] = (struct wire){ .fd = wires[i].fd, .group_fd = -1 };
		}
		sample_add(&open_ms, (now_us() - begin) / N_CONNECTIONS);
		sample_add(&idle, (memory() - at_begin) / N_CONNECTIONS);
		for (size_t i = 0; i < N_CONNECTIONS; i++)
			wire_close(&wires[i]);
		wait_for_descriptors(n_before);
		wait_for_memory(before + (1 << 20));
		sample_add(&left, memory() - before);
		sample_end_round(&open_ms, "connections");
		sample_end_round(&idle, "connections");
		sample_end_round(&left, "connections");
	}
	sample_finish(&open_ms);
	sample_finish(&idle);
	sample_finish(&left);
	printf("%-44s%9s%9s%9s\n", "10,000 connections of 50 users", "least", "median", "most");
	printf("%-44s%9.0f%9.0f%9.0f\n", "connect and first answer, us", open_ms.min,
		open_ms.median, open_ms.max);
	printf("%-44s%9.0f%9.0f%9.0f\n", "an idle one, bytes of the daemon's memory", idle.min,
		idle.median, idle.max);
	printf("%-44s%9.0f%9.0f%9.0f\n", "more than in the beginning when closed, KiB",
		left.min / 1024, left.median / 1024, left.max / 1024);
	if (left.max > 1 << 20)
		printf("MISSED: not more than 1 MiB is left\n");
	return 0;
}
