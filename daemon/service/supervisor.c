#include "daemon/service/supervisor.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/spaces.h"

#include <errno.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static const double STATUS_SECONDS = 2;

struct supervisor {
	struct ev_loop *loop;
	struct broker *broker;
	ev_timer status;
	ev_timer watchdog; /* not active: nobody watches */
	bool is_stopping;
};

/* What there is of it, after `n` of what there always is: ", 2 stuck". */
static void add_count(FILE *to, size_t count, const char *what)
{
	if (count > 0)
		fprintf(to, ", %zu %s", count, what);
}

void supervisor_describe(struct broker *broker, char *text, size_t size)
{
	const struct lease_book *book = broker_book(broker);
	const char *failure = broker_reload_failure(broker);
	size_t n_lingering = 0, n_stuck = 0, n_failed = 0, n_spaces = 0, n_orphaned = 0;
	const struct space_entry *entry;
	const struct group *group;

	TAILQ_FOREACH (group, inventory_groups(broker_inventory(broker)), of_inventory) {
		n_lingering += group->owner == OWNER_LINGERING;
		n_stuck += group->binding == BINDING_STUCK;
		n_failed += group->binding == BINDING_FAILED;
	}
	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker) {
		n_spaces += space_state(entry->space) != SPACE_ENDED;
		n_orphaned += space_state(entry->space) == SPACE_ORPHANED;
	}
	FILE *to = fmemopen(text, size, "w");
	if (!to) {
		snprintf(text, size, "no memory");
		return;
	}
	/* What fmemopen(3) cuts is terminated only without a buffer. */
	setvbuf(to, NULL, _IONBF, 0);
	fprintf(to, "%zu groups, %zu leases, %zu waiting",
		inventory_n_groups(broker_inventory(broker)), lease_book_count(book, LEASE_GRANTED),
		lease_book_count(book, LEASE_QUEUED));
	add_count(to, n_spaces, n_spaces == 1 ? "space" : "spaces");
	add_count(to, n_orphaned, "orphaned");
	add_count(to, n_lingering, "lingering");
	add_count(to, n_stuck, "stuck");
	add_count(to, n_failed, "failed");
	if (failure)
		fprintf(to, ". The configuration in force is an earlier one, as: %s", failure);
	fclose(to);
	text[size - 1] = '\0';
	/* A line of STATUS= ends the field (sd_notify(3)). */
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
}

static void on_status(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	struct supervisor *supervisor = timer->data;
	char text[SUPERVISOR_STATUS_SIZE];

	ev_timer_stop(loop, timer);
	if (supervisor->is_stopping)
		return;
	supervisor_describe(supervisor->broker, text, sizeof(text));
	sd_notifyf(0, "STATUS=%s", text);
}

/* By the loop, and by it alone: where it hangs, systemd ends us and starts the next one. */
static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
	sd_notify(0, "WATCHDOG=1");
}

int supervisor_new(struct ev_loop *loop, struct broker *broker, struct supervisor **supervisor)
{
	struct supervisor *made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->loop = loop;
	made->broker = broker;
	ev_init(&made->status, on_status);
	ev_init(&made->watchdog, on_watchdog);
	made->status.data = made->watchdog.data = made;
	*supervisor = made;
	return 0;
}

struct supervisor *supervisor_free(struct supervisor *supervisor)
{
	if (!supervisor)
		return NULL;
	ev_timer_stop(supervisor->loop, &supervisor->status);
	ev_timer_stop(supervisor->loop, &supervisor->watchdog);
	free(supervisor);
	return NULL;
}

void supervisor_ready(struct supervisor *supervisor)
{
	uint64_t microseconds;

	sd_notify(0, "READY=1");
	on_status(supervisor->loop, &supervisor->status, 0);
	int r = sd_watchdog_enabled(0, &microseconds);
	if (r < 0)
		log_warning("WATCHDOG_USEC= is not understood: %s", strerror(-r));
	if (r <= 0)
		return;
	/* Twice as often as need be (sd_watchdog_enabled(3)). */
	supervisor->watchdog.repeat = (double)microseconds / 1e6 / 2;
	ev_timer_again(supervisor->loop, &supervisor->watchdog);
}

void supervisor_hear(struct supervisor *supervisor)
{
	if (ev_is_active(&supervisor->status))
		return;
	ev_timer_set(&supervisor->status, STATUS_SECONDS, 0);
	ev_timer_start(supervisor->loop, &supervisor->status);
}

void supervisor_reloading(struct supervisor *supervisor)
{
	(void)supervisor;
	sd_notify(0, "RELOADING=1");
}

void supervisor_reloaded(struct supervisor *supervisor)
{
	sd_notify(0, "READY=1");
	/* At once: who has reloaded looks now. */
	on_status(supervisor->loop, &supervisor->status, 0);
}

void supervisor_stopping(struct supervisor *supervisor, const char *text)
{
	supervisor->is_stopping = true;
	sd_notifyf(0, "STOPPING=1\nSTATUS=%s", text);
}
