/* Which system calls each role has; another one kills the process (seccomp(2)). */
#pragma once

#include "daemon/keeper/isolate.h"

/* 0 or -errno. From then on only these. */
int filter_load(enum role role);
