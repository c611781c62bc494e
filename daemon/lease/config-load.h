/*
 * The configuration, read while the daemon serves: a child looks up the users and groups that it
 * names, which may wait for a server (nsswitch.conf(5)), and only then it is read here.
 */
#pragma once

#include "daemon/lease/config.h"

#include <ev.h>

struct config_load;

/* On the loop, once; the load may be freed from within. result 0: the config is the listener's. */
typedef void (*config_loaded)(
	int result, struct config *config, const struct refusal *refusal, void *userdata);

/* 0 or -errno. The result is config_read()'s, or REFUSED if looking up takes too long. */
int config_load_new(struct ev_loop *loop, const char *path, config_loaded loaded, void *userdata,
	struct config_load **load);
/* Before `loaded`: it will not be called. NULL-safe. */
struct config_load *config_load_free(struct config_load *load);
