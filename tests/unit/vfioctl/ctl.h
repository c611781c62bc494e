/* A command of vfioctl, run against the fake daemon as a person would run it. */
#pragma once

#include "tests/unit/client/fake.h"

/*
 * ctl(fake, "list", "--all", NULL): its exit code; what it printed is in ctl_out and ctl_err
 * until the next. In a child process, so that descriptors and signals are its own.
 */
int ctl(const struct fake *fake, const char *command, ...) __attribute__((sentinel));
extern char ctl_out[16384], ctl_err[16384];
