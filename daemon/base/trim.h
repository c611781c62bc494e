/*
 * Memory that many objects have left goes back to the kernel. free(3) gives back only what lies at
 * the heap's end, and something always lies there: after a thousand connections at once, the daemon
 * would keep what they took for the rest of its life. Called on the loop.
 */
#pragma once

#include <ev.h>

struct trim {
	struct ev_loop *loop;
	ev_timer timer;
	unsigned n_freed; /* since the last time */
};

void trim_init(struct trim *trim, struct ev_loop *loop);
void trim_stop(struct trim *trim);
/* One object more was freed, some kilobytes. When they are many, all is given back a moment later.
 */
void trim_note(struct trim *trim);
