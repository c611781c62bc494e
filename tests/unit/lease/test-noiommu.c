/* Who may have what no IOMMU confines. */
#include "daemon/lease/policy.h"
#include "tests/unit/lease/config-bench.h"
#include "tests/unit/lease/device-bench.h"

static const struct subject alice = { .uid = 1000, .gid = 1000 }, root = { 0 };

static struct device *set_up(struct bench *bench)
{
	bench_init(bench);
	bench->group.is_of_vfio = true;
	return bench_add_pci(bench, "0000:61:00.0", 0x1b36, 0x0005, 0x00ff00);
}

static int check(const char *rules, const struct subject *subject, const struct bench *bench,
	struct refusal *refusal)
{
	struct config *config = config_of(rules);

	*refusal = (struct refusal){ 0 };
	int r = policy_check_noiommu(config, subject, &bench->group, refusal);
	config_free(config);
	return r;
}

static void assert_denied(const char *rules, const struct subject *subject,
	const struct bench *bench, const char *part)
{
	struct refusal refusal;

	assert_int_equal(check(rules, subject, bench, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_string_equal(refusal.device, "0000:61:00.0");
	if (!strstr(refusal.text, part))
		fail_msg("'%s' is not in '%s'", part, refusal.text);
}

#define RULE(name, user)                                                                           \
	"[rule " name "]\nmatch = pci:address=0000:61:00.0\nallow = user:" user "\n"
#define UNSAFE "unsafe-noiommu = yes\n"

static void test_what_it_is(void **state)
{
	(void)state;
	struct bench bench;
	struct device *device = set_up(&bench);

	strcpy(bench.group.type, "unknown");
	assert_true(group_is_noiommu(&bench.group));
	assert_string_equal(group_type(&bench.group), "noiommu");
	/* VFIO makes the groups of mdevs as well. */
	strcpy(device->bus, "mdev");
	assert_false(group_is_noiommu(&bench.group));
	assert_string_equal(group_type(&bench.group), "unknown");
	strcpy(device->bus, "platform");
	assert_true(group_is_noiommu(&bench.group));
	bench.group.is_of_vfio = false;
	assert_false(group_is_noiommu(&bench.group));
}

static void test_only_in_so_many_words(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	set_up(&bench);

	assert_denied(RULE("a", "1000"), &alice, &bench,
		"no IOMMU confines 0000:61:00.0, and who has it can read and write all of the "
		"host's memory; if that is meant, add unsafe-noiommu = yes to rule 'a' (");
	assert_denied(RULE("a", "1000") "trusted = yes\nforce = yes\n", &alice, &bench, "rule 'a'");
	assert_denied("", &root, &bench, "a rule that matches it");
	assert_denied(RULE("a", "1000") RULE("b", "1001") UNSAFE, &alice, &bench, "rule 'a'");
	assert_int_equal(check(RULE("a", "1000") UNSAFE, &alice, &bench, &refusal), 0);
	assert_int_equal(
		check(RULE("a", "1000") RULE("b", "1000") UNSAFE, &alice, &bench, &refusal), 0);
	/* An administrator needs one, too, but it may be for somebody else. */
	assert_denied(RULE("a", "1000"), &root, &bench, "rule 'a'");
	assert_int_equal(check(RULE("a", "1000") UNSAFE, &root, &bench, &refusal), 0);
}

static void test_others_need_none(void **state)
{
	(void)state;
	struct bench bench;
	struct refusal refusal;
	set_up(&bench);

	bench.group.is_of_vfio = false;
	assert_int_equal(check("", &alice, &bench, &refusal), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_is),
		cmocka_unit_test(test_only_in_so_many_words),
		cmocka_unit_test(test_others_need_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
