/* A tree of files that looks like /sys, /proc and /dev, for the guard: a device with a disk of two
 * partitions and an interface, and another device below it. */
#pragma once

#include "daemon/bind/guard.h"

#include <limits.h>

struct guard_bench {
	char root[64];
	char device[96], proc[96], sys[96], dev[96];
	struct guard_sources sources;
	struct refusal refusal;
};

int guard_bench_set_up(void **state);
int guard_bench_tear_down(void **state);

/* Paths are below the root: "device/net/enp1s0", "proc/700/comm". Directories are made. */
void bench_file(const struct guard_bench *bench, const char *path, const char *text);
void bench_directory(const struct guard_bench *bench, const char *path);
void bench_link(const struct guard_bench *bench, const char *path, const char *target);
/* A directory of a class, with the number of its node or NULL. */
void bench_class_device(
	const struct guard_bench *bench, const char *path, const char *class, const char *number);
/* A process with one descriptor. */
void bench_process(const struct guard_bench *bench, int pid, const char *name, const char *target,
	const char *flags);

int bench_ask(struct guard_bench *bench);
void assert_free(struct guard_bench *bench);
void assert_in_use(struct guard_bench *bench, const char *use);

#define GUARD_TEST(name)                                                                           \
	cmocka_unit_test_setup_teardown(name, guard_bench_set_up, guard_bench_tear_down)
