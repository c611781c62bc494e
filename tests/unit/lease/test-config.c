/* Sections, keys and their values. Users and groups are this file's own, not the host's. */
#undef _FORTIFY_SOURCE
#include "tests/unit/lease/config-bench.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>

#define RULE "[rule r]\nmatch = bus:pci\n"

/* --- what stands in for libc --------------------------------------------------- */

static int n_interruptions;                      /* EINTR before an answer */
static size_t n_allocations, failing_allocation; /* 0: none fails */

static bool allocation_fails(void)
{
	return ++n_allocations == failing_allocation;
}

static int look_up(const char *name, size_t size, const char *known, size_t needed, bool *found)
{
	*found = false;
	if (n_interruptions > 0) {
		n_interruptions--;
		return EINTR;
	}
	if (strcmp(name, "broken") == 0)
		return EIO;
	if (strcmp(name, "absent") == 0)
		return ENOENT;
	if (strcmp(name, "nomem") == 0)
		return ENOMEM;
	if (strcmp(name, "huge") == 0 || size < needed)
		return ERANGE;
	*found = strcmp(name, known) == 0;
	return 0;
}

int getpwnam_r(
	const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
	bool found;
	int r = look_up(name, size, "alice", 16384, &found);
	memset(buffer, 'x', size);
	entry->pw_uid = 1000;
	*result = found ? entry : NULL;
	return r;
}

int getgrnam_r(
	const char *name, struct group *entry, char *buffer, size_t size, struct group **result)
{
	bool found;
	int r = look_up(name, size, "dpdk", 1 << 20, &found);
	memset(buffer, 'x', size);
	entry->gr_gid = 2000;
	*result = found ? entry : NULL;
	return r;
}

char *strndup(const char *text, size_t size)
{
	size_t length = strnlen(text, size);
	char *copy = allocation_fails() ? NULL : malloc(length + 1);
	if (copy) {
		memcpy(copy, text, length);
		copy[length] = '\0';
	}
	return copy;
}

char *strdup(const char *text)
{
	return strndup(text, strlen(text));
}

void *reallocarray(void *array, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes) || allocation_fails())
		return NULL;
	return realloc(array, bytes);
}

/* --- sections and keys --------------------------------------------------------------------- */

static void assert_defaults(const struct config *config)
{
	assert_int_equal(config->n_rules, 0);
	assert_int_equal(config->n_admins, 0);
	assert_int_equal(config->take_timeout_seconds, 30);
	static const struct bounds defaults = {
		.connections = 512,
		.connections_per_user = 128,
		.leases_per_user = 256,
		.waiting_per_user = 32,
		.monitors_per_user = 16,
		.transactions_per_user = 4,
		.memory_per_user_bytes = 16777216,
		.spaces_per_user = 16,
		.memories_per_space = 64,
		.mappings_per_space = 65535,
		.reports_per_user = 65535,
		.message_bytes = 16384,
		.output_bytes = 4194304,
		.calls = 16,
		.depth = 32,
		.values = 512,
		.descriptors = 4,
		.selectors = 64,
		.message_timeout_seconds = 30,
		.output_timeout_seconds = 60,
		.keeper_timeout_seconds = 60,
	};
	assert_int_equal(config->n_accounts, 0);
	assert_int_equal(config->host_limit_percent, 80);
	assert_memory_equal(&config->bounds, &defaults, sizeof(defaults));
}

static void test_defaults(void **state)
{
	struct config *config = NULL;
	struct refusal refusal;
	assert_int_equal(config_read(NULL, &config, &refusal), 0);
	assert_defaults(config);
	assert_null(config_free(config));
	assert_null(config_free(NULL));
	assert_defaults(bench_accepts(state, ""));
	assert_defaults(bench_accepts(state, "[daemon]\n"));
}

