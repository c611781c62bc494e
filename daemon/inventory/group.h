/*
 * An IOMMU group and its two states. The number is not stable over boots:
 * nothing that is written down for longer than a boot may name it.
 */
#pragma once

#include "daemon/inventory/device.h"

/* Where the group's devices are. */
enum binding {
	BINDING_HOST,      /* with the host's drivers, or none */
	BINDING_TAKING,    /* a take runs */
	BINDING_TAKEN,     /* every member leaves DMA alone, at least one is on VFIO */
	BINDING_RETURNING, /* a return runs */
	BINDING_FAILED,    /* a rollback or return failed; `failure` says what is left where */
	BINDING_STUCK,     /* a bind child hangs in the kernel; `failure` says at which step */
	BINDING_GONE,      /* the last member has left */
};
const char *binding_name(enum binding binding); /* "host"; as in org.vfiod.Broker */

/* Who has it open. */
enum owner {
	OWNER_NONE,
	OWNER_LEASED,
	OWNER_LINGERING, /* the lease is over, but some process still has it open */
};
const char *owner_name(enum owner owner);

/* A reserved I/O virtual address range, from the group's reserved_regions. */
struct reserved_region {
	uint64_t first, last; /* inclusive */
	char type[24];        /* "direct", "direct-relaxable", "reserved", "msi" */
};

struct group {
	UT_hash_handle by_number;
	TAILQ_ENTRY(group) of_inventory; /* in the order of their numbers */
	int number;
	ino_t inode;     /* of its directory: a number that is used again has another one */
	char type[24];   /* default domain: "DMA", "DMA-FQ", "identity" … */
	bool is_of_vfio; /* made by VFIO, for a device that no IOMMU translates for */
	struct device_list devices; /* sorted by device_compare */
	size_t n_devices;
	struct reserved_region *reserved;
	size_t n_reserved;

	enum binding binding;
	enum owner owner;
	unsigned n_holds;                /* group_hold(); the inventory's own */
	char failure[REFUSAL_TEXT_SIZE]; /* why it is failed or stuck; else "" */
};
TAILQ_HEAD(group_list, group);

/*
 * Nothing confines its devices: who has them can read and write all of the host's memory (VFIO's
 * no-IOMMU mode). An mdev has no IOMMU of its own either, but a driver that sees to that.
 */
bool group_is_noiommu(const struct group *group);
/* Of people: its default domain, or "noiommu". */
const char *group_type(const struct group *group);
