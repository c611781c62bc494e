#include "daemon/bind/reset.h"

#include "daemon/bind/plan.h"
#include "daemon/inventory/bus.h"

#include <string.h>

/* The names of include/linux/pci.h, pci_reset_fn_methods; those of a bus end so. */
static bool is_of_bus(const char *method, size_t length)
{
	return length >= 3 && strncmp(method + length - 3, "bus", 3) == 0;
}

static bool has_method(const struct device *device, bool of_bus)
{
	const char *method = device->reset_method;

	while (*method) {
		size_t length = strcspn(method, " ");
		if (length > 0 && is_of_bus(method, length) == of_bus)
			return true;
		method += length + (method[length] == ' ');
	}
	return false;
}

bool device_resets_itself(const struct device *device)
{
	const struct bus *bus = bus_find(device->bus);

	return device->is_pci ? has_method(device, false) : bus && bus->is_reset;
}

/* The directory of the bridge above, with its slash: 0 = on a root bus, which cannot be reset. */
static size_t bridge_length(const struct device *device)
{
	const char *slash = strrchr(device->syspath, '/'), *parent = slash;

	while (parent > device->syspath && parent[-1] != '/')
		parent--;
	/* "/sys/devices/pci0000:00/0000:00:1c.0/0000:01:00.0", "…/pci0000:00/0000:00:04.0" */
	return strncmp(parent, "pci", 3) == 0 ? 0 : (size_t)(slash - device->syspath) + 1;
}

static bool is_below(const struct device *device, const char *bridge, size_t length)
{
	return device->is_pci && strncmp(device->syspath, bridge, length) == 0;
}

/* vfio_pci_dev_set_resettable() walks what is below the bridge, buses behind the bus included. */
static bool bus_is_reset(
	const struct group_list *all, const struct device *device, const char **why)
{
	const struct group *group;
	const struct device *other;
	size_t length = bridge_length(device);
	bool is_able = false;

	*why = "it has no way of being reset";
	if (length == 0)
		return false;
	TAILQ_FOREACH (group, all, of_inventory)
		TAILQ_FOREACH (other, &group->devices, of_group) {
			if (!is_below(other, device->syspath, length))
				continue;
			if (group != device->group || !plan_hands_out(plan_action_for(other))) {
				*why = "it can only be reset with its bus, where there are other "
				       "devices";
				return false;
			}
			is_able = is_able || has_method(other, true);
		}
	return is_able;
}

bool device_is_reset(const struct group_list *all, const struct device *device, const char **why)
{
	if (device_resets_itself(device))
		return true;
	if (device->is_pci)
		return bus_is_reset(all, device, why);
	*why = "nobody can tell whether its driver resets it";
	return false;
}

bool device_each_on_bus(const struct group_list *all, const struct device *device,
	reset_visit visit, void *userdata)
{
	size_t length = device->is_pci ? bridge_length(device) : 0;
	const struct group *group;
	const struct device *other;

	if (length == 0)
		return false;
	TAILQ_FOREACH (group, all, of_inventory)
		TAILQ_FOREACH (other, &group->devices, of_group)
			if (other != device && is_below(other, device->syspath, length))
				visit(other, userdata);
	return true;
}
