/* What devices are named by, in libvfiod and vfioctl: a Selector of org.vfiod.Broker. */
#pragma once

#include <json-c/json_object.h>

/*
 * "group:7", or any device: "any:pci:id=8086:10ed numa:0 near:1", "any:pool:nics"; everything else
 * is the name of a device. 0, -ENOMEM, or -EINVAL with *what is wrong with it (static).
 */
int selector_new(const char *name, struct json_object **selector, const char **what);
/* Does it describe a device, and name none? */
int selector_is_any(const char *name);
