/* Match lines: what is accepted, as what, and which devices it holds for. */
#include "daemon/lease/policy.h"
#include "tests/unit/lease/config-bench.h"
#include "tests/unit/lease/device-bench.h"

#include <limits.h>

#define RULE "[rule r]\nmatch = bus:pci\n"

static void test_match_terms(void **state)
{
	const struct config *config = bench_accepts(state,
		"[rule r]\n"
		"match = pci:address=0000:3B:00.0\nmatch = pci:address=1f:1f.7\n"
		"match = pci:id=10DE:*\nmatch = pci:class=0C03FE\n"
		"match = pci:pf=10000:3b:00.0\nmatch = pci:pf=3b:00.1,vf=0-65534\n"
		"match = pci:pf=3b:00.1,vf=9\nmatch = bus:fsl-mc=dp*\n"
		"match = udev:tag=my-tag udev:property=.A-b_1=x=y\nmatch = numa:1023\n");
	assert_int_equal(config->rules[0].n_matches, 10);
	const struct match *m = config->rules[0].matches;
	assert_string_equal(m[0].terms[0].text, "0000:3b:00.0");
	assert_string_equal(m[1].terms[0].text, "0000:1f:1f.7");
	assert_int_equal(m[2].terms[0].vendor, 0x10de);
	assert_int_equal(m[2].terms[0].product, ID_ANY);
	assert_string_equal(m[3].terms[0].text, "0c03fe");
	assert_string_equal(m[4].terms[0].text, "10000:3b:00.0");
	assert_int_equal(m[4].terms[0].first, 0);
	assert_true(m[4].terms[0].last == UINT_MAX);
	assert_string_equal(m[5].terms[0].text, "0000:3b:00.1");
	assert_int_equal(m[5].terms[0].last, 65534);
	assert_int_equal(m[6].terms[0].first, 9);
	assert_int_equal(m[6].terms[0].last, 9);
	assert_string_equal(m[7].terms[0].text, "fsl-mc");
	assert_string_equal(m[7].terms[0].value, "dp*");
	assert_int_equal(m[8].n_terms, 2);
	assert_string_equal(m[8].terms[1].text, ".A-b_1");
	assert_string_equal(m[8].terms[1].value, "x=y");
	assert_int_equal(m[9].terms[0].first, 1023);
}

static void test_bad_terms(void **state)
{
	static const char *const addresses[] = { "", "*", "3b", "3b:00", "3b:00.8", "3b:20.0",
		"3b:0.0", "b:00.0", "03b:00.0", "000:3b:00.0", "000000000:3b:00.0", "0000:00.0",
		"0000:3b:00.00", "3g:00.0", "3b:00.0,", "0000:3b:00.0:*", "3[b:00.*", "3[]:00.*",
		"[[:digit:]]3:00.0", "3b/*", "000:*", "?:*", "0000:3?.0" };
	static const char *const ids[] = { "", "10de", "10de:", ":2704", "10de:270", "10de:27044",
		"0x10de:2704", "10dg:2704", "10d?:2704", "10de:2704:", "**:*" };
	static const char *const classes[] = { "", "0", "020", "02000", "0200000", "0x02", "02*",
		"0g" };
	static const char *const pfs[] = { "", "3b:*", "3b:00", "3b:00.0,",
		"3b:00.0,vf=", "3b:00.0,vf=1-0", "3b:00.0,vf=-1", "3b:00.0,vf=0-",
		"3b:00.0,vf=0-65535", "3b:00.0,vf=65535", "3b:00.0,vf=0-99999",
		"3b:00.0,vf=0-100000", "3b:00.0,pf=0", "3b:00.0,vf=1,vf=2", "3b:00.0,vf=a" };
	static const char *const buses[] = { "", "=a", "a b=", "pci=", "pci:id",
		"abcdefghijabcdefghijabcdefghijab" };
	static const char *const tags[] = { "", "a:b", "a*" };
	static const char *const properties[] = { "", "A", "A=", "=b", "A*=b" };
	static const char *const nodes[] = { "", "1024", "-1", "a", "1-2", "00001" };
	static const char *const others[] = { "pci", "pci:", "pci:vendor=8086", "address=3b:00.0",
		"udev:TAG=vfio", "PCI:id=8086:100e", "pci:driver=e1000", "group:7" };
#define CASES(prefix, list, allowed)                                                               \
	{                                                                                          \
		prefix, list, ARRAY_SIZE(list), allowed                                            \
	}
	const struct {
		const char *prefix;
		const char *const *list;
		size_t n;
		const char *allowed;
	} cases[] = {
		CASES("pci:address=", addresses, "[DOMAIN:]BUS:DEVICE.FUNCTION"),
		CASES("pci:id=", ids, "VENDOR:PRODUCT of four hexadecimal digits each, or *"),
		CASES("pci:class=", classes, "2, 4 or 6 hexadecimal digits"),
		CASES("pci:pf=", pfs, "ADDRESS of the PF, or ADDRESS,vf=N"),
		CASES("bus:", buses, "allowed: "),
		CASES("udev:tag=", tags, "the name of a tag"),
		CASES("udev:property=", properties, "KEY=PATTERN"),
		CASES("numa:", nodes, "the number of a node, 0 to 1023"),
		CASES("", others, "terms that begin with pci:address=, pci:id=, pci:class=, "),
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t j = 0; j < cases[i].n; j++) {
			char text[160];
			/* As the second term of the second line. */
			snprintf(text, sizeof(text), RULE "match = numa:0 %s%s\n", cases[i].prefix,
				cases[i].list[j]);
			bench_refuses(state, text, 3, cases[i].allowed);
		}
	}
	bench_refuses(state, "[rule r]\nmatch =\n", 2, "'' is no value for match; allowed: terms");
	/* Bounds from the other side. */
	bench_accepts(state, "[rule r]\nmatch = bus:abcdefghijabcdefghijabcdefghija\n");
}

