#include "daemon/base/trim.h"

#include <malloc.h>

/* What fewer leave is too little to care for. */
static const unsigned FREED_MANY = 256;
/* Where many end, more are about to. */
static const double TRIM_SECONDS = 0.5;

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct trim *trim = timer->data;
	(void)loop;
	(void)revents;

	trim->n_freed = 0;
	/* Whole free pages anywhere in the heap (glibc, malloc/malloc.c: mtrim). */
	malloc_trim(0);
}

void trim_init(struct trim *trim, struct ev_loop *loop)
{
	*trim = (struct trim){ .loop = loop };
	ev_timer_init(&trim->timer, on_timer, TRIM_SECONDS, 0);
	trim->timer.data = trim;
}

void trim_stop(struct trim *trim)
{
	ev_timer_stop(trim->loop, &trim->timer);
}

void trim_note(struct trim *trim)
{
	if (++trim->n_freed < FREED_MANY || ev_is_active(&trim->timer))
		return;
	ev_timer_set(&trim->timer, TRIM_SECONDS, 0);
	ev_timer_start(trim->loop, &trim->timer);
}
