/* What accounts may have pinned: sizes, [account] sections, and which of them fit whom. */
#include "daemon/lease/policy.h"
#include "tests/unit/lease/config-bench.h"
#include "tests/unit/lease/device-bench.h"

#include <inttypes.h>

#define RULE "[rule r]\nmatch = bus:pci\n"
#define GIB (UINT64_C(1) << 30)

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "4095", 4095 },
		{ "007K", 7168 },
		{ "1M", 1048576 },
		{ "24G", 24 * GIB },
		{ "2T", 2048 * GIB },
		{ "1048576T", UINT64_C(1) << 60 },
		{ "1152921504606846976", UINT64_C(1) << 60 },
		{ "none", BYTES_UNLIMITED },
	};
	/* The last five do not fit into 64 bits, by their digits or by their suffix. */
	static const char *const bad[] = { "", "None", "-1", "+1", "1.5G", "0x10", "K", "1k", "1KB",
		"1 G", "1P", "24Gi", "50%", "1048577T", "1152921504606846977",
		"18446744073709551615", "16777216T", "17179869184G", "18014398509481984K",
		"18446744073709551616", "99999999999999999999T" };
	static const char *const keys[] = { "owed-limit", "kernel-bill-limit" };
	char text[160], part[240];

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
			snprintf(text, sizeof(text), RULE "%s = %s\n[account uid]\n%s = %s\n",
				keys[k], good[i].text, keys[k], good[i].text);
			const struct config *config = bench_accepts(state, text);
			const struct byte_limits *of_rule = &config->rules[0].limits,
						 *of_account = &config->accounts[0].limits;
			assert_true((k ? of_rule->kernel_bill : of_rule->owed) == good[i].bytes);
			assert_true((k ? of_rule->owed : of_rule->kernel_bill) == BYTES_UNLIMITED);
			assert_memory_equal(of_rule, of_account, sizeof(*of_rule));
		}
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			snprintf(text, sizeof(text), RULE "%s = %s\n", keys[k], bad[i]);
			snprintf(part, sizeof(part),
				"'%s' is no value for %s; allowed: bytes from 0 to 1048576T, with "
				"or without a suffix K, M, G, T; or none",
				bad[i], keys[k]);
			bench_refuses(state, text, 3, part);
			snprintf(text, sizeof(text), "[account uid]\n%s = %s\n", keys[k], bad[i]);
			bench_refuses(state, text, 2, part);
		}
	}
}

static void test_host_limit(void **state)
{
	static const struct {
		const char *text;
		uint64_t of_100_gib;
	} good[] = {
		{ "1%", GIB },
		{ "80%", 80 * GIB },
		{ "100%", 100 * GIB },
		{ "64G", 64 * GIB },
		{ "0", 0 },
		{ "none", BYTES_UNLIMITED },
	};
	static const char *const bad[] = { "0%", "101%", "080%", "%", "80 %", "-1%", "80%%",
		"1000%", "80.5%" };
	char text[80];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "[daemon]\nhost-limit = %s\n", good[i].text);
		const struct config *config = bench_accepts(state, text);
		assert_true(config_host_limit(config, 100 * GIB) == good[i].of_100_gib);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "[daemon]\nhost-limit = %s\n", bad[i]);
		bench_refuses(state, text, 2,
			"is no value for host-limit; allowed: 1% to 100% of the host's memory; "
			"bytes from 0 to 1048576T");
	}
	bench_refuses(state, "[daemon]\nhost-limit = all\n", 2, "'all' is no value for host-limit");

	/* The default, and that no host is so large that it overflows. */
	const struct config *config = bench_accepts(state, "");
	assert_true(config_host_limit(config, 1000) == 800);
	assert_true(config_host_limit(config, UINT64_MAX) == UINT64_MAX / 100 * 80);
}

