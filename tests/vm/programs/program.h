/*
 * What the test programs of tests/vm share: how they fail, and how they hold.
 * Exit status: 0 done, 1 a system call failed, 2 wrong usage, 3 the device did wrong.
 */
#pragma once

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	EXIT_SYSTEM = 1,
	EXIT_USAGE = 2,
	EXIT_WRONG = 3,
};

/* A number in any base that strtoul knows, of at most `max`; ends the program on others. */
unsigned long program_number(const char *text, unsigned long max);
/* Says `what` on stdout, and waits for SIGTERM, SIGINT or SIGHUP. */
void program_hold(const char *what);
/* What was printed is out; then one line of stdin, or its end. */
void program_wait_for_line(void);
