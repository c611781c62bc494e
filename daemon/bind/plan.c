#include "daemon/bind/plan.h"

#include "daemon/base/util.h"
#include "daemon/inventory/bus.h"

#include <errno.h>
#include <string.h>

static const char *const action_names[] = {
	[PLAN_BIND] = "bind",
	[PLAN_PARK] = "park",
	[PLAN_LEAVE] = "leave",
	[PLAN_ALREADY] = "already",
};

const char *plan_action_name(enum plan_action action)
{
	return (unsigned)action < ARRAY_SIZE(action_names) ? action_names[action] : "unknown";
}

/*
 * A host or ISA bridge has registers that are the host's (power, GPIO, the firmware's flash), so no
 * client gets it. But its drivers do not say that they leave DMA alone, and one that is bound keeps
 * the group from being viable (drivers/pci/pci-driver.c, pci_dma_configure; lpc_ich on ICH9, in one
 * group with the disk controller): so it loses its driver, and no other may come.
 */
enum plan_action plan_action_for(const struct device *device)
{
	if (device_is_bridge(device))
		return PLAN_LEAVE;
	/* What is claimed is on VFIO by vfiod's own doing, if not by this daemon's. */
	if (device_on_vfio(device) && !*device_claim(device))
		return PLAN_ALREADY;
	if (*device->driver && device_leaves_dma(device) && !device_on_vfio(device))
		return PLAN_LEAVE;
	return device_is_chipset(device) ? PLAN_PARK : PLAN_BIND;
}

bool plan_action_moves(enum plan_action action)
{
	return action == PLAN_BIND || action == PLAN_PARK;
}

bool plan_member_moves(const struct plan_member *member)
{
	return plan_action_moves(member->action);
}

bool plan_hands_out(enum plan_action action)
{
	return action == PLAN_BIND || action == PLAN_ALREADY;
}

bool plan_member_is_renewed(const struct plan_member *member)
{
	return plan_hands_out(member->action) && *member->target &&
	       strcmp(member->bus, "mdev") != 0;
}

size_t plan_n_moves(const struct plan *plan)
{
	size_t n = 0;
	for (size_t i = 0; i < plan->n_members; i++)
		n += plan_member_moves(&plan->members[i]);
	return n;
}

struct plan *plan_new(int group, size_t n_members)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	if (!plan)
		return NULL;
	plan->members = calloc(n_members > 0 ? n_members : 1, sizeof(*plan->members));
	if (!plan->members) {
		free(plan);
		return NULL;
	}
	plan->group = group;
	plan->n_members = n_members;
	return plan;
}

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	for (size_t i = 0; i < plan->n_members; i++)
		free(plan->members[i].syspath);
	free(plan->members);
	free(plan);
	return NULL;
}

/* A sentence of its own, which fits after "not supported: ", too. */
int plan_refuse_empty(int group, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_NOT_SUPPORTED,
		"group %d has no device that can be handed out, only bridges and the like", group);
	refusal->group = group;
	return REFUSED;
}

static int refuse_device(
	const struct device *device, int group, const char *what, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_NOT_SUPPORTED, "%s of %s, bus %s", what, device->name, device->bus);
	refusal->group = group;
	string_copy(refusal->device, sizeof(refusal->device), device->name);
	return REFUSED;
}

/* The VFIO driver and its module: the wish's, else the bus's. */
static int choose_driver(struct plan_member *member, const struct device *device, int group,
	const struct plan_wish *wish, struct refusal *refusal)
{
	const struct bus *bus = bus_find(device->bus);
	const char *driver = wish->driver ? wish->driver : bus ? bus->vfio_driver : NULL;

	if (!driver)
		return refuse_device(device, group, "a VFIO driver for the bus", refusal);
	/* Which one is for the child to find: modules are files. */
	member->may_vary = device->is_pci && !wish->driver;
	/* Drivers are named after their modules unless the table knows better. */
	const char *module =
		bus && strcmp(driver, bus->vfio_driver) == 0 ? bus->vfio_module : driver;
	if (string_copy(member->target, sizeof(member->target), driver) < 0 ||
		string_copy(member->module, sizeof(member->module), module) < 0)
		return refuse_device(
			device, group, "a driver with a name as long as wished for", refusal);
	return 0;
}