static void test_sections(void **state)
{
	static const char *const names[] = { "uid", "uid:0", "uid:4294967294", "Team.A_b-1",
		"lease", "unit", "unit:dpdk.service", "unit:a\\x2db@1.service" };
	char text[320];
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *needed = strncmp(names[i], "unit", 4) == 0  ? "unit"
				     : strncmp(names[i], "uid", 3) == 0 ? "uid"
									: names[i];
		snprintf(text, sizeof(text), "[account %s]\nowed-limit = 1\n" RULE "account = %s\n",
			names[i], needed);
		const struct config *config = bench_accepts(state, text);
		assert_int_equal(config->n_accounts, 1);
		assert_string_equal(config->accounts[0].name, names[i]);
		assert_int_equal(config->accounts[0].line, 1);
	}

	static const char *const bad[] = { "", " a", "a b", "a/b", "uid:", "uid:alice", "uid:01",
		"uid:-1", "uid:10000000000", "unit:", "unit:dpdk", "unit:.service", "unit:a.",
		"user:alice" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char part[160];
		snprintf(text, sizeof(text), "#\n[account %s]\nowed-limit = 1\n", bad[i]);
		snprintf(part, sizeof(part),
			"'%s' is no name for an account; allowed: uid, unit or lease", bad[i]);
		bench_refuses(state, text, 2, part);
	}
	bench_refuses(
		state, "[account gr\xc3\xbcn]\nowed-limit = 1\n", 1, "is no name for an account");
	bench_refuses(state, "[account]\nowed-limit = 1\n", 1, "'' is no name for an account");
	bench_refuses(state, "[accounts a]\n", 1, "unknown section [accounts a]");
	bench_refuses(state, "[account uid:4294967295]\nowed-limit = 1\n", 1,
		"user id 4294967295 does not exist; allowed: 0 to 4294967294");
	bench_refuses(state, "[account lease:L7]\nowed-limit = 1\n", 1,
		"the names of leases are not known before; [account lease] is for each of them");
	bench_refuses(state, "[account uid]\n\n[daemon]\n", 1,
		"[account uid] limits nothing; allowed: owed-limit =, kernel-bill-limit =");
	bench_refuses(state, RULE "account = host\n", 3,
		"'host' is no value for account; allowed: any other name");
	bench_refuses(state, "[account uid]\nowed-limit = 1\n[account uid]\nowed-limit = 2\n", 3,
		"duplicate section [account uid]; it stands at ");
}

/* The rule may stand before it or after it, in whatever file; but it has to be there. */
static void test_account_of_nobody(void **state)
{
	static const struct {
		const char *name, *needed;
	} cases[] = {
		{ "alice", "alice" },
		{ "lease", "lease" },
		{ "unit", "unit" },
		{ "unit:a.service", "unit" },
		{ "Alice", "Alice" },
	};
	char text[200], part[200];
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), RULE "account = bob\n[account %s]\nowed-limit = 1G\n",
			cases[i].name);
		snprintf(part, sizeof(part),
			"[account %s] is nobody's: no rule has account = %s; write that",
			cases[i].name, cases[i].needed);
		bench_refuses(state, text, 4, part);
	}
	/* Administrators, and rules that say nothing, have it. */
	bench_accepts(
		state, "[account uid:1000]\nowed-limit = 1G\n[account uid]\nowed-limit = 2G\n");

	struct config_bench *bench = *state;
	char directory[64];
	snprintf(directory, sizeof(directory), "%s.d", bench->main);
	assert_int_equal(mkdir(directory, 0755), 0);
	static const char drop_in[] = RULE "account = alice\n";
	bench_write(bench, "vfiod.conf.d/a.conf", drop_in, strlen(drop_in));
	bench_accepts(state, "[account alice]\nkernel-bill-limit = 1G\n");
}

/* --- whom they are for ------------------------------------------------------------ */

static bool not_a_bridge(const struct device *device)
{
	return device->class >> 8 != 0x0604;
}

static void assert_limits(const struct config *config, const struct subject *subject,
	const struct group *group, const char *account, uint64_t owed, uint64_t kernel_bill)
{
	struct byte_limits limits = BYTE_LIMITS_NONE;
	policy_limits(config, subject, group, not_a_bridge, account, &limits);
	if (limits.owed != owed || limits.kernel_bill != kernel_bill)
		fail_msg("%s: %" PRIu64 " %" PRIu64, account, limits.owed, limits.kernel_bill);
}