static void test_sections(void **state)
{
	bench_refuses(state, "[group alice]\n", 1,
		"unknown section [group alice]; known: [daemon], [rule NAME], [account NAME], "
		"[pool NAME]");
	bench_refuses(state, "[]\n", 1, "unknown section []");
	bench_refuses(state, "[Daemon]\n", 1, "unknown section [Daemon]");
	bench_refuses(state, "[daemon x]\n", 1, "unknown section [daemon x]");
	bench_refuses(state, "[ daemon]\n", 1, "unknown section [ daemon]");
	bench_refuses(state, "[rules]\n", 1, "unknown section [rules]");
	bench_refuses(state, "[rule]\n", 1, "'' is no name for a rule; allowed: letters");
	bench_refuses(state, "[rule ]\n", 1, "'' is no name for a rule");
	bench_refuses(state, "[rule  a]\n", 1, "' a' is no name for a rule");
	bench_refuses(state, "[rule a b]\n", 1, "'a b' is no name for a rule");
	bench_refuses(state, "[rule a/b]\n", 1, "'a/b' is no name for a rule");
	bench_refuses(state, "[rule gr\xc3\xbcn]\n", 1, "is no name for a rule");
	bench_refuses(state, "admin = user:alice\n", 1, "'admin' stands before the first section");
	bench_refuses(state, "#\n[rule a]\n[rule b]\nmatch = numa:0\n", 2,
		"[rule a] has no match = line, so it is a rule for no device");
	bench_refuses(state, "[rule a]\nallow = user:alice\n\n", 1, "[rule a] has no match = line");
	const struct config *config = bench_accepts(state, "[rule A-z_0.9]\nmatch = numa:0\n");
	assert_string_equal(config->rules[0].name, "A-z_0.9");
}

static void test_unknown_keys(void **state)
{
	bench_refuses(state, "[rule gpu]\nmacth = bus:pci\n", 2,
		"unknown key 'macth' in [rule gpu]; known: match, allow, whole-group, return, "
		"force, require-reset, revoke, revoke-timeout, account, driver, take, owed-limit, "
		"kernel-bill-limit, "
		"trusted, unsafe-noiommu");
	bench_refuses(state, "[account uid]\nlimit = 1\n", 2,
		"unknown key 'limit' in [account uid]; known: owed-limit, kernel-bill-limit");
	bench_refuses(state, "[daemon]\nstop = now\n", 2, "return, leave");
	assert_true(bench_accepts(state, "[daemon]\nstop = leave\n")->stop_leaves);
	bench_refuses(state, "[daemon]\nbackend = vfio\n", 2, "auto, type1, iommufd");
	assert_int_equal(
		bench_accepts(state, "[daemon]\nbackend = iommufd\n")->backend, BACKEND_IOMMUFD);
	bench_refuses(state, "[daemon]\nmatch = bus:pci\n", 2,
		"unknown key 'match' in [daemon]; known: admin, take-timeout, resume-timeout, "
		"stop, backend, "
		"max-connections, max-connections-per-user, max-leases-per-user, "
		"max-waiting-per-user, "
		"max-monitors-per-user, max-transactions-per-user, max-memory-per-user, "
		"max-message, max-output, max-calls, max-depth, max-values, max-descriptors, "
		"max-selectors, "
		"message-timeout, output-timeout, max-spaces-per-user, max-memories-per-space, "
		"max-mappings-per-space, max-reports-per-user, keeper-timeout, host-limit");
	bench_refuses(state, RULE "Allow = user:alice\n", 3, "unknown key 'Allow'");
}

static void test_repeated_keys(void **state)
{
	static const char *const scalars[] = { "whole-group = no", "return = yes", "force = no",
		"require-reset = yes", "account = uid", "driver = vfio-pci", "take = lease",
		"owed-limit = none", "kernel-bill-limit = 1G", "trusted = yes",
		"unsafe-noiommu = no" };
	char text[160], part[80];
	for (size_t i = 0; i < ARRAY_SIZE(scalars); i++) {
		snprintf(text, sizeof(text), RULE "%s\n#\n%s\n", scalars[i], scalars[i]);
		snprintf(part, sizeof(part), "'%.*s' is set twice in this section; allowed: once",
			(int)strcspn(scalars[i], " "), scalars[i]);
		bench_refuses(state, text, 5, part);
	}
	static const char *const bounds[] = { "take-timeout = 30", "max-connections = 512",
		"max-message = 1M", "max-calls = 16", "max-output = 4M", "host-limit = 1G" };
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		snprintf(text, sizeof(text), "[daemon]\n%s\n%s\n", bounds[i], bounds[i]);
		bench_refuses(state, text, 3, "is set twice in this section");
	}
	/* Once in each of two sections. */
	bench_accepts(state, RULE "force = yes\n[rule s]\nmatch = numa:0\nforce = yes\n");
}