static int plan_member(struct plan_member *member, const struct device *device, int group,
	plan_wish_fn wish, void *userdata, struct refusal *refusal)
{
	member->action = plan_action_for(device);
	member->syspath = strdup(device->syspath);
	if (!member->syspath)
		return -ENOMEM;
	/* Of the same sizes as the device's. */
	string_copy(member->name, sizeof(member->name), device->name);
	string_copy(member->bus, sizeof(member->bus), device->bus);
	if (!plan_member_moves(member))
		return 0;
	member->is_new = device->is_new;
	string_copy(member->claim, sizeof(member->claim), device_claim(device));
	struct plan_wish wished = wish(device, userdata);
	member->force = wished.force;
	if (wished.parks)
		member->action = PLAN_PARK;
	if (member->action == PLAN_PARK)
		return string_copy(member->target, sizeof(member->target), PLAN_PARKED);
	return choose_driver(member, device, group, &wished, refusal);
}

int plan_make(const struct group *group, plan_wish_fn wish, void *userdata, struct plan **plan,
	struct refusal *refusal)
{
	const struct device *device = NULL;
	size_t i = 0;
	bool is_usable = false;

	*plan = NULL;
	struct plan *made = plan_new(group->number, group->n_devices);
	if (!made)
		return -ENOMEM;
	TAILQ_FOREACH (device, &group->devices, of_group) {
		int r = plan_member(
			&made->members[i], device, group->number, wish, userdata, refusal);
		if (r != 0) {
			plan_free(made);
			return r;
		}
		is_usable = is_usable || plan_hands_out(made->members[i].action);
		i++;
	}
	if (!is_usable) {
		plan_free(made);
		return plan_refuse_empty(group->number, refusal);
	}
	*plan = made;
	return 0;
}

static bool is_member(const struct plan_member *member, const char *name, const char *bus)
{
	return strcmp(member->name, name) == 0 && strcmp(member->bus, bus) == 0;
}

struct plan_member *plan_find(const struct plan *plan, const char *name, const char *bus)
{
	for (size_t i = 0; i < plan->n_members; i++)
		if (is_member(&plan->members[i], name, bus))
			return &plan->members[i];
	return NULL;
}

static bool has_come_back(
	const struct plan_member *member, struct device *const *devices, size_t n_devices)
{
	for (size_t i = 0; i < n_devices; i++)
		if (is_member(member, devices[i]->name, devices[i]->bus))
			return true;
	return false;
}

int plan_extend(const struct plan *plan, struct device *const *devices, size_t n_devices,
	plan_wish_fn wish, void *userdata, struct plan **extended, struct refusal *refusal)
{
	struct plan *made = plan_new(plan->group, plan->n_members + n_devices);
	size_t n = 0;
	int r = 0;

	*extended = NULL;
	if (!made)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < plan->n_members; i++) {
		if (has_come_back(&plan->members[i], devices, n_devices))
			continue;
		made->members[n] = plan->members[i];
		made->members[n].joins = false;
		made->members[n].syspath = strdup(plan->members[i].syspath);
		r = made->members[n++].syspath ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < n_devices; i++) {
		made->members[n].joins = true;
		r = plan_member(
			&made->members[n++], devices[i], plan->group, wish, userdata, refusal);
	}
	if (r != 0) {
		plan_free(made);
		return r;
	}
	made->n_members = n;
	*extended = made;
	return 0;
}

void plan_forget_joined(struct plan *plan, const struct plan *extended)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->n_members; i++) {
		struct plan_member *member = &plan->members[i];
		const struct plan_member *now = plan_find(extended, member->name, member->bus);
		if (now && now->joins)
			free(member->syspath);
		else
			plan->members[n++] = *member;
	}
	plan->n_members = n;
}

struct plan *plan_part(const struct plan *plan, const struct group *group)
{
	struct plan *part = plan_new(group->number, group->n_devices);
	const struct device *device;
	size_t n = 0;

	if (!part)
		return NULL;
	TAILQ_FOREACH (device, &group->devices, of_group) {
		const struct plan_member *member = plan_find(plan, device->name, device->bus);
		if (!member || !plan_member_moves(member))
			continue;
		part->members[n] = *member;
		part->members[n].joins = false;
		part->members[n].syspath = strdup(device->syspath);
		if (!part->members[n++].syspath)
			return plan_free(part);
	}
	part->n_members = n;
	return part;
}
