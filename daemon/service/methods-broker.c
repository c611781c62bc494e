/* org.vfiod.Broker: questions. */
#include "daemon/base/util.h"
#include "daemon/lease/wish.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

/* Groups told at most before others have their turn: a host may have thousands. */
enum { LIST_BATCH = 4 };

struct list_state {
	bool all;
	char *pool; /* in place of that; it may leave the configuration meanwhile. NULL: none */
	int next;   /* the first number not yet told */
};

static bool list_has(struct call *call, const struct list_state *state, const struct group *group)
{
	struct broker *broker = call->session->service->broker;
	const struct pool *pool =
		state->pool ? config_pool(broker_config(broker), state->pool) : NULL;

	if (state->pool)
		return pool && broker_n_pooled(broker, &call->session->subject, pool, group) > 0;
	return state->all || group->binding != BINDING_HOST || group->owner != OWNER_NONE ||
	       group_is_covered(broker, group);
}

static struct group *list_next(struct call *call, const struct list_state *state, int from)
{
	struct broker *broker = call->session->service->broker;
	struct group *group;
	TAILQ_FOREACH (group, inventory_groups(broker_inventory(broker)), of_inventory)
		if (group->number >= from && list_has(call, state, group))
			return group;
	return NULL;
}

static struct json_object *list_reply(struct call *call, const struct group *group)
{
	struct broker *broker = call->session->service->broker;
	struct json_object *reply = json_object_new_object();

	json_put(reply, "group",
		group ? describe_group(broker, &call->session->subject, group) : NULL);
	json_put(reply, "total",
		json_object_new_int64((int64_t)inventory_n_groups(broker_inventory(broker))));
	return reply;
}

static void list_cancel(struct call *call)
{
	struct list_state *state = call->state;
	free(state->pool);
	free(state);
}

static void list_finish(struct call *call, const struct group *last)
{
	struct json_object *reply = list_reply(call, last);
	list_cancel(call);
	call->state = NULL;
	call_reply(call, reply);
}

/* Each reply has a group, the last one, too: so the one after it is looked up first. */
static void list_more(struct call *call)
{
	struct list_state *state = call->state;
	struct group *group = list_next(call, state, state->next);

	for (int i = 0; i < LIST_BATCH; i++) {
		struct group *next = group ? list_next(call, state, group->number + 1) : NULL;
		if (!next) {
			list_finish(call, group);
			return;
		}
		state->next = next->number;
		call_reply_more(call, list_reply(call, group), NULL, 0);
		if (call->session->is_dead)
			return;
		/* The client does not read so fast: no more is queued than what it has to take. */
		if (transport_output_bytes(call->session->transport) > 0)
			break;
		group = next;
	}
	call_continue_later(call);
}

static void list(struct call *call)
{
	const char *pool = json_field_text(call->varlink.parameters, "pool");
	struct refusal refusal;
	if (pool && !config_pool(broker_config(call->session->service->broker), pool)) {
		wish_refuse_pool(pool, &refusal);
		call_refuse(call, &refusal);
		return;
	}
	struct list_state *state = calloc(1, sizeof(*state));
	if (state && pool)
		state->pool = strdup(pool);
	if (!state || (pool && !state->pool)) {
		free(state);
		call_fail(call, ENOMEM, "listing groups");
		return;
	}
	state->all = json_object_get_boolean(json_field(call->varlink.parameters, "all"));
	call->state = state;
	call->cancel = list_cancel;
	call->drained = list_more;
	list_more(call);
}

static void describe(struct call *call)
{
	struct group *group = call_group(call, call->varlink.parameters);
	if (!group)
		return;
	struct json_object *reply = json_object_new_object();
	json_put(reply, "group",
		describe_group(call->session->service->broker, &call->session->subject, group));
	json_put(reply, "resetSets", describe_resets(call->session->service->broker, group));
	call_reply(call, reply);
}

