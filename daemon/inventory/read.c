/*
 * A device from sysfs. Only links, and attributes whose show function takes no device lock and
 * wakes no device: of PCI's (drivers/pci/pci-sysfs.c, pci.c: reset_method) the ids, class,
 * numa_node, modalias and reset_method; never driver_override, sriov_numvfs, config or uevent.
 */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <libudev.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *path_join(const char *directory, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

int sysfs_inode(const char *path, ino_t *inode)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	*inode = st.st_ino;
	return 0;
}

int sysfs_link_name(const char *directory, const char *link, char *name, size_t size)
{
	char target[PATH_MAX];
	_cleanup_free_ char *path = path_join(directory, link);
	if (!path)
		return -ENOMEM;

	ssize_t length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -errno;
	target[length] = '\0';
	const char *slash = strrchr(target, '/');
	snprintf(name, size, "%s", slash ? slash + 1 : target);
	return 0;
}

/* An attribute that need not exist: "" then. 0 or -errno. */
static int attribute_read(const char *syspath, const char *name, char *value, size_t size)
{
	_cleanup_free_ char *path = path_join(syspath, name);
	if (!path)
		return -ENOMEM;

	ssize_t length = file_read(path, value, size);
	if (length == -ENOENT) {
		*value = '\0';
		return 0;
	}
	return length < 0 ? (int)length : 0;
}

static int attribute_read_id(const char *syspath, const char *name, uint32_t max, uint32_t *id)
{
	char text[32], *end;
	int result = attribute_read(syspath, name, text, sizeof(text));
	if (result < 0)
		return result;

	*id = 0;
	if (*text == '\0')
		return 0;
	unsigned long value = strtoul(text, &end, 16);
	if (*end != '\0' || value > max)
		return -EINVAL;
	*id = (uint32_t)value;
	return 0;
}

static int device_read_ids(struct device *device)
{
	uint32_t vendor, product, subsystem_vendor, subsystem_product;
	const struct {
		const char *attribute;
		uint32_t max, *id;
	} ids[] = {
		{ "vendor", UINT16_MAX, &vendor },
		{ "device", UINT16_MAX, &product },
		{ "subsystem_vendor", UINT16_MAX, &subsystem_vendor },
		{ "subsystem_device", UINT16_MAX, &subsystem_product },
		{ "class", 0xffffff, &device->class },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int result =
			attribute_read_id(device->syspath, ids[i].attribute, ids[i].max, ids[i].id);
		if (result < 0)
			return result;
	}
	device->vendor = (uint16_t)vendor;
	device->product = (uint16_t)product;
	device->subsystem_vendor = (uint16_t)subsystem_vendor;
	device->subsystem_product = (uint16_t)subsystem_product;
	return 0;
}

/*
 * The attribute of this number, sriov_numvfs, takes the device lock: the links are counted.
 * Only PFs have sriov_totalvfs, so that other devices' directories need not be listed.
 */
static int device_count_virtfns(struct device *device)
{
	_cleanup_free_ char *total = path_join(device->syspath, "sriov_totalvfs");
	if (!total)
		return -ENOMEM;
	device->n_virtfns = 0;
	if (access(total, F_OK) < 0)
		return 0;

	DIR *directory = opendir(device->syspath);
	if (!directory)
		return -errno;
	const struct dirent *entry;
	while ((entry = readdir(directory)))
		if (strncmp(entry->d_name, "virtfn", 6) == 0)
			device->n_virtfns++;
	closedir(directory);
	return 0;
}

/* Is it this VF of the PF? 1, 0, or -errno: -ENOENT, there is none of this number. */
static int is_vf(const struct device *device, const char *pf, int number)
{
	char name[DEVICE_NAME_SIZE], link[32];

	snprintf(link, sizeof(link), "virtfn%d", number);
	int result = sysfs_link_name(pf, link, name, sizeof(name));
	return result < 0 ? result : strcmp(name, device->name) == 0;
}

/*
 * The PF's virtfnN links count its VFs (drivers/pci/iov.c, pci_iov_sysfs_link). It is as last time,
 * or the one after the last that was looked for, most of the time: not to search a PF with many VFs
 * for each of them.
 */
