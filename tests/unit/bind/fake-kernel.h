/*
 * A kernel in memory, behind the table of operations: devices, drivers, overrides and one VFIO
 * group, with the rules of the real one (drivers/base/bus.c, drivers/vfio/). It counts the
 * operations and fails those that it is told to fail, without effect.
 *
 * No pointers to memory of its own: it can lie in memory shared with a child.
 */
#pragma once

#include "daemon/bind/opener.h"
#include "daemon/bind/transaction.h"

#define FAKE_GROUP 7
#define FAKE_DEVICES 16
#define FAKE_DRIVERS 8
#define FAKE_FAULTS 2

struct fake_device {
	char name[DEVICE_NAME_SIZE];
	char syspath[128];
	int group;
	bool is_present;
	bool is_bridge;
	bool is_chipset; /* to be parked */
	bool is_in_use;  /* the guard's answer */
	bool is_open;    /* an unbind would not come back */
	bool has_no_override_file;
	char native[DRIVER_NAME_SIZE];  /* the driver whose ids match it; "" = none */
	char variant[DRIVER_NAME_SIZE]; /* the VFIO driver that is made for it; "" = none */
	char refuses[DRIVER_NAME_SIZE]; /* the driver whose probe fails with EIO */
	char driver[DRIVER_NAME_SIZE];
	char override[DRIVER_NAME_SIZE];
};

struct fake_driver {
	char name[DRIVER_NAME_SIZE]; /* its module's, too */
	bool is_loaded;
	bool cannot_load;
	bool is_other; /* its module has another driver */
};

struct fake_kernel {
	size_t n_devices, n_drivers;
	struct fake_device devices[FAKE_DEVICES];
	struct fake_driver drivers[FAKE_DRIVERS];
	bool is_open_elsewhere; /* the group */
	bool is_claimed;        /* its DMA has an owner: no driver of the host may probe */
	bool is_node_open;      /* that of a device, by opener_pid */
	bool makes_no_nodes;    /* for devices */
	bool is_lent;           /* nodes are opened without the group */
	int n_nodes_lagging;    /* so many opens of one find it missing yet */
	pid_t opener_pid;       /* whom a search finds; 0: nobody */
	int n_lagging;          /* so many opens find no node yet */
	bool binds_nothing;     /* a bind succeeds, and nothing is bound */

	unsigned n_ops, n_writes, n_loads;
	int n_open;         /* fds of the group that were not closed */
	unsigned n_blocked; /* unbinds that would never have come back */
	struct {
		unsigned at; /* the how-manieth operation, from 1; 0 = none */
		int error;   /* positive errno */
	} faults[FAKE_FAULTS];
	unsigned dead_from; /* from this operation on nothing works; 0 = never */
	/* Called before operation `at`, to change the world behind its back; 0 = never. */
	unsigned event_at;
	void (*event)(struct fake_kernel *kernel);
	/* This operation does not come back before another process sets it to 0. */
	volatile unsigned hangs_at;
};

/* As the host has it: vfio-pci, e1000, snd, pcieport and lpc_ich are there, all loaded. */
void fake_kernel_init(struct fake_kernel *kernel);
/*
 * Named 0000:01:00.0, 0000:01:00.1 and so on; driver "" = none. On its native driver at first.
 * pcieport's are bridges, lpc_ich's are chipset.
 */
struct fake_device *fake_kernel_add(struct fake_kernel *kernel, const char *driver);
struct sysfs_ops fake_kernel_ops(struct fake_kernel *kernel);
struct fake_driver *fake_kernel_driver(struct fake_kernel *kernel, const char *name);
/*
 * As plan_make() would: bridges left, what is on VFIO already there, chipset parked, the rest to
 * vfio-pci.
 */
struct plan *fake_kernel_plan(const struct fake_kernel *kernel);

/* The devices that are there stand in both as before: driver and override. */
bool fake_kernel_same(const struct fake_kernel *now, const struct fake_kernel *before);
/* All endpoints are on VFIO, all chipset is parked. */
bool fake_kernel_is_taken(const struct fake_kernel *kernel);
/* Forgets the counts, the faults and the event, keeps the devices. */
void fake_kernel_calm(struct fake_kernel *kernel);
