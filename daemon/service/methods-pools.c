/* org.vfiod.Broker.Pools: what there is of each, and who waits. */
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

/* Each a group held against a pool, before others have their turn. */
enum { STEPS_AT_A_TIME = 2000 };

struct tally_of_pool {
	char *name; /* the configuration may be read again meanwhile */
	int64_t n_devices, n_groups, n_free, n_leased;
};

struct pools_state {
	struct tally_of_pool *pools;
	size_t n;
	int next; /* the first group not yet looked at */
};

static void state_free(struct pools_state *state)
{
	for (size_t i = 0; state && i < state->n; i++)
		free(state->pools[i].name);
	if (state)
		free(state->pools);
	free(state);
}

static struct pools_state *state_new(const struct config *config)
{
	struct pools_state *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	state->pools = calloc(config->n_pools + 1, sizeof(*state->pools));
	for (; state->pools && state->n < config->n_pools; state->n++) {
		state->pools[state->n].name = strdup(config->pools[state->n].name);
		if (!state->pools[state->n].name)
			break;
	}
	if (state->pools && state->n == config->n_pools)
		return state;
	state_free(state);
	return NULL;
}

static void count(struct tally_of_pool *tally, const struct group *group, size_t n_devices)
{
	tally->n_devices += (int64_t)n_devices;
	tally->n_groups++;
	if (group->owner != OWNER_NONE)
		tally->n_leased++;
	else if (group->binding == BINDING_HOST || group->binding == BINDING_TAKEN)
		tally->n_free++;
}

static void look_at(const struct call *call, const struct group *group)
{
	struct pools_state *state = call->state;
	struct broker *broker = call->session->service->broker;

	for (size_t i = 0; i < state->n; i++) {
		const struct pool *pool = config_pool(broker_config(broker), state->pools[i].name);
		size_t n = pool ? broker_n_pooled(broker, &call->session->subject, pool, group) : 0;

		if (n > 0)
			count(&state->pools[i], group, n);
	}
}

static struct json_object *pool_json(const struct broker *broker, const struct tally_of_pool *tally)
{
	struct json_object *json = json_object_new_object();

	json_put(json, "pool", json_text(tally->name));
	json_put(json, "devices", json_object_new_int64(tally->n_devices));
	json_put(json, "groups", json_object_new_int64(tally->n_groups));
	json_put(json, "free", json_object_new_int64(tally->n_free));
	json_put(json, "leased", json_object_new_int64(tally->n_leased));
	json_put(json, "waiting",
		json_object_new_int64((int64_t)broker_n_waiting(broker, tally->name)));
	return json;
}

/*
 * Pools of which who asks may have nothing are left out: they are of no use to him. They are no
 * secret: List with such a pool lists nothing, and says NoSuchPool of a name that is none.
 */
static void finish(struct call *call)
{
	struct session *session = call->session;
	struct broker *broker = session->service->broker;
	bool is_admin = policy_is_admin(broker_config(broker), &session->subject);
	struct json_object *reply = json_object_new_object(), *pools = json_object_new_array();
	struct pools_state *state = call->state;

	for (size_t i = 0; i < state->n; i++)
		if (is_admin || state->pools[i].n_groups > 0)
			json_object_array_add(pools, pool_json(broker, &state->pools[i]));
	json_put(reply, "pools", pools);
	state_free(state);
	call->state = NULL;
	call_reply(call, reply);
}

static void go_on(struct call *call)
{
	struct inventory *inventory = broker_inventory(call->session->service->broker);
	struct pools_state *state = call->state;
	size_t n_left = STEPS_AT_A_TIME;
	const struct group *group;

	if (state->n > 0)
		TAILQ_FOREACH (group, inventory_groups(inventory), of_inventory) {
			if (group->number < state->next)
				continue;
			if (n_left == 0) {
				call_continue_later(call);
				return;
			}
			look_at(call, group);
			state->next = group->number + 1;
			n_left -= n_left > state->n ? state->n : n_left;
		}
	finish(call);
}

static void cancel(struct call *call)
{
	state_free(call->state);
}

static void pools(struct call *call)
{
	struct pools_state *state = state_new(broker_config(call->session->service->broker));

	if (!state) {
		call_fail(call, ENOMEM, "counting pools");
		return;
	}
	call->state = state;
	call->cancel = cancel;
	call->drained = go_on;
	go_on(call);
}

const struct method pool_methods[] = {
	{ .name = "org.vfiod.Broker.Pools", .run = pools },
	{ .name = NULL },
};
