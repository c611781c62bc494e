/*
 * Why devices share a group, from the PCI topology: the rules of drivers/iommu/iommu.c
 * (pci_device_group) and drivers/pci/pci.c (pci_acs_enabled), applied to config spaces that
 * somebody has read. What those cannot show (quirks of single devices, aliases in firmware tables)
 * is not guessed at: then the topology does not explain the group, and says so.
 *
 *   config-space.c    one function: what it is, and its ACS (pure)
 *   topology.c        a member's way from the root, and with whom it cannot but share (pure)
 *   topology-words.c  the same for people (pure)
 *   topology-read.c   reads config spaces: may block, so in an errand only
 */
#pragma once

#include "daemon/inventory/group.h"

#define CONFIG_SPACE_SIZE 4096 /* PCI Express; conventional PCI has 256 */

/* The device/port type of the PCI Express capability, or what stands for it without one. */
enum pci_kind {
	PCI_UNKNOWN, /* not read, or it does not answer */
	PCI_CONVENTIONAL,
	PCI_CONVENTIONAL_BRIDGE,
	PCI_ENDPOINT,
	PCI_INTEGRATED_ENDPOINT, /* of the root complex */
	PCI_EVENT_COLLECTOR,
	PCI_ROOT_PORT,
	PCI_UPSTREAM_PORT,
	PCI_DOWNSTREAM_PORT,
	PCI_TO_PCI_BRIDGE, /* PCI Express above, PCI below */
	PCI_TO_PCIE_BRIDGE,
};
const char *pci_kind_name(enum pci_kind kind); /* "PCIe-to-PCI bridge" */

/* The bits of ACS that isolation needs (drivers/iommu/iommu.c: REQ_ACS_FLAGS). */
enum {
	ACS_SOURCE_VALIDATION = 0x01,
	ACS_REQUEST_REDIRECT = 0x04,
	ACS_COMPLETION_REDIRECT = 0x08,
	ACS_UPSTREAM_FORWARDING = 0x10,
	ACS_REQUIRED = 0x1d,
};

enum acs {
	ACS_NOT_NEEDED, /* a function that has no sibling, and is no port */
	ACS_ON,
	ACS_OFF,    /* there, but bits of it are not set: acs_missing */
	ACS_NONE,   /* no such capability, or a kind that never isolates */
	ACS_UNSEEN, /* its config space could not be read as far */
};
const char *acs_name(enum acs acs); /* "notNeeded"; as in org.vfiod.Broker */

struct pci_function {
	char name[DEVICE_NAME_SIZE];
	enum pci_kind kind;
	bool is_multifunction; /* one of several, as far as the hardware says */
	bool is_dead;          /* reads as all ones */
	bool is_cut;           /* only its header was shown: CAP_SYS_ADMIN is wanting */
	int error;             /* of reading it: 0 or -errno */
	enum acs acs;
	uint16_t acs_missing;  /* ACS_OFF: those of ACS_REQUIRED that could be on, and are not */
	uint8_t secondary_bus; /* of a bridge or port */
};

/*
 * Fills in all but name and error, with the name given, from the first `size` bytes of a config
 * space. A VF is never multifunction (drivers/pci/iov.c). Capability lists that loop or lead
 * nowhere end the search.
 */
void pci_function_parse(
	struct pci_function *function, const uint8_t *bytes, size_t size, bool is_vf);
/* Does it keep its peers apart from what is behind it, or itself from its siblings? */
bool pci_function_isolates(const struct pci_function *function);

/* A member of the group. */
struct topology_member {
	char name[DEVICE_NAME_SIZE];
	char bus[32];
	char parent[DEVICE_NAME_SIZE]; /* not PCI: the directory above it in sysfs, "" = none */
	char parent_driver[DRIVER_NAME_SIZE]; /* and its driver, "" = none */
	char physfn[DEVICE_NAME_SIZE];
	bool is_pci;
	/* PCI: from below the root complex down to the device itself; owned. */
	struct pci_function *path;
	size_t n_path;
	char root[DEVICE_NAME_SIZE]; /* "pci0000:00" */
	/* Behind a controller that makes a PCI domain of its own (Intel VMD): all DMA is this
	 * one's. */
	char real_dma[DEVICE_NAME_SIZE];
	/* The other functions of the slot of path[top]; owned. */
	struct pci_function *siblings;
	size_t n_siblings;

	/* By topology_resolve(). */
	bool is_resolved;               /* all of its path could be seen */
	size_t alias;                   /* index in path: whose requester id the IOMMU sees */
	size_t top;                     /* and of the last that nothing above it isolates */
	bool shares_slot;               /* path[top] is not isolated from its siblings */
	char key[DEVICE_NAME_SIZE + 8]; /* members with the same one cannot be told apart */
};

struct topology {
	int group;
	bool is_noiommu; /* group_is_noiommu() */
	size_t n_members;
	struct topology_member *members; /* in the order of their names */
};

struct topology *topology_new(int group, size_t n_members); /* NULL: no memory */
struct topology *topology_free(struct topology *topology);

/* From path, siblings aside: fills in the rest. */
void topology_resolve(struct topology_member *member);
/*
 * Do the rules make these members one group, and this device alone in one? False: something does
 * it that config space does not show.
 */
bool topology_explains(const struct topology *topology);

/* Sentences; the caller's to free. NULL: no memory. */
char *topology_reason(const struct topology *topology);
char *topology_advice(const struct topology *topology); /* "": none */

/*
 * Reads what is above each member, and it: wakes devices, and waits for those that do not wake up.
 * 0 or -ENOMEM; what cannot be read is noted in its function. `sysfs`: "/sys".
 */
int topology_read(const char *sysfs, const struct group *group, struct topology **topology);
