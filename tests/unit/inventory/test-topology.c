/* Groups from config spaces that are made up: each rule of the kernel, and what breaks a walk. */
#include "daemon/inventory/topology.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* --- config spaces --------------------------------------------------------------------- */

struct space {
	uint8_t bytes[CONFIG_SPACE_SIZE];
	size_t size;
};

static void put_word(struct space *space, size_t at, unsigned value)
{
	space->bytes[at] = value & 0xff;
	space->bytes[at + 1] = value >> 8 & 0xff;
}

/* Without a capability: a conventional device, or bridge. */
static struct space conventional(bool is_bridge, bool is_multifunction)
{
	struct space space = { .size = 256 };
	put_word(&space, 0, 0x1234);
	space.bytes[0x0e] = (uint8_t)((is_bridge ? 1 : 0) | (is_multifunction ? 0x80 : 0));
	if (is_bridge)
		space.bytes[0x19] = 2;
	return space;
}

/* type: of the PCI Express capability. acs < 0: none; else capable << 8 | control. */
static struct space express(unsigned type, bool is_multifunction, int acs)
{
	struct space space = conventional(type >= 4 && type <= 8, is_multifunction);
	space.size = CONFIG_SPACE_SIZE;
	put_word(&space, 0x06, 0x10);
	space.bytes[0x34] = 0x50;
	/* Power management first. */
	put_word(&space, 0x50, 0x6001);
	put_word(&space, 0x60, 0x0010);
	put_word(&space, 0x62, type << 4 | 2);
	/* AER, then ACS. */
	put_word(&space, 0x100, 0x0001);
	put_word(&space, 0x102, (acs < 0 ? 0 : 0x148) << 4 | 2);
	if (acs >= 0) {
		put_word(&space, 0x148, 0x000d);
		put_word(&space, 0x14a, 1);
		put_word(&space, 0x14c, (unsigned)acs >> 8);
		put_word(&space, 0x14e, (unsigned)acs & 0xff);
	}
	return space;
}

enum { ENDPOINT = 0, ROOT_PORT = 4, UPSTREAM = 5, DOWNSTREAM = 6, BRIDGE = 7, INTEGRATED = 9 };
#define ALL_ON 0x1f1d

static struct pci_function parsed(const char *name, const struct space *space)
{
	struct pci_function function = { 0 };
	strcpy(function.name, name);
	pci_function_parse(&function, space->bytes, space->size, false);
	return function;
}

static void test_kinds(void **state)
{
	static const struct {
		unsigned type;
		enum pci_kind kind;
		enum acs acs;
	} cases[] = {
		{ ENDPOINT, PCI_ENDPOINT, ACS_NOT_NEEDED },
		{ 1, PCI_ENDPOINT, ACS_NOT_NEEDED },
		{ ROOT_PORT, PCI_ROOT_PORT, ACS_NONE },
		{ UPSTREAM, PCI_UPSTREAM_PORT, ACS_NOT_NEEDED },
		{ DOWNSTREAM, PCI_DOWNSTREAM_PORT, ACS_NONE },
		{ BRIDGE, PCI_TO_PCI_BRIDGE, ACS_NONE },
		{ 8, PCI_TO_PCIE_BRIDGE, ACS_NONE },
		{ INTEGRATED, PCI_INTEGRATED_ENDPOINT, ACS_NOT_NEEDED },
		{ 10, PCI_EVENT_COLLECTOR, ACS_NONE },
		{ 15, PCI_UNKNOWN, ACS_UNSEEN },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct space space = express(cases[i].type, false, -1);
		struct pci_function function = parsed("0000:00:01.0", &space);
		assert_int_equal(function.kind, cases[i].kind);
		assert_int_equal(function.acs, cases[i].acs);
	}
	struct space plain = conventional(false, false), bridge = conventional(true, false);
	assert_int_equal(parsed("0000:00:01.0", &plain).kind, PCI_CONVENTIONAL);
	assert_int_equal(parsed("0000:00:01.0", &bridge).kind, PCI_CONVENTIONAL_BRIDGE);
	assert_int_equal(parsed("0000:00:01.0", &bridge).secondary_bus, 2);
}

