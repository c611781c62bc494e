/* What check says of hosts that are made up: each is a directory with the files that count. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/remove-tree.h"

#include "client/vfioctl/check.h"
#include "tests/unit/vfioctl/ctl.h"

#define MIB (1024 * 1024)

static char root[64];
static struct findings findings;

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *file;

	snprintf(full, sizeof full, "%s%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
	}
	file = fopen(full, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/vfioctl-check-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	findings_clear(&findings);
	return remove_tree(root);
}

static void look(uint64_t memlock_bytes)
{
	const struct host host = {
		.root = root, .release = "6.1.0", .memlock_bytes = memlock_bytes
	};

	findings_clear(&findings);
	check_host(&findings, &host);
	assert_false(findings.is_short);
}

/* The finding of this topic has the level, and the texts have these parts. */
static void says(const char *topic, enum finding_level level, const char *text, const char *advice)
{
	for (size_t i = 0; i < findings.n; i++) {
		const struct finding *finding = &findings.list[i];

		if (strcmp(finding->topic, topic) != 0 || !strstr(finding->text, text))
			continue;
		assert_int_equal(finding->level, level);
		assert_int_equal(finding->advice != NULL, level != FINDING_OK);
		if (advice && !strstr(finding->advice, advice))
			fail_msg("no '%s' in: %s", advice, finding->advice);
		return;
	}
	fail_msg("%s: nothing says '%s'", topic, text);
}

static void says_nothing_of(const char *topic)
{
	for (size_t i = 0; i < findings.n; i++)
		assert_string_not_equal(findings.list[i].topic, topic);
}

static void put_good_host(void)
{
	put("/proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\n");
	put("/proc/cmdline", "root=/dev/sda1 intel_iommu=on quiet\n");
	put("/proc/interrupts", "  1:  9  IR-IO-APIC  1-edge  i8042\n");
	put("/sys/class/iommu/dmar0", "");
	put("/sys/kernel/iommu_groups/0/type", "DMA\n");
	put("/sys/kernel/iommu_groups/1/type", "DMA\n");
	put("/sys/firmware/acpi/tables/DMAR", "");
	put("/sys/module/vfio_pci/refcnt", "0\n");
	put("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n");
	put("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n");
	put("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
	put("/dev/vfio/vfio", "");
	put("/run/udev/control", "");
	put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"
			   "vfiod-keeper:x:998:998::/:/usr/sbin/nologin\n");
}

static void chmod_container(mode_t mode)
{
	char full[128];

	snprintf(full, sizeof full, "%s/dev/vfio/vfio", root);
	assert_int_equal(chmod(full, mode), 0);
}

