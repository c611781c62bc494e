/* org.vfiod.Broker.Plan: a dry run. */
#include "daemon/base/util.h"
#include "daemon/broker/preview.h"
#include "daemon/lease/wish.h"
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

/* A dry run on its way: the preview of the groups that are chosen, until one can be had. */
struct planning {
	struct call *call;
	enum preview_purpose purpose;
	struct wishes *wishes;
	struct preview *preview;
};

static void planning_free(struct planning *planning)
{
	preview_free(planning->preview);
	wishes_free(planning->wishes);
	free(planning);
}

static void answer(struct planning *planning)
{
	struct json_object *reply = json_object_new_object(), *devices = json_object_new_array(),
			   *vetoes = json_object_new_array(), *selected = json_object_new_array();
	char **names = planning->wishes->selected;
	size_t n;
	const struct preview_group *groups = preview_groups(planning->preview, &n);

	for (size_t i = 0; i < n; i++) {
		add_devices(devices, &groups[i], planning->purpose);
		add_vetoes(vetoes, &groups[i]);
	}
	for (size_t i = 0; names && names[i]; i++)
		json_object_array_add(selected, json_text(names[i]));
	json_put(reply, "devices", devices);
	json_put(reply, "vetoes", vetoes);
	json_put(reply, "selected", selected);
	struct call *call = planning->call;
	planning_free(planning);
	call_reply(call, reply);
}

/* Notes what the host uses of what was chosen: Acquire would go on to the next. */
static bool note_used(struct planning *planning)
{
	bool is_any = false;
	size_t n;
	const struct preview_group *groups = preview_groups(planning->preview, &n);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < groups[i].n_vetoes; j++)
			if (groups[i].vetoes[j].kind == REFUSAL_DEVICE_IN_USE &&
				wishes_has_chosen(planning->wishes, groups[i].group) &&
				group_set_add(&planning->wishes->tried, groups[i].group->number) ==
					0)
				is_any = true;
	return is_any;
}

static int preview_start(struct planning *planning, struct refusal *refusal);

static void on_previewed(struct preview *preview, void *userdata)
{
	struct planning *planning = userdata;
	struct refusal refusal;

	if (note_used(planning)) {
		planning->preview = NULL;
		if (preview_start(planning, &refusal) == 0) {
			preview_free(preview);
			return;
		}
		planning->preview = preview;
	}
	answer(planning);
}

static int preview_start(struct planning *planning, struct refusal *refusal)
{
	struct session *session = planning->call->session;
	struct group *groups[MAX_SELECTORS];
	size_t n;
	int r = broker_choose(
		session->service->broker, &session->subject, planning->wishes, groups, &n, refusal);

	if (r != 0)
		return r;
	return preview_new(session->service->broker, planning->purpose, &session->subject, groups,
		n, on_previewed, planning, &planning->preview, refusal);
}

static void plan_cancel(struct call *call)
{
	planning_free(call->state);
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

static int check_purpose(struct call *call, enum preview_purpose purpose, struct refusal *refusal)
{
	struct session *session = call->session;
	const struct config *config = broker_config(session->service->broker);

	if ((purpose == PREVIEW_TAKE || purpose == PREVIEW_RETURN) &&
		!policy_is_admin(config, &session->subject))
		return refuse(refusal, REFUSAL_PERMISSION_DENIED, "dry runs of take and return");
	return 0;
}

/* Nobody takes or returns just any device. */
static bool is_for_any(const struct planning *planning)
{
	return (planning->purpose == PREVIEW_TAKE || planning->purpose == PREVIEW_RETURN) &&
	       planning->wishes->n_described > 0;
}

static void plan(struct call *call)
{
	struct planning *planning = calloc(1, sizeof(*planning));
	struct refusal refusal;
	int r = -ENOMEM;

	if (planning) {
		planning->call = call;
		planning->purpose = purpose_of(json_field_text(call->varlink.parameters, "purpose"),
			json_field_text(call->varlink.parameters, "mode"));
		r = check_purpose(call, planning->purpose, &refusal);
	}
	if (r == 0)
		r = selectors_read(call, &planning->wishes, &refusal);
	if (r == 0 && is_for_any(planning))
		r = refuse(&refusal, REFUSAL_INVALID_PARAMETER, "selectors");
	if (r == 0)
		r = preview_start(planning, &refusal);
	if (r == 0) {
		call->state = planning;
		call->cancel = plan_cancel;
		return;
	}
	if (planning)
		planning_free(planning);
	if (r == REFUSED)
		call_refuse(call, &refusal);
	else
		call_fail(call, -r, "planning");
}

const struct method plan_methods[] = {
	{ .name = "org.vfiod.Broker.Plan", .run = plan },
	{ .name = NULL },
};