static void test_acs(void **state)
{
	static const struct {
		int acs;
		enum acs is;
		uint16_t missing;
	} cases[] = {
		{ -1, ACS_NONE, 0 },
		{ ALL_ON, ACS_ON, 0 },
		{ 0x1f00, ACS_OFF, 0x1d },
		{ 0x1f19, ACS_OFF, ACS_REQUEST_REDIRECT },
		/* What cannot be controlled is on; translation blocking is not asked for. */
		{ 0x0000, ACS_ON, 0 },
		{ 0x0101, ACS_ON, 0 },
		{ 0x1400, ACS_OFF, ACS_REQUEST_REDIRECT | ACS_UPSTREAM_FORWARDING },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct space space = express(ROOT_PORT, false, cases[i].acs);
		struct pci_function function = parsed("0000:00:01.0", &space);
		assert_int_equal(function.acs, cases[i].is);
		assert_int_equal(function.acs_missing, cases[i].missing);
		assert_int_equal(pci_function_isolates(&function), cases[i].is == ACS_ON);
	}
	/* Of several functions, an endpoint needs it; any but the first is one of several. */
	struct space space = express(ENDPOINT, true, -1), single = express(ENDPOINT, false, -1);
	assert_int_equal(parsed("0000:01:00.0", &space).acs, ACS_NONE);
	assert_int_equal(parsed("0000:01:00.1", &single).acs, ACS_NONE);
	struct pci_function vf = { .name = "0000:01:00.1" };
	pci_function_parse(&vf, space.bytes, space.size, true);
	assert_int_equal(vf.acs, ACS_NOT_NEEDED);
}

