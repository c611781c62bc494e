/* Policy against devices and groups made by hand, and rules written as people write them. */
#include "daemon/lease/policy.h"
#include "tests/unit/lease/config-bench.h"
#include "tests/unit/lease/device-bench.h"

/* Facts.md's group of three: a bridge and two NICs behind it. */
static void bench_init_nics(struct bench *bench)
{
	bench_init(bench);
	bench_add_pci(bench, "0000:00:1e.0", 0x1b36, 0x000e, 0x060400);
	bench_add_pci(bench, "0000:01:00.0", 0x8086, 0x100e, 0x020000);
	bench_add_pci(bench, "0000:01:01.0", 0x8086, 0x100e, 0x020000);
}

static bool not_a_bridge(const struct device *device)
{
	return device->class >> 8 != 0x0604;
}

static bool no_member(const struct device *device)
{
	(void)device;
	return false;
}

static struct subject alice(void)
{
	return (struct subject){ .uid = 1000, .gid = 1000 };
}

static int check(const char *rules, const struct subject *subject, const struct bench *bench,
	struct verdict *verdict, struct refusal *refusal, struct config **config)
{
	*config = config_of(rules);
	*refusal = (struct refusal){ 0 };
	return policy_check(*config, subject, &bench->group, not_a_bridge, verdict, refusal);
}

static void assert_denied(const char *rules, const struct subject *subject,
	const struct bench *bench, const char *device, const char *text_format)
{
	struct verdict verdict;
	struct refusal refusal;
	struct config *config;
	assert_int_equal(check(rules, subject, bench, &verdict, &refusal, &config), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_string_equal(refusal.device, device);
	if (!strstr(refusal.text, text_format))
		fail_msg("'%s' is not in '%s'", text_format, refusal.text);
	config_free(config);
}

/* The name of the verdict's rule; "" = none. */
static void assert_granted(const char *rules, const struct subject *subject,
	const struct bench *bench, const char *rule, bool stay)
{
	struct verdict verdict;
	struct refusal refusal;
	struct config *config;
	if (check(rules, subject, bench, &verdict, &refusal, &config) != 0)
		fail_msg("%s", refusal.text);
	assert_string_equal(verdict.rule ? verdict.rule->name : "", rule);
	assert_int_equal(verdict.stay, stay);
	config_free(config);
}

static void test_deny_by_default(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice();

	assert_denied("", &subject, &bench, "0000:01:00.0",
		"no rule matches 0000:01:00.0 (8086:100e); add a rule with match = "
		"pci:address=0000:01:00.0 and allow = user:1000");
	/* A rule without allow allows nobody. */
	assert_denied("[rule nics]\nmatch = pci:id=8086:100e\n", &subject, &bench, "0000:01:00.0",
		"rule 'nics' (");
	assert_denied("[rule nics]\nmatch = pci:id=8086:100e\nallow = user:1001\n", &subject,
		&bench, "0000:01:00.0",
		":1) matches 0000:01:00.0 (8086:100e) but does not allow uid 1000; add allow = "
		"user:1000 to it");
	assert_denied("[rule nic]\nmatch = pci:address=01:00.0\nwhole-group = yes\n"
		      "allow = user:1001\n[rule own]\nmatch = pci:address=01:00.0\n"
		      "allow = user:1000\n[rule other]\nmatch = numa:5\nallow = user:1000\n",
		&subject, &bench, "0000:01:01.0", "add whole-group = yes to rule 'own'");
	assert_denied("[rule nic]\nmatch = pci:address=01:01.0\nwhole-group = yes\n"
		      "allow = user:1001\n",
		&subject, &bench, "0000:01:00.0",
		"covers the whole group of 0000:01:00.0 (8086:100e) but does not allow uid 1000");
}

static void test_denied_on_other_buses(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench);
	strcpy(bench_add(&bench, "dma0")->bus, "platform");
	struct subject subject = alice();
	assert_denied("", &subject, &bench, "dma0",
		"no rule matches dma0 (bus platform); add a rule with match = bus:platform=dma0 "
		"and "
		"allow = user:1000");
}

