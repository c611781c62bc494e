/*
 * Devices that the kernel takes away while somebody has them open: unplugged, removed, or unbound
 * by hand. It waits for him (drivers/vfio/vfio_main.c, vfio_unregister_group_dev), asks him every
 * ten seconds by VFIO_PCI_REQ_IRQ_INDEX, if he has set that up, and tells nobody else: the uevent
 * comes when all is over. What can be seen is that the link to the driver has gone, which is the
 * first that __device_release_driver (drivers/base/dd.c) does, while the device is still VFIO's. So
 * once a second that is looked at, while a group is leased or lingers.
 */
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double LOOK_SECONDS = 1;
/* Where nobody has it open it is over in milliseconds: one look may fall in between. */
enum { LOOKS = 2 };

/* Without a driver, and still VFIO's: nothing of this waits for the device's lock. */
static bool is_leaving(struct holding *holding, const struct device *device)
{
	char path[512], target[8];

	if ((size_t)snprintf(path, sizeof(path), "%s/driver", device->syspath) >= sizeof(path) ||
		readlink(path, target, sizeof(target)) >= 0 || errno != ENOENT ||
		access(device->syspath, F_OK) < 0)
		return false;
	/* Before 6.1 there is no such directory, and later ones remove it before they wait: then
	 * it is over when the event of its end has come. Of what an earlier daemon has seen, the
	 * kernel is asked. */
	snprintf(path, sizeof(path), "%s/vfio-dev", device->syspath);
	return access(path, F_OK) == 0 || device_on_vfio(device) || leaving_ask(holding, device);
}

static const struct device *find_leaving(struct holding *holding)
{
	const struct device *device;

	TAILQ_FOREACH (device, &holding->group->devices, of_group) {
		const struct plan_member *member =
			plan_find(holding->plan, device->name, device->bus);
		if (member && plan_hands_out(member->action) && is_leaving(holding, device))
			return device;
	}
	return NULL;
}

static void begin(struct holding *holding, const struct device *device)
{
	struct broker *broker = holding->broker;
	struct group *group = holding->group;
	struct lease *lease = holding->tenancy ? tenancy_lease(holding->tenancy) : NULL;
	char text[256];

	string_copy(holding->leaving, sizeof(holding->leaving), device->name);
	snprintf(text, sizeof(text),
		"the kernel takes %s away (unplugged, removed, or unbound by hand), and waits "
		"until it is closed",
		device->name);
	struct broker_news news = {
		.event = "deviceLeaving",
		.group = group->number,
		.device = device->name,
		.lease = lease ? lease->name : NULL,
		.text = text,
	};
	group_set_binding(broker->inventory, group, BINDING_STUCK, text);
	broker_tell(broker, &news);
	if (lease)
		broker_request_release(broker, lease, text);
}

/* It has left, or is the host's, or nobody's. */
static void end(struct holding *holding)
{
	struct group *group = holding->group;

	holding->leaving[0] = '\0';
	if (group->binding == BINDING_STUCK)
		group_set_binding(holding->broker->inventory, group,
			holding->state == HOLDING_LINGERING ? BINDING_TAKEN
							    : group_observed_binding(group),
			NULL);
}

/* A lease has it, or whoever had one; no job of ours is at work that moves its devices. */
static bool is_watched(const struct holding *holding)
{
	return holding->plan && holding->group->binding != BINDING_GONE && !holding->joins &&
	       (holding->state == HOLDING_USED || holding->state == HOLDING_DETACHING ||
		       holding->state == HOLDING_CHECKING || holding->state == HOLDING_LINGERING);
}

static void look(struct holding *holding)
{
	const struct device *device = find_leaving(holding);

	holding->n_leaving_looks = device ? holding->n_leaving_looks + 1 : 0;
	if (*holding->leaving && !device)
		end(holding);
	else if (!*holding->leaving && holding->n_leaving_looks >= LOOKS)
		begin(holding, device);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	struct broker *broker = timer->data;
	struct holding *holding;
	bool is_wanted = false;

	TAILQ_FOREACH (holding, &broker->holdings, of_broker) {
		/* What a child of ours does with it, that says. */
		if (holding->state == HOLDING_RETURNING || holding->state == HOLDING_RENEWING)
			holding->leaving[0] = '\0';
		/* Also while it is still being taken: nothing will say that this is over. */
		is_wanted = is_wanted || holding->group->owner != OWNER_NONE;
		if (is_watched(holding))
			look(holding);
	}
	if (!is_wanted)
		ev_timer_stop(loop, timer);
}

void leaving_init(struct broker *broker)
{
	ev_timer_init(&broker->look_for_leavers, on_look, LOOK_SECONDS, LOOK_SECONDS);
	broker->look_for_leavers.data = broker;
	/* Of what an earlier daemon has lent, nobody may be told. */
	ev_timer_start(broker->loop, &broker->look_for_leavers);
}

void leaving_hear(struct broker *broker, const struct inventory_change *change)
{
	if (change->event != GROUP_OWNER || change->group->owner == OWNER_NONE ||
		ev_is_active(&broker->look_for_leavers))
		return;
	ev_timer_set(&broker->look_for_leavers, LOOK_SECONDS, LOOK_SECONDS);
	ev_timer_start(broker->loop, &broker->look_for_leavers);
}

void leaving_free(struct broker *broker)
{
	ev_timer_stop(broker->loop, &broker->look_for_leavers);
}