/* Loops, ends, and what points out of what could be read: an answer, and no crash. */
static void test_broken(void **state)
{
	struct space space = express(ROOT_PORT, false, ALL_ON);
	(void)state;

	space.bytes[0x51] = 0x50; /* to itself */
	assert_int_equal(parsed("0000:00:01.0", &space).kind, PCI_CONVENTIONAL_BRIDGE);
	space.bytes[0x51] = 0xfc;
	space.bytes[0xfd] = 0x50;
	assert_int_equal(parsed("0000:00:01.0", &space).kind, PCI_CONVENTIONAL_BRIDGE);
	space.bytes[0x51] = 0x3c; /* into the header */
	assert_int_equal(parsed("0000:00:01.0", &space).kind, PCI_CONVENTIONAL_BRIDGE);

	space = express(ROOT_PORT, false, ALL_ON);
	put_word(&space, 0x102, 0x100 << 4); /* to itself */
	assert_int_equal(parsed("0000:00:01.0", &space).acs, ACS_NONE);
	put_word(&space, 0x102, 0xffc << 4);
	assert_int_equal(parsed("0000:00:01.0", &space).acs, ACS_NONE);
	/* ACS at the very end: its registers are not there. */
	put_word(&space, 0xffc, 0x000d);
	assert_int_equal(parsed("0000:00:01.0", &space).acs, ACS_NONE);

	/* Every length; what is cut is never more isolated than the whole. */
	space = express(ROOT_PORT, false, ALL_ON);
	for (space.size = 0; space.size < CONFIG_SPACE_SIZE; space.size++) {
		struct pci_function function = parsed("0000:00:01.0", &space);
		assert_int_equal(pci_function_isolates(&function), space.size >= 0x150);
		if (space.size < 0x100)
			assert_int_equal(function.acs, ACS_UNSEEN);
	}
	memset(space.bytes, 0xff, sizeof(space.bytes));
	assert_true(parsed("0000:00:01.0", &space).is_dead);
	assert_int_equal(parsed("0000:00:01.0", &space).kind, PCI_UNKNOWN);
	/* Every pointer of random bytes. */
	unsigned seed = 1;
	for (int round = 0; round < 2000; round++) {
		for (size_t i = 0; i < sizeof(space.bytes); i++)
			space.bytes[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
		put_word(&space, 0x06, 0x10);
		parsed("0000:00:01.0", &space);
	}
}

/* --- groups ------------------------------------------------------------------------------ */

/* A member by its way: "0000:00:05.0" and its config space, down to the device; NULL ends. */
static void add(struct topology *topology, size_t index, ...)
{
	struct topology_member *member = &topology->members[index];
	const char *name;
	va_list arguments;

	member->is_pci = true;
	strcpy(member->bus, "pci");
	strcpy(member->root, "pci0000:00");
	va_start(arguments, index);
	while ((name = va_arg(arguments, const char *))) {
		const struct space *space = va_arg(arguments, const struct space *);
		member->path =
			reallocarray(member->path, member->n_path + 1, sizeof(*member->path));
		assert_non_null(member->path);
		member->path[member->n_path++] = parsed(name, space);
		strcpy(member->name, name);
	}
	va_end(arguments);
	topology_resolve(member);
}

static void add_sibling(
	struct topology *topology, size_t index, const char *name, const struct space *space)
{
	struct topology_member *member = &topology->members[index];
	member->siblings =
		reallocarray(member->siblings, member->n_siblings + 1, sizeof(*member->siblings));
	assert_non_null(member->siblings);
	member->siblings[member->n_siblings++] = parsed(name, space);
}

static void says(
	const struct topology *topology, bool is_explained, const char *reason, const char *advice)
{
	_cleanup_free_ char *text = topology_reason(topology);
	_cleanup_free_ char *what_helps = topology_advice(topology);

	assert_non_null(text);
	assert_non_null(what_helps);
	assert_int_equal(topology_explains(topology), is_explained);
	assert_string_equal(text, reason);
	if (*advice)
		assert_non_null(strstr(what_helps, advice));
	else
		assert_string_equal(what_helps, "");
	/* Nobody is ever told to override ACS. */
	assert_null(strstr(what_helps, "pcie_acs_override"));
}

static void test_bridge(void **state)
{
	struct space port = express(ROOT_PORT, false, ALL_ON), bridge = express(BRIDGE, false, -1),
		     nic = conventional(false, false);
	struct topology *topology = topology_new(7, 3);
	(void)state;

	add(topology, 0, "0000:00:05.0", &port, "0000:01:00.0", &bridge, NULL);
	add(topology, 1, "0000:00:05.0", &port, "0000:01:00.0", &bridge, "0000:02:01.0", &nic,
		NULL);
	add(topology, 2, "0000:00:05.0", &port, "0000:01:00.0", &bridge, "0000:02:02.0", &nic,
		NULL);
	says(topology, true,
		"0000:01:00.0 is a PCIe-to-PCI bridge. What is on its secondary side (bus 02) "
		"shares one requester id, the bridge's, so the IOMMU cannot tell apart "
		"0000:02:01.0, 0000:02:02.0 and the bridge itself.",
		"PCI Express slot");
	topology_free(topology);
}

static void test_port(void **state)
{
	struct space bare = express(ROOT_PORT, false, -1), off = express(ROOT_PORT, false, 0x1f09),
		     nic = express(ENDPOINT, false, -1);
	struct topology *topology = topology_new(1, 2);
	(void)state;

	add(topology, 0, "0000:00:01.0", &bare, NULL);
	add(topology, 1, "0000:00:01.0", &bare, "0000:01:00.0", &nic, NULL);
	says(topology, true,
		"Root port 0000:00:01.0 has no ACS (Access Control Services): past the IOMMU, "
		"others below and beside it can reach 0000:01:00.0.",
		"Another slot");
	topology_free(topology);

	topology = topology_new(1, 2);
	add(topology, 0, "0000:00:01.0", &off, NULL);
	add(topology, 1, "0000:00:01.0", &off, "0000:01:00.0", &nic, NULL);
	says(topology, true,
		"Root port 0000:00:01.0 has ACS (Access Control Services), but P2P request "
		"redirect and upstream forwarding are off: past the IOMMU, others below and "
		"beside it can reach 0000:01:00.0.",
		"setup of the firmware");
	topology_free(topology);

	/* The device alone, though a port above does not isolate: that is not by the rules. */
	topology = topology_new(1, 1);
	add(topology, 0, "0000:00:01.0", &off, "0000:01:00.0", &nic, NULL);
	assert_false(topology_explains(topology));
	topology_free(topology);
}

/* A switch whose lower ports do not isolate, below a port that does. */
static void test_switch(void **state)
{
	struct space port = express(ROOT_PORT, false, ALL_ON), up = express(UPSTREAM, false, -1),
		     down = express(DOWNSTREAM, false, -1), nic = express(ENDPOINT, false, -1),
		     good = express(DOWNSTREAM, false, ALL_ON);
	struct topology *topology = topology_new(1, 2);
	(void)state;

	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &up, "0000:02:00.0", &down, NULL);
	add(topology, 1, "0000:00:01.0", &port, "0000:01:00.0", &up, "0000:02:00.0", &down,
		"0000:03:00.0", &nic, NULL);
	assert_string_equal(topology->members[1].key, "0000:02:00.0");
	says(topology, true,
		"Downstream port 0000:02:00.0 has no ACS (Access Control Services): past the "
		"IOMMU, others below and beside it can reach 0000:03:00.0.",
		"Another slot");
	topology_free(topology);

	topology = topology_new(1, 1);
	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &up, "0000:02:00.0", &good,
		"0000:03:00.0", &nic, NULL);
	says(topology, true,
		"0000:03:00.0 is alone in its group. ACS (Access Control Services) is on in root "
		"port 0000:00:01.0 and downstream port 0000:02:00.0, so nothing beside can reach "
		"it past the IOMMU, and it is the only function of its device.",
		"");
	topology_free(topology);
}