/* What an answer tells people to write must be accepted, and help. */
static void test_advice_helps(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice();
	assert_granted("[rule a]\nmatch = pci:address=0000:01:00.0\nallow = user:1000\n"
		       "[rule b]\nmatch = pci:address=0000:01:01.0\nallow = user:1000\n",
		&subject, &bench, "a", false);
	bench_init(&bench);
	strcpy(bench_add(&bench, "dma0")->bus, "platform");
	assert_granted("[rule a]\nmatch = bus:platform=dma0\nallow = user:1000\n", &subject, &bench,
		"a", false);
}

static void test_coverage(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice();

	/* One rule for both; the bridge needs none. */
	assert_granted("[rule nics]\nmatch = pci:id=8086:100e\nallow = user:1000\n", &subject,
		&bench, "nics", false);
	/* One for the first only. */
	assert_denied("[rule nic1]\nmatch = pci:address=01:00.0\nallow = user:1000\n", &subject,
		&bench, "0000:01:01.0",
		"no rule for uid 1000 matches 0000:01:01.0 (8086:100e), which is in one group "
		"with 0000:01:00.0; add whole-group = yes to rule 'nic1' (");
	/* One for the second only: the first is the one that is named. */
	assert_denied("[rule nic2]\nmatch = pci:address=01:01.0\nallow = user:1000\n", &subject,
		&bench, "0000:01:00.0", "add whole-group = yes to rule 'nic2' (");
	/* Through either companion, and through the bridge. */
	assert_granted("[rule nic1]\nmatch = pci:address=01:00.0\nwhole-group = yes\n"
		       "allow = user:1000\n",
		&subject, &bench, "nic1", false);
	assert_granted("[rule nic2]\nmatch = pci:address=01:01.0\nwhole-group = yes\n"
		       "allow = user:1000\n",
		&subject, &bench, "nic2", false);
	assert_granted("[rule bridge]\nmatch = pci:class=0604\nwhole-group = yes\n"
		       "allow = user:1000\n",
		&subject, &bench, "bridge", false);
	/* Two lines of one rule; rights of two rules add up. */
	assert_granted("[rule nics]\nmatch = pci:address=01:00.0\nmatch = pci:address=01:01.0\n"
		       "allow = user:1000\n",
		&subject, &bench, "nics", false);
	assert_granted("[rule b]\nmatch = pci:address=01:01.0\nallow = user:1000\n"
		       "[rule a]\nmatch = pci:address=01:00.0\nallow = user:1000\n",
		&subject, &bench, "a", false);
	/* Another's rule with whole-group does not help. */
	assert_denied("[rule bob]\nmatch = pci:address=01:00.0\nwhole-group = yes\n"
		      "allow = user:1001\n[rule alice]\nmatch = pci:address=01:00.0\n"
		      "allow = user:1000\n",
		&subject, &bench, "0000:01:01.0", "to rule 'alice'");
}