static void test_accounts(void **state)
{
	const uint64_t none = BYTES_UNLIMITED;
	const struct config *config = bench_accepts(state,
		"[account uid]\nowed-limit = 10\n[account uid:1000]\nkernel-bill-limit = 7\n"
		"[account uid:1001]\nowed-limit = 20\n[account uid:1002]\nowed-limit = 5\n"
		"[account lease]\nowed-limit = 3\n[account unit]\nkernel-bill-limit = 4\n"
		"[account unit:a.service]\nowed-limit = none\n[account uids]\nowed-limit = 1\n"
		"[rule a]\nmatch = numa:0\naccount = lease\n[rule b]\nmatch = numa:0\naccount = "
		"unit\n[rule c]\nmatch = numa:0\naccount = uids\n");
	assert_limits(config, NULL, NULL, "uid:1000", 10, 7);
	assert_limits(config, NULL, NULL, "uid:1001", 10, none); /* the smallest wins */
	assert_limits(config, NULL, NULL, "uid:1002", 5, none);
	assert_limits(config, NULL, NULL, "uid:10020", 10, none);
	assert_limits(config, NULL, NULL, "uid:100", 10, none);
	assert_limits(config, NULL, NULL, "uids", 1, none);
	assert_limits(config, NULL, NULL, "lease:L1", 3, none);
	assert_limits(config, NULL, NULL, "unit:a.service", none, 4);
	assert_limits(config, NULL, NULL, "unit:a.services", none, 4);
	assert_limits(config, NULL, NULL, "alice", none, none);

	/* What was there is not widened. */
	struct byte_limits limits = { 2, none };
	policy_limits(config, NULL, NULL, NULL, "uid:1000", &limits);
	assert_true(limits.owed == 2 && limits.kernel_bill == 7);
}

static void test_rules(void **state)
{
	const uint64_t none = BYTES_UNLIMITED;
	struct bench bench;
	bench_init(&bench);
	bench_add_pci(&bench, "0000:00:1e.0", 0x1b36, 0x000e, 0x060400);
	bench_add_pci(&bench, "0000:01:00.0", 0x8086, 0x100e, 0x020000);
	bench_add_pci(&bench, "0000:01:01.0", 0x8086, 0x100e, 0x020000);
	const struct group *group = &bench.group;
	struct subject alice = { .uid = 1000, .gid = 1000 }, bob = { .uid = 1001, .gid = 1001 },
		       root = { 0 };
	const struct config *config = bench_accepts(state,
		"[account alice]\nowed-limit = 100\n"
		"[rule first]\nmatch = pci:address=01:00.0\nwhole-group = yes\nallow = user:1000\n"
		"account = alice\nkernel-bill-limit = 50\n"
		/* Not the first, and it covers one member only: its limits hold all the same. */
		"[rule second]\nmatch = pci:address=01:01.0\nallow = user:1000\nowed-limit = 90\n"
		"kernel-bill-limit = 60\n"
		/* Not hers; a member that needs no rule; nobody's. */
		"[rule bobs]\nmatch = pci:class=02\nallow = user:1001\nowed-limit = 1\n"
		"[rule bridges]\nmatch = pci:class=0604\nallow = user:1000\nowed-limit = 2\n"
		"[rule nobodys]\nmatch = pci:class=02\nowed-limit = 3\n"
		"[rule elsewhere]\nmatch = numa:1\nallow = user:1000\nowed-limit = 4\n");
	assert_limits(config, &alice, group, "alice", 90, 50);
	assert_limits(config, &alice, NULL, "alice", 100, none);
	assert_limits(config, &bob, group, "uid:1001", 1, none);
	/* An administrator whom no rule names has what the account says. */
	assert_limits(config, &root, group, "uid:0", none, none);
	assert_limits(config, &root, group, "alice", 100, none);

	/* One that a rule names has its limits, too. */
	config = bench_accepts(state,
		"[daemon]\nadmin = user:1000\n[rule a]\nmatch = bus:pci\nallow = user:1000\n"
		"owed-limit = 8\n");
	assert_limits(config, &alice, group, "uid:1000", 8, none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sizes),
		TEST(test_host_limit),
		TEST(test_sections),
		TEST(test_account_of_nobody),
		TEST(test_accounts),
		TEST(test_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
