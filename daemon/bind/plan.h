/*
 * The plan of a bind transaction: for each member of a group, what is to be done
 * with it. Pure: made from the inventory's devices and policy's answers, no I/O.
 * The child completes it (what the host had: driver and driver_override), the
 * journal stores it, and the return runs the same plan backwards.
 */
#pragma once

#include "daemon/inventory/group.h"

enum plan_action {
	PLAN_BIND,    /* an endpoint, with or without a host driver: to `target` */
	PLAN_LEAVE,   /* a bridge, or a driver that leaves DMA alone */
	PLAN_ALREADY, /* on a VFIO driver before vfiod came: neither taken nor returned */
};
const char *plan_action_name(enum plan_action action);

struct plan_member {
	enum plan_action action;
	char name[DEVICE_NAME_SIZE];
	char bus[32];
	char *syspath;                 /* owned */
	char target[DRIVER_NAME_SIZE]; /* PLAN_BIND: the VFIO driver */
	char module[DRIVER_NAME_SIZE]; /* and the module that brings it */
	bool force;                    /* the guard is not asked */
	/* As the host had it; read by the child before the first write (`known`). */
	bool known;
	char host_driver[DRIVER_NAME_SIZE];   /* "" = none */
	char host_override[DRIVER_NAME_SIZE]; /* "" = none */
};

struct plan {
	int group;
	size_t n_members;
	struct plan_member *members; /* in group order */
};

/* What policy says of one member: given to plan_make for each device. */
struct plan_wish {
	const char *driver; /* NULL: the bus's VFIO driver */
	bool force;
};

/*
 * 0, -ENOMEM, or REFUSED: NOT_SUPPORTED when a member's bus has no VFIO driver
 * and none was wished for, or when every member is PLAN_LEAVE: there would be nothing to open.
 * `wish` is asked for each member that has to be bound.
 */
int plan_make(const struct group *group, struct plan_wish (*wish)(const struct device *, void *),
	void *userdata, struct plan **plan, struct refusal *refusal);
struct plan *plan_free(struct plan *plan);
/* Members all zero, for the caller to fill in (journal_read, tests). NULL: no memory. */
struct plan *plan_new(int group, size_t n_members);

/* What plan_make would do with this device, for policy and for people. */
enum plan_action plan_action_for(const struct device *device);
/* How many members are PLAN_BIND. */
size_t plan_n_binds(const struct plan *plan);