/* --- values ---------------------------------------------------------------------- */

static void test_bounds(void **state)
{
	static const struct {
		const char *key;
		size_t offset;
		const char *good[4];
		unsigned value[4];
		const char *bad[8];
		const char *allowed;
	} cases[] = {
		{ "take-timeout", offsetof(struct config, take_timeout_seconds),
			{ "1", "3600", "007" }, { 1, 3600, 7 },
			{ "0", "3601", "", "-1", "+1", "30s", "4294967297",
				"18446744073709551617" },
			"a number from 1 to 3600" },
		{ "resume-timeout", offsetof(struct config, resume_timeout_seconds),
			{ "0", "3600" }, { 0, 3600 }, { "3601", "", "-1", "30s" },
			"a number from 0 to 3600" },
		{ "max-connections", offsetof(struct config, bounds.connections), { "1", "65536" },
			{ 1, 65536 }, { "0", "65537", "0x10", "1K", "1 2", "a" },
			"a number from 1 to 65536" },
		{ "max-calls", offsetof(struct config, bounds.calls), { "1", "1024" }, { 1, 1024 },
			{ "0", "1025", "1.5" }, "a number from 1 to 1024" },
		{ "max-message", offsetof(struct config, bounds.message_bytes),
			{ "4096", "4K", "64M", "67108864" }, { 4096, 4096, 67108864, 67108864 },
			{ "4095", "3K", "65M", "67108865", "1G", "1k", "1MB", "M" },
			"bytes from 4K to 64M, with or without a suffix K, M, G" },
		{ "max-connections-per-user", offsetof(struct config, bounds.connections_per_user),
			{ "1", "65536" }, { 1, 65536 }, { "0", "65537" },
			"a number from 1 to 65536" },
		{ "max-leases-per-user", offsetof(struct config, bounds.leases_per_user),
			{ "1", "65536" }, { 1, 65536 }, { "0", "65537" },
			"a number from 1 to 65536" },
		{ "max-waiting-per-user", offsetof(struct config, bounds.waiting_per_user),
			{ "1", "65536" }, { 1, 65536 }, { "0", "65537" },
			"a number from 1 to 65536" },
		{ "max-monitors-per-user", offsetof(struct config, bounds.monitors_per_user),
			{ "1", "65536" }, { 1, 65536 }, { "0", "65537" },
			"a number from 1 to 65536" },
		{ "max-transactions-per-user",
			offsetof(struct config, bounds.transactions_per_user), { "1", "1024" },
			{ 1, 1024 }, { "0", "1025" }, "a number from 1 to 1024" },
		{ "max-memory-per-user", offsetof(struct config, bounds.memory_per_user_bytes),
			{ "64K", "1G" }, { 65536, 1073741824 }, { "63K", "2G" },
			"bytes from 64K to 1024M" },
		{ "max-depth", offsetof(struct config, bounds.depth), { "8", "1024" }, { 8, 1024 },
			{ "7", "1025" }, "a number from 8 to 1024" },
		{ "max-values", offsetof(struct config, bounds.values), { "512", "65536" },
			{ 512, 65536 }, { "511", "65537" }, "a number from 512 to 65536" },
		{ "max-descriptors", offsetof(struct config, bounds.descriptors), { "1", "253" },
			{ 1, 253 }, { "0", "254" }, "a number from 1 to 253" },
		{ "max-selectors", offsetof(struct config, bounds.selectors), { "1", "64" },
			{ 1, 64 }, { "0", "65" }, "a number from 1 to 64" },
		{ "message-timeout", offsetof(struct config, bounds.message_timeout_seconds),
			{ "1", "3600" }, { 1, 3600 }, { "0", "3601" }, "a number from 1 to 3600" },
		{ "output-timeout", offsetof(struct config, bounds.output_timeout_seconds),
			{ "1", "3600" }, { 1, 3600 }, { "0", "3601" }, "a number from 1 to 3600" },
		{ "max-spaces-per-user", offsetof(struct config, bounds.spaces_per_user),
			{ "1", "1024" }, { 1, 1024 }, { "0", "1025" }, "a number from 1 to 1024" },
		{ "max-memories-per-space", offsetof(struct config, bounds.memories_per_space),
			{ "1", "1024" }, { 1, 1024 }, { "0", "1025" }, "a number from 1 to 1024" },
		{ "max-mappings-per-space", offsetof(struct config, bounds.mappings_per_space),
			{ "1", "1048576" }, { 1, 1048576 }, { "0", "1048577" },
			"a number from 1 to 1048576" },
		{ "max-reports-per-user", offsetof(struct config, bounds.reports_per_user),
			{ "1", "1048576" }, { 1, 1048576 }, { "0", "1048577" },
			"a number from 1 to 1048576" },
		{ "keeper-timeout", offsetof(struct config, bounds.keeper_timeout_seconds),
			{ "1", "3600" }, { 1, 3600 }, { "0", "3601" }, "a number from 1 to 3600" },
		{ "max-output", offsetof(struct config, bounds.output_bytes),
			{ "65536", "64K", "1G", "1024M" }, { 65536, 65536, 1073741824, 1073741824 },
			{ "65535", "63K", "1073741825", "2G", "17179869184G", "4T", "-1M", "" },
			"bytes from 64K to 1024M" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[128], part[160];
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].good) && cases[i].good[j]; j++) {
			snprintf(text, sizeof(text), "[daemon]\n%s = %s\n", cases[i].key,
				cases[i].good[j]);
			const char *config = (const char *)bench_accepts(state, text);
			unsigned value;
			memcpy(&value, config + cases[i].offset, sizeof(value));
			assert_int_equal(value, cases[i].value[j]);
		}
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].bad) && cases[i].bad[j]; j++) {
			snprintf(text, sizeof(text), "[daemon]\n%s = %s\n", cases[i].key,
				cases[i].bad[j]);
			snprintf(part, sizeof(part), "'%s' is no value for %s; allowed: %s",
				cases[i].bad[j], cases[i].key, cases[i].allowed);
			bench_refuses(state, text, 2, part);
		}
	}
}

