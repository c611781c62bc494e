/*
 * When has the service manager handled all that it was sent? It is sent the end of a pipe
 * (BARRIER=1, sd_notify_barrier(3)) and closes it when it comes to that. One is on its way at a
 * time, and whoever asks meanwhile shares the next one. For store.c.
 */
#pragma once

#include "daemon/base/notify.h"
#include "daemon/base/store.h"

struct barrier;

int barrier_new(struct ev_loop *loop, struct notify *notify, struct barrier **barrier);
struct barrier *barrier_free(struct barrier *barrier); /* nobody is told. NULL-safe */
/* 0: `kept` will be called, from the loop. -errno: it will not. */
int barrier_wait(struct barrier *barrier, store_kept kept, void *userdata);
void barrier_forget(struct barrier *barrier, void *userdata);
