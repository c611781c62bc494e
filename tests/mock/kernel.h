/*
 * The kernel that a bind child sees, played on the testbed's files: writing `driver_override`,
 * `bind` and `unbind` changes links and attributes as the real one does, without events. A group
 * is open for as long as anybody has a copy of its descriptor (flock(2)). All devices are at the
 * root; the host's driver for them is e1000, on every bus.
 *
 * The state is shared between the test and the children that it forks.
 */
#pragma once

#include "daemon/bind/sysfs.h"

struct mock_kernel;

struct mock_kernel *mock_kernel_new(void);
struct mock_kernel *mock_kernel_free(struct mock_kernel *kernel);
const struct sysfs_ops *mock_kernel_ops(struct mock_kernel *kernel);

/* Every write to this attribute or device fails with EIO; "": none. */
void mock_kernel_break(struct mock_kernel *kernel, const char *path);
/* Who writes to this file, or opens this group (/dev/vfio/7), waits, until the gate is at another
 * one, or "". */
void mock_kernel_gate(struct mock_kernel *kernel, const char *path);
bool mock_kernel_has_arrived(const struct mock_kernel *kernel); /* somebody waits there */
/* Do devices have nodes of their own, and is there an iommufd? Not at first. */
void mock_kernel_make_nodes(struct mock_kernel *kernel, bool makes);
unsigned mock_kernel_n_writes(const struct mock_kernel *kernel);
/* A process that /proc shows has kept a node open, and how often it was looked for one. */
void mock_kernel_keep_node(struct mock_kernel *kernel, bool keeps);
unsigned mock_kernel_n_searches(const struct mock_kernel *kernel);
