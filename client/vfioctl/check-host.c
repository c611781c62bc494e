/* The host as VFIO needs it: IOMMU, interrupt remapping, modules, device nodes. */
#include "client/vfioctl/check.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* False where there is none, or none to be read: *buffer is "" then. Cut to fit. */
static bool read_text(const struct host *host, const char *path, char *buffer, size_t size)
{
	char full[512];
	FILE *file;
	size_t n = 0;

	snprintf(full, sizeof full, "%s%s", host->root, path);
	file = fopen(full, "re");
	if (file) {
		n = fread(buffer, 1, size - 1, file);
		fclose(file);
	}
	buffer[n] = '\0';
	return file != NULL;
}

static bool exists(const struct host *host, const char *path)
{
	char full[512];

	snprintf(full, sizeof full, "%s%s", host->root, path);
	return access(full, F_OK) == 0;
}

/* How many entries a directory has; *first gets the first name. */
static size_t count_entries(const struct host *host, const char *path, char *first, size_t size)
{
	char full[512];
	const struct dirent *entry;
	size_t n = 0;
	DIR *directory;

	first[0] = '\0';
	snprintf(full, sizeof full, "%s%s", host->root, path);
	directory = opendir(full);
	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && n++ == 0)
			snprintf(first, size, "%s", entry->d_name);
	if (directory)
		closedir(directory);
	return n;
}

/* Is there a line in a file that has this text? For files that are longer than a buffer. */
static bool file_has(const struct host *host, const char *path, const char *text)
{
	char full[512], *line = NULL;
	size_t size = 0;
	bool is_found = false;
	FILE *file;

	snprintf(full, sizeof full, "%s%s", host->root, path);
	file = fopen(full, "re");
	while (file && !is_found && getline(&line, &size, file) >= 0)
		is_found = strstr(line, text) != NULL;
	free(line);
	if (file)
		fclose(file);
	return is_found;
}

/* --- IOMMU -------------------------------------------------------------------------------------
 */

enum maker { MAKER_INTEL, MAKER_AMD, MAKER_ARM, MAKER_OTHER };

static enum maker maker_of(const struct host *host)
{
	if (file_has(host, "/proc/cpuinfo", "GenuineIntel"))
		return MAKER_INTEL;
	if (file_has(host, "/proc/cpuinfo", "AuthenticAMD") ||
		file_has(host, "/proc/cpuinfo", "HygonGenuine"))
		return MAKER_AMD;
	return file_has(host, "/proc/cpuinfo", "CPU implementer") ? MAKER_ARM : MAKER_OTHER;
}

/* An argument of the kernel that turns the IOMMU off, or NULL. */
static const char *argument_against(const struct host *host)
{
	static const char *const arguments[] = { "intel_iommu=off", "amd_iommu=off", "iommu=off" };
	char line[4096 + 2];

	line[0] = ' ';
	read_text(host, "/proc/cmdline", line + 1, sizeof line - 1);
	for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
		const char *at = strstr(line, arguments[i]);
		if (at && at[-1] == ' ' && strchr(" ,\n", at[strlen(arguments[i])]))
			return arguments[i];
	}
	return NULL;
}

#define TABLES "/sys/firmware/acpi/tables/"

/* The firmware describes an IOMMU, and the kernel does not use it: false if it does not. */
static bool offered(const struct host *host, struct findings *findings)
{
	static const struct {
		const char *table, *text, *advice;
	} offers[] = {
		{ TABLES "DMAR",
			"off; the firmware offers Intel VT-d, and the kernel does not use it",
			"Add intel_iommu=on to the arguments of the kernel, and boot again." },
		{ TABLES "IVRS", "off; the firmware offers AMD-Vi, and the kernel does not use it",
			"`dmesg | grep AMD-Vi` says what the kernel dislikes; a newer firmware "
			"often "
			"helps. The arguments of the kernel must not turn it off." },
		{ TABLES "IORT",
			"off; the firmware describes an SMMU, and the kernel does not use it",
			"The kernel needs CONFIG_ARM_SMMU_V3 or CONFIG_ARM_SMMU; `dmesg | grep -i "
			"smmu` says what it dislikes." },
		{ TABLES "VIOT", "off; the firmware describes a virtio IOMMU, which has no driver",
			"Load the module virtio-iommu early: from the initramfs." },
	};
	const char *argument = argument_against(host);
	char text[160];

	for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
		if (!exists(host, offers[i].table))
			continue;
		if (argument) {
			snprintf(text, sizeof text, "off: the kernel was booted with %s", argument);
			finding_add(findings, FINDING_PROBLEM, "iommu", text,
				"Remove that from the arguments of the kernel (on Intel, add "
				"intel_iommu=on), and boot again.");
		} else {
			finding_add(findings, FINDING_PROBLEM, "iommu", offers[i].text,
				offers[i].advice);
		}
		return true;
	}
	return false;
}

