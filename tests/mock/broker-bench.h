/*
 * A whole broker on a host made of files: real inventory, real children, the kernel of
 * tests/mock/kernel.h. Groups 1, 2 and 3; group 1 is a bridge and two NICs, the others a NIC
 * each; user 1000 may have them all.
 *
 * bench_free() fails the test unless every group that is still there is as it was, and
 * nothing is left: no lease, no holding, no journal, no descriptor.
 */
#pragma once

#include "daemon/broker/tenancy.h"
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

enum { BENCH_UID = 1000, N_BENCH_GROUPS = 3 };

#define BENCH_BRIDGE "0000:01:00.0"
#define BENCH_NIC_A "0000:01:01.0"
#define BENCH_NIC_B "0000:01:02.0"
#define BENCH_NIC_2 "0000:02:00.0"
#define BENCH_NIC_3 "0000:03:00.0"

struct bench {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that bench_wait() looks, and ends */
	struct inventory *inventory;
	struct broker *broker;
	char *directory;
	size_t n_fds; /* at the start */
	bool has_stopped;
};

struct bench *bench_new(void);
struct bench *bench_free(struct bench *bench);
/* The broker goes, and a new one comes: what an administrator's restart does. */
void bench_restart(struct bench *bench);

struct group *bench_group(struct bench *bench, int number);
const char *bench_binding(struct bench *bench, int number);
const char *bench_owner(struct bench *bench, int number);
/* All members of a group leave the host; with or without udev's word of it. */
void bench_remove_group(struct bench *bench, int number, bool with_event);
void bench_remove_device(struct bench *bench, const char *name);
bool bench_has_journal(struct bench *bench, int number);
/* "e1000 (null)": of one device, as sysfs has it; to be freed. */
char *bench_device(struct bench *bench, const char *name);
/* Nothing has a group, a holding or a lease, and no job runs. */
bool bench_is_idle(struct bench *bench);
bool bench_has_stopped(struct bench *bench);
void bench_shut_down(struct bench *bench);

/* Runs the loop until it holds; 20 seconds, then the test has failed. */
#define bench_wait(bench, condition)                                                               \
	do {                                                                                       \
		int turns_ = 2000;                                                                 \
		while (!(condition) && turns_-- > 0)                                               \
			ev_run((bench)->loop, EVRUN_ONCE);                                         \
		assert_true(condition);                                                            \
	} while (0)
/* The loop for so many ticks of 10 ms: what is to come of it has come. */
void bench_idle(struct bench *bench, int ticks);

/* Descriptors that this process has. */
size_t count_fds(void);