static void test_switches(void **state)
{
	const struct config *config = bench_accepts(state, RULE);
	assert_false(config->rules[0].whole_group);
	assert_false(config->rules[0].stay);
	assert_false(config->rules[0].force);
	config = bench_accepts(state, RULE "whole-group = yes\n");
	assert_true(config->rules[0].whole_group);
	assert_false(config->rules[0].stay || config->rules[0].force);
	config = bench_accepts(state, RULE "return = no\n");
	assert_true(config->rules[0].stay);
	assert_false(config->rules[0].whole_group || config->rules[0].force);
	assert_false(config->rules[0].skips_reset);
	config = bench_accepts(state, RULE "require-reset = no\n");
	assert_true(config->rules[0].skips_reset);
	config = bench_accepts(state, RULE "require-reset = yes\n");
	assert_false(config->rules[0].skips_reset);
	assert_false(config->rules[0].trusted);
	config = bench_accepts(state, RULE "trusted = yes\n");
	assert_true(config->rules[0].trusted);
	assert_false(config->rules[0].stay || config->rules[0].skips_reset);
	config = bench_accepts(state, RULE "trusted = no\n");
	assert_false(config->rules[0].trusted);
	assert_false(config->rules[0].unsafe_noiommu);
	config = bench_accepts(state, RULE "unsafe-noiommu = yes\n");
	assert_true(config->rules[0].unsafe_noiommu);
	assert_false(config->rules[0].trusted);
	config = bench_accepts(state, RULE "force = yes\n");
	assert_true(config->rules[0].force);
	assert_false(config->rules[0].whole_group || config->rules[0].stay);
	config = bench_accepts(state, RULE "whole-group = no\nreturn = yes\nforce = no\n");
	assert_false(
		config->rules[0].whole_group || config->rules[0].stay || config->rules[0].force);

	bench_refuses(
		state, RULE "force = true\n", 3, "'true' is no value for force; allowed: yes, no");
	bench_refuses(state, RULE "return =\n", 3, "'' is no value for return; allowed: yes, no");
	bench_refuses(state, RULE "trusted = maybe\n", 3,
		"'maybe' is no value for trusted; allowed: yes, no");
	bench_refuses(state, "[account uid]\ntrusted = yes\n", 2,
		"unknown key 'trusted' in [account uid]");
	bench_refuses(state, RULE "whole-group = Yes\n", 3, "'Yes' is no value for whole-group");
}

