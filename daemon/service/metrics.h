/*
 * Metrics for Prometheus: a text for who asks (org.vfiod.Admin.Metrics), and the same in a file
 * for node_exporter's textfile collector.
 *
 * The file is written atomically, mode 0644, a few seconds after something has happened and only
 * if the text has changed since; a daemon that nobody asks anything writes nothing. It is removed
 * at the end: figures of a daemon that is not there mislead.
 *
 * What labels say is bounded: states, methods, errors and events are those that the interface files
 * declare; accounts are METRICS_ACCOUNTS at most, with those of single leases in one.
 */
#pragma once

#include "daemon/broker/broker.h"
#include "daemon/service/tally.h"

#include <ev.h>

struct service;

#define METRICS_ACCOUNTS 128

struct metrics {
	struct service *service;
	struct tally calls, errors, events, changes; /* since the start; calls by their method */
	char *path;                                  /* NULL: no file */
	char *written;                               /* what the file has; NULL: nothing yet */
	ev_timer later;
	bool has_failed; /* to be written, and that has been said */
};

/* directory: where the file goes, as vfiod.prom; NULL: there is none. 0 or -ENOMEM. */
int metrics_init(struct metrics *metrics, struct service *service, const char *directory);
void metrics_clear(struct metrics *metrics);
/* Something has happened. */
void metrics_touch(struct metrics *metrics);
void metrics_hear(struct metrics *metrics, const struct broker_news *news);
/* The text, the caller's to free. NULL: no memory. */
char *metrics_text(const struct metrics *metrics);