static void not_offered(const struct host *host, struct findings *findings)
{
	static const char *const advice[] = {
		[MAKER_INTEL] =
			"Turn on VT-d (Intel Virtualization Technology for Directed I/O) in the "
			"setup of the firmware, add intel_iommu=on to the arguments of the kernel, "
			"and boot again.",
		[MAKER_AMD] =
			"Turn on IOMMU (AMD-Vi) in the setup of the firmware, and boot again; "
			"the kernel then uses it by itself.",
		[MAKER_ARM] = "The board needs an SMMU, and firmware (ACPI IORT, or a device tree) "
			      "that describes it.",
		[MAKER_OTHER] = "The machine needs an IOMMU, and firmware that describes it.",
	};

	if (file_has(host, "/proc/cpuinfo", " hypervisor"))
		finding_add(findings, FINDING_PROBLEM, "iommu",
			"none; this is a virtual machine, and it was not given one",
			"Have the host give it a virtual IOMMU; with QEMU: -machine q35 -device "
			"intel-iommu,intremap=on,caching-mode=on. Then add intel_iommu=on to the "
			"arguments of the kernel, and boot again.");
	else
		finding_add(findings, FINDING_PROBLEM, "iommu",
			"none that the firmware tells of: no device can be leased",
			advice[maker_of(host)]);
}

/* True: it is on. */
static bool check_iommu(const struct host *host, struct findings *findings)
{
	char unit[256], group[256], text[160];
	size_t n_units = count_entries(host, "/sys/class/iommu", unit, sizeof unit);
	size_t n_groups = count_entries(host, "/sys/kernel/iommu_groups", group, sizeof group);
	const char *kind = strncmp(unit, "dmar", 4) == 0   ? "Intel VT-d"
			   : strncmp(unit, "ivhd", 4) == 0 ? "AMD-Vi"
			   : strncmp(unit, "smmu", 4) == 0 ? "SMMU"
							   : "an IOMMU";

	if (n_units > 0 && n_groups > 0) {
		snprintf(text, sizeof text, "%s is on; %zu groups", kind, n_groups);
		finding_add(findings, FINDING_OK, "iommu", text, NULL);
		return true;
	}
	if (n_units > 0) {
		snprintf(text, sizeof text, "%s is there, but no device is in a group", kind);
		finding_add(findings, FINDING_PROBLEM, "iommu", text,
			"On Intel, add intel_iommu=on to the arguments of the kernel; remove "
			"iommu=off from them; and boot again.");
		return false;
	}
	if (!offered(host, findings))
		not_offered(host, findings);
	return false;
}

/* Interrupts that are remapped carry IR in the names of their controllers (arch/x86,
 * drivers/iommu). */
static void check_interrupts(const struct host *host, struct findings *findings)
{
	enum maker maker = maker_of(host);
	char value[8];

	read_text(host, "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", value,
		sizeof value);
	if (value[0] == 'Y')
		finding_add(findings, FINDING_WARNING, "interrupts",
			"allow_unsafe_interrupts is set: who has a device can send the host "
			"interrupts that are not the device's",
			"Where interrupt remapping is on, it is not needed: remove it from the "
			"options of vfio_iommu_type1.");
	if (maker != MAKER_INTEL && maker != MAKER_AMD)
		return;
	if (file_has(host, "/proc/interrupts", " IR-"))
		finding_add(findings, FINDING_OK, "interrupts", "remapping is on", NULL);
	else if (value[0] != 'Y')
		finding_add(findings, FINDING_PROBLEM, "interrupts",
			"remapping is off, and without it VFIO refuses every device",
			"Turn it on in the setup of the firmware (on some, it is part of VT-d or "
			"x2APIC), remove intremap=off and nointremap from the arguments of the "
			"kernel, and boot again.");
}

/* --- modules and nodes -------------------------------------------------------------------- */

/* Loaded, or there to be loaded ("/vfio-pci.ko" in modules.dep), or part of the kernel. */
static bool module_is_loaded(const struct host *host, const char *underscored)
{
	char path[128];

	snprintf(path, sizeof path, "/sys/module/%s", underscored);
	return exists(host, path);
}

static bool module_listed(const struct host *host, const char *list, const char *name)
{
	char path[256], underscored[64], file[72];

	snprintf(path, sizeof path, "/lib/modules/%s/%s", host->release, list);
	snprintf(file, sizeof file, "/%s.ko", name);
	if (file_has(host, path, file))
		return true;
	snprintf(underscored, sizeof underscored, "%s", name);
	for (char *c = underscored; (c = strchr(c, '-'));)
		*c = '_';
	snprintf(file, sizeof file, "/%s.ko", underscored);
	return file_has(host, path, file);
}

