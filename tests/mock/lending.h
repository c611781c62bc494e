/*
 * A broker that lends the only group of a host, with one device, to the test. Real inventory, real
 * children, the kernel of kernel.h.
 */
#pragma once

#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/broker/parts.h"

#define LENT_DEVICE "0000:01:00.0"

struct lending {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that wait_for() looks, and ends */
	struct inventory *inventory;
	struct broker *broker;
	char directory[64];
	char *syspath;
	struct lease *lease; /* NULL: over */
	int group_fd;        /* a copy of what was granted, if it is kept; -1 */
	bool cdev;           /* the next lease's mode; what is kept is a node then */
	bool is_granted, is_refused, keeps;
	unsigned n_asked, n_gone, n_leaving;
	char text[256];    /* of the last event */
	char stages[1024]; /* texts of "revokeStage", a line each */
};

/* As *state; the user 1000 is an administrator, so that no control group is asked. */
int lending_set_up(void **state, const char *rules);
/* Of another device than LENT_DEVICE. */
int lending_set_up_bus(void **state, const char *rules, const char *bus, const char *name);
int lending_tear_down(void **state);
/* As kill -9 would, but for what this process has open: children at work go on. And the next one.
 */
void lending_stop(struct lending *lending);
void lending_start(struct lending *lending);
/* To this process of user 1000. */
struct group *lend(struct lending *lending, pid_t pid, bool brokered);

/* The same, only asked for: whether it is granted is to be seen. */
struct group *lend_begin(struct lending *lending, pid_t pid, bool brokered);

/* Runs the loop until it holds; 40 seconds, then the test has failed. */
#define wait_for(lending, condition)                                                               \
	do {                                                                                       \
		int turns_ = 4000;                                                                 \
		while (!(condition) && turns_-- > 0)                                               \
			ev_run((lending)->loop, EVRUN_ONCE);                                       \
		assert_true(condition);                                                            \
	} while (0)