static void test_functions(void **state)
{
	struct space chip = conventional(false, true), port = express(ROOT_PORT, false, ALL_ON),
		     gpu = express(ENDPOINT, true, -1), apart = express(ENDPOINT, true, ALL_ON);
	struct topology *topology = topology_new(9, 2);
	(void)state;

	add(topology, 0, "0000:00:1f.0", &chip, NULL);
	add(topology, 1, "0000:00:1f.2", &chip, NULL);
	says(topology, true,
		"0000:00:1f.0 and 0000:00:1f.2 are functions of one device, and can reach each "
		"other inside of it past the IOMMU: they are not PCI Express, so there is no ACS "
		"(Access Control Services).",
		"together only");
	/* A third one that is not isolated either, in another group: a quirk. */
	add_sibling(topology, 0, "0000:00:1f.3", &chip);
	assert_false(topology_explains(topology));
	topology_free(topology);

	topology = topology_new(9, 2);
	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &gpu, NULL);
	add(topology, 1, "0000:00:01.0", &port, "0000:01:00.1", &gpu, NULL);
	says(topology, true,
		"0000:01:00.0 and 0000:01:00.1 are functions of one device, and can reach each "
		"other inside of it past the IOMMU: 0000:01:00.0 has no ACS (Access Control "
		"Services).",
		"together only");
	topology_free(topology);

	topology = topology_new(9, 1);
	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.1", &apart, NULL);
	says(topology, true,
		"0000:01:00.1 is alone in its group. ACS (Access Control Services) is on in root "
		"port 0000:00:01.0, so nothing beside can reach it past the IOMMU, and its own "
		"ACS keeps it apart from the other functions of its device.",
		"");
	topology_free(topology);

	/* Not isolated, but from whom: the others are not there, or isolate themselves. */
	topology = topology_new(9, 1);
	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &gpu, NULL);
	assert_true(topology_explains(topology));
	add_sibling(topology, 0, "0000:01:00.1", &apart);
	says(topology, true,
		"0000:01:00.0 is alone in its group. ACS (Access Control Services) is on in root "
		"port 0000:00:01.0, so nothing beside can reach it past the IOMMU, and the other "
		"functions of its device isolate themselves.",
		"");
	topology_free(topology);
}

