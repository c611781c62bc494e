/*
 * Who had each device last: a lease may leave something in a device that cannot be reset. Kept
 * for the life of the daemon and over its restarts, in <state directory>/former/BUS:NAME,
 * "UID INODE" or "UID INODE node", written before the device is handed out. The inode is that of
 * the device's directory in sysfs: a device that was pulled out and came back has another one, and
 * has lost its power.
 *
 * /run is a tmpfs: writing it does not block, and it ends with the boot.
 */
#pragma once

#include "daemon/inventory/device.h"

struct former;
TAILQ_HEAD(former_list, former);

struct former_book {
	char *directory;
	struct former_list formers; /* as many as devices were lent */
	struct former *by_name;
};

/*
 * Creates the directory (0700) if need be, and reads what an earlier daemon wrote. Of a file that
 * cannot be understood the user is unknown, (uid_t)-1: that is nobody who asks. 0 or -errno.
 */
int former_book_init(struct former_book *book, const char *state_directory);
void former_book_clear(struct former_book *book);
/* 0, or -errno: then it must not be handed out. */
int former_note(struct former_book *book, const struct device *device, uid_t uid, bool by_node);
/*
 * Was its own node handed out (`by_node`) since it is there, to him or to anybody before? Whoever
 * had it may keep it open where nobody sees it.
 */
bool former_has_node(const struct former_book *book, const struct device *device);
bool former_find(const struct former_book *book, const struct device *device, uid_t *uid);
