/*
 * systemd, as far as vfiod is its service: it is told that vfiod is ready, that its loop turns
 * (the watchdog), and what there is to see (`systemctl status`), by sd_notify(3). Without systemd
 * nobody is told anything.
 */
#pragma once

#include "daemon/broker/broker.h"

#include <ev.h>

struct supervisor;

/* 0 or -ENOMEM. */
int supervisor_new(struct ev_loop *loop, struct broker *broker, struct supervisor **supervisor);
/* NULL-safe. */
struct supervisor *supervisor_free(struct supervisor *supervisor);

/* Clients are served. From here on the watchdog is fed, if there is one. */
void supervisor_ready(struct supervisor *supervisor);
/* Something has changed: STATUS is told again, at most once in two seconds. */
void supervisor_hear(struct supervisor *supervisor);
void supervisor_reloading(struct supervisor *supervisor);
void supervisor_reloaded(struct supervisor *supervisor);
/* `text` is STATUS from here on. */
void supervisor_stopping(struct supervisor *supervisor, const char *text);

/* What STATUS says: one line, cut if need be. */
#define SUPERVISOR_STATUS_SIZE 1024
void supervisor_describe(struct broker *broker, char *text, size_t size);
