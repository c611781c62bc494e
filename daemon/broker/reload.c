/* The configuration read again: one reading at a time, and who asks later hears of a later one. */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/lease/config-load.h"

#include <errno.h>
#include <string.h>

struct waiter {
	TAILQ_ENTRY(waiter) of_reload;
	reloaded_fn reloaded;
	void *userdata;
	bool is_heard; /* the reading that runs began after it asked */
};

struct reload {
	struct broker *broker;
	char *path;
	struct config_load *load; /* NULL: none runs */
	TAILQ_HEAD(, waiter) waiters;
	char failure[REFUSAL_TEXT_SIZE]; /* of the last reading; "": it is in force */
};

static void tell(struct reload *reload, int result, const struct refusal *refusal)
{
	struct waiter *waiter, *next;
	for (waiter = TAILQ_FIRST(&reload->waiters); waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, of_reload);
		if (!waiter->is_heard)
			break;
		TAILQ_REMOVE(&reload->waiters, waiter, of_reload);
		waiter->reloaded(result, refusal, waiter->userdata);
		free(waiter);
	}
}

static void start(struct reload *reload);

static void note_failure(struct reload *reload, const char *why)
{
	struct broker_news news = { .event = "configurationRefused", .group = -1, .text = why };

	log_fields(LOG_ERR, (const char *[]){ "MESSAGE_ID", MESSAGE_CONFIGURATION_REFUSED, NULL },
		"the configuration stays as it was: %s", why);
	snprintf(reload->failure, sizeof(reload->failure), "%s", why);
	broker_tell(reload->broker, &news);
}

const char *broker_reload_failure(const struct broker *broker)
{
	return broker->reload && *broker->reload->failure ? broker->reload->failure : NULL;
}

static void on_loaded(
	int result, struct config *config, const struct refusal *refusal, void *userdata)
{
	struct reload *reload = userdata;

	reload->load = config_load_free(reload->load);
	if (result == 0) {
		log_fields(LOG_INFO,
			(const char *[]){ "MESSAGE_ID", MESSAGE_CONFIGURATION_LOADED, NULL },
			"configuration read again: %zu rules", config->n_rules);
		reload->failure[0] = '\0';
		broker_reconfigure(reload->broker, config);
	} else {
		note_failure(reload, result == REFUSED ? refusal->text : strerror(-result));
	}
	tell(reload, result, refusal);
	start(reload);
}

/* For those who wait. */
static void start(struct reload *reload)
{
	struct waiter *waiter;
	if (reload->load || TAILQ_EMPTY(&reload->waiters))
		return;
	TAILQ_FOREACH (waiter, &reload->waiters, of_reload)
		waiter->is_heard = true;
	int r = config_load_new(
		reload->broker->loop, reload->path, on_loaded, reload, &reload->load);
	if (r < 0) {
		struct refusal none = { .kind = REFUSAL_NONE };
		note_failure(reload, strerror(-r));
		tell(reload, r, &none);
	}
}

static struct reload *reload_get(struct broker *broker, const char *path)
{
	if (broker->reload)
		return broker->reload;
	struct reload *reload = calloc(1, sizeof(*reload));
	if (!reload)
		return NULL;
	reload->broker = broker;
	TAILQ_INIT(&reload->waiters);
	reload->path = path ? strdup(path) : NULL;
	if (path && !reload->path) {
		free(reload);
		return NULL;
	}
	return broker->reload = reload;
}

int broker_reload(struct broker *broker, const char *path, reloaded_fn reloaded, void *userdata)
{
	struct reload *reload = reload_get(broker, path);
	struct waiter *waiter = reload ? calloc(1, sizeof(*waiter)) : NULL;
	if (!waiter)
		return -ENOMEM;
	waiter->reloaded = reloaded;
	waiter->userdata = userdata;
	TAILQ_INSERT_TAIL(&reload->waiters, waiter, of_reload);
	start(reload);
	return 0;
}

void broker_reload_forget(struct broker *broker, void *userdata)
{
	struct waiter *waiter;
	TAILQ_FOREACH (waiter, &broker->reload->waiters, of_reload)
		if (waiter->userdata == userdata) {
			TAILQ_REMOVE(&broker->reload->waiters, waiter, of_reload);
			free(waiter);
			return;
		}
}

struct reload *reload_free(struct reload *reload)
{
	struct waiter *waiter;
	if (!reload)
		return NULL;
	config_load_free(reload->load);
	while ((waiter = TAILQ_FIRST(&reload->waiters))) {
		TAILQ_REMOVE(&reload->waiters, waiter, of_reload);
		free(waiter);
	}
	free(reload->path);
	free(reload);
	return NULL;
}
