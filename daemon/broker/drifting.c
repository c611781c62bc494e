/*
 * Groups whose devices change drivers behind our back, while nothing is done with them.
 *
 * One that stays taken without a lease loses a driver of VFIO: by hand, or to a driver of the host
 * that was not done with it (nvme of Linux 6.1 unbinds whatever has the device by then, once its
 * own reset has failed: drivers/nvme/host/pci.c, nvme_remove_dead_ctrl_work). Nobody could have it
 * any more, or only part of it. So it is given back whole, and who wants it takes it anew.
 *
 * One that could not be given back has found home: by hand, or because the kernel probed a device
 * that had just come, which it refuses to others until then (drivers/pci/bus.c,
 * pci_bus_add_device). The return is tried again, to see to the rest; if that fails, not before the
 * next change.
 *
 * Not at once: a device that is removed loses its driver first.
 */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/broker/parts.h"

#include <stdio.h>
#include <string.h>

static const double LOOK_SECONDS = 1;

/* One that it should have on VFIO, and has not. */
static const struct device *find_lost(const struct holding *holding)
{
	const struct device *device;

	TAILQ_FOREACH (device, &holding->group->devices, of_group) {
		const struct plan_member *member =
			plan_find(holding->plan, device->name, device->bus);
		if (member && plan_hands_out(member->action) && !device_on_vfio(device))
			return device;
	}
	return NULL;
}

/* Each that it had moved is on the driver that it was moved from. */
static bool is_home(const struct holding *holding)
{
	const struct device *device;

	TAILQ_FOREACH (device, &holding->group->devices, of_group) {
		const struct plan_member *member =
			plan_find(holding->plan, device->name, device->bus);
		if (member && plan_member_moves(member) &&
			strcmp(device->driver, member->host_driver) != 0)
			return false;
	}
	return true;
}

enum drift { DRIFT_NONE, DRIFT_LOST, DRIFT_HOME };

static enum drift drift_of(const struct holding *holding)
{
	if (!holding->plan || holding->joins || holding->group->binding == BINDING_GONE ||
		lease_book_owner(&holding->broker->book, holding->group))
		return DRIFT_NONE;
	if (holding->state == HOLDING_IDLE && find_lost(holding))
		return DRIFT_LOST;
	if (holding->state == HOLDING_FAILED && !holding->has_come_home && is_home(holding))
		return DRIFT_HOME;
	return DRIFT_NONE;
}

static void say_lost(const struct holding *holding)
{
	const struct device *device = find_lost(holding);
	char number[16];
	const char *const fields[] = { "MESSAGE_ID", MESSAGE_DRIVER_LOST, "VFIOD_GROUP", number,
		"VFIOD_DEVICE", device->name, NULL };

	snprintf(number, sizeof(number), "%d", holding->group->number);
	log_fields(LOG_WARNING, fields,
		"%s of group %d was taken from VFIO, and not by vfiod (driver: %s): the group is "
		"given back",
		device->name, holding->group->number, *device->driver ? device->driver : "none");
}

static void give_back(struct holding *holding, enum drift drift)
{
	struct refusal refusal;

	if (drift == DRIFT_LOST) {
		say_lost(holding);
		appearing_note_loss(holding->broker, holding->group);
	} else {
		log_warning(
			"the devices of group %d are back on their drivers: its return is tried "
			"again",
			holding->group->number);
		holding->has_come_home = true;
	}
	if (holding_return(holding, NULL, &refusal) != 0)
		log_error("group %d is not given back: %s", holding->group->number, refusal.text);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct broker *broker = timer->data;
	struct holding *holding, *next;

	if (broker->is_stopping)
		return;
	for (holding = TAILQ_FIRST(&broker->holdings); holding; holding = next) {
		next = TAILQ_NEXT(holding, of_broker);
		if (drift_of(holding) == DRIFT_NONE)
			continue;
		/* What is known of it may be old. */
		inventory_refresh(broker->inventory, holding->group);
		enum drift drift = drift_of(holding);
		if (drift != DRIFT_NONE)
			give_back(holding, drift);
	}
}

void drifting_look_at(struct holding *holding)
{
	struct broker *broker = holding->broker;

	if (ev_is_active(&broker->look_for_drift) || drift_of(holding) == DRIFT_NONE)
		return;
	ev_timer_set(&broker->look_for_drift, LOOK_SECONDS, 0);
	ev_timer_start(broker->loop, &broker->look_for_drift);
}

void drifting_hear(struct broker *broker, const struct inventory_change *change)
{
	struct holding *holding =
		change->event == DEVICE_DRIVER ? holding_find(broker, change->group) : NULL;

	if (!holding || holding->group != change->group)
		return;
	holding->has_come_home = false;
	drifting_look_at(holding);
}

void drifting_init(struct broker *broker)
{
	ev_timer_init(&broker->look_for_drift, on_look, LOOK_SECONDS, 0);
	broker->look_for_drift.data = broker;
}

void drifting_free(struct broker *broker)
{
	ev_timer_stop(broker->loop, &broker->look_for_drift);
}
