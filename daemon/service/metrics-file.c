/* When metrics are counted, and the file that has them. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

/* Prometheus asks once in fifteen seconds or more. */
static const double FILE_SECONDS = 3;

static void file_update(struct metrics *metrics)
{
	char *text = metrics_text(metrics);

	if (!text || (metrics->written && strcmp(text, metrics->written) == 0)) {
		free(text);
		return;
	}
	int r = file_publish(metrics->path, text, strlen(text));
	if (r < 0 && !metrics->has_failed)
		log_warning("metrics are not written to %s: %s", metrics->path, strerror(-r));
	metrics->has_failed = r < 0;
	free(metrics->written);
	metrics->written = text;
}

static void on_later(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	ev_timer_stop(loop, timer);
	file_update(timer->data);
}

int metrics_init(struct metrics *metrics, struct service *service, const char *directory)
{
	metrics->service = service;
	ev_timer_init(&metrics->later, on_later, FILE_SECONDS, 0);
	metrics->later.data = metrics;
	if (directory && asprintf(&metrics->path, "%s/vfiod.prom", directory) < 0) {
		metrics->path = NULL;
		return -ENOMEM;
	}
	metrics_touch(metrics);
	return 0;
}

void metrics_clear(struct metrics *metrics)
{
	if (!metrics->service)
		return;
	ev_timer_stop(metrics->service->loop, &metrics->later);
	if (metrics->path)
		unlink(metrics->path);
	free(metrics->path);
	free(metrics->written);
}

void metrics_touch(struct metrics *metrics)
{
	if (!metrics->path || ev_is_active(&metrics->later))
		return;
	ev_timer_set(&metrics->later, FILE_SECONDS, 0);
	ev_timer_start(metrics->service->loop, &metrics->later);
}

void metrics_hear(struct metrics *metrics, const struct broker_news *news)
{
	tally_add(&metrics->events, news->event);
	/* Names of states: static, as those of events are. */
	if (news->after && (strcmp(news->event, "bindingChanged") == 0 ||
				   strcmp(news->event, "ownerChanged") == 0))
		tally_add(&metrics->changes, news->after);
	metrics_touch(metrics);
}
