/*
 * org.vfiod.Admin.Check. In a child: the user database may be a slow server's, and thousands of
 * devices times hundreds of rules take their time.
 */
#include "daemon/base/errand.h"
#include "daemon/base/util.h"
#include "daemon/bind/plan.h"
#include "daemon/service/parts.h"

#include <errno.h>

static const double CHECK_SECONDS = 60;

/* Of this group, the rule covers a device: which others does no rule cover, for anybody? */
static void add_uncovered(
	struct json_object *uncovered, const struct config *config, const struct group *group)
{
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (plan_action_for(device) != PLAN_LEAVE && !policy_rule_for(config, NULL, device))
			json_object_array_add(uncovered, json_text(device->name));
}

static struct json_object *report_rule(
	struct broker *broker, const struct config *config, const struct rule *rule)
{
	struct json_object *json = json_object_new_object(), *uncovered = json_object_new_array();
	/* Policy, asked as if there were no other rule. */
	const struct config alone = { .rules = (struct rule *)rule, .n_rules = 1 };
	const struct group *group;
	int64_t n_devices = 0;

	TAILQ_FOREACH (group, inventory_groups(broker_inventory(broker)), of_inventory) {
		const struct device *device;
		int64_t before = n_devices;
		TAILQ_FOREACH (device, &group->devices, of_group)
			n_devices += policy_rule_for(&alone, NULL, device) != NULL;
		if (n_devices > before)
			add_uncovered(uncovered, config, group);
	}
	json_put(json, "rule", json_text(rule->name));
	json_put(json, "file", json_text(rule->file));
	json_put(json, "line", json_object_new_int64(rule->line));
	json_put(json, "devices", json_object_new_int64(n_devices));
	json_put(json, "uncovered", uncovered);
	return json;
}

static struct json_object *report(struct service *service)
{
	const struct config *config = broker_config(service->broker);
	struct json_object *json = json_object_new_object(), *rules = json_object_new_array();
	struct config *read;
	struct refusal refusal;

	int r = config_read(service->hooks.configuration, &read, &refusal);
	for (size_t i = 0; i < config->n_rules; i++)
		json_object_array_add(
			rules, report_rule(service->broker, config, &config->rules[i]));
	json_put(json, "configurationError",
		r == 0         ? NULL
		: r == REFUSED ? json_text(refusal.text)
			       : json_text(strerrordesc_np(-r)));
	json_put(json, "rules", rules);
	return json;
}

/* In the child. */
static int look(FILE *answer, void *userdata)
{
	struct json_object *json = report(userdata);
	const char *text = json ? json_object_to_json_string(json) : NULL;
	return text && fputs(text, answer) >= 0 ? 0 : -ENOMEM;
}

static void on_answer(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct call *call = userdata;
	struct json_object *reply = result == 0 ? json_tokener_parse(answer) : NULL;

	(void)length;
	errand_free(errand);
	if (reply)
		call_reply(call, reply);
	else
		call_fail(call, result < 0 ? -result : ENOMEM, "checking the configuration");
}

static void check_cancel(struct call *call)
{
	errand_free(call->state);
}

static void check(struct call *call)
{
	struct service *service = call->session->service;
	struct errand *errand;

	int r = errand_new(service->loop, "vfiod-check", look, service, CHECK_SECONDS, on_answer,
		call, &errand);
	if (r < 0) {
		call_fail(call, -r, "starting a child");
		return;
	}
	call->state = errand;
	call->cancel = check_cancel;
}

const struct method check_methods[] = {
	{ .name = "org.vfiod.Admin.Check", .run = check },
	{ .name = NULL },
};
