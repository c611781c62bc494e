/*
 * The daemon without a kernel: a host of four groups made by hand, the broker with fake jobs
 * (fake-job.h), the service on a socket without a name.
 *
 *	7	a bridge and two NICs, for uid 1000 and uid 1001
 *	8	a device without a driver; stays taken
 *	9	a device that was on vfio-pci before
 *	10	a NIC that no rule covers
 */
#pragma once

#include "daemon/lease/bounds.h"

enum { WORLD_USER = 1000, WORLD_OTHER = 1001 };

void world_begin(void); /* if there is none */
const struct bounds *world_bounds(void);
/* A connection of this user: its other end, non-blocking. */
int world_connect(unsigned uid);
/* The loop goes round until nothing moves. */
void world_run(void);
/* All connections are closed: what nobody holds has gone, or the target has found something. */
void world_settle(void);