/* Does a rule with this match line match the device by itself? */
static bool matches(const char *match, const struct device *device)
{
	char text[300];
	snprintf(text, sizeof(text), "[rule r]\nmatch = %s\n", match);
	struct config *config = config_of(text);
	assert_int_equal(config->n_rules, 1);
	assert_int_equal(config->rules[0].n_matches, 1);
	bool holds = match_holds(&config->rules[0].matches[0], device);
	config_free(config);
	return holds;
}

static void test_match_address(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench);
	struct device *device = bench_add_pci(&bench, "0000:3b:0a.7", 0x8086, 0x1889, 0x020000);

	assert_true(matches("pci:address=0000:3b:0a.7", device));
	assert_true(matches("pci:address=3b:0a.7", device));
	assert_true(matches("pci:address=0000:3B:0A.7", device));
	assert_true(matches("pci:address=0000:3b:*", device));
	assert_true(matches("pci:address=3b:*", device));
	assert_true(matches("pci:address=3[a-c]:0a.?", device));
	assert_true(matches("pci:address=0000:*", device));
	assert_true(matches("pci:address=*:0a.7", device));
	assert_true(matches("pci:address=*:3b:0a.7", device));
	assert_false(matches("pci:address=0000:3b:0a.6", device));
	assert_false(matches("pci:address=0001:3b:0a.7", device));
	assert_false(matches("pci:address=0001:*", device));
	assert_false(matches("pci:address=3[!b]:*", device));

	/* Domain 0 is what is left out, no other. */
	strcpy(device->name, "10000:3b:0a.7");
	assert_false(matches("pci:address=3b:0a.7", device));
	assert_false(matches("pci:address=3b:*", device));
	assert_true(matches("pci:address=10000:3b:0a.7", device));

	/* Not a PCI device, whatever it is called. */
	strcpy(device->name, "0000:3b:0a.7");
	device->is_pci = false;
	assert_false(matches("pci:address=0000:3b:0a.7", device));
}

static void test_match_id_and_class(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench);
	struct device *device = bench_add_pci(&bench, "0000:01:00.0", 0x10de, 0x2704, 0x030001);

	assert_true(matches("pci:id=10de:2704", device));
	assert_true(matches("pci:id=10DE:2704", device));
	assert_true(matches("pci:id=10de:*", device));
	assert_true(matches("pci:id=*:2704", device));
	assert_true(matches("pci:id=*:*", device));
	assert_false(matches("pci:id=10de:2705", device));
	assert_false(matches("pci:id=10df:2704", device));
	assert_false(matches("pci:id=10df:*", device));

	assert_true(matches("pci:class=03", device));
	assert_true(matches("pci:class=0300", device));
	assert_true(matches("pci:class=030001", device));
	assert_false(matches("pci:class=030000", device));
	assert_false(matches("pci:class=0301", device));
	assert_false(matches("pci:class=00", device));
	device->class = 0xff00ab;
	assert_true(matches("pci:class=FF00AB", device));

	/* Zero is what other buses have in these fields. */
	device->is_pci = false;
	device->vendor = device->product = 0;
	device->class = 0;
	assert_false(matches("pci:id=*:*", device));
	assert_false(matches("pci:id=0000:0000", device));
	assert_false(matches("pci:class=00", device));
}

