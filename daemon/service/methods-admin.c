/* org.vfiod.Admin. Status is for everybody. */
#include "daemon/base/util.h"
#include "daemon/bind/plan.h"
#include "daemon/broker/revoking.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

static void count_up(struct json_object *map, const char *key)
{
	struct json_object *value;
	if (json_object_object_get_ex(map, key, &value))
		json_object_int_inc(value, 1);
	else
		json_object_object_add(map, key, json_object_new_int(1));
}

static void add_problem(struct json_object *problems, int group, const char *text)
{
	struct json_object *problem = json_object_new_object();
	json_put(problem, "group", group >= 0 ? json_object_new_int(group) : NULL);
	json_put(problem, "text", json_text(text));
	json_object_array_add(problems, problem);
}

static void add_recovery(int group, const char *found, const char *outcome, void *userdata)
{
	struct json_object **recoveries = userdata;
	struct json_object *recovery = json_object_new_object();
	json_put(recovery, "group", json_object_new_int(group));
	json_put(recovery, "found", json_text(found));
	json_put(recovery, "outcome", json_text(outcome));
	if (!*recoveries)
		*recoveries = json_object_new_array();
	json_object_array_add(*recoveries, recovery);
}

static void status(struct call *call)
{
	struct service *service = call->session->service;
	struct broker *broker = service->broker;
	struct inventory *inventory = broker_inventory(broker);
	const char *iommu = inventory_iommu(inventory);
	struct json_object *reply = json_object_new_object(), *bindings = json_object_new_object(),
			   *owners = json_object_new_object(), *problems = json_object_new_array(),
			   *recoveries = NULL;
	const struct space_entry *entry;
	const struct group *group;
	char text[PROBLEM_TEXT_SIZE];

	if (!iommu)
		add_problem(problems, -1,
			"no IOMMU is active: enable VT-d or AMD-Vi in the firmware, and boot with "
			"intel_iommu=on where the kernel needs it");
	if (broker_reload_failure(broker)) {
		snprintf(text, sizeof(text),
			"the configuration in force is an earlier one, as what was read last has "
			"an "
			"error: %s",
			broker_reload_failure(broker));
		add_problem(problems, -1, text);
	}
	TAILQ_FOREACH (group, inventory_groups(inventory), of_inventory) {
		count_up(bindings, binding_name(group->binding));
		count_up(owners, owner_name(group->owner));
		if (describe_problem(broker, group, text, sizeof(text)))
			add_problem(problems, group->number, text);
		if (broker_problem(broker, group))
			add_problem(problems, group->number, broker_problem(broker, group));
	}
	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker)
		if (describe_space_problem(broker, entry, text, sizeof(text)))
			add_problem(problems, -1, text);
	json_put(reply, "version", json_text(VFIOD_VERSION));
	json_put(reply, "uptimeSeconds",
		json_object_new_int64((int64_t)(ev_now(service->loop) - service->started_at)));
	json_put(reply, "iommu", json_text(iommu));
	json_put(reply, "hasIommufd", json_object_new_boolean(access("/dev/iommu", F_OK) == 0));
	json_put(reply, "groups", json_object_new_int64((int64_t)inventory_n_groups(inventory)));
	json_put(reply, "devices", json_object_new_int64((int64_t)inventory_n_devices(inventory)));
	json_put(reply, "bindings", bindings);
	json_put(reply, "owners", owners);
	json_put(reply, "leases",
		json_object_new_int64(
			(int64_t)lease_book_count(broker_book(broker), LEASE_GRANTED)));
	json_put(reply, "waiting",
		json_object_new_int64(
			(int64_t)lease_book_count(broker_book(broker), LEASE_QUEUED)));
	json_put(reply, "rules", json_object_new_int64((int64_t)broker_config(broker)->n_rules));
	json_put(reply, "configuration", json_text(service->hooks.configuration));
	size_t n_drop_ins = broker_config(broker)->n_drop_ins;
	json_put(reply, "dropIns",
		n_drop_ins > 0 ? json_object_new_int64((int64_t)n_drop_ins) : NULL);
	broker_recovered(broker, add_recovery, &recoveries);
	json_put(reply, "recoveries", recoveries);
	json_put(reply, "problems", problems);
	call_reply(call, reply);
}

