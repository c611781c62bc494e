/*
 * Groups that stay taken without a lease, and lose a driver of VFIO behind our back: by hand, or to
 * a driver of the host that was not done with it (nvme of Linux 6.1 unbinds whatever has the device
 * by then, once its own reset has failed: drivers/nvme/host/pci.c, nvme_remove_dead_ctrl_work).
 * Nobody could have such a group any more, or only part of it. So it is given back whole, and who
 * wants it takes it anew. One that is lent is looked at when its lease is over. Not at once: a
 * device that is removed loses its driver first.
 */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/broker/parts.h"

#include <stdio.h>

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

static bool is_at_rest(const struct holding *holding)
{
	return holding->state == HOLDING_IDLE && holding->plan && !holding->joins &&
	       holding->group->binding != BINDING_GONE &&
	       !lease_book_owner(&holding->broker->book, holding->group);
}

static void give_back(struct holding *holding, const struct device *device)
{
	struct broker *broker = holding->broker;
	struct refusal refusal;
	char number[16];
	const char *const fields[] = { "MESSAGE_ID", MESSAGE_DRIVER_LOST, "VFIOD_GROUP", number,
		"VFIOD_DEVICE", device->name, NULL };

	snprintf(number, sizeof(number), "%d", holding->group->number);
	log_fields(LOG_WARNING, fields,
		"%s of group %d was taken from VFIO, and not by vfiod (driver: %s): the group is "
		"given back",
		device->name, holding->group->number, *device->driver ? device->driver : "none");
	appearing_note_loss(broker, holding->group);
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
		if (!is_at_rest(holding) || !find_lost(holding))
			continue;
		/* What is known of it may be old. */
		inventory_refresh(broker->inventory, holding->group);
		const struct device *device = find_lost(holding);
		if (is_at_rest(holding) && device)
			give_back(holding, device);
	}
}

void losing_look_at(struct holding *holding)
{
	struct broker *broker = holding->broker;

	if (ev_is_active(&broker->look_for_lost) || !is_at_rest(holding) || !find_lost(holding))
		return;
	ev_timer_set(&broker->look_for_lost, LOOK_SECONDS, 0);
	ev_timer_start(broker->loop, &broker->look_for_lost);
}

void losing_hear(struct broker *broker, const struct inventory_change *change)
{
	struct holding *holding =
		change->event == DEVICE_DRIVER ? holding_find(broker, change->group) : NULL;

	if (holding && holding->group == change->group)
		losing_look_at(holding);
}

void losing_init(struct broker *broker)
{
	ev_timer_init(&broker->look_for_lost, on_look, LOOK_SECONDS, 0);
	broker->look_for_lost.data = broker;
}

void losing_free(struct broker *broker)
{
	ev_timer_stop(broker->loop, &broker->look_for_lost);
}
