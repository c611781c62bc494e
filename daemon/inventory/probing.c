/*
 * A driver's link is there before its probe() has said whether it wants the device, and if it does
 * not, no event tells that the link has gone (drivers/base/dd.c, really_probe(); "bind" is sent
 * when it does). So a driver that is seen at a device's first event is looked at again for a while.
 */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <string.h>

static const double LOOK_SECONDS = 0.5;
/* Longer than that a probe may take, but then somebody else's event comes before. */
enum { LOOKS = 10 };

void probing_note(struct inventory *inventory, const char *syspath, const char *action)
{
	struct device *device = inventory_device(inventory, syspath);
	bool begins = device && action && strcmp(action, "add") == 0 && *device->driver;

	if (begins)
		device->n_looks = LOOKS;
	else if (device && action && strcmp(action, "bind") == 0)
		device->n_looks = 0;
	if (begins && !ev_is_active(&inventory->probing))
		ev_timer_again(inventory->loop, &inventory->probing);
}

/* To look tells the listener, and may end devices: first, which. Without memory, the next time. */
static void on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct inventory *inventory = timer->data;
	struct device *device, *next;
	char **syspaths = NULL;

	(void)revents;
	HASH_ITER (by_syspath, inventory->devices, device, next)
		if (device->n_looks > 0 && strv_add(&syspaths, device->syspath) == 0)
			device->n_looks--;
	for (size_t i = 0; syspaths && syspaths[i]; i++)
		inventory_look(inventory, syspaths[i]);
	if (!syspaths)
		ev_timer_stop(loop, timer);
	strv_free(syspaths);
}

void probing_init(struct inventory *inventory)
{
	ev_init(&inventory->probing, on_look);
	inventory->probing.repeat = LOOK_SECONDS;
	inventory->probing.data = inventory;
}
