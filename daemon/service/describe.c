#include "daemon/base/util.h"
#include "daemon/bind/plan.h"
#include "daemon/bind/reset.h"
#include "daemon/broker/reserving.h"
#include "daemon/broker/revoking.h"
#include "daemon/service/parts.h"

#include <inttypes.h>
#include <string.h>

static struct json_object *json_address(uint64_t address)
{
	char text[24];
	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	return json_text(text);
}

static struct json_object *words(const char *text)
{
	struct json_object *list = json_object_new_array();
	while (list && *text) {
		size_t length = strcspn(text, " ");
		if (length > 0)
			json_object_array_add(list, json_object_new_string_len(text, (int)length));
		text += length + (text[length] == ' ');
	}
	return list;
}

static struct json_object *describe_device(const struct device *device)
{
	struct json_object *json = json_object_new_object();
	enum plan_action action = plan_action_for(device);
	char id[16], class[16];

	snprintf(id, sizeof(id), "%04x:%04x", device->vendor, device->product);
	snprintf(class, sizeof(class), "%06x", device->class);
	json_put(json, "name", json_text(device->name));
	json_put(json, "bus", json_text(device->bus));
	json_put(json, "driver", *device->driver ? json_text(device->driver) : NULL);
	json_put(json, "description", *device->description ? json_text(device->description) : NULL);
	json_put(json, "syspath", json_text(device->syspath));
	json_put(json, "id", device->is_pci ? json_text(id) : NULL);
	json_put(json, "class", device->is_pci ? json_text(class) : NULL);
	json_put(json, "mdevType", *device->mdev_type ? json_text(device->mdev_type) : NULL);
	json_put(json, "parent", *device->parent ? json_text(device->parent) : NULL);
	json_put(json, "numaNode",
		device->numa_node >= 0 ? json_object_new_int(device->numa_node) : NULL);
	json_put(json, "resetMethods", words(device->reset_method));
	json_put(json, "isBound", json_object_new_boolean(plan_hands_out(action)));
	json_put(json, "isParked", json_object_new_boolean(action == PLAN_PARK));
	return json;
}

static struct json_object *describe_holder(const struct subject *subject, const struct lease *lease)
{
	struct json_object *json = json_object_new_object();
	char command[sizeof(subject->command)];

	/* A lease's holder may have changed its name since: by exec, as vfioctl's child does. Its
	 * lease lasts no longer than it, so the number is still its own. */
	if (!lease || !lease->follows_process ||
		process_command(subject->pid, command, sizeof(command)) < 0)
		string_copy(command, sizeof(command), subject->command);
	json_put(json, "pid", json_object_new_int(subject->pid));
	json_put(json, "uid", json_object_new_int64(subject->process_uid));
	json_put(json, "command", json_text(command));
	json_put(json, "unit", *subject->unit ? json_text(subject->unit) : NULL);
	return json;
}

static struct json_object *describe_opener(const struct opener *opener)
{
	struct json_object *json = json_object_new_object();

	json_put(json, "pid", json_object_new_int(opener->pid));
	json_put(json, "uid", json_object_new_int64(opener->uid));
	json_put(json, "command", json_text(opener->command));
	json_put(json, "unit", NULL);
	return json;
}

/* Who has the group, and how that is known. Nobody that has ended, whoever has his number now. */
static void put_holder(struct json_object *json, struct broker *broker, const struct group *group)
{
	const struct lease *lease = lease_book_owner(broker_book(broker), group);
	const struct opener *opener = broker_opener(broker, group, NULL);
	bool still_runs = false;
	const struct subject *former = broker_former(broker, group, &still_runs);
	struct json_object *holder = NULL;
	const char *evidence = NULL;

	if (lease) {
		holder = describe_holder(&lease->subject, lease);
		evidence = "lease";
	} else if (opener) {
		holder = describe_opener(opener);
		evidence = opener->certainty == OPENER_SURE ? "open" : "probable";
	} else if (group->owner == OWNER_LINGERING && former && still_runs) {
		holder = describe_holder(former, NULL);
		evidence = "former";
	}
	json_put(json, "holder", holder);
	json_put(json, "holderEvidence", evidence ? json_text(evidence) : NULL);
	json_put(json, "lease", lease ? json_text(lease->name) : NULL);
}

bool group_is_covered(const struct broker *broker, const struct group *group)
{
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (policy_rule_for(broker_config(broker), NULL, device))
			return true;
	return false;
}

static void put_members(struct json_object *json, const struct group *group)
{
	struct json_object *devices = json_object_new_array(), *reserved = json_object_new_array();
	const struct device *device;

	TAILQ_FOREACH (device, &group->devices, of_group)
		json_object_array_add(devices, describe_device(device));
	for (size_t i = 0; i < group->n_reserved; i++) {
		struct json_object *region = json_object_new_object();
		json_put(region, "first", json_address(group->reserved[i].first));
		json_put(region, "last", json_address(group->reserved[i].last));
		json_put(region, "type", json_text(group->reserved[i].type));
		json_object_array_add(reserved, region);
	}
	json_put(json, "devices", devices);
	json_put(json, "reservedRegions", reserved);
}

struct json_object *describe_group(
	struct broker *broker, const struct subject *subject, const struct group *group)
{
	struct json_object *json = json_object_new_object();
	struct refusal refusal;
	bool may = broker_may_lease(broker, subject, group, &refusal) == 0;

