/* The parts of sysfs_kernel that are files of their own. Nobody outside of this room includes it.
 */
#pragma once

#include "daemon/bind/sysfs.h"

/*
 * modprobe by libkmod, blacklists not asked; where that may not, under systemd, by
 * modprobe@.service. 0 also when it is loaded or built in.
 */
int module_load(const char *name);
/* sysfs_ops.module_driver, sysfs_ops.find_variant. The latter asks blacklists. */
int module_driver(const char *module, const char *bus, char *driver, size_t size);
int module_find_variant(const char *modalias, char *module, size_t size);

/* sysfs_ops.find_opener, for a child of the daemon. */
int opener_ask(void *userdata, const struct plan *plan, bool nodes_only, struct opener *opener);

/* sysfs_ops.makes_nodes. */
bool opener_makes_nodes(void *userdata);

/* sysfs_ops.guard. */
int guard_ask(void *userdata, const char *syspath, const char *name, struct refusal *refusal);
