/*
 * One function's config space (PCI Express Base Specification, chapter 7). The lists in it are the
 * device's, and a broken one may write anything there: each walk is bounded as the kernel's are.
 */
#include "daemon/inventory/topology.h"

#include "daemon/base/util.h"
#include "daemon/inventory/internal.h"

#define STATUS 0x06
#define STATUS_HAS_CAPABILITIES 0x10
#define HEADER_TYPE 0x0e
#define HEADER_IS_MULTIFUNCTION 0x80
#define SECONDARY_BUS 0x19
#define FIRST_CAPABILITY 0x34
#define HEADER_SIZE 0x40
#define CONVENTIONAL_SIZE 0x100
#define CAPABILITY_EXPRESS 0x10
#define EXTENDED_ACS 0x0d

static uint16_t word(const uint8_t *bytes, size_t at)
{
	return (uint16_t)(bytes[at] | bytes[at + 1] << 8);
}

/* Where the capability is, 0: there is none. */
static size_t capability_find(const uint8_t *bytes, size_t size, uint8_t id)
{
	if (!(word(bytes, STATUS) & STATUS_HAS_CAPABILITIES))
		return 0;
	size_t at = bytes[FIRST_CAPABILITY] & ~3U;
	/* drivers/pci/pci.c: PCI_FIND_CAP_TTL */
	for (int left = 48; left > 0 && at >= HEADER_SIZE; left--) {
		if (at + 4 > size || bytes[at] == 0xff)
			return 0;
		if (bytes[at] == id)
			return at;
		at = bytes[at + 1] & ~3U;
	}
	return 0;
}

static size_t extended_find(const uint8_t *bytes, size_t size, uint16_t id)
{
	size_t at = CONVENTIONAL_SIZE;
	for (int left = (CONFIG_SPACE_SIZE - CONVENTIONAL_SIZE) / 8; left > 0; left--) {
		if (at < CONVENTIONAL_SIZE || at + 8 > size ||
			(word(bytes, at) == 0 && word(bytes, at + 2) == 0))
			return 0;
		if (word(bytes, at) == id)
			return at;
		at = word(bytes, at + 2) >> 4 & ~3U;
	}
	return 0;
}

static enum pci_kind express_kind(const uint8_t *bytes, size_t at)
{
	static const enum pci_kind kinds[] = {
		[0x0] = PCI_ENDPOINT,
		[0x1] = PCI_ENDPOINT, /* legacy */
		[0x4] = PCI_ROOT_PORT,
		[0x5] = PCI_UPSTREAM_PORT,
		[0x6] = PCI_DOWNSTREAM_PORT,
		[0x7] = PCI_TO_PCI_BRIDGE,
		[0x8] = PCI_TO_PCIE_BRIDGE,
		[0x9] = PCI_INTEGRATED_ENDPOINT,
		[0xa] = PCI_EVENT_COLLECTOR,
	};
	unsigned type = word(bytes, at + 2) >> 4 & 0xf;
	return type < ARRAY_SIZE(kinds) ? kinds[type] : PCI_UNKNOWN;
}

static void read_acs(struct pci_function *function, const uint8_t *bytes, size_t size)
{
	/* Only the header is shown to who has no CAP_SYS_ADMIN; a kernel that cannot reach the
	 * extended space shows 256 bytes, and does not see an ACS there either. */
	if (size < CONVENTIONAL_SIZE) {
		function->acs = ACS_UNSEEN;
		return;
	}
	size_t at = extended_find(bytes, size, EXTENDED_ACS);
	if (at == 0) {
		function->acs = ACS_NONE;
		return;
	}
	/* What cannot be controlled is wired to on (drivers/pci/pci.c: pci_acs_flags_enabled). */
	function->acs_missing = ACS_REQUIRED & word(bytes, at + 4) & (uint16_t)~word(bytes, at + 6);
	function->acs = function->acs_missing ? ACS_OFF : ACS_ON;
}

static bool is_all_ones(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0xff)
			return false;
	return true;
}

/* The bit is the first function's only; the others are there because of it (drivers/pci/probe.c).
 */
static bool is_one_of_several(const struct pci_function *function, uint8_t header_type)
{
	struct pci_address address;

	return header_type & HEADER_IS_MULTIFUNCTION ||
	       (pci_address_parse(function->name, &address) && address.function > 0);
}

void pci_function_parse(
	struct pci_function *function, const uint8_t *bytes, size_t size, bool is_vf)
{
	function->kind = PCI_UNKNOWN;
	function->acs = ACS_UNSEEN;
	function->acs_missing = 0;
	function->is_multifunction = false;
	function->secondary_bus = 0;
	/* The ids alone are all ones in every VF. */
	function->is_cut = size < CONVENTIONAL_SIZE;
	function->is_dead = size >= HEADER_SIZE && is_all_ones(bytes, HEADER_SIZE);
	if (size < HEADER_SIZE || function->is_dead)
		return;

	bool is_bridge = (bytes[HEADER_TYPE] & 0x7f) == 1;
	if (is_bridge)
		function->secondary_bus = bytes[SECONDARY_BUS];
	function->is_multifunction = !is_vf && is_one_of_several(function, bytes[HEADER_TYPE]);
	size_t express = capability_find(bytes, size, CAPABILITY_EXPRESS);
	if (express == 0 && size < CONVENTIONAL_SIZE)
		return; /* it lies behind what could be read */
	if (express == 0)
		function->kind = is_bridge ? PCI_CONVENTIONAL_BRIDGE : PCI_CONVENTIONAL;
	else
		function->kind = express_kind(bytes, express);

	switch (function->kind) {
	case PCI_ROOT_PORT:
	case PCI_DOWNSTREAM_PORT:
		read_acs(function, bytes, size);
		break;
	case PCI_ENDPOINT:
	case PCI_INTEGRATED_ENDPOINT:
	case PCI_UPSTREAM_PORT:
		if (function->is_multifunction)
			read_acs(function, bytes, size);
		else
			function->acs = ACS_NOT_NEEDED;
		break;
	default:
		/* A bus that is shared: who is on it can listen, and answer, past any ACS. */
		function->acs = ACS_NONE;
		break;
	case PCI_UNKNOWN:
		break;
	}
}

bool pci_function_isolates(const struct pci_function *function)
{
	return function->acs == ACS_ON || function->acs == ACS_NOT_NEEDED;
}

const char *pci_kind_name(enum pci_kind kind)
{
	static const char *const names[] = {
		[PCI_UNKNOWN] = "unknown",
		[PCI_CONVENTIONAL] = "PCI device",
		[PCI_CONVENTIONAL_BRIDGE] = "PCI bridge",
		[PCI_ENDPOINT] = "PCIe endpoint",
		[PCI_INTEGRATED_ENDPOINT] = "root complex integrated endpoint",
		[PCI_EVENT_COLLECTOR] = "root complex event collector",
		[PCI_ROOT_PORT] = "root port",
		[PCI_UPSTREAM_PORT] = "upstream port",
		[PCI_DOWNSTREAM_PORT] = "downstream port",
		[PCI_TO_PCI_BRIDGE] = "PCIe-to-PCI bridge",
		[PCI_TO_PCIE_BRIDGE] = "PCI-to-PCIe bridge",
	};
	return names[kind];
}

const char *acs_name(enum acs acs)
{
	static const char *const names[] = {
		[ACS_NOT_NEEDED] = "notNeeded",
		[ACS_ON] = "on",
		[ACS_OFF] = "off",
		[ACS_NONE] = "none",
		[ACS_UNSEEN] = "unseen",
	};
	return names[acs];
}
