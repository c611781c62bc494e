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
	PLAN_PARK,    /* the host's chipset, or wished so: to no driver, nor may one come */
	PLAN_LEAVE,   /* a PCI bridge, or a driver that leaves DMA alone */
	PLAN_ALREADY, /* on a VFIO driver before vfiod came: neither taken nor returned */
};

/* The driver_override of what is parked: no driver has this name. */
#define PLAN_PARKED "vfiod-parked"
const char *plan_action_name(enum plan_action action);

struct plan_member {
	enum plan_action action;
	char name[DEVICE_NAME_SIZE];
	char bus[32];
	char *syspath; /* owned */
	/* PLAN_BIND: the VFIO driver; PLAN_PARK: PLAN_PARKED; PLAN_ALREADY: see below, or "" */
	char target[DRIVER_NAME_SIZE];
	char module[DRIVER_NAME_SIZE]; /* PLAN_BIND: the module that brings it */
	bool force;                    /* the guard is not asked */
	bool may_vary;                 /* PLAN_BIND: a driver made for the device is preferred */
	bool is_variant;               /* and was found: target and module are its */
	bool joins;                    /* JOB_JOIN: the group was taken before it came */
	bool is_new;                   /* the host may not have had the time to give it a driver */
	/* As the host had it; read by the child before the first write (`known`), which also looks
	 * for a variant then. */
	bool known;
	char host_driver[DRIVER_NAME_SIZE];   /* "" = none */
	char host_override[DRIVER_NAME_SIZE]; /* "" = none */
	/*
	 * The override that vfiod's udev rule gave it (device_claim()); "" = none. It is not the
	 * host's, so a return clears it. Inspection forgets it if another one is found.
	 */
	char claim[DRIVER_NAME_SIZE];
	/* No driver of the host has had it yet: when it returns, the kernel chooses. */
	bool host_probes;
};

struct plan {
	int group;
	size_t n_members;
	struct plan_member *members; /* in group order */
};

/* What policy says of one member: given to plan_make for each device. */
struct plan_wish {
	const char *driver; /* NULL: a variant, or the bus's VFIO driver; what is parked has none */
	bool force;
	bool parks; /* it is kept from the host, and given to nobody */
};
typedef struct plan_wish (*plan_wish_fn)(const struct device *device, void *userdata);

/*
 * 0, -ENOMEM, or REFUSED: NOT_SUPPORTED when a member's bus has no VFIO driver
 * and none was wished for, or when no member would be on VFIO: there would be nothing to open.
 * `wish` is asked for each member that has to be bound or parked.
 */
int plan_make(const struct group *group, plan_wish_fn wish, void *userdata, struct plan **plan,
	struct refusal *refusal);
/*
 * The plan of a taken group for devices that have come to it since: a copy, with a member for each
 * at its end that `joins`, and without those of the same names, which had left. 0, -ENOMEM, or
 * REFUSED as above (not for want of a device to hand out).
 */
int plan_extend(const struct plan *plan, struct device *const *devices, size_t n_devices,
	plan_wish_fn wish, void *userdata, struct plan **extended, struct refusal *refusal);
/* Without the members that have left, and come back as those of `extended` that join. */
void plan_forget_joined(struct plan *plan, const struct plan *extended);
/*
 * A plan for another group, which some of the members that move are in now. NULL: no memory. What
 * the host had is as in `plan`.
 */
struct plan *plan_part(const struct plan *plan, const struct group *group);
/* NULL: none of this name. */
struct plan_member *plan_find(const struct plan *plan, const char *name, const char *bus);
struct plan *plan_free(struct plan *plan);
/* REFUSED: NOT_SUPPORTED, for want of a device to hand out. */
int plan_refuse_empty(int group, struct refusal *refusal);
/* Members all zero, for the caller to fill in (journal_read, tests). NULL: no memory. */
struct plan *plan_new(int group, size_t n_members);

/* What plan_make would do with this device, for policy and for people. */
enum plan_action plan_action_for(const struct device *device);
bool plan_action_moves(enum plan_action action);
/* Does it change drivers or overrides: is there anything to journal and to undo? */
bool plan_member_moves(const struct plan_member *member);
size_t plan_n_moves(const struct plan *plan);
/*
 * Can it be taken from its VFIO driver, and given to it anew? `target` is that driver, also of what
 * was with it already. Never an mdev: it matches no driver (drivers/vfio/mdev/mdev_driver.c,
 * mdev_match).
 */
bool plan_member_is_renewed(const struct plan_member *member);
/* Will clients find it in the group? */
bool plan_hands_out(enum plan_action action);
