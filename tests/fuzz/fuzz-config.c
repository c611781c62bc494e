/*
 * Configuration files → config_read() → what policy says of devices that are always the same. The
 * input is vfiod.conf; a form feed begins the next drop-in.
 */
#include "daemon/base/util.h"
#include "daemon/lease/policy.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_FILES = 4, N_DEVICES = 4 };

static const char *const file_names[MAX_FILES] = {
	"vfiod.conf",
	"vfiod.conf.d/1.conf",
	"vfiod.conf.d/2.conf",
	"vfiod.conf.d/3.conf",
};

static struct group group = { .number = 7 };
static struct device devices[N_DEVICES] = {
	{ .name = "0000:01:00.0",
		.bus = "pci",
		.is_pci = true,
		.vendor = 0x8086,
		.product = 0x10d3,
		.class = 0x020000,
		.numa_node = 1,
		.vf_index = -1,
		.driver = "e1000e" },
	{ .name = "0000:01:00.1",
		.bus = "pci",
		.is_pci = true,
		.vendor = 0x8086,
		.product = 0x1572,
		.class = 0x020000,
		.physfn = "0000:01:00.0",
		.vf_index = 5,
		.numa_node = -1 },
	{ .name = "0000:00:1c.0",
		.bus = "pci",
		.is_pci = true,
		.vendor = 0x8086,
		.product = 0x9d10,
		.class = 0x060400,
		.vf_index = -1,
		.driver = "pcieport" },
	{ .name = "b1900000.dma", .bus = "platform", .vf_index = -1, .numa_node = -1 },
};
static char *tags[] = { (char[]){ "vfio" }, (char[]){ "seat" }, NULL };
static char *properties[] = { (char[]){ "ID_MODEL=Ethernet" },
	(char[]){ "ID_PATH=pci-0000:01:00.0" }, NULL };
static gid_t groups[] = { 100, 36 };
static const struct subject subjects[] = {
	{ .uid = 1000, .gid = 1000, .groups = groups, .n_groups = 2, .unit = "dpdk.service" },
	{ .uid = 65534, .gid = 65534 },
	{ .uid = 0 },
};

static void make_devices(void)
{
	char path[128];

	TAILQ_INIT(&group.devices);
	for (size_t i = 0; i < N_DEVICES; i++) {
		devices[i].group = &group;
		TAILQ_INSERT_TAIL(&group.devices, &devices[i], of_group);
	}
	group.n_devices = N_DEVICES;
	devices[0].tags = tags;
	devices[0].properties = properties;
	snprintf(path, sizeof(path), "%s/vfiod.conf.d", fuzz_directory());
	if (mkdir(path, 0755) < 0)
		err(1, "%s", path);
}

static bool needs_rule(const struct device *device)
{
	return !device_is_bridge(device);
}

static void write_files(const uint8_t *data, size_t size)
{
	char path[128];
	bool is_over = false;

	for (size_t i = 0; i < MAX_FILES; i++) {
		size_t length = 0;

		if (is_over) {
			snprintf(path, sizeof(path), "%s/%s", fuzz_directory(), file_names[i]);
			unlink(path);
			continue;
		}
		while (length < size && data[length] != '\f')
			length++;
		fuzz_write(file_names[i], data, length);
		is_over = length == size;
		data += length + !is_over;
		size -= length + !is_over;
	}
}

/* "FILE:LINE: what is wrong", or "FILE: what is wrong with all of it". */
static void check_refusal(const struct refusal *refusal)
{
	size_t length = strlen(fuzz_directory());
	const char *at = refusal->text;

	must(refusal->kind == REFUSAL_CONFIGURATION, "kind %d", (int)refusal->kind);
	must(fuzz_is_printable(at), "%s", at);
	must(strncmp(at, fuzz_directory(), length) == 0 && at[length] == '/', "%s", at);
	at = strstr(at, ".conf:");
	must(at, "%s", refusal->text);
	at += strlen(".conf:");
	while (isdigit(*at))
		at++;
	at += *at == ':';
	must(*at == ' ' && at[1], "%s", refusal->text);
}