static void test_group_of_nothing(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice(), root = { 0 };
	struct config *config = config_of("[rule all]\nmatch = bus:pci\nallow = user:1000\n");
	struct verdict verdict;
	struct refusal refusal = { 0 };
	assert_int_equal(
		policy_check(config, &subject, &bench.group, no_member, &verdict, &refusal),
		REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_string_equal(refusal.device, "");
	assert_non_null(strstr(refusal.text, "group 7 has no device"));
	assert_int_equal(
		policy_check(config, &root, &bench.group, no_member, &verdict, &refusal), 0);
	assert_null(verdict.rule);
	config_free(config);
}

static void test_first_rule_wins(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice();
	static const char rules[] =
		"[rule bob]\nmatch = bus:pci\nallow = user:1001\ndriver = bobs-vfio-pci\n"
		"[rule nobody]\nmatch = pci:class=02\nforce = yes\n"
		"[rule first]\nmatch = pci:id=8086:*\nallow = user:1000\naccount = one\n"
		"[rule second]\nmatch = bus:pci\nallow = user:1000\naccount = two\nreturn = no\n";
	/* Of account and driver the first, of return any. */
	assert_granted(rules, &subject, &bench, "first", true);

	struct config *config = config_of(rules);
	const struct device *nic = &bench.devices[1];
	assert_string_equal(policy_rule_for(config, &subject, nic)->name, "first");
	assert_string_equal(policy_rule_for(config, NULL, nic)->name, "bob");
	assert_string_equal(policy_deciding_rule(config, &subject, nic)->name, "first");
	subject.uid = 1002;
	assert_null(policy_rule_for(config, &subject, nic));
	/* He can have it as an administrator only: what holds for anybody holds for him. */
	assert_string_equal(policy_deciding_rule(config, &subject, nic)->name, "bob");
	config_free(config);

	/* Without allow: only for anyone. */
	config = config_of("[rule nobody]\nmatch = pci:class=02\nforce = yes\n");
	assert_null(policy_rule_for(config, &subject, nic));
	assert_string_equal(policy_rule_for(config, NULL, nic)->name, "nobody");
	assert_null(policy_rule_for(config, NULL, &bench.devices[0]));
	assert_null(policy_deciding_rule(config, &subject, &bench.devices[0]));
	config_free(config);

	/* A companion's, and a device that is in no group (yet). */
	config = config_of("[rule whole]\nmatch = pci:address=01:01.0\nwhole-group = yes\n"
			   "allow = user:1002\n");
	assert_string_equal(policy_rule_for(config, &subject, nic)->name, "whole");
	bench.devices[1].group = NULL;
	assert_null(policy_rule_for(config, &subject, nic));
	config_free(config);
}

static void test_stay_counts_for_whom_the_rule_allows(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice(), root = { 0 };
	static const char rules[] = "[rule a]\nmatch = bus:pci\nallow = user:1000\n"
				    "[rule b]\nmatch = pci:address=01:01.0\nallow = user:1001\n"
				    "return = no\n";
	assert_granted(rules, &subject, &bench, "a", false);
	subject.uid = 1001;
	assert_denied(rules, &subject, &bench, "0000:01:00.0", "add whole-group = yes to rule 'b'");
	assert_granted(rules, &root, &bench, "", true);
	/* The second member's rule alone keeps the group. */
	subject.uid = 1000;
	assert_granted("[rule a]\nmatch = pci:address=01:00.0\nallow = user:1000\n"
		       "[rule b]\nmatch = pci:address=01:01.0\nallow = user:1000\nreturn = no\n",
		&subject, &bench, "a", true);
	/* That of a bridge, which needs no rule, does not. */
	assert_granted("[rule a]\nmatch = pci:class=02\nallow = user:1000\n"
		       "[rule b]\nmatch = pci:class=0604\nallow = user:1000\nreturn = no\n",
		&subject, &bench, "a", false);
}

static bool is_trusted(const char *rules, const struct subject *subject, const struct bench *bench)
{
	struct verdict verdict;
	struct refusal refusal;
	struct config *config;
	if (check(rules, subject, bench, &verdict, &refusal, &config) != 0)
		fail_msg("%s", refusal.text);
	config_free(config);
	return verdict.trusted;
}

static void test_trust(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct subject subject = alice(), root = { 0 };
	static const char plain[] = "[rule a]\nmatch = bus:pci\nallow = user:1000\n";

	assert_false(is_trusted(plain, &subject, &bench));
	assert_true(is_trusted(
		"[rule a]\nmatch = bus:pci\nallow = user:1000\ntrusted = yes\n", &subject, &bench));
	/* Not the first of those that cover it; for each member another; a companion's. */
	assert_true(is_trusted("[rule a]\nmatch = bus:pci\nallow = user:1000\n[rule b]\n"
			       "match = pci:address=01:00.0\nallow = user:1000\ntrusted = yes\n"
			       "[rule c]\nmatch = pci:address=01:01.0\nallow = user:1000\n"
			       "trusted = yes\n",
		&subject, &bench));
	assert_true(is_trusted("[rule a]\nmatch = pci:address=01:00.0\nwhole-group = yes\n"
			       "allow = user:1000\ntrusted = yes\n",
		&subject, &bench));
	/* One member is not covered by such a rule, whichever. */
	assert_false(is_trusted("[rule a]\nmatch = bus:pci\nallow = user:1000\n[rule b]\n"
				"match = pci:address=01:00.0\nallow = user:1000\ntrusted = yes\n",
		&subject, &bench));
	assert_false(is_trusted("[rule a]\nmatch = bus:pci\nallow = user:1000\n[rule b]\n"
				"match = pci:address=01:01.0\nallow = user:1000\ntrusted = yes\n",
		&subject, &bench));
	/* That of a bridge, which needs no rule, does not count. */
	assert_false(is_trusted("[rule a]\nmatch = pci:class=02\nallow = user:1000\n[rule b]\n"
				"match = pci:class=0604\nallow = user:1000\ntrusted = yes\n",
		&subject, &bench));
	/* Nor one for somebody else, or for nobody. */
	assert_false(is_trusted("[rule a]\nmatch = bus:pci\nallow = user:1000\n[rule b]\n"
				"match = bus:pci\nallow = user:1001\ntrusted = yes\n"
				"[rule c]\nmatch = bus:pci\ntrusted = yes\n",
		&subject, &bench));
	assert_true(is_trusted("", &root, &bench));
	assert_true(is_trusted(plain, &root, &bench));
	assert_true(is_trusted("[daemon]\nadmin = user:1000\n", &subject, &bench));

	/* Who is refused is not trusted. */
	struct verdict verdict;
	struct refusal refusal;
	struct config *config;
	assert_int_equal(check("[rule a]\nmatch = pci:address=01:00.0\nallow = user:1000\n"
			       "trusted = yes\n",
				 &subject, &bench, &verdict, &refusal, &config),
		REFUSED);
	assert_false(verdict.trusted);
	config_free(config);
}

static void test_admins(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct config *config = config_of("[daemon]\nadmin = user:1000\nadmin = group:2000\n");
	gid_t groups[] = { 1, 2000 };
	struct subject root = { .gid = 5 }, by_user = { .uid = 1000, .gid = 1000 },
		       by_gid = { .uid = 1001, .gid = 2000 },
		       by_group = { .uid = 1001, .gid = 3, .groups = groups, .n_groups = 2 },
		       other = { .uid = 1001, .gid = 1000, .groups = groups, .n_groups = 1 };
	assert_true(policy_is_admin(config, &root));
	assert_true(policy_is_admin(config, &by_user));
	assert_true(policy_is_admin(config, &by_gid));
	assert_true(policy_is_admin(config, &by_group));
	assert_false(policy_is_admin(config, &other));
	config_free(config);

	static const char rules[] = "[daemon]\nadmin = user:1000\n[rule nic]\n"
				    "match = pci:address=01:00.0\nallow = user:1001\n";
	assert_granted(rules, &by_user, &bench, "", false);
	assert_granted("[daemon]\nadmin = user:1000\n[rule nic]\nmatch = pci:address=01:00.0\n"
		       "allow = user:1000\n",
		&by_user, &bench, "nic", false);
	assert_granted("", &root, &bench, "", false);
	assert_denied(rules, &by_gid, &bench, "0000:01:01.0", "rule 'nic'");
}

static void test_subjects(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	gid_t groups[] = { 10, 20 };
	struct subject subject = alice();

	static const char by_group[] = "[rule r]\nmatch = bus:pci\nallow = group:20\n";
	assert_denied(by_group, &subject, &bench, "0000:01:00.0", "does not allow uid 1000");
	subject.groups = groups;
	subject.n_groups = 1;
	assert_denied(by_group, &subject, &bench, "0000:01:00.0", "does not allow uid 1000");
	subject.n_groups = 2;
	assert_granted(by_group, &subject, &bench, "r", false);
	/* Numbers of users and groups are not one another. */
	assert_denied("[rule r]\nmatch = bus:pci\nallow = user:20\nallow = group:1000\n",
		&(struct subject){ .uid = 1000, .gid = 20 }, &bench, "0000:01:00.0",
		"does not allow");

	static const struct {
		const char *pattern, *unit;
		bool fits;
	} units[] = {
		{ "dpdk.service", "dpdk.service", true },
		{ "dpdk.service", "dpdk.servic", false },
		{ "dpdk.service", "dpdk.services", false },
		{ "dpdk.service", "xdpdk.service", false },
		{ "dpdk@*.service", "dpdk@1.service", true },
		{ "dpdk@*.service", "dpdk.service", false },
		{ "dpdk@[0-3].service", "dpdk@3.service", true },
		{ "dpdk@[0-3].service", "dpdk@4.service", false },
		{ "my\\x2dunit.service", "my\\x2dunit.service", true },
		{ "my\\x2dunit.service", "myx2dunit.service", false },
		{ "*", "session-1.scope", true },
		{ "*", "", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		char rules[200];
		snprintf(rules, sizeof(rules), "[rule r]\nmatch = bus:pci\nallow = unit:%s\n",
			units[i].pattern);
		subject = alice();
		assert_int_equal(string_copy(subject.unit, sizeof(subject.unit), units[i].unit), 0);
		if (units[i].fits)
			assert_granted(rules, &subject, &bench, "r", false);
		else
			assert_denied(
				rules, &subject, &bench, "0000:01:00.0", "does not allow uid 1000");
	}
}

/* Which members are to be taken before anybody asks, and what the rules leave out of their group.
 */
static void test_take(void **state)
{
	(void)state;
	struct bench bench;
	bench_init_nics(&bench);
	struct device *bridge = &bench.devices[0], *first = &bench.devices[1],
		      *second = &bench.devices[2];

	struct config *config = config_of("[rule a]\nmatch = bus:pci\n"
					  "[rule b]\nmatch = pci:address=0000:01:00.0\n"
					  "take = appear\n");
	assert_int_equal(policy_take(config, first), TAKE_APPEAR);
	assert_int_equal(policy_take(config, second), TAKE_LEASE);
	assert_ptr_equal(policy_take_gap(config, &bench.group, not_a_bridge), second);
	assert_null(policy_take_gap(config, &bench.group, no_member));
	config_free(config);

	/* The earliest of the rules, each through a companion or by itself. */
	config = config_of("[rule b]\nmatch = pci:address=0000:01:00.0\ntake = appear\n"
			   "whole-group = yes\n"
			   "[rule c]\nmatch = pci:address=0000:01:01.0\ntake = boot\n");
	assert_int_equal(policy_take(config, first), TAKE_APPEAR);
	assert_int_equal(policy_take(config, second), TAKE_BOOT);
	assert_int_equal(policy_take(config, bridge), TAKE_APPEAR);
	assert_null(policy_take_gap(config, &bench.group, not_a_bridge));
	config_free(config);
}

/* Any rule that covers a member and allows him, and the shortest time; members left alone are not
 * asked about. */
static void test_revoke(void **state)
{
	(void)state;
	struct bench bench;
	struct subject alice = { .uid = 1000 }, bob = { .uid = 1001 };
	unsigned seconds = 1000;
	bench_init_nics(&bench);

	struct config *config =
		config_of("[rule a]\nmatch = bus:pci\nallow = user:1000\n"
			  "[rule b]\nmatch = pci:address=0000:01:00.0\nallow = user:1000\n"
			  "revoke = end\n"
			  "[rule c]\nmatch = pci:address=0000:01:01.0\nallow = user:1000\n"
			  "revoke = end\nrevoke-timeout = 5\n"
			  "[rule d]\nmatch = bus:pci\nallow = user:1001\n");
	assert_true(policy_revoke(config, &alice, &bench.group, not_a_bridge, &seconds));
	assert_int_equal(seconds, 5);
	seconds = 2;
	assert_true(policy_revoke(config, &alice, &bench.group, not_a_bridge, &seconds));
	assert_int_equal(seconds, 2);
	assert_false(policy_revoke(config, &bob, &bench.group, not_a_bridge, &seconds));
	assert_false(policy_revoke(config, &alice, &bench.group, no_member, &seconds));
	config_free(config);
}

static void test_subject_copy(void **state)
{
	(void)state;
	gid_t groups[] = { 1, 2, 3 };
	struct subject from = { .uid = 5, .groups = groups, .n_groups = 3, .pid = 7 }, to;
	strcpy(from.unit, "a.service");
	assert_int_equal(subject_copy(&to, &from), 0);
	assert_ptr_not_equal(to.groups, from.groups);
	groups[2] = 9;
	assert_int_equal(to.groups[2], 3);
	assert_int_equal(to.uid, 5);
	assert_string_equal(to.unit, "a.service");
	subject_clear(&to);
	assert_null(to.groups);
	assert_int_equal(to.n_groups, 0);
	subject_clear(&to);

	from = (struct subject){ .uid = 5 };
	assert_int_equal(subject_copy(&to, &from), 0);
	assert_null(to.groups);
	subject_clear(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deny_by_default),
		cmocka_unit_test(test_denied_on_other_buses),
		cmocka_unit_test(test_advice_helps),
		cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_group_of_nothing),
		cmocka_unit_test(test_first_rule_wins),
		cmocka_unit_test(test_stay_counts_for_whom_the_rule_allows),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_admins),
		cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_revoke),
		cmocka_unit_test(test_subject_copy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
