/* udev's events: hints where sysfs may have changed. */
#include "daemon/inventory/internal.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <libudev.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* So many events a turn of the loop, that a storm of them does not keep clients waiting. */
#define EVENTS_PER_TURN 64
/* Some 20,000 events. The memory is taken only while they queue. */
#define RECEIVE_BUFFER_BYTES (64 << 20)
/* More than that buffer can hold. */
#define BACKLOG_MAX 100000
#define RETRY_SECONDS 1.0

static void sync_or_retry(struct inventory *inventory, int number, const char *hint)
{
	int result = group_sync(inventory, number, hint);
	if (result < 0) {
		log_warning("group %d could not be read from sysfs, will be tried again: %s",
			number, strerror(-result));
		inventory_rescan_later(inventory, RETRY_SECONDS);
	}
}

static void rescan_or_retry(struct inventory *inventory)
{
	int result = inventory_rescan(inventory);
	if (result < 0) {
		log_warning(
			"the IOMMU groups could not be read from sysfs, will be tried again: %s",
			strerror(-result));
		inventory_rescan_later(inventory, RETRY_SECONDS);
	}
}

/*
 * Both groups are looked at: the one that the device was in, and the one that its link names
 * now. Children (interfaces, disks) are in neither. A device that was moved ("move") stays in
 * its group, whose members are read again: so its old path is found out without DEVPATH_OLD.
 */
static void path_changed(struct inventory *inventory, const char *syspath)
{
	const struct device *known = inventory_device(inventory, syspath);
	int before = known ? known->group->number : -1;
	int now = sysfs_group_of(syspath);

	if (before >= 0)
		sync_or_retry(inventory, before, syspath);
	if (now >= 0 && now != before)
		sync_or_retry(inventory, now, syspath);
	if (now < 0 && now != -ENOENT)
		inventory_rescan_later(inventory, RETRY_SECONDS);
}

struct device *inventory_look(struct inventory *inventory, const char *syspath)
{
	if (!inventory->syncing)
		path_changed(inventory, syspath);
	return inventory_device(inventory, syspath);
}

/*
 * Events were lost (ENOBUFS), or one could not be read. What is queued is thrown away first: it
 * is older than the rescan, and leaves room for what happens meanwhile.
 */
static void events_lost(struct inventory *inventory, int error)
{
	int fd = udev_monitor_get_fd(inventory->monitor);
	size_t n = 0;
	char byte;

	while (n < BACKLOG_MAX && recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) >= 0)
		n++;
	log_info("udev events were lost (%s); reading all of sysfs again", strerror(error));
	rescan_or_retry(inventory);
}

static void monitor_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct inventory *inventory = watcher->data;

	(void)loop;
	(void)revents;
	for (int i = 0; i < EVENTS_PER_TURN; i++) {
		struct udev_device *event = udev_monitor_receive_device(inventory->monitor);
		if (!event && (errno == EAGAIN || errno == EINTR))
			return;
		if (!event) {
			events_lost(inventory, errno);
			return;
		}
		const char *syspath = udev_device_get_syspath(event);
		if (syspath) {
			path_changed(inventory, syspath);
			probing_note(inventory, syspath, udev_device_get_action(event));
		}
		udev_device_unref(event);
	}
}

static void retry_due(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	(void)loop;
	(void)revents;
	rescan_or_retry(watcher->data);
}

void inventory_rescan_later(struct inventory *inventory, double seconds)
{
	if (ev_is_active(&inventory->retry))
		return;
	ev_timer_set(&inventory->retry, seconds, 0.0);
	ev_timer_start(inventory->loop, &inventory->retry);
}

int monitor_start(struct inventory *inventory)
{
	_cleanup_free_ char *control = NULL;
	if (asprintf(&control, "%s/control", inventory->udev_directory) < 0) {
		control = NULL;
		return -ENOMEM;
	}

	const char *source = access(control, F_OK) == 0 ? "udev" : "kernel";
	inventory->monitor = udev_monitor_new_from_netlink(inventory->udev, source);
	if (!inventory->monitor)
		return errno > 0 ? -errno : -ENOMEM;
	/* Beyond net.core.rmem_max this needs CAP_NET_ADMIN; with less, overruns come earlier. */
	int result = udev_monitor_set_receive_buffer_size(inventory->monitor, RECEIVE_BUFFER_BYTES);
	if (result < 0)
		log_debug("the receive buffer for udev events stays small: %s", strerror(-result));
	result = udev_monitor_enable_receiving(inventory->monitor);
	if (result < 0)
		return result;

	ev_io_init(&inventory->readable, monitor_readable, udev_monitor_get_fd(inventory->monitor),
		EV_READ);
	inventory->readable.data = inventory;
	ev_timer_init(&inventory->retry, retry_due, 0.0, 0.0);
	inventory->retry.data = inventory;
	probing_init(inventory);
	ev_io_start(inventory->loop, &inventory->readable);
	return 0;
}

void monitor_stop(struct inventory *inventory)
{
	ev_io_stop(inventory->loop, &inventory->readable);
	ev_timer_stop(inventory->loop, &inventory->retry);
	ev_timer_stop(inventory->loop, &inventory->probing);
	udev_monitor_unref(inventory->monitor);
	inventory->monitor = NULL;
}
