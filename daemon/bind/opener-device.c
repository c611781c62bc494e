/* Which device is an open VFIO device of which the kernel shows no more than that it is one? */
#include "daemon/bind/opener-parts.h"

#include "daemon/base/util.h"
#include "daemon/inventory/device.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

/* A device on a VFIO driver: one of them it must be. */
struct candidate {
	bool is_ours;
	bool is_pci;
	/* A variant driver may show its user other ids than the device has (virtio's does). */
	bool shows_its_ids;
	struct device_address address;
	unsigned vendor, device, subsystem_vendor, subsystem_device, class_revision;
};

static unsigned read_number(const char *device, const char *name)
{
	char path[OPENER_PATH_SIZE + NAME_MAX], text[32];

	snprintf(path, sizeof(path), "%s/%s", device, name);
	return file_read(path, text, sizeof(text)) > 0 ? (unsigned)strtoul(text, NULL, 0) : 0;
}

/* The last part of a link's target; "" if there is none. */
static void read_last(const char *device, const char *name, char *last, size_t size)
{
	char path[OPENER_PATH_SIZE + NAME_MAX], target[PATH_MAX];

	last[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", device, name);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	string_copy(last, size, slash ? slash + 1 : target);
}

/* "0000:3b:02.0" */
static bool parse_address(const char *name, struct device_address *address)
{
	static const char separators[] = "::.";
	unsigned numbers[4];
	char *end;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		numbers[i] = (unsigned)strtoul(name, &end, 16);
		if (end == name || *end != separators[i])
			return false;
		name = end + 1;
	}
	*address = (struct device_address){
		.segment = numbers[0],
		.bus = numbers[1],
		.devfn = numbers[2] << 3 | numbers[3],
	};
	return true;
}

/*
 * While an unbind hangs, the driver's link has gone already (drivers/base/dd.c,
 * driver_sysfs_remove) and the group's node is still there.
 */
static bool candidate_read(
	const char *path, const char *name, bool has_group_node, struct candidate *candidate)
{
	char driver[DRIVER_NAME_SIZE], bus[32];

	read_last(path, "driver", driver, sizeof(driver));
	read_last(path, "subsystem", bus, sizeof(bus));
	/* Every driver of the mdev bus is VFIO's. */
	if (*driver ? strcmp(bus, "mdev") != 0 && !driver_is_vfio(driver) : !has_group_node)
		return false;
	candidate->is_pci = strcmp(bus, "pci") == 0 && parse_address(name, &candidate->address);
	if (!candidate->is_pci)
		return true;
	candidate->shows_its_ids = strcmp(driver, "vfio-pci") == 0;
	candidate->vendor = read_number(path, "vendor");
	candidate->device = read_number(path, "device");
	candidate->subsystem_vendor = read_number(path, "subsystem_vendor");
	candidate->subsystem_device = read_number(path, "subsystem_device");
	candidate->class_revision = read_number(path, "class") << 8 | read_number(path, "revision");
	return true;
}

static int add_candidate(struct search *search, const struct candidate *candidate)
{
	struct candidate *grown = reallocarray(
		search->candidates, search->n_candidates + 1, sizeof(*search->candidates));
	if (!grown)
		return -ENOMEM;
	search->candidates = grown;
	grown[search->n_candidates++] = *candidate;
	return 0;
}

static int read_group(struct search *search, const char *groups, const char *number)
{
	char path[OPENER_PATH_SIZE + NAME_MAX];
	const struct dirent *entry;
	int r = 0;

	snprintf(path, sizeof(path), "%s/sys/class/vfio/%.16s", search->query->root, number);
	bool has_node = access(path, F_OK) == 0;
	snprintf(
		path, sizeof(path), "%s/sys/class/vfio/noiommu-%.16s", search->query->root, number);
	has_node = has_node || access(path, F_OK) == 0;
	bool is_ours = strtol(number, NULL, 10) == search->query->group;
	snprintf(path, sizeof(path), "%s/%.16s/devices", groups, number);
	DIR *directory = opendir(path);
	while (r == 0 && directory && (entry = readdir(directory))) {
		struct candidate candidate = { .is_ours = is_ours };

		snprintf(path, sizeof(path), "%s/%.16s/devices/%s", groups, number, entry->d_name);
		if (*entry->d_name != '.' &&
			candidate_read(path, entry->d_name, has_node, &candidate))
			r = add_candidate(search, &candidate);
	}
	if (directory)
		closedir(directory);
	return r;
}

int search_read_candidates(struct search *search)
{
	char groups[OPENER_PATH_SIZE - 32];
	const struct dirent *entry;
	int r = 0;

	snprintf(groups, sizeof(groups), "%s/sys/kernel/iommu_groups", search->query->root);
	DIR *directory = opendir(groups);
	while (r == 0 && directory && (entry = readdir(directory)))
		if (*entry->d_name != '.')
			r = read_group(search, groups, entry->d_name);
	if (directory)
		closedir(directory);
	return r;
}

static unsigned word_at(const unsigned char *header, unsigned at)
{
	return header[at] | (unsigned)header[at + 1] << 8;
}

/* These registers are read-only to who has the device (drivers/vfio/pci/vfio_pci_config.c). */
static bool has_ids(const struct candidate *candidate, const unsigned char *header)
{
	unsigned class_revision =
		word_at(header, PCI_REVISION_ID) | word_at(header, PCI_CLASS_DEVICE) << 16;

	return word_at(header, PCI_VENDOR_ID) == candidate->vendor &&
	       word_at(header, PCI_DEVICE_ID) == candidate->device &&
	       word_at(header, PCI_SUBSYSTEM_VENDOR_ID) == candidate->subsystem_vendor &&
	       word_at(header, PCI_SUBSYSTEM_ID) == candidate->subsystem_device &&
	       class_revision == candidate->class_revision;
}

static bool is_in_set(const struct candidate *candidate, const struct device_facts *facts)
{
	for (size_t i = 0; i < facts->n_set; i++)
		if (facts->set[i].segment == candidate->address.segment &&
			facts->set[i].bus == candidate->address.bus &&
			facts->set[i].devfn == candidate->address.devfn)
			return true;
	return facts->n_set == 0;
}

/* What nothing speaks against. An mdev may be a PCI device, with any ids. */
static bool fits(const struct candidate *candidate, const struct device_facts *facts)
{
	if (!candidate->is_pci)
		return facts->n_set == 0;
	if (!facts->is_pci || !is_in_set(candidate, facts))
		return false;
	return !candidate->shows_its_ids || has_ids(candidate, facts->header);
}

enum device_match search_match(const struct search *search, pid_t pid, int fd)
{
	struct device_facts facts = { .n_set = 0 };
	size_t n_ours = 0, n_others = 0;

	int r = search->ops->facts(search->ops->userdata, pid, fd, &facts);
	if (r == -ESRCH || r == -EBADF || r == -ENODEV)
		return MATCH_NONE; /* closed meanwhile */
	if (r < 0)
		return MATCH_UNTOLD;
	for (size_t i = 0; i < search->n_candidates; i++)
		if (fits(&search->candidates[i], &facts))
			*(search->candidates[i].is_ours ? &n_ours : &n_others) += 1;
	if (n_ours == 0)
		return MATCH_NONE;
	return n_others == 0 ? MATCH_OURS : MATCH_SOME;
}