static void test_account_and_driver(void **state)
{
	const struct config *config = bench_accepts(state, RULE);
	assert_null(config->rules[0].account);
	assert_null(config->rules[0].driver);
	config = bench_accepts(state, RULE "account = lease\ndriver = mlx5_vfio_pci\n");
	assert_string_equal(config->rules[0].account, "lease");
	assert_string_equal(config->rules[0].driver, "mlx5_vfio_pci");
	config = bench_accepts(state, RULE "account = Team.A_b-1\n");
	assert_string_equal(config->rules[0].account, "Team.A_b-1");
	bench_refuses(state, RULE "account = a b\n", 3,
		"'a b' is no value for account; allowed: uid, lease, unit, or a name of letters");
	bench_refuses(state, RULE "account =\n", 3, "'' is no value for account");
	bench_refuses(state, RULE "account = user:1\n", 3, "'user:1' is no value for account");

	bench_refuses(state, RULE "driver =\n", 3, "'' is no value for driver");
	bench_refuses(state, RULE "driver = ..\n", 3, "'..' is no value for driver");
	bench_refuses(state, RULE "driver = a/b\n", 3, "'a/b' is no value for driver");
	bench_refuses(state, RULE "driver = e1000\n", 3, "a VFIO driver");
	char name[65], text[160];
	memset(name, 'd', 64);
	memcpy(name, "vfio-pci", 8);
	name[64] = '\0';
	snprintf(text, sizeof(text), RULE "driver = %s\n", name);
	bench_refuses(state, text, 3, "at most 63 letters");
	name[63] = '\0';
	snprintf(text, sizeof(text), RULE "driver = %s\n", name);
	config = bench_accepts(state, text);
	assert_string_equal(config->rules[0].driver, name);
}