/* --- Take and Return ------------------------------------------------------------------- */

/* An administrator's call that works on a group: what it was before tells what has changed. */
struct work {
	struct call *call;
	struct group *group;       /* held */
	struct lease *lease;       /* Take: until it is taken */
	struct settling *settling; /* Return: until it is returned */
	char **before;             /* "name driver" of each device */
};

static char **drivers_of(const struct group *group)
{
	char **list = NULL, line[DEVICE_NAME_SIZE + DRIVER_NAME_SIZE + 2];
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group) {
		snprintf(line, sizeof(line), "%s %s", device->name, device->driver);
		/* A device that there is no memory for counts as changed: harmless. */
		strv_add(&list, line);
	}
	return list;
}

static struct work *work_free(struct work *work)
{
	if (work) {
		group_release(work->group);
		strv_free(work->before);
		free(work);
	}
	return NULL;
}

static struct work *work_new(struct call *call, struct group *group)
{
	struct work *work = calloc(1, sizeof(*work));
	if (!work)
		return NULL;
	work->call = call;
	work->group = group_hold(group);
	work->before = drivers_of(group);
	call->state = work;
	return work;
}

static void work_reply(struct work *work)
{
	struct json_object *reply = json_object_new_object(), *devices = json_object_new_array();
	struct call *call = work->call;
	const struct device *device;
	char line[DEVICE_NAME_SIZE + DRIVER_NAME_SIZE + 2];

	TAILQ_FOREACH (device, &work->group->devices, of_group) {
		snprintf(line, sizeof(line), "%s %s", device->name, device->driver);
		if (!strv_contains(work->before, line))
			json_object_array_add(devices, json_text(device->name));
	}
	json_put(reply, "group", json_object_new_int(work->group->number));
	json_put(reply, "devices", devices);
	work_free(work);
	call_reply(call, reply);
}

static void work_refuse(struct work *work, const struct refusal *refusal)
{
	struct call *call = work->call;
	work_free(work);
	call_refuse(call, refusal);
}

static void on_taken(struct lease *lease, int *group_fds, void *userdata)
{
	(void)lease;
	(void)group_fds;
	work_reply(userdata);
}

static void on_not_taken(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	(void)lease;
	work_refuse(userdata, refusal);
}

/* Neither queued (it does not wait) nor ended or told of events (it is over when granted). */
static const struct lease_listener take_listener = {
	.granted = on_taken,
	.refused = on_not_taken,
};

static void take_cancel(struct call *call)
{
	struct work *work = call->state;
	struct lease *lease = work->lease;
	work_free(work);
	broker_disconnect(call->session->service->broker, lease);
}

static void take(struct call *call)
{
	struct group *group = call_group(call, call->varlink.parameters);
	struct refusal refusal;
	if (!group)
		return;
	struct work *work = work_new(call, group);
	int r = !work ? -ENOMEM
		      : broker_take(call->session->service->broker, &call->session->subject, group,
				&take_listener, work, &work->lease, &refusal);
	if (r == 0) {
		call->cancel = take_cancel;
		return;
	}
	work_free(work);
	if (r == REFUSED)
		call_refuse(call, &refusal);
	else
		call_fail(call, -r, "taking the group");
}

static void on_returned(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	struct work *work = userdata;
	struct refusal busy;

	(void)lingering;
	if (refusal) {
		work_refuse(work, refusal);
	} else if (n_lingering > 0) {
		refuse_busy(work->call->session->service->broker, work->group, REFUSAL_GROUP_BUSY,
			&busy);
		work_refuse(work, &busy);
	} else {
		work_reply(work);
	}
}