static void good_host_is_fine(void **state)
{
	(void)state;
	put_good_host();
	chmod_container(0666);
	look(UINT64_MAX);
	for (size_t i = 0; i < findings.n; i++)
		assert_int_equal(findings.list[i].level, FINDING_OK);
	says("iommu", FINDING_OK, "Intel VT-d is on; 2 groups", NULL);
	says("interrupts", FINDING_OK, "remapping is on", NULL);
	says("iommufd", FINDING_OK, "not in this kernel", NULL);
	says("memlock", FINDING_OK, "no limit", NULL);
	says("spaces", FINDING_OK, "keepers' user", NULL);
	says_nothing_of("noiommu");
	says_nothing_of("lockdown");

	put("/dev/iommu", "");
	put("/sys/class/vfio-dev/x", "");
	put("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	look(64 * MIB);
	says("iommufd", FINDING_OK, "with a node for each device", NULL);
	says("lockdown", FINDING_OK, "VFIO works", NULL);
	says("memlock", FINDING_OK, "64 MiB", NULL);
	look(8 * MIB); /* as everybody has it: a lease raises it */
	says("memlock", FINDING_OK, "8 MiB of memory each, and more with a lease", NULL);
	put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
	look(64 * MIB);
	says("spaces", FINDING_WARNING, "no user vfiod-keeper", "systemd-sysusers");
}

/* A host without an IOMMU: whose firmware has one to offer, and whose has not. */
static void no_iommu_says_what_to_do(void **state)
{
	static const struct {
		const char *table, *text, *advice;
	} offers[] = {
		{ "DMAR", "the firmware offers Intel VT-d", "intel_iommu=on" },
		{ "IVRS", "the firmware offers AMD-Vi", "AMD-Vi" },
		{ "IORT", "the firmware describes an SMMU", "CONFIG_ARM_SMMU_V3" },
		{ "VIOT", "virtio IOMMU", "virtio-iommu" },
	};
	static const struct {
		const char *cpuinfo, *text, *advice;
	} machines[] = {
		{ "vendor_id : GenuineIntel\nflags : fpu vmx\n", "none that the firmware tells of",
			"Turn on VT-d" },
		{ "vendor_id : AuthenticAMD\nflags : fpu svm\n", "none that the firmware tells of",
			"Turn on IOMMU (AMD-Vi)" },
		{ "CPU implementer : 0x41\n", "none that the firmware tells of", "SMMU" },
		{ "processor : 0\n", "none that the firmware tells of", "needs an IOMMU" },
		{ "vendor_id : GenuineIntel\nflags : fpu hypervisor lahf_lm\n",
			"this is a virtual machine", "-device intel-iommu,intremap=on" },
	};
	char path[64], full[128];

	(void)state;
	look(UINT64_MAX);
	says("iommu", FINDING_PROBLEM, "none that the firmware tells of", "needs an IOMMU");
	says_nothing_of("interrupts");
	for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
		put("/proc/cpuinfo", machines[i].cpuinfo);
		look(UINT64_MAX);
		says("iommu", FINDING_PROBLEM, machines[i].text, machines[i].advice);
	}
	for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
		snprintf(path, sizeof path, "/sys/firmware/acpi/tables/%s", offers[i].table);
		put(path, "");
		look(UINT64_MAX);
		says("iommu", FINDING_PROBLEM, offers[i].text, offers[i].advice);
		snprintf(full, sizeof full, "%s%s", root, path);
		assert_int_equal(unlink(full), 0);
	}

	/* The firmware offers it, and somebody has turned it off. */
	put("/sys/firmware/acpi/tables/IVRS", "");
	put("/proc/cmdline", "quiet amd_iommu=off\n");
	look(UINT64_MAX);
	says("iommu", FINDING_PROBLEM, "booted with amd_iommu=off", "Remove that");
	put("/proc/cmdline", "quiet xamd_iommu=off iommu=offset\n");
	look(UINT64_MAX);
	says("iommu", FINDING_PROBLEM, "offers AMD-Vi", NULL);

	/* A unit, and no group. */
	put("/sys/class/iommu/dmar0", "");
	look(UINT64_MAX);
	says("iommu", FINDING_PROBLEM, "no device is in a group", "intel_iommu=on");
}