static void check_module(const struct host *host, struct findings *findings, const char *name,
	const char *underscored)
{
	char text[160], advice[160];

	if (module_is_loaded(host, underscored) || module_listed(host, "modules.builtin", name)) {
		snprintf(text, sizeof text, "%s is loaded", name);
		finding_add(findings, FINDING_OK, "modules", text, NULL);
	} else if (module_listed(host, "modules.dep", name)) {
		snprintf(text, sizeof text, "%s is not loaded", name);
		snprintf(advice, sizeof advice,
			"`modprobe %s`, as root; /usr/lib/modules-load.d/vfiod.conf does it at "
			"boot.",
			name);
		finding_add(findings, FINDING_WARNING, "modules", text, advice);
	} else {
		snprintf(text, sizeof text, "%s is not there for kernel %s", name, host->release);
		finding_add(findings, FINDING_PROBLEM, "modules", text,
			"Install the package with all modules of this kernel (some keep VFIO in "
			"linux-modules-extra), or a kernel with CONFIG_VFIO_PCI.");
	}
}

static void check_container(const struct host *host, struct findings *findings)
{
	struct stat status;
	char full[512], text[160];

	snprintf(full, sizeof full, "%s/dev/vfio/vfio", host->root);
	if (stat(full, &status) < 0) {
		finding_add(findings, FINDING_PROBLEM, "container",
			errno == ENOENT ? "/dev/vfio/vfio is not there"
					: "/dev/vfio/vfio cannot be looked at",
			"Load the module vfio, and see that udev is running.");
	} else if ((status.st_mode & 0006) != 0006) {
		snprintf(text, sizeof text, "/dev/vfio/vfio has mode %04o: only root can open it",
			(unsigned)status.st_mode & 07777);
		finding_add(findings, FINDING_PROBLEM, "container", text,
			"It gives no right by itself, and udev's own rules make it 0666: see that "
			"udev is running, and that no rule says otherwise; `chmod 0666 "
			"/dev/vfio/vfio` helps until the next boot.");
	} else {
		finding_add(findings, FINDING_OK, "container",
			"/dev/vfio/vfio is there for everybody", NULL);
	}
}

static void check_noiommu(const struct host *host, struct findings *findings)
{
	char value[8];

	read_text(host, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", value,
		sizeof value);
	if (value[0] == 'Y')
		finding_add(findings, FINDING_WARNING, "noiommu",
			"VFIO's no-IOMMU mode is allowed: a device without an IOMMU can write to "
			"all of memory",
			"Remove enable_unsafe_noiommu_mode from the options of the module vfio.");
}

static void check_lockdown(const struct host *host, struct findings *findings)
{
	char value[128];

	read_text(host, "/sys/kernel/security/lockdown", value, sizeof value);
	if (strstr(value, "[integrity]") || strstr(value, "[confidentiality]"))
		finding_add(findings, FINDING_OK, "lockdown",
			"the kernel is locked down: VFIO works, modules have to be signed", NULL);
}

/* What is mapped for a device counts, once for each container (drivers/vfio/vfio_iommu_type1.c). */
static void check_memlock(const struct host *host, struct findings *findings)
{
	char text[160];

	if (host->memlock_bytes == UINT64_MAX) {
		finding_add(findings, FINDING_OK, "memlock", "no limit for you", NULL);
		return;
	}
	snprintf(text, sizeof text,
		"your processes may lock %llu MiB of memory each, and more with a lease that says "
		"how much (vfioctl run --memory)",
		(unsigned long long)(host->memlock_bytes >> 20));
	finding_add(findings, FINDING_OK, "memlock", text, NULL);
}

/* Only systemd-sysusers makes it, and that writes here. */
static void check_keepers(const struct host *host, struct findings *findings)
{
	if (file_has(host, "/etc/passwd", "vfiod-keeper:"))
		finding_add(findings, FINDING_OK, "spaces", "the keepers' user is there", NULL);
	else
		finding_add(findings, FINDING_WARNING, "spaces",
			"there is no user vfiod-keeper, so there can be no spaces",
			"`systemd-sysusers`, as root, makes it.");
}

void check_host(struct findings *findings, const struct host *host)
{
	bool has_iommufd = exists(host, "/dev/iommu");

	if (check_iommu(host, findings))
		check_interrupts(host, findings);
	check_module(host, findings, "vfio-pci", "vfio_pci");
	check_module(host, findings, "vfio_iommu_type1", "vfio_iommu_type1");
	check_container(host, findings);
	finding_add(findings, FINDING_OK, "iommufd",
		!has_iommufd ? "not in this kernel; groups are handed out"
		: exists(host, "/sys/class/vfio-dev")
			? "in this kernel, with a node for each device"
			: "in this kernel",
		NULL);
	if (exists(host, "/run/udev/control"))
		finding_add(findings, FINDING_OK, "udev", "is running", NULL);
	else
		finding_add(findings, FINDING_WARNING, "udev",
			"is not running: rules by tag or property match nothing, and "
			"/dev/vfio/vfio "
			"stays root's",
			"Start it: systemctl start systemd-udevd.");
	check_noiommu(host, findings);
	check_lockdown(host, findings);
	check_memlock(host, findings);
	check_keepers(host, findings);
}
