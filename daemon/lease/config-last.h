/*
 * The configuration that was in force last, all its files as one: <state directory>/configuration.
 * A file with an error that nobody has noticed must not keep vfiod from starting again while it
 * has lent devices out.
 */
#pragma once

#include "daemon/lease/config.h"

/* Once it is in force. 0 or -errno, and then it is the one from before, or none. */
int config_keep(const struct config *config, const char *state_directory);
/* As config_read(); -ENOENT: none was kept. */
int config_read_last(const char *state_directory, struct config **config, struct refusal *refusal);
