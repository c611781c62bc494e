/*
 * A host made of files (umockdev), in vfiod's words. The test plays the kernel and udevd:
 * each call changes sysfs, then sends the event that the kernel would send. Runs under
 * umockdev-wrapper. What fails here fails the test.
 *
 * The sender waits while ten events are not received yet (net.unix.max_dgram_qlen).
 */
#pragma once

#include <stdbool.h>

struct testbed;

struct testbed *testbed_new(void);
struct testbed *testbed_free(struct testbed *bed);
/* Stands for /run/udev; udevd runs there or does not (its default). */
const char *testbed_udev_directory(const struct testbed *bed);
void testbed_set_udevd(struct testbed *bed, bool runs);
/* What udevd has found out about a device: lines of its database, NULL = no entry. */
void testbed_set_database(
	struct testbed *bed, const char *bus, const char *name, const char *lines);

/*
 * A device of any bus below `parent` (a syspath; NULL: at the root), in a group (-1: none),
 * bound to a driver (""): its syspath, to be freed. Sends "add".
 */
char *testbed_add(struct testbed *bed, const char *bus, const char *name, const char *parent,
	int group, const char *driver);
/* A network controller, class 020000, Intel 82540EM. */
char *testbed_add_pci(struct testbed *bed, const char *address, int group, const char *driver);
/* With all that is below it. Its group goes with its last member. Sends "remove". */
void testbed_remove(struct testbed *bed, const char *syspath);
/* Sends "unbind" and "bind", as it applies. */
void testbed_set_driver(struct testbed *bed, const char *syspath, const char *driver);
/* As when probe() has failed: no event says so. */
void testbed_lose_driver(struct testbed *bed, const char *syspath);
/* To the root of all devices, under another name: its new syspath, to be freed. Sends "move". */
char *testbed_move(struct testbed *bed, const char *syspath, const char *name);
/* Out of its group, into another (-1: none). No event. */
void testbed_set_group(struct testbed *bed, const char *syspath, int group);
void testbed_set_attribute(
	struct testbed *bed, const char *syspath, const char *name, const char *value);
void testbed_remove_attribute(struct testbed *bed, const char *syspath, const char *name);
void testbed_set_link(
	struct testbed *bed, const char *syspath, const char *name, const char *target);
void testbed_send(struct testbed *bed, const char *syspath, const char *action);

/* An attribute of a group: "type", "reserved_regions". */
void testbed_set_group_attribute(
	struct testbed *bed, int group, const char *name, const char *value);
/* Puts the same members under a new directory: the number is used again. No event. */
void testbed_reuse_group(struct testbed *bed, int group);
/* A file where a group's list of members was: reading it fails. And back. */
void testbed_break_group(struct testbed *bed, int group, bool broken);
/* An IOMMU of /sys/class/iommu; parent as in testbed_add(). */
void testbed_add_iommu(struct testbed *bed, const char *name, const char *parent);