static void rest_of_the_host(void **state)
{
	(void)state;
	put_good_host();
	put("/proc/interrupts", "  1:  9  IO-APIC  1-edge  i8042\n");
	chmod_container(0600);
	look(UINT64_MAX);
	says("interrupts", FINDING_PROBLEM, "remapping is off", "intremap=off");
	says("container", FINDING_PROBLEM, "mode 0600", "udev");

	put("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
	put("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
	look(UINT64_MAX);
	says("interrupts", FINDING_WARNING, "allow_unsafe_interrupts is set", "remove it");
	says("noiommu", FINDING_WARNING, "no-IOMMU mode is allowed", "enable_unsafe_noiommu_mode");

	/* Nothing of VFIO: to be loaded, part of the kernel, not there at all. */
	teardown(NULL);
	setup(NULL);
	look(UINT64_MAX);
	says("modules", FINDING_PROBLEM, "vfio-pci is not there for kernel 6.1.0",
		"CONFIG_VFIO_PCI");
	says("container", FINDING_PROBLEM, "/dev/vfio/vfio is not there", "Load the module");
	says("udev", FINDING_WARNING, "is not running", "systemd-udevd");
	put("/lib/modules/6.1.0/modules.dep",
		"kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/x.ko\n"
		"kernel/drivers/vfio/vfio_iommu_type1.ko:\n");
	look(UINT64_MAX);
	says("modules", FINDING_WARNING, "vfio-pci is not loaded", "modprobe vfio-pci");
	says("modules", FINDING_WARNING, "vfio_iommu_type1 is not loaded", "modules-load.d");
	put("/lib/modules/6.1.0/modules.builtin", "kernel/drivers/vfio/pci/vfio-pci.ko\n");
	look(UINT64_MAX);
	says("modules", FINDING_OK, "vfio-pci is loaded", NULL);
}

/* --- the command --------------------------------------------------------------------------- */

#define STATUS(version, problems)                                                                  \
	"{\"version\":\"" version "\",\"uptimeSeconds\":1,\"hasIommufd\":false,\"groups\":1,"      \
	"\"devices\":1,\"bindings\":{},\"owners\":{},\"leases\":0,\"waiting\":0,\"rules\":1,"      \
	"\"problems\":[" problems "]}"

static void answer(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (strcmp(method, "org.vfiod.Admin.Status") == 0)
		fake_reply(fake, peer, false,
			peer == 0 ? STATUS("0.0.1",
					    "{\"group\":15,\"text\":\"stuck: end \\u001b[2Jit\"}")
				  : STATUS(VFIOD_VERSION, ""));
	else if (peer == 0)
		fake_reply(fake, peer, false,
			"{\"configurationError\":\"vfiod.conf:3: unknown key 'alow'\",\"rules\":["
			"{\"rule\":\"gpu\",\"file\":\"vfiod.conf\",\"line\":7,\"devices\":2,"
			"\"uncovered\":[\"0000:01:00.1\"]},"
			"{\"rule\":\"old\",\"file\":\"vfiod.conf\",\"line\":12,\"devices\":0,"
			"\"uncovered\":[]}]}");
	else
		fake_reply(fake, peer, false, "{\"rules\":[]}");
}

static void daemon_is_asked(void **state)
{
	struct fake *fake = fake_start(answer);

	(void)state;
	/* This host is what it is: only what the daemon said is looked at. */
	assert_int_equal(ctl(fake, "check", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err, "");
	assert_non_null(strstr(ctl_out,
		"warn     vfiod: vfiod is of version 0.0.1, and vfioctl of " VFIOD_VERSION));
	assert_non_null(strstr(ctl_out, "PROBLEM  groups: group 15 wants attention\n"
					"         stuck: end ?[2Jit\n"));
	assert_non_null(strstr(ctl_out,
		"PROBLEM  configuration: vfiod.conf:3: unknown key 'alow'\n         The rules"));
	assert_non_null(strstr(ctl_out,
		"PROBLEM  rules: rule 'gpu' (vfiod.conf:7) covers a part of a group: no rule\n"
		"         covers 0000:01:00.1, so nobody may lease it\n"
		"         Groups are leased whole: "));
	assert_non_null(strstr(ctl_out,
		"warn     rules: rule 'old' (vfiod.conf:12) matches no device of this host\n"));
	for (const char *line = ctl_out; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 80);

	ctl(fake, "check", "--json", NULL);
	assert_int_equal(strncmp(ctl_out, "{\"findings\":[{\"level\":\"", 23), 0);
	assert_non_null(strstr(ctl_out, "{\"level\":\"ok\",\"topic\":\"configuration\",\"text\":"
					"\"is valid\",\"advice\":null}"));
	assert_non_null(strstr(ctl_out, "none: nobody may lease anything"));
	assert_int_equal(ctl(fake, "check", "7", NULL), EXIT_USAGE);
	fake_stop(fake);

	assert_int_equal(ctl(NULL, "check", NULL), EXIT_REFUSED);
	assert_non_null(strstr(ctl_out, "PROBLEM  vfiod: does not answer at /nonexistent/socket"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(good_host_is_fine, setup, teardown),
		cmocka_unit_test_setup_teardown(no_iommu_says_what_to_do, setup, teardown),
		cmocka_unit_test_setup_teardown(rest_of_the_host, setup, teardown),
		cmocka_unit_test(daemon_is_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
