/*
 * The kernel that a bind child sees, played on the testbed's files: writing `driver_override`,
 * `bind` and `unbind` changes links and attributes as the real one does, without events. A group
 * is open for as long as anybody has a copy of its descriptor (flock(2)).
 *
 * The state is shared between the test and the children that it forks.
 */
#pragma once

#include "daemon/bind/sysfs.h"

struct mock_kernel;

struct mock_kernel *mock_kernel_new(void);
struct mock_kernel *mock_kernel_free(struct mock_kernel *kernel);
const struct sysfs_ops *mock_kernel_ops(struct mock_kernel *kernel);

/* The k-th operation from now on (1 = the next), of whichever child, fails with EIO; 0: none. */
void mock_kernel_fail(struct mock_kernel *kernel, unsigned k);
/* Every operation that writes below this device fails with EIO; "": none. */
void mock_kernel_break(struct mock_kernel *kernel, const char *syspath);
/* The k-th operation from now on waits for mock_kernel_let_go(). */
void mock_kernel_hang(struct mock_kernel *kernel, unsigned k);
bool mock_kernel_hangs(const struct mock_kernel *kernel); /* a child is there */
void mock_kernel_let_go(struct mock_kernel *kernel);
/* The child that comes to the k-th operation from now on dies instead. */
void mock_kernel_kill(struct mock_kernel *kernel, unsigned k);
/* Nothing that a child writes comes between: for a device that leaves. */
void mock_kernel_lock(struct mock_kernel *kernel);
void mock_kernel_unlock(struct mock_kernel *kernel);
/* The guard says that the host uses its devices. */
void mock_kernel_use(struct mock_kernel *kernel, bool in_use);
unsigned mock_kernel_n_ops(const struct mock_kernel *kernel);
unsigned mock_kernel_n_writes(const struct mock_kernel *kernel);
bool mock_kernel_struck(const struct mock_kernel *kernel); /* the fault, hang or kill has come */