/* Nobody can say what a device is that does not answer; and two that have nothing in common. */
static void test_unexplained(void **state)
{
	struct space port = express(ROOT_PORT, false, ALL_ON), nic = express(ENDPOINT, false, -1),
		     dead = { .size = CONFIG_SPACE_SIZE };
	struct topology *topology = topology_new(1, 2);
	_cleanup_free_ char *reason = NULL;
	(void)state;

	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &nic, NULL);
	add(topology, 1, "0000:00:02.0", &port, "0000:02:00.0", &nic, NULL);
	reason = topology_reason(topology);
	assert_false(topology_explains(topology));
	assert_int_equal(
		strncmp(reason, "The topology does not explain this group: firmware", 50), 0);
	topology_free(topology);
	free(reason);

	memset(dead.bytes, 0xff, sizeof(dead.bytes));
	topology = topology_new(1, 1);
	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &dead, NULL);
	assert_false(topology_explains(topology));
	reason = topology_reason(topology);
	assert_non_null(strstr(reason, "0000:01:00.0 does not answer: its config space reads as "
				       "all ones"));
	topology_free(topology);
	free(reason);

	/* As a daemon without CAP_SYS_ADMIN sees it. */
	port.size = 64;
	topology = topology_new(1, 1);
	add(topology, 0, "0000:00:01.0", &port, "0000:01:00.0", &nic, NULL);
	assert_false(topology_explains(topology));
	reason = topology_reason(topology);
	assert_non_null(strstr(reason, "Of the config space of 0000:00:01.0, vfiod is shown the "
				       "beginning only: it needs CAP_SYS_ADMIN."));
	topology_free(topology);
	free(reason);

	topology = topology_new(1, 0);
	reason = topology_reason(topology);
	assert_string_equal(reason, "The group has no devices any more.");
	topology_free(topology);
}

static void test_elsewhere(void **state)
{
	struct topology *topology = topology_new(1, 1);
	struct topology_member *member = &topology->members[0];
	struct space nic = express(ENDPOINT, false, -1);
	(void)state;

	strcpy(member->name, "c0ffee00-0000-4000-8000-000000000001");
	strcpy(member->bus, "mdev");
	strcpy(member->parent, "mtty");
	says(topology, true,
		"c0ffee00-0000-4000-8000-000000000001 is alone in its group. It is a mediated "
		"device of mtty: the group is made for it alone, and the driver of its parent "
		"keeps its memory apart from that of others.",
		"");
	strcpy(member->bus, "platform");
	strcpy(member->name, "fff51000.ethernet");
	says(topology, true,
		"fff51000.ethernet is alone in its group. It is a device of bus platform: firmware "
		"gives it an id of its own at the IOMMU, which no other device shares.",
		"");
	topology_free(topology);

	/* Behind a controller with a domain of its own, its requester id is everybody's. */
	topology = topology_new(1, 2);
	strcpy(topology->members[1].real_dma, "0000:00:0e.0");
	add(topology, 0, "0000:00:0e.0", &nic, NULL);
	add(topology, 1, "10000:e1:00.0", &nic, NULL);
	says(topology, true,
		"All devices behind controller 0000:00:0e.0 do DMA with its requester id: "
		"10000:e1:00.0.",
		"");
	topology_free(topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_acs),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_switch),
		cmocka_unit_test(test_functions),
		cmocka_unit_test(test_unexplained),
		cmocka_unit_test(test_elsewhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
