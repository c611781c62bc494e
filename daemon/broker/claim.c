#include "daemon/broker/claim.h"

#include "daemon/base/util.h"
#include "daemon/bind/journal.h"
#include "daemon/broker/broker.h"
#include "daemon/inventory/bus.h"
#include "daemon/lease/policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* A member that the journal knows is the daemon's own to move. */
static bool has_joined(const char *state_directory, const struct device *device)
{
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];

	if (journal_read(state_directory, device->group->number, &entry, text, sizeof(text)) < 0)
		return false;
	bool joined = (entry.phase == JOURNAL_TAKEN || entry.phase == JOURNAL_TAKING) &&
		      !plan_find(entry.plan, device->name, device->bus);
	journal_entry_clear(&entry);
	return joined;
}

static int ask_rules(const char *configuration, const struct device *device,
	char claim[static DRIVER_NAME_SIZE], struct refusal *refusal)
{
	const struct bus *bus = bus_find(device->bus);
	struct config *config;

	int r = config_read_devices(configuration, &config, refusal);
	if (r != 0)
		return r;
	if (policy_take(config, device) == TAKE_BOOT &&
		!policy_take_gap(config, device->group, device_needs_rule)) {
		const struct rule *rule = policy_rule_for(config, NULL, device);
		const char *driver = rule && rule->driver ? rule->driver
				     : bus                ? bus->vfio_driver
							  : "";
		string_copy(claim, DRIVER_NAME_SIZE, driver);
	}
	config_free(config);
	return 0;
}

static int write_file(
	const struct sysfs_ops *ops, const char *directory, const char *file, const char *value)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", directory, file);
	return n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG
						  : ops->write(ops->userdata, path, value);
}

/* 0, and then it is ours; -EBUSY: somebody else's, or too late. */
static int set_override(const struct sysfs_ops *ops, const struct device *device, const char *claim)
{
	char path[PATH_MAX], text[DRIVER_NAME_SIZE];

	snprintf(path, sizeof(path), "%s/driver_override", device->syspath);
	int r = ops->read(ops->userdata, path, text, sizeof(text));
	if (r < 0)
		return r;
	if (*text && strcmp(text, "(null)") != 0 && strcmp(text, claim) != 0)
		return -EBUSY;
	r = ops->write(ops->userdata, path, claim);
	if (r < 0)
		return r;
	/* Writing waits for a probe that is under way (drivers/base/driver.c, driver_set_override),
	 * and one that begins later goes by it: so what is seen now stays. */
	snprintf(path, sizeof(path), "%s/driver", device->syspath);
	r = ops->read_link(ops->userdata, path, text, sizeof(text));
	if (r < 0 || strcmp(text, claim) == 0)
		return 0;
	r = write_file(ops, device->syspath, "driver_override", "\n");
	return r < 0 ? r : -EBUSY;
}

/* The VFIO driver may be loaded already, and then nobody else would ask it. */
static void probe(const struct sysfs_ops *ops, const struct device *device)
{
	char directory[64];

	snprintf(directory, sizeof(directory), "/sys/bus/%s", device->bus);
	write_file(ops, directory, "drivers_probe", device->name);
}

static int claim_member(const char *configuration, const char *state_directory,
	const struct device *device, const struct sysfs_ops *ops,
	char claim[static DRIVER_NAME_SIZE], struct refusal *refusal)
{
	/* On a bus without a driver of VFIO's there is nothing to claim it for. */
	if (plan_action_for(device) != PLAN_BIND)
		return 0;
	bool joins = has_joined(state_directory, device);
	int r = 0;
	if (joins)
		string_copy(claim, DRIVER_NAME_SIZE, PLAN_PARKED);
	else
		r = ask_rules(configuration, device, claim, refusal);
	if (r != 0 || !*claim)
		return r;
	r = set_override(ops, device, claim);
	/* It has just been returned: nobody would ever come for it. */
	if (r == 0 && joins && !has_joined(state_directory, device)) {
		r = write_file(ops, device->syspath, "driver_override", "\n");
		claim[0] = '\0';
	}
	if (r < 0)
		claim[0] = '\0';
	else
		probe(ops, device);
	return r == -EBUSY ? 0 : r;
}

int claim_device(const char *configuration, const char *state_directory, const char *syspath,
	const struct sysfs_ops *ops, char claim[static DRIVER_NAME_SIZE], struct refusal *refusal)
{
	struct inventory *inventory;
	struct device *device;

	claim[0] = '\0';
	int r = inventory_peek(syspath, &inventory, &device);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	if (!*device->driver)
		r = claim_member(configuration, state_directory, device, ops, claim, refusal);
	inventory_free(inventory);
	return r;
}
