/*
 * fairness SOCKET DEVICE UID FLOOD-DEVICE FLOOD-UID
 *
 * How long one client's acquire + release takes while another floods the daemon, against the same
 * without a flood: alone and under each flood by turns, in rounds. As root; both devices are to be
 * in taken groups that stay so (`return = no`), so that the cost is the broker's.
 */
#include "tests/bench/flood.h"
#include "tests/bench/sample.h"
#include "tests/bench/wire.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

static const size_t MAX_LEASES = 40, MIN_LEASES = 5;
static const double ROUND_US = 2e6; /* what a round of one case takes, roughly */

static void measure(struct sample_case *sample, struct wire *wire, const char *device)
{
	double begin = now_us(), before = begin;

	for (size_t n = 0; n < MAX_LEASES && (n < MIN_LEASES || before - begin < ROUND_US); n++) {
		if (!wire_lease(wire, device))
			exit(1);
		double after = now_us();
		sample_add(sample, after - before);
		before = after;
	}
	sample_end_round(sample, "fairness");
}

struct flooded {
	struct sample_case sample;
	double calls_a_second, n_cut_off; /* the last round's; all rounds' */
};

static void measure_flooded(
	struct flooded *flooded, const struct flood_kind *kind, struct wire *wire, char *argv[])
{
	struct flood flood;

	flood_start(&flood, kind, argv[1], (uid_t)atoi(argv[5]), argv[4]);
	double begin = now_us(), answered = (double)atomic_load(&flood.count->answered);
	measure(&flooded->sample, wire, argv[2]);
	answered = (double)atomic_load(&flood.count->answered) - answered;
	flooded->calls_a_second = answered / (now_us() - begin) * 1e6;
	flooded->n_cut_off += (double)atomic_load(&flood.count->cut_off);
	flood_stop(&flood);
}

int main(int argc, char *argv[])
{
	static struct sample_case alone = { .name = "alone" };
	struct flooded *flooded = calloc(n_flood_kinds, sizeof(*flooded));
	struct wire wire;

	if (argc != 6 || !flooded)
		errx(2, "see tests/bench/fairness.c");
	wire_open(&wire, argv[1], (uid_t)atoi(argv[3]));
	/* The first one makes the group ready. */
	if (!wire_lease(&wire, argv[2]))
		return 1;
	for (int round = 0; round < SAMPLE_ROUNDS; round++) {
		measure(&alone, &wire, argv[2]);
		for (size_t i = 0; i < n_flood_kinds; i++) {
			flooded[i].sample.name = flood_kinds[i].name;
			measure_flooded(&flooded[i], &flood_kinds[i], &wire, argv);
		}
	}
	sample_finish(&alone);
	printf("%-27s%9s%9s%9s%7s%10s%8s\n", "acquire + release, ms", "min", "median", "max",
		"ratio", "answers/s", "cut off");
	printf("%-27s%9.2f%9.2f%9.2f%7.2f\n", "alone", alone.min / 1e3, alone.median / 1e3,
		alone.max / 1e3, 1.0);
	for (size_t i = 0; i < n_flood_kinds; i++) {
		struct sample_case *sample = &flooded[i].sample;
		sample_finish(sample);
		printf("%-27s%9.2f%9.2f%9.2f%7.2f%10.0f%8.0f\n", sample->name, sample->min / 1e3,
			sample->median / 1e3, sample->max / 1e3, sample->median / alone.median,
			flooded[i].calls_a_second, flooded[i].n_cut_off);
	}
	wire_close(&wire);
	free(flooded);
	return 0;
}