static void leases(struct call *call)
{
	struct broker *broker = call->session->service->broker;
	struct json_object *reply = json_object_new_object(), *list_of = json_object_new_array();
	const struct lease *lease;

	TAILQ_FOREACH (lease, &broker_book(broker)->leases, of_book)
		json_object_array_add(list_of, describe_lease(broker, lease));
	json_put(reply, "leases", list_of);
	call_reply(call, reply);
}

/* --- Monitor --------------------------------------------------------------------------- */

struct monitor {
	LIST_ENTRY(monitor) of_service;
	struct call *call;
	bool has_lost;
};

static struct json_object *news_to_json(const struct broker_news *news)
{
	struct json_object *json = json_object_new_object();
	json_put(json, "event", json_text(news->event));
	json_put(json, "group", news->group >= 0 ? json_object_new_int(news->group) : NULL);
	json_put(json, "device", json_text(news->device));
	json_put(json, "lease", json_text(news->lease));
	json_put(json, "space", json_text(news->space));
	json_put(json, "before", json_text(news->before));
	json_put(json, "after", json_text(news->after));
	json_put(json, "text", json_text(news->text));
	return json;
}

static void monitor_cancel(struct call *call)
{
	struct monitor *monitor = call->state;
	LIST_REMOVE(monitor, of_service);
	call->session->user->n_monitors--;
	free(monitor);
}

static void monitor_drained(struct call *call)
{
	struct monitor *monitor = call->state;
	const struct broker_news lost = { .event = "lost", .group = -1 };
	if (!monitor->has_lost)
		return;
	monitor->has_lost = false;
	call_reply_more(call, news_to_json(&lost), NULL, 0);
}

static struct monitor *monitor_new(struct call *call)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	if (!monitor)
		return NULL;
	monitor->call = call;
	LIST_INSERT_HEAD(&call->session->service->monitors, monitor, of_service);
	call->session->user->n_monitors++;
	call->state = monitor;
	call->cancel = monitor_cancel;
	call->drained = monitor_drained;
	return monitor;
}

static void monitor_start(struct call *call)
{
	const struct broker_news ready = { .event = "ready", .group = -1 };
	struct user *user = call->session->user;
	unsigned max = broker_config(call->session->service->broker)->bounds.monitors_per_user;
	struct refusal refusal;
	if (user->n_monitors >= max && !session_is_admin(call->session)) {
		refuse_too_many(&refusal, "max-monitors-per-user", max);
		call_refuse(call, &refusal);
		return;
	}
	if (!monitor_new(call)) {
		call_fail(call, ENOMEM, "monitoring");
		return;
	}
	call->stream = STREAM_MONITOR;
	call_reply_more(call, news_to_json(&ready), NULL, 0);
}

/* What has happened meanwhile nobody knows. */
int monitor_restore(struct session *session)
{
	struct call *call = call_restore(session, "org.vfiod.Broker.Monitor", STREAM_MONITOR);
	struct monitor *monitor = call ? monitor_new(call) : NULL;
	if (!monitor)
		return -ENOMEM;
	monitor->has_lost = true;
	call_continue_later(call);
	return 0;
}

void service_on_news(const struct broker_news *news, void *userdata)
{
	struct service *service = userdata;
	size_t bound = broker_config(service->broker)->bounds.output_bytes / 2;
	struct monitor *monitor;

	metrics_hear(&service->metrics, news);
	LIST_FOREACH (monitor, &service->monitors, of_service) {
		struct session *session = monitor->call->session;
		/* Who does not keep up is told so, instead of being thrown out. */
		if (session->is_dead || monitor->has_lost)
			continue;
		if (transport_output_bytes(session->transport) > bound)
			monitor->has_lost = true;
		else
			call_reply_more(monitor->call, news_to_json(news), NULL, 0);
	}
}

const struct method broker_methods[] = {
	{ .name = "org.vfiod.Broker.List", .run = list },
	{ .name = "org.vfiod.Broker.Describe", .run = describe },
	{ .name = "org.vfiod.Broker.Leases", .run = leases },
	{ .name = "org.vfiod.Broker.Monitor", .run = monitor_start, .lasts = true },
	{ .name = NULL },
};
