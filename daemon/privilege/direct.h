/* What takes a capability, done by this process. */
#pragma once

#include "daemon/privilege/privilege.h"

int direct_memlock(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before);
int direct_pagemap(const struct process_id *process);
int direct_config_space(const char *directory);