static void return_cancel(struct call *call)
{
	struct work *work = call->state;
	settling_forget(work->settling, work);
	work_free(work);
}

static void return_group(struct call *call)
{
	/* Where there is no such group, the call is gone when call_group() comes back. */
	struct session *session = call->session;
	struct group *group = call_group(call, call->varlink.parameters);
	struct settling *settling = NULL;
	struct refusal refusal;
	if (!group)
		return;
	struct work *work = work_new(call, group);
	int r = !work ? -ENOMEM
		      : broker_return(session->service->broker, group, on_returned, work, &settling,
				&refusal);
	if (r == 0) {
		/* It may have settled at once, and then the call is gone. */
		if (session->current == call) {
			work->settling = settling;
			call->cancel = return_cancel;
		}
		return;
	}
	work_free(work);
	if (r == REFUSED)
		call_refuse(call, &refusal);
	else
		call_fail(call, -r, "returning the group");
}

/* --- Revoke and Reload ----------------------------------------------------------------- */

static void revoke_lease(struct call *call)
{
	struct broker *broker = call->session->service->broker;
	const char *reason = json_field_text(call->varlink.parameters, "reason");
	bool end = json_object_get_boolean(json_field(call->varlink.parameters, "end"));
	struct lease *lease = lease_book_by_name(
		broker_book(broker), json_field_text(call->varlink.parameters, "lease"));
	struct refusal refusal;

	if (!lease) {
		refuse(&refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this name");
		call_refuse(call, &refusal);
		return;
	}
	if (!reason)
		reason = end ? "an administrator has ended it" : "an administrator asks for it";
	bool ends_process = !lease->brokered && lease_revoke_seconds(broker, lease) >= 0 &&
			    lease->state == LEASE_GRANTED;
	char name[sizeof(lease->name)];
	string_copy(name, sizeof(name), lease->name);
	int r = broker_revoke(broker, lease, reason, end);
	if (r < 0) {
		call_fail(call, -r, "revoking the lease");
		return;
	}
	struct json_object *reply = json_object_new_object();
	/* It may be no more. */
	lease = end ? NULL : lease_book_by_name(broker_book(broker), name);
	double left = lease ? lease_revoke_left(broker, lease) : -1;
	json_put(reply, "endsInSeconds",
		left >= 0 ? json_object_new_int64((int64_t)(left + 0.999)) : NULL);
	json_put(reply, "endsProcess", json_object_new_boolean(ends_process));
	call_reply(call, reply);
}

static void reload_cancel(struct call *call)
{
	broker_reload_forget(call->session->service->broker, call);
}

static void on_reloaded(int result, const struct refusal *refusal, void *userdata)
{
	struct call *call = userdata;
	struct broker *broker = call->session->service->broker;

	call->cancel = NULL;
	if (result == REFUSED) {
		call_refuse(call, refusal);
	} else if (result < 0) {
		call_fail(call, -result, "reading the configuration");
	} else {
		struct json_object *reply = json_object_new_object();
		json_put(reply, "rules",
			json_object_new_int64((int64_t)broker_config(broker)->n_rules));
		call_reply(call, reply);
	}
}

static void reload(struct call *call)
{
	struct service *service = call->session->service;

	/* Before: it may fail at once, and then the call is gone. */
	call->cancel = reload_cancel;
	if (broker_reload(service->broker, service->hooks.configuration, on_reloaded, call) < 0) {
		call->cancel = NULL;
		call_fail(call, ENOMEM, "reading the configuration");
	}
}

const struct method admin_methods[] = {
	{ .name = "org.vfiod.Admin.Status", .run = status },
	{ .name = "org.vfiod.Admin.Take", .run = take, .for_admins = true },
	{ .name = "org.vfiod.Admin.Return", .run = return_group, .for_admins = true },
	{ .name = "org.vfiod.Admin.Revoke", .run = revoke_lease, .for_admins = true },
	{ .name = "org.vfiod.Admin.Reload", .run = reload, .for_admins = true },
	{ .name = NULL },
};