	json_put(json, "number", json_object_new_int(group->number));
	json_put(json, "type", json_text(group_type(group)));
	json_put(json, "binding", json_text(binding_name(group->binding)));
	json_put(json, "owner", json_text(owner_name(group->owner)));
	json_put(json, "failure", *group->failure ? json_text(group->failure) : NULL);
	put_holder(json, broker, group);
	json_put(json, "isCovered", json_object_new_boolean(group_is_covered(broker, group)));
	json_put(json, "mayLease", json_object_new_boolean(may));
	json_put(json, "denial", may ? NULL : json_text(refusal.text));
	put_members(json, group);
	return json;
}

static void add_peer(const struct device *other, void *userdata)
{
	struct json_object *others = userdata, *peer = json_object_new_object();
	json_put(peer, "device", json_text(other->name));
	json_put(peer, "group", json_object_new_int(other->group->number));
	json_object_array_add(others, peer);
}

struct json_object *describe_resets(struct broker *broker, const struct group *group)
{
	const struct group_list *all = inventory_groups(broker_inventory(broker));
	struct json_object *sets = json_object_new_array();
	const struct device *device;

	TAILQ_FOREACH (device, &group->devices, of_group) {
		struct json_object *others = json_object_new_array(), *set;
		if (!device_each_on_bus(all, device, add_peer, others)) {
			json_object_put(others);
			continue;
		}
		set = json_object_new_object();
		json_put(set, "device", json_text(device->name));
		json_put(set, "others", others);
		json_object_array_add(sets, set);
	}
	if (json_object_array_length(sets) > 0)
		return sets;
	json_object_put(sets);
	return NULL;
}

struct json_object *describe_lease(struct broker *broker, const struct lease *lease)
{
	struct json_object *json = json_object_new_object(), *groups = json_object_new_array();
	bool granted = lease->state == LEASE_GRANTED;
	double age = granted ? broker_now(broker) - lease->granted_at : 0;

	for (size_t i = 0; i < lease->n_groups; i++)
		json_object_array_add(groups, json_object_new_int(lease->groups[i]->number));
	json_put(json, "lease", json_text(lease->name));
	json_put(json, "groups", groups);
	json_put(json, "holder", describe_holder(&lease->subject, lease));
	json_put(json, "mode", json_text(lease_mode(lease)));
	json_put(json, "account", json_text(lease->account));
	json_put(json, "ageSeconds", json_object_new_int64((int64_t)age));
	json_put(json, "followsProcess", json_object_new_boolean(lease->follows_process));
	json_put(json, "isGranted", json_object_new_boolean(granted));
	json_put(json, "isReleaseRequested", json_object_new_boolean(lease->is_release_requested));
	int seconds = granted ? lease_revoke_seconds(broker, lease) : -1;
	double left = lease_revoke_left(broker, lease);
	json_put(json, "revokeSeconds", seconds >= 0 ? json_object_new_int(seconds) : NULL);
	json_put(json, "revokeEndsProcess",
		seconds >= 0 ? json_object_new_boolean(!lease->brokered) : NULL);
	json_put(json, "endsInSeconds",
		left >= 0 ? json_object_new_int64((int64_t)(left + 0.999)) : NULL);
	json_put(json, "isTrusted", json_object_new_boolean(lease->is_trusted));
	json_put(json, "memoryMaxBytes",
		lease->memory_max_bytes == UINT64_MAX ? NULL : json_bytes(lease->memory_max_bytes));
	json_put(json, "memoryBytes", json_bytes(reservation_bytes(lease->reservation)));
	return json;
}

/* --- which group ------------------------------------------------------------------------------ */

struct group *select_group(
	struct broker *broker, struct json_object *selector, struct refusal *refusal)
{
	struct inventory *inventory = broker_inventory(broker);
	const char *name = json_field_text(selector, "device");
	struct json_object *number = json_field(selector, "group");
	bool ambiguous = false;

	if (!name == !number) {
		refuse(refusal, REFUSAL_INVALID_PARAMETER, "%s", name ? "group" : "device");
		return NULL;
	}
	if (number) {
		int64_t value = json_object_get_int64(number);
		bool fits = value >= 0 && value <= INT32_MAX;
		struct group *group = fits ? inventory_group(inventory, (int)value) : NULL;
		if (!fits) {
			refuse(refusal, REFUSAL_INVALID_PARAMETER, "group");
		} else if (!group) {
			refuse(refusal, REFUSAL_NO_SUCH_GROUP, "no such group");
			refusal->group = (int)value;
		}
		return group;
	}
	const struct device *device = inventory_find(inventory, name, &ambiguous);
	if (!device) {
		refuse(refusal, REFUSAL_NO_SUCH_DEVICE, "%s",
			ambiguous ? "the name fits several devices"
				  : "no device with an IOMMU group has this name");
		snprintf(refusal->device, sizeof(refusal->device), "%.60s", name);
		return NULL;
	}
	return device->group;
}

struct group *call_group(struct call *call, struct json_object *parameters)
{
	struct refusal refusal;
	struct group *group = select_group(call->session->service->broker, parameters, &refusal);
	if (!group)
		call_refuse(call, &refusal);
	return group;
}