static void test_subjects(void **state)
{
	const struct config *config = bench_accepts(state,
		RULE "allow = user:alice\nallow = user:4294967294\nallow = group:dpdk\n"
		     "allow = group:0\nallow = unit:a@*.service\nallow = unit:*\n"
		     "[daemon]\nadmin = user:0\nadmin = group:dpdk\n");
	const struct allow *allows = config->rules[0].allows;
	assert_int_equal(config->rules[0].n_allows, 6);
	assert_int_equal(allows[0].kind, ALLOW_USER);
	assert_int_equal(allows[0].id, 1000);
	assert_int_equal(allows[1].kind, ALLOW_USER);
	assert_true(allows[1].id == 4294967294U);
	assert_int_equal(allows[2].kind, ALLOW_GROUP);
	assert_int_equal(allows[2].id, 2000);
	assert_int_equal(allows[3].id, 0);
	assert_int_equal(allows[4].kind, ALLOW_UNIT);
	assert_string_equal(allows[4].pattern, "a@*.service");
	assert_int_equal(config->n_admins, 2);
	assert_int_equal(config->admins[0].kind, ALLOW_USER);
	assert_int_equal(config->admins[1].id, 2000);

	static const struct {
		const char *value, *part;
	} bad[] = {
		{ "alice", "'alice' is no value for allow; allowed: one of user:NAME, group:NAME, "
			   "unit:PATTERN a line; lines can be repeated" },
		{ "", "'' is no value for allow" },
		{ "user:", "'user:' is no value for allow" },
		{ "users:alice", "'users:alice' is no value" },
		{ "user:alice user:bob", "a line; lines can be repeated" },
		{ "user: alice", "is no value for allow" },
		{ "user:bob", "there is no user 'bob'; allowed: a name that this host knows" },
		{ "user:dpdk", "there is no user 'dpdk'" },
		{ "group:alice", "there is no group 'alice'" },
		{ "group:absent", "there is no group 'absent'" },
		{ "user:broken", "the user 'broken' cannot be looked up: Input/output error" },
		{ "group:huge", "the group 'huge' cannot be looked up: Numerical result" },
		{ "user:4294967295",
			"user id 4294967295 does not exist; allowed: 0 to 4294967294" },
		{ "group:4294967296", "group id 4294967296 does not exist" },
		{ "user:-1", "there is no user '-1'" },
		{ "user:0x10", "there is no user '0x10'" },
		{ "unit:", "'unit:' is no value" },
		{ "unit:dpdk", "the whole name of a unit as in unit:dpdk.service" },
	};
	char text[160];
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), RULE "allow = %s\n", bad[i].value);
		bench_refuses(state, text, 3, bad[i].part);
	}
	bench_refuses(state, "[daemon]\nadmin = unit:a.service\n", 2,
		"'unit:a.service' is no value for admin; allowed: one of user:NAME, group:NAME a "
		"line");

	n_interruptions = 3;
	bench_accepts(state, RULE "allow = user:alice\n");
	assert_int_equal(n_interruptions, 0);
	struct config_bench *bench = *state;
	bench_write(bench, "vfiod.conf", RULE "allow = user:nomem\n", strlen(RULE) + 19);
	assert_int_equal(bench_read(bench), -ENOMEM);
}

static void test_every_allocation_fails(void **state)
{
	struct config_bench *bench = *state;
	char directory[64];
	snprintf(directory, sizeof(directory), "%s.d", bench->main);
	assert_int_equal(mkdir(directory, 0755), 0);
	static const char text[] =
		"[daemon]\nadmin = user:alice\n[rule a]\nmatch = pci:address=3b:00.0 pci:id=*:*\n"
		"match = pci:class=02 pci:pf=3b:00.0,vf=1 numa:1\nallow = unit:a.service\n"
		"allow = group:dpdk\naccount = a\ndriver = vfio-pci\n";
	static const char drop_in[] = "[rule b]\nmatch = bus:pci=a udev:tag=b udev:property=C=d\n";
	bench_write(bench, "vfiod.conf", text, strlen(text));
	bench_write(bench, "vfiod.conf.d/a.conf", drop_in, strlen(drop_in));

	size_t k = 1;
	for (;; k++) {
		n_allocations = 0;
		failing_allocation = k;
		int r = bench_read(bench);
		failing_allocation = 0;
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(bench->config);
	}
	assert_int_equal(bench->config->n_rules, 2);
	assert_in_range(k, 25, 100); /* or nothing was made to fail */
}

/* --- what is shipped ------------------------------------------------------------ */

