/* org.vfiod.Broker.Plan: a dry run. */
#include "daemon/base/util.h"
#include "daemon/broker/preview.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

static struct json_object *name_or_null(const char *name)
{
	return *name ? json_text(name) : NULL;
}

static struct json_object *device_json(
	const struct device *device, enum plan_action action, const char *driver_after)
{
	struct json_object *json = json_object_new_object();
	json_put(json, "device", json_text(device->name));
	json_put(json, "group", json_object_new_int(device->group->number));
	json_put(json, "action", json_text(plan_action_name(action)));
	json_put(json, "driver", name_or_null(device->driver));
	json_put(json, "driverAfter", name_or_null(driver_after));
	return json;
}

/* A device that does not move, as one of a group that is taken, or with the host, already. */
static struct json_object *settled_json(const struct device *device)
{
	enum plan_action action = plan_action_for(device);
	return device_json(
		device, action == PLAN_LEAVE ? PLAN_LEAVE : PLAN_ALREADY, device->driver);
}

/* An override that nobody has read is not known, and not none: but nothing happens to it then. */
static struct json_object *planned_json(
	const struct device *device, const struct plan_member *member, bool is_return)
{
	bool moves = plan_member_moves(member);
	const char *ours = member->target;
	const char *driver_ours = member->action == PLAN_PARK ? "" : ours;
	const char *after = !moves ? device->driver : is_return ? member->host_driver : driver_ours;
	struct json_object *json = device_json(device, member->action, after);

	if (moves && member->known) {
		json_put(json, "override", name_or_null(is_return ? ours : member->host_override));
		json_put(json, "overrideAfter",
			name_or_null(is_return ? member->host_override : ours));
	}
	return json;
}

static void add_devices(
	struct json_object *devices, const struct preview_group *of, enum preview_purpose purpose)
{
	const struct device *device;
	TAILQ_FOREACH (device, &of->group->devices, of_group) {
		const struct plan_member *member =
			of->plan ? plan_find(of->plan, device->name, device->bus) : NULL;
		if (member)
			json_object_array_add(
				devices, planned_json(device, member, purpose == PREVIEW_RETURN));
		else if (of->n_vetoes == 0)
			json_object_array_add(devices, settled_json(device));
	}
}

static void add_vetoes(struct json_object *vetoes, const struct preview_group *of)
{
	for (size_t i = 0; i < of->n_vetoes; i++) {
		const struct refusal *veto = &of->vetoes[i];
		struct json_object *json = json_object_new_object(), *parameters = NULL;
		char text[REFUSAL_TEXT_SIZE];

		json_put(json, "group", json_object_new_int(of->group->number));
		json_put(json, "device", name_or_null(veto->device));
		json_put(json, "error", json_text(refusal_to_varlink(veto, &parameters)));
		refusal_describe(veto, text, sizeof(text));
		json_put(json, "reason", json_text(text));
		json_object_array_add(vetoes, json);
		json_object_put(parameters);
	}
}

static void on_previewed(struct preview *preview, void *userdata)
{
	struct call *call = userdata;
	struct json_object *reply = json_object_new_object(), *devices = json_object_new_array(),
			   *vetoes = json_object_new_array();
	size_t n;
	const struct preview_group *groups = preview_groups(preview, &n);

	for (size_t i = 0; i < n; i++) {
		add_devices(devices, &groups[i], preview_purpose(preview));
		add_vetoes(vetoes, &groups[i]);
	}
	json_put(reply, "devices", devices);
	json_put(reply, "vetoes", vetoes);
	preview_free(preview);
	call_reply(call, reply);
}

static void plan_cancel(struct call *call)
{
	preview_free(call->state);
}

static enum preview_purpose purpose_of(const char *name, const char *mode)
{
	if (name && strcmp(name, "take") == 0)
		return PREVIEW_TAKE;
	if (name && strcmp(name, "return") == 0)
		return PREVIEW_RETURN;
	if (mode && strcmp(mode, "cdev") == 0)
		return PREVIEW_CDEV;
	return mode && strcmp(mode, "brokered") == 0 ? PREVIEW_BROKERED : PREVIEW_ACQUIRE;
}

static void plan(struct call *call)
{
	struct session *session = call->session;
	struct broker *broker = session->service->broker;
	enum preview_purpose purpose =
		purpose_of(json_field_text(call->varlink.parameters, "purpose"),
			json_field_text(call->varlink.parameters, "mode"));
	struct group *groups[MAX_SELECTORS];
	struct preview *preview = NULL;
	struct refusal refusal;
	size_t n_groups = 0;
	int r;

	if ((purpose == PREVIEW_TAKE || purpose == PREVIEW_RETURN) &&
		!policy_is_admin(broker_config(broker), &session->subject))
		r = refuse(&refusal, REFUSAL_PERMISSION_DENIED, "dry runs of take and return");
	else
		r = select_groups(call, groups, &n_groups, &refusal);
	if (r == 0)
		r = preview_new(broker, purpose, &session->subject, groups, n_groups, on_previewed,
			call, &preview, &refusal);
	if (r == REFUSED) {
		call_refuse(call, &refusal);
	} else if (r < 0) {
		call_fail(call, -r, "planning");
	} else {
		call->state = preview;
		call->cancel = plan_cancel;
	}
}

const struct method plan_methods[] = {
	{ .name = "org.vfiod.Broker.Plan", .run = plan },
	{ .name = NULL },
};
