/*
 * Claims: vfiod's udev rule asks, when a device appears without a driver and before modules are
 * loaded for it, whether vfiod is to have it. No daemon need run.
 */
#pragma once

#include "daemon/base/refusal.h"
#include "daemon/bind/sysfs.h"

/*
 * Gives the device a driver_override if it is vfiod's, so that no driver of the host gets it:
 *  - a rule with take = boot covers it, and such rules cover all of its group that is there:
 *    the VFIO driver, which then is asked to take it;
 *  - it has come to a group that vfiod has taken: PLAN_PARKED, for the daemon to go on with.
 * The override is in `claim`, "" = none. A device that has a driver or an override is left alone.
 * 0, -errno, or REFUSED (CONFIGURATION).
 */
int claim_device(const char *configuration, const char *state_directory, const char *syspath,
	const struct sysfs_ops *ops, char claim[static DRIVER_NAME_SIZE], struct refusal *refusal);
