/*
 * org.vfiod.Broker.Why. Config space is read in a child: a device that sleeps is woken, and one
 * that does not wake up is waited for.
 */
#include "daemon/base/errand.h"
#include "daemon/base/util.h"
#include "daemon/inventory/topology.h"
#include "daemon/service/parts.h"

#include <errno.h>

/* A device that comes out of D3cold has a second (PCI Express Base Specification, 6.6.1). */
static const double WHY_SECONDS = 20;

static struct json_object *path_to_json(const struct topology_member *member)
{
	struct json_object *path = json_object_new_array();
	for (size_t i = 0; i < member->n_path; i++) {
		struct json_object *step = json_object_new_object();
		json_put(step, "name", json_text(member->path[i].name));
		json_put(step, "kind", json_text(pci_kind_name(member->path[i].kind)));
		json_put(step, "acs", json_text(acs_name(member->path[i].acs)));
		json_object_array_add(path, step);
	}
	return path;
}

static struct json_object *topology_to_json(const struct topology *topology)
{
	_cleanup_free_ char *reason = topology_reason(topology);
	_cleanup_free_ char *advice = topology_advice(topology);
	struct json_object *json = json_object_new_object(), *locations = json_object_new_array();

	if (!reason || !advice || !json || !locations) {
		json_object_put(json);
		json_object_put(locations);
		return NULL;
	}
	for (size_t i = 0; i < topology->n_members; i++) {
		const struct topology_member *member = &topology->members[i];
		struct json_object *location = json_object_new_object();
		json_put(location, "device", json_text(member->name));
		json_put(location, "root",
			json_text(member->is_pci ? member->root : member->parent));
		json_put(location, "path", path_to_json(member));
		json_object_array_add(locations, location);
	}
	json_put(json, "group", json_object_new_int(topology->group));
	json_put(json, "isExplained", json_object_new_boolean(topology_explains(topology)));
	json_put(json, "reason", json_text(reason));
	json_put(json, "advice", *advice ? json_text(advice) : NULL);
	json_put(json, "locations", locations);
	return json;
}

/* In the child. */
static int look(FILE *answer, void *userdata)
{
	struct topology *topology;
	int r = topology_read("/sys", userdata, &topology);
	if (r < 0)
		return r;
	struct json_object *json = topology_to_json(topology);
	const char *text = json ? json_object_to_json_string(json) : NULL;
	if (!text || fputs(text, answer) < 0)
		return -ENOMEM;
	return 0;
}

static void on_answer(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct call *call = userdata;
	struct json_object *reply = NULL;

	(void)length;
	if (result == 0)
		reply = json_tokener_parse(answer);
	errand_free(errand);
	if (reply)
		call_reply(call, reply);
	else
		call_fail(call, result < 0 ? -result : ENOMEM,
			"reading the config spaces of the group");
}

static void why_cancel(struct call *call)
{
	errand_free(call->state);
}

static void why(struct call *call)
{
	struct group *group = call_group(call, call->varlink.parameters);
	struct errand *errand;
	if (!group)
		return;
	int r = errand_new(call->session->service->loop, "vfiod-why", look, group, WHY_SECONDS,
		on_answer, call, &errand);
	if (r < 0) {
		call_fail(call, -r, "starting a child");
		return;
	}
	call->state = errand;
	call->cancel = why_cancel;
}

const struct method why_methods[] = {
	{ .name = "org.vfiod.Broker.Why", .run = why },
	{ .name = NULL },
};