static int device_read_vf(struct inventory *inventory, struct device *device)
{
	const int likely[] = { device->vf_index, inventory->next_vf };
	_cleanup_free_ char *pf = path_join(device->syspath, "physfn");
	if (!pf)
		return -ENOMEM;

	int result =
		sysfs_link_name(device->syspath, "physfn", device->physfn, sizeof(device->physfn));
	if (result < 0) {
		device->physfn[0] = '\0';
		device->vf_index = -1;
		return result == -ENOENT ? 0 : result;
	}
	device->vf_index = -1;
	for (size_t i = 0; i < ARRAY_SIZE(likely) && device->vf_index < 0; i++)
		if (likely[i] >= 0 && is_vf(device, pf, likely[i]) == 1)
			device->vf_index = likely[i];
	for (int i = 0; i <= UINT16_MAX && device->vf_index < 0; i++) {
		result = is_vf(device, pf, i);
		if (result < 0)
			return result == -ENOENT ? 0 : result;
		if (result == 1)
			device->vf_index = i;
	}
	inventory->next_vf = device->vf_index + 1;
	return 0;
}

/*
 * It is below its parent, and its type is a link (drivers/vfio/mdev/mdev_sysfs.c); without it, it
 * is a device of no type that is known, and no reason to leave it out.
 */
static int device_read_mdev(struct device *device)
{
	_cleanup_free_ char *parent =
		strndup(device->syspath, (size_t)(strrchr(device->syspath, '/') - device->syspath));
	if (!parent)
		return -ENOMEM;
	const char *name = strrchr(parent, '/');
	if (name)
		snprintf(device->parent, sizeof(device->parent), "%s", name + 1);
	int result = sysfs_link_name(
		device->syspath, "mdev_type", device->mdev_type, sizeof(device->mdev_type));
	if (result < 0)
		device->mdev_type[0] = '\0';
	return result == -ENOENT ? 0 : result;
}

/* Replaces *text by a copy of value: 0 or -ENOMEM. */
static int text_set(char **text, const char *value)
{
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

/* Where udev has no entry for the device: what its rules would have asked hwdb. */
static int device_ask_hwdb(struct device *device, struct udev_hwdb *hwdb)
{
	char modalias[1024];
	const char *vendor = NULL, *model = NULL;
	int result = attribute_read(device->syspath, "modalias", modalias, sizeof(modalias));
	if (result < 0 || *modalias == '\0' || !hwdb)
		return result == -EFBIG ? 0 : result;

	struct udev_list_entry *entry;
	udev_list_entry_foreach(entry, udev_hwdb_get_properties_list_entry(hwdb, modalias, 0))
	{
		const char *name = udev_list_entry_get_name(entry);
		if (strcmp(name, "ID_VENDOR_FROM_DATABASE") == 0)
			vendor = udev_list_entry_get_value(entry);
		else if (strcmp(name, "ID_MODEL_FROM_DATABASE") == 0)
			model = udev_list_entry_get_value(entry);
	}
	if (!vendor && !model)
		return 0;
	char *description = device_describe(vendor, model);
	if (!description)
		return -ENOMEM;
	free(device->description);
	device->description = description;
	return 0;
}

static int device_read_names(struct inventory *inventory, struct device *device)
{
	int result = database_read(inventory->udev_directory, device->bus, device->name,
		&device->properties, &device->tags);
	if (result < 0)
		return result;

	const char *vendor = property_value(device->properties, "ID_VENDOR_FROM_DATABASE");
	const char *model = property_value(device->properties, "ID_MODEL_FROM_DATABASE");
	if (!vendor && !model)
		return *device->description ? 0 : device_ask_hwdb(device, inventory->hwdb);
	char *description = device_describe(vendor, model);
	if (!description)
		return -ENOMEM;
	free(device->description);
	device->description = description;
	return 0;
}

int device_read_driver(const char *syspath, char driver[static DRIVER_NAME_SIZE])
{
	int result = sysfs_link_name(syspath, "driver", driver, DRIVER_NAME_SIZE);
	if (result == -ENOENT) {
		*driver = '\0';
		return 0;
	}
	return result;
}

/*
 * The file is there if the kernel knows a way (drivers/pci/pci.c,
 * pci_dev_reset_method_attr_is_visible) and may be emptied. Before Linux 5.15 there is only
 * `reset`, which names none: the weakest is assumed.
 */
static int device_read_resets(struct device *device)
{
	char methods[256];
	int result = attribute_read(device->syspath, "reset_method", methods, sizeof(methods));

	if (result == 0 && *methods == '\0' && device->is_pci) {
		_cleanup_free_ char *file = path_join(device->syspath, "reset_method");
		_cleanup_free_ char *old = path_join(device->syspath, "reset");
		if (!file || !old)
			return -ENOMEM;
		if (access(file, F_OK) < 0 && access(old, F_OK) == 0)
			string_copy(methods, sizeof(methods), "bus");
	}
	return result < 0 ? result : text_set(&device->reset_method, methods);
}

/* FNV-1a; the NUL, too: "ab", "c" is not "a", "bc". */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3U;
	while (*text++);
	return hash;
}

