/*
 * The operations on the kernel that a bind transaction is made of, in one table,
 * so that a unit test can be the kernel and fail the k-th of them. All of them
 * may block for as long as a driver or a client likes: they are called in bind
 * children only, never on the loop.
 *
 * All return 0 or more for success, -errno for failure.
 */
#pragma once

#include "daemon/base/refusal.h"

struct opener;
struct plan;

struct sysfs_ops {
	void *userdata; /* given to each as its first argument */
	/* Writes `value` with one write(2), no newline added; "\n" is how driver_override is
	 * cleared. */
	int (*write)(void *userdata, const char *path, const char *value);
	/* Reads a text attribute, newline cut; -EFBIG if it does not fit. */
	int (*read)(void *userdata, const char *path, char *buffer, size_t size);
	/* The last part of a symbolic link's target: "…/drivers/e1000" → "e1000". -ENOENT: no link.
	 */
	int (*read_link)(void *userdata, const char *path, char *buffer, size_t size);
	/* modprobe. 0 also when it is there already or built in. */
	int (*load_module)(void *userdata, const char *name);
	/*
	 * The module of a driver that is made for the PCI device with this modalias ("pci:v…"): 1
	 * with its name, 0: there is none but vfio-pci.
	 */
	int (*find_variant)(void *userdata, const char *modalias, char *module, size_t size);
	/* The VFIO driver that a module which is there has brought to a bus. -ENOENT: none. */
	int (*module_driver)(
		void *userdata, const char *module, const char *bus, char *driver, size_t size);
	/* Opens /dev/vfio/N close-on-exec: the fd, or -EBUSY when somebody else has it, or a
	 * device of it, open. */
	int (*open_group)(void *userdata, int group);
	/* VFIO_GROUP_GET_STATUS: 1 viable, 0 not. */
	int (*group_viable)(void *userdata, int group_fd);
	void (*close_group)(void *userdata, int group_fd);
	/*
	 * Opens the own node of the device with this syspath (/dev/vfio/devices/vfioX), and binds
	 * it to nothing: the fd. -ENXIO: the kernel makes none. -ENOENT: it is not in /dev yet.
	 */
	int (*open_node)(void *userdata, const char *syspath);
	/*
	 * An iommufd context, empty: the fd. It waits for nobody (drivers/iommu/iommufd/main.c,
	 * iommufd_fops_open), nor for its module where VFIO, which needs it, is loaded: so the loop
	 * may, too. NULL: there are none.
	 */
	int (*open_context)(void *userdata);
	/* Is the host using the device (mounted, up)? 0 no, REFUSED with *refusal filled if so. */
	int (*guard)(
		void *userdata, const char *syspath, const char *name, struct refusal *refusal);
	/*
	 * Who has the group open, or a node of one of its devices; with nodes_only the latter only.
	 * 0 with *opener, which may be nobody.
	 */
	int (*find_opener)(
		void *userdata, const struct plan *plan, bool nodes_only, struct opener *opener);
	/* May VFIO devices have nodes of their own, in this kernel? NULL: they may. */
	bool (*makes_nodes)(void *userdata);
};

extern const struct sysfs_ops sysfs_kernel; /* the real one */