static void test_match_vf_boundaries(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench);
	struct device *device = bench_add_pci(&bench, "0000:3b:02.0", 0x8086, 0x1889, 0x020000);
	strcpy(device->physfn, "0000:3b:00.0");

	static const struct {
		int index;
		bool range, single, all;
	} cases[] = {
		{ -1, false, false, false },
		{ 0, false, false, true },
		{ 3, false, false, true },
		{ 4, true, true, true },
		{ 5, true, false, true },
		{ 7, true, false, true },
		{ 8, false, false, true },
		{ INT_MAX, false, false, true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		device->vf_index = cases[i].index;
		assert_int_equal(matches("pci:pf=0000:3b:00.0,vf=4-7", device), cases[i].range);
		assert_int_equal(matches("pci:pf=3b:00.0,vf=4", device), cases[i].single);
		assert_int_equal(matches("pci:pf=3B:00.0", device), cases[i].all);
		assert_false(matches("pci:pf=0000:3b:00.1", device));
	}
	device->vf_index = 0;
	assert_true(matches("pci:pf=3b:00.0,vf=0", device));
	assert_true(matches("pci:pf=3b:00.0,vf=0-0", device));
	device->vf_index = 65534;
	assert_true(matches("pci:pf=3b:00.0,vf=0-65534", device));

	/* The PF itself is none of its VFs. */
	struct device *pf = bench_add_pci(&bench, "0000:3b:00.0", 0x8086, 0x1592, 0x020000);
	pf->n_virtfns = 8;
	assert_false(matches("pci:pf=0000:3b:00.0", pf));
}

static void test_match_other_terms(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench);
	struct device *device = bench_add(&bench, "b1900000.dma-controller");
	strcpy(device->bus, "platform");
	char **properties = NULL, **tags = NULL;
	assert_int_equal(strv_add(&properties, "ID=x"), 0);
	assert_int_equal(strv_add(&properties, "ID_MODEL=Fast DMA"), 0);
	assert_int_equal(strv_add(&properties, "ID_MODEL_ID=0x12"), 0);
	assert_int_equal(strv_add(&tags, "systemd"), 0);
	assert_int_equal(strv_add(&tags, "vfio"), 0);

	assert_true(matches("bus:platform", device));
	assert_true(matches("bus:platform=*.dma-controller", device));
	assert_false(matches("bus:platform=*.dma", device));
	assert_false(matches("bus:plat", device));
	assert_false(matches("bus:pci", device));

	assert_false(matches("udev:tag=vfio", device)); /* no list at all */
	device->tags = tags;
	assert_true(matches("udev:tag=vfio", device));
	assert_false(matches("udev:tag=vfi", device));

	assert_false(matches("udev:property=ID=x", device));
	device->properties = properties;
	assert_true(matches("udev:property=ID=x", device));
	assert_true(matches("udev:property=ID_MODEL=Fast?DMA", device));
	assert_true(matches("udev:property=ID_MODEL=*", device));
	assert_false(matches("udev:property=ID_MODEL=Fast", device));
	assert_false(matches("udev:property=ID_MODE=*", device));
	assert_false(matches("udev:property=MODEL=*", device));

	assert_false(matches("numa:0", device)); /* -1: unknown, which is not node 0 */
	device->numa_node = 0;
	assert_true(matches("numa:0", device));
	assert_false(matches("numa:1", device));
	device->numa_node = 1023;
	assert_true(matches("numa:1023", device));

	/* All terms of a line. */
	assert_true(matches("bus:platform udev:tag=vfio numa:1023", device));
	assert_false(matches("bus:platform udev:tag=vfio numa:1", device));
	assert_false(matches("bus:pci udev:tag=vfio numa:1023", device));

	/* No term is no match, not every match. */
	struct match empty = { 0 };
	assert_false(match_holds(&empty, device));
	strv_free(properties);
	strv_free(tags);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_match_terms),
		TEST(test_bad_terms),
		cmocka_unit_test(test_match_address),
		cmocka_unit_test(test_match_id_and_class),
		cmocka_unit_test(test_match_vf_boundaries),
		cmocka_unit_test(test_match_other_terms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
