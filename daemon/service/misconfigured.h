/*
 * A vfiod that starts with an error in its configuration serves nobody; what becomes of those for
 * whom systemd keeps something, and of those who wait at its socket?
 *
 * Connections, leases and spaces of an earlier vfiod: systemd would close them with a service that
 * has failed for good. So it is tried again until somebody has mended the file, and they wait.
 *
 * Otherwise it ends for good, and who waits at the socket is turned away: left in the queue, one
 * client would have systemd start vfiod again and again (socket activation does not ask why a
 * service has failed).
 */
#pragma once

#include <ev.h>
#include <stddef.h>

/* Instead of store_new(), with what it wants. Exits: 78 for good, 1 to be started again. */
_Noreturn void misconfigured_end(struct ev_loop *loop, size_t fd_store);