static void test_shipped_file(void **state)
{
	struct config_bench *bench = *state;
	struct config *config = NULL;
	struct refusal refusal = { 0 };
	/* Tests run at the top of the tree. */
	if (config_read("systemd/vfiod.conf", &config, &refusal) != 0)
		fail_msg("'%s'", refusal.text);
	assert_defaults(config);
	config_free(config);

	/* All that is commented out is accepted, too, and every key is there. Names of the host are
	 * this file's. */
	char shipped[16384], text[16384];
	assert_true(file_read("systemd/vfiod.conf", shipped, sizeof(shipped)) > 0);
	size_t length = 0;
	char *rest = shipped, *line;
	while ((line = strsep(&rest, "\n"))) {
		bool is_example = line[0] == '#' && line[1] && line[1] != ' ';
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s\n",
			strcmp(line, "#admin = group:sudo") == 0 ? "admin = group:dpdk"
			: is_example                             ? line + 1
								 : line);
	}
	bench_write(bench, "vfiod.conf", text, length);
	if (bench_read(bench) != 0)
		fail_msg("'%s'", bench->refusal.text);
	static const char *const keys[] = { "host-limit", "max-spaces-per-user",
		"max-memories-per-space", "max-mappings-per-space", "max-reports-per-user",
		"keeper-timeout", "owed-limit", "kernel-bill-limit", "admin", "take-timeout",
		"resume-timeout", "stop", "max-connections", "max-connections-per-user",
		"max-leases-per-user", "max-waiting-per-user", "max-monitors-per-user",
		"max-transactions-per-user", "max-memory-per-user", "max-message", "max-output",
		"max-calls", "max-depth", "max-values", "max-descriptors", "max-selectors",
		"message-timeout", "output-timeout", "match", "allow", "whole-group", "return",
		"force", "require-reset", "account", "driver", "take", "trusted" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char start[32];
		snprintf(start, sizeof(start), "\n%s = ", keys[i]);
		if (!strstr(text, start))
			fail_msg("%s is not explained", keys[i]);
	}
	/* What it shows as defaults are the defaults. */
	const struct config *all = bench->config;
	assert_int_equal(all->n_admins, 1);
	assert_int_equal(all->take_timeout_seconds, 30);
	assert_int_equal(all->resume_timeout_seconds, 30);
	assert_false(all->stop_leaves);
	struct config *defaults;
	assert_int_equal(config_read(NULL, &defaults, &bench->refusal), 0);
	assert_memory_equal(&all->bounds, &defaults->bounds, sizeof(all->bounds));
	assert_int_equal(all->host_limit_percent, defaults->host_limit_percent);
	config_free(defaults);
	assert_int_equal(all->n_rules, 1);
	assert_false(all->rules[0].whole_group || all->rules[0].stay || all->rules[0].force ||
		     all->rules[0].skips_reset || all->rules[0].trusted);
	assert_int_equal(all->rules[0].take, TAKE_LEASE);
	assert_true(all->rules[0].limits.owed == BYTES_UNLIMITED);
	assert_true(all->rules[0].limits.kernel_bill == BYTES_UNLIMITED);
}

static void test_example_of_the_design(void **state)
{
	const struct config *config = bench_accepts(state,
		"[rule alice-gpu]\nmatch = pci:id=10de:2704\n# its companions too\n"
		"allow = user:alice\naccount = alice\n"
		"whole-group = yes\n# by a udev rule, before the host driver\ntake = boot\n"
		"[account alice]\nowed-limit = 24G\n"
		"[rule dpdk]\nmatch = pci:pf=0000:3b:00.0,vf=0-63\n# and stay taken\ntake = "
		"appear\n"
		"allow = group:dpdk\n# each lease pays for itself\naccount = lease\n"
		"kernel-bill-limit = 2G\n");
	assert_int_equal(config->n_rules, 2);
	assert_int_equal(config->n_accounts, 1);
	assert_true(config->accounts[0].limits.owed == UINT64_C(24) << 30);
	assert_true(config->rules[1].limits.kernel_bill == UINT64_C(2) << 30);
	assert_string_equal(config->rules[1].account, "lease");
	assert_int_equal(config->rules[1].matches[0].terms[0].last, 63);
	assert_true(config->rules[1].stay);
}