static uint64_t hash_texts(uint64_t hash, char *const *texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		hash = hash_text(hash, texts[i]);
	return hash_text(hash, "");
}

static uint64_t device_hash(const struct device *device)
{
	char numbers[32];

	snprintf(numbers, sizeof(numbers), "%d %d", device->numa_node, device->vf_index);
	uint64_t hash = hash_text(0xcbf29ce484222325U, numbers);
	hash = hash_text(hash_text(hash, device->reset_method), device->physfn);
	return hash_texts(hash_texts(hash, device->properties), device->tags);
}

int device_read_state(struct inventory *inventory, struct device *device)
{
	char text[256], *end;
	int result = attribute_read(device->syspath, "numa_node", text, sizeof(text));
	if (result < 0)
		return result;
	long node = strtol(text, &end, 10);
	device->numa_node = end == text || node < 0 || node > INT_MAX ? -1 : (int)node;

	result = device_read_resets(device);
	if (result == 0 && device->is_pci)
		result = device_read_vf(inventory, device);
	if (result == 0 && device->is_pci)
		result = device_count_virtfns(device);
	if (result == 0)
		result = device_read_names(inventory, device);
	if (result == 0)
		device->facts = device_hash(device);
	return result < 0 ? result : 0;
}

int sysfs_group_of(const char *syspath)
{
	char name[32];
	int result = sysfs_link_name(syspath, "iommu_group", name, sizeof(name));
	return result < 0 ? result : group_number_parse(name);
}

static int device_fill(struct inventory *inventory, struct device *device, const char *syspath)
{
	int result = text_set(&device->syspath, syspath);
	if (result == 0)
		result = text_set(&device->description, "");
	if (result == 0)
		result = sysfs_inode(syspath, &device->inode);
	if (result < 0)
		return result;

	/* A name that is cut matches no rule and no sysfs path: listed, but never taken. */
	snprintf(device->name, sizeof(device->name), "%s", strrchr(syspath, '/') + 1);
	result = sysfs_link_name(syspath, "subsystem", device->bus, sizeof(device->bus));
	if (result < 0)
		return result;
	device->is_pci = strcmp(device->bus, "pci") == 0;
	device->vf_index = -1;
	if (device->is_pci)
		result = device_read_ids(device);
	if (result == 0 && strcmp(device->bus, "mdev") == 0)
		result = device_read_mdev(device);
	if (result == 0)
		result = device_read_driver(syspath, device->driver);
	return result < 0 ? result : device_read_state(inventory, device);
}

int device_new(struct inventory *inventory, const char *syspath, struct device **device)
{
	struct device *new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;

	int result = device_fill(inventory, new, syspath);
	if (result < 0) {
		device_free(new);
		return result == -ENOENT ? -ENODEV : result;
	}
	*device = new;
	return 0;
}

struct device *device_free(struct device *device)
{
	if (!device)
		return NULL;
	free(device->syspath);
	free(device->description);
	free(device->reset_method);
	strv_free(device->properties);
	strv_free(device->tags);
	free(device);
	return NULL;
}