static void check_rule(const struct rule *rule)
{
	must(rule->name && *rule->name && rule->file && rule->line > 0, "a rule of nowhere");
	must(rule->n_matches > 0, "rule %s matches nothing", rule->name);
	for (size_t i = 0; i < rule->n_matches; i++)
		must(rule->matches[i].n_terms > 0, "rule %s has an empty match", rule->name);
	for (size_t i = 0; i < rule->n_allows; i++)
		must((rule->allows[i].kind == ALLOW_UNIT) == (rule->allows[i].pattern != NULL),
			"rule %s: who?", rule->name);
	if (rule->driver)
		must(strlen(rule->driver) < DRIVER_NAME_SIZE && !strpbrk(rule->driver, "./"), "%s",
			rule->driver);
}

/* No limit is wider than that of any section or rule that holds. */
static void check_limits(const struct config *config, const struct subject *subject)
{
	static const char *const names[] = { "uid:1000", "uid:65534", "unit:dpdk.service",
		"lease:L1", "a" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct byte_limits own = BYTE_LIMITS_NONE, all = BYTE_LIMITS_NONE;

		policy_limits(config, NULL, NULL, NULL, names[i], &own);
		policy_limits(config, subject, &group, needs_rule, names[i], &all);
		must(all.owed <= own.owed && all.kernel_bill <= own.kernel_bill, "%s", names[i]);
		for (size_t j = 0; j < N_DEVICES; j++) {
			const struct rule *rule = policy_rule_for(config, subject, &devices[j]);

			if (rule && needs_rule(&devices[j]))
				must(all.owed <= rule->limits.owed &&
						all.kernel_bill <= rule->limits.kernel_bill,
					"%s, rule %s", names[i], rule->name);
		}
	}
	must(config_host_limit(config, 100) <= 100 || config->host_limit_percent == 0, "host");
}

/* What all rules say is so, and what none says is not. */
static void check_trust(const struct config *config, bool trusted)
{
	size_t n_trusting = 0;

	for (size_t i = 0; i < config->n_rules; i++)
		n_trusting += config->rules[i].trusted;
	must(n_trusting > 0 || !trusted, "trusted by no rule");
	must(n_trusting < config->n_rules || trusted, "not trusted, though all rules say so");
}

/* What policy grants is what its rules say of each device, and the other way round. */
static void check_policy(const struct config *config, const struct subject *subject)
{
	struct refusal refusal = { 0 };
	struct verdict verdict;
	const struct device *first = NULL;

	int r = policy_check(config, subject, &group, needs_rule, &verdict, &refusal);
	if (policy_is_admin(config, subject)) {
		must(r == 0, "an administrator is refused: %s", refusal.text);
		return;
	}
	for (size_t i = 0; i < N_DEVICES && !first; i++)
		if (needs_rule(&devices[i]) && !policy_rule_for(config, subject, &devices[i]))
			first = &devices[i];
	must((r == 0) == !first, "%d, and no rule for %s", r, first ? first->name : "nothing");
	if (r == 0) {
		must(verdict.rule && verdict.rule->n_allows > 0, "allowed by nobody");
		check_trust(config, verdict.trusted);
		return;
	}
	must(r == REFUSED && refusal.kind == REFUSAL_ACCESS_DENIED, "%d", r);
	must(strcmp(refusal.device, first->name) == 0, "%s, not %s", refusal.device, first->name);
	must(fuzz_is_printable(refusal.text), "%s", refusal.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[128];
	struct config *config = NULL;
	struct refusal refusal = { 0 };

	if (!*path) {
		make_devices();
		snprintf(path, sizeof(path), "%s/vfiod.conf", fuzz_directory());
	}
	write_files(data, size);
	int r = config_read(path, &config, &refusal);
	if (r != 0) {
		must(r == REFUSED && !config, "%d", r);
		check_refusal(&refusal);
		return 0;
	}
	for (size_t i = 0; i < config->n_rules; i++)
		check_rule(&config->rules[i]);
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		check_policy(config, &subjects[i]);
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		check_limits(config, &subjects[i]);
	config_free(config);
	return 0;
}