static void test_take(void **state)
{
	const struct config *config = bench_accepts(state, RULE "take = lease\nreturn = yes\n");
	assert_int_equal(config->rules[0].take, TAKE_LEASE);
	assert_false(config->rules[0].stay);
	config = bench_accepts(state, RULE "take = appear\n[rule b]\nmatch = numa:0\n");
	assert_int_equal(config->rules[0].take, TAKE_APPEAR);
	assert_true(config->rules[0].stay);
	assert_int_equal(config->rules[1].take, TAKE_LEASE);
	config = bench_accepts(state, RULE "take = boot\nreturn = no\n");
	assert_int_equal(config->rules[0].take, TAKE_BOOT);
	assert_true(config->rules[0].stay);

	bench_refuses(state, RULE "take = never\n", 3,
		"'never' is no value for take; allowed: lease, appear, boot");
	/* In whichever order, and whatever the section before it has said. */
	bench_refuses(state, RULE "return = yes\ntake = boot\n", 4, "has return = yes");
	bench_refuses(state, RULE "take = appear\nreturn = yes\n", 3, "has return = yes");
	bench_accepts(state, RULE "return = yes\n[rule b]\nmatch = numa:0\ntake = appear\n");

	config = bench_accepts(state, RULE "trusted = yes\n");
	assert_false(config->rules[0].revoke_ends);
	config = bench_accepts(state, RULE "revoke = end\n[rule b]\nmatch = numa:0\n");
	assert_true(config->rules[0].revoke_ends);
	assert_int_equal(config->rules[0].revoke_seconds, REVOKE_SECONDS);
	assert_false(config->rules[1].revoke_ends);
	config = bench_accepts(state, RULE "revoke-timeout = 0\nrevoke = end\n");
	assert_int_equal(config->rules[0].revoke_seconds, 0);
	bench_refuses(state, RULE "revoke = no\n", 3, "allowed: ask, end");
	bench_refuses(state, RULE "revoke-timeout = 86401\nrevoke = end\n", 3, "86400");
	/* A key that has no effect. */
	bench_refuses(state, RULE "revoke-timeout = 5\n", 3, "add revoke = end");
	bench_refuses(state, RULE "revoke-timeout = 5\nrevoke = ask\n", 3, "add revoke = end");
	bench_accepts(state, RULE "revoke = end\nrevoke-timeout = 5\n[rule b]\nmatch = numa:0\n");

	/* What is not known yet when a device appears at boot. */
	static const char *const late[] = { "udev:tag=vfio", "udev:property=A=b",
		"pci:pf=0000:3b:00.0" };
	char text[200], part[80];
	for (size_t i = 0; i < ARRAY_SIZE(late); i++) {
		snprintf(text, sizeof(text),
			"[rule a]\ntake = boot\nmatch = bus:pci\nmatch = numa:1 %s\n", late[i]);
		snprintf(part, sizeof(part), "[rule a] matches by %.*s",
			(int)strcspn(late[i], "=") + 1, late[i]);
		bench_refuses(state, text, 2, part);
		snprintf(text, sizeof(text), "[rule a]\ntake = appear\nmatch = %s\n", late[i]);
		bench_accepts(state, text);
	}
	bench_accepts(state,
		"[rule a]\ntake = boot\nmatch = pci:address=0000:01:00.0 pci:id=10de:*\n"
		"match = pci:class=02 bus:platform numa:0\n");
}

/* Names that nobody knows yet when udev asks are no error then; all else is. */
static void test_devices_only(void **state)
{
	struct config_bench *bench = *state;
	static const char text[] = RULE "allow = user:nobody-of-this-name\ntake = boot\n";

	bench_refuses(state, text, 3, "there is no user");
	assert_int_equal(config_read_devices(bench->main, &bench->config, &bench->refusal), 0);
	assert_int_equal(bench->config->rules[0].take, TAKE_BOOT);
	bench_write(bench, "vfiod.conf", "[rule", 5);
	bench->config = config_free(bench->config);
	assert_int_equal(
		config_read_devices(bench->main, &bench->config, &bench->refusal), REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_sections),
		TEST(test_unknown_keys),
		TEST(test_repeated_keys),
		TEST(test_bounds),
		TEST(test_switches),
		TEST(test_account_and_driver),
		TEST(test_take),
		TEST(test_devices_only),
		TEST(test_subjects),
		TEST(test_every_allocation_fails),
		TEST(test_shipped_file),
		TEST(test_example_of_the_design),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
