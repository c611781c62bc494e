#include "daemon/inventory/internal.h"

#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/text.h"
#include "daemon/base/util.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char *binding_name(enum binding binding)
{
	static const char *const names[] = {
		[BINDING_HOST] = "host",
		[BINDING_TAKING] = "taking",
		[BINDING_TAKEN] = "taken",
		[BINDING_RETURNING] = "returning",
		[BINDING_FAILED] = "failed",
		[BINDING_STUCK] = "stuck",
		[BINDING_GONE] = "gone",
	};
	return names[binding];
}

const char *owner_name(enum owner owner)
{
	static const char *const names[] = {
		[OWNER_NONE] = "none",
		[OWNER_LEASED] = "leased",
		[OWNER_LINGERING] = "lingering",
	};
	return names[owner];
}

struct group *group_new(int number)
{
	struct group *group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	group->number = number;
	group->n_holds = 1;
	TAILQ_INIT(&group->devices);
	return group;
}

struct group *group_departed(int number)
{
	struct group *group = group_new(number);

	if (group)
		group->binding = BINDING_GONE;
	return group;
}

struct group *group_hold(struct group *group)
{
	group->n_holds++;
	return group;
}

struct group *group_release(struct group *group)
{
	if (!group || --group->n_holds > 0)
		return NULL;
	free(group->reserved);
	free(group);
	return NULL;
}

enum binding group_observed_binding(const struct group *group)
{
	const struct device *device;
	bool on_vfio = false;

	TAILQ_FOREACH (device, &group->devices, of_group) {
		if (!device_leaves_dma(device))
			return BINDING_HOST;
		on_vfio = on_vfio || device_on_vfio(device);
	}
	return on_vfio ? BINDING_TAKEN : BINDING_HOST;
}

static bool binding_is_bad(enum binding binding)
{
	return binding == BINDING_FAILED || binding == BINDING_STUCK;
}

/* NULL: nothing that anybody looks for. */
static const char *binding_message(enum binding now, enum binding before)
{
	if (now == BINDING_FAILED)
		return MESSAGE_GROUP_FAILED;
	if (now == BINDING_STUCK)
		return MESSAGE_GROUP_STUCK;
	return binding_is_bad(before) ? MESSAGE_GROUP_WELL : NULL;
}

static void group_log(
	const struct group *group, int level, const char *id, const char *now, const char *before)
{
	char number[16];
	const char *const fields[] = { "VFIOD_GROUP", number, id ? "MESSAGE_ID" : NULL, id, NULL };

	snprintf(number, sizeof(number), "%d", group->number);
	log_fields(level, fields, "group %d is %s (was %s)%s%s", group->number, now, before,
		*group->failure ? ": " : "", group->failure);
}

bool group_is_noiommu(const struct group *group)
{
	const struct device *first = TAILQ_FIRST(&group->devices);
	return group->is_of_vfio && first && strcmp(first->bus, "mdev") != 0;
}

const char *group_type(const struct group *group)
{
	return group_is_noiommu(group) ? "noiommu" : group->type;
}

/* GONE is final: a transaction that ends later has nothing to say about the group any more. */
void group_set_binding(
	struct inventory *inventory, struct group *group, enum binding binding, const char *failure)
{
	enum binding before = group->binding;
	bool is_bad = binding_is_bad(binding);
	const char *text = is_bad && failure ? failure : "";
	char cut[sizeof(group->failure)];

	snprintf(cut, sizeof(cut), "%s", text);
	if (before == BINDING_GONE || (before == binding && strcmp(cut, group->failure) == 0))
		return;
	group->binding = binding;
	memcpy(group->failure, cut, sizeof(cut));
	group_log(group, is_bad ? LOG_WARNING : LOG_INFO, binding_message(binding, before),
		binding_name(binding), binding_name(before));
	inventory_tell(inventory, GROUP_BINDING, group, NULL, binding_name(before));
}

void group_set_owner(struct inventory *inventory, struct group *group, enum owner owner)
{
	enum owner before = group->owner;

	if (before == owner)
		return;
	group->owner = owner;
	char number[16];
	const char *id = owner == OWNER_LINGERING    ? MESSAGE_GROUP_LINGERS
			 : before == OWNER_LINGERING ? MESSAGE_GROUP_FREE
						     : NULL;
	const char *const fields[] = { "VFIOD_GROUP", number, id ? "MESSAGE_ID" : NULL, id, NULL };
	text_put_number(number, number + sizeof(number), (uint64_t)group->number);
	/* The line of the lease says it, too. */
	bool by_lease = (owner == OWNER_LEASED && before == OWNER_NONE) ||
			(owner == OWNER_NONE && before == OWNER_LEASED);
	int level = by_lease ? LOG_DEBUG : LOG_INFO;
	if (owner == OWNER_NONE)
		log_fields(level, fields, "group %d has no owner (was %s)", group->number,
			owner_name(before));
	else
		log_fields(level, fields, "group %d is %s (was %s)", group->number,
			owner_name(owner), owner_name(before));
	inventory_tell(inventory, GROUP_OWNER, group, NULL, owner_name(before));
}

int group_number_parse(const char *text)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	long number = strtol(text, &end, 10);
	return *end != '\0' || errno != 0 || number > INT_MAX ? -EINVAL : (int)number;
}

/* "0x00000000fee00000 0x00000000feefffff msi" (Documentation/ABI/testing/sysfs-kernel-iommu_groups)
 */
bool reserved_region_parse(const char *line, struct reserved_region *region)
{
	struct reserved_region new;
	char *end;

	if (strncmp(line, "0x", 2) != 0)
		return false;
	errno = 0;
	new.first = strtoull(line, &end, 16);
	if (errno != 0 || strncmp(end, " 0x", 3) != 0)
		return false;
	new.last = strtoull(end + 1, &end, 16);
	if (errno != 0 || *end != ' ' || new.last < new.first)
		return false;

	size_t length = strcspn(end + 1, " \n");
	const char *rest = end + 1 + length;
	if (length == 0 || length >= sizeof(new.type) || rest[strspn(rest, "\n")] != '\0')
		return false;
	memcpy(new.type, end + 1, length);
	new.type[length] = '\0';
	*region = new;
	return true;
}

static int reserved_read(const char *path, struct reserved_region **regions, size_t *n_regions)
{
	_cleanup_free_ struct reserved_region *list = NULL;
	_cleanup_free_ char *line = NULL;
	size_t n = 0, size = 0;
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ENODEV : -errno;

	while (getline(&line, &size, file) >= 0) {
		struct reserved_region region;
		if (!reserved_region_parse(line, &region)) {
			log_warning("%s: a line that is no region is ignored", path);
			continue;
		}
		struct reserved_region *grown = reallocarray(list, n + 1, sizeof(*list));
		if (!grown)
			return -ENOMEM;
		list = grown;
		list[n++] = region;
	}
	if (!feof(file))
		return -EIO;
	*regions = steal_pointer(&list);
	*n_regions = n;
	return 0;
}

/*
 * Its name is there before its first device is (drivers/vfio/group.c, vfio_noiommu_group_alloc,
 * also for mdevs; iommu_group_set_name). Others have none.
 */
static int read_is_of_vfio(int number, bool *is_of_vfio)
{
	char path[80], name[32] = "";

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/name", number);
	ssize_t length = file_read(path, name, sizeof(name));
	*is_of_vfio = length > 0 && strcmp(name, "vfio-noiommu") == 0;
	return length < 0 && length != -ENOENT && length != -EFBIG ? (int)length : 0;
}

int group_read(struct group *group)
{
	char path[80], type[sizeof(group->type)];
	bool is_of_vfio;
	struct reserved_region *regions = NULL;
	size_t n_regions = 0;
	ino_t inode;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d", group->number);
	int result = sysfs_inode(path, &inode);
	if (result < 0)
		return result;
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/type", group->number);
	ssize_t length = file_read(path, type, sizeof(type));
	if (length < 0)
		return length == -ENOENT ? -ENODEV : (int)length;
	result = read_is_of_vfio(group->number, &is_of_vfio);
	if (result < 0)
		return result;
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/reserved_regions", group->number);
	result = reserved_read(path, &regions, &n_regions);
	if (result < 0)
		return result;

	group->inode = inode;
	memcpy(group->type, type, sizeof(type));
	group->is_of_vfio = is_of_vfio;
	free(group->reserved);
	group->reserved = regions;
	group->n_reserved = n_regions;
	return 0;
}

int group_read_members(int number, char ***members)
{
	char path[80];
	char **list = NULL;
	int result = 0;

	*members = NULL;
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices", number);
	DIR *directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? 0 : -errno;

	const struct dirent *entry;
	while (result == 0 && (errno = 0, entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		/* The link's name is the device's, but for a suffix where two buses have the same
		 * (drivers/iommu/iommu.c, iommu_group_add_device): only its target is right. */
		_cleanup_free_ char *link = NULL;
		if (asprintf(&link, "%s/%s", path, entry->d_name) < 0) {
			link = NULL;
			result = -ENOMEM;
			break;
		}
		_cleanup_free_ char *syspath = realpath(link, NULL);
		if (syspath)
			result = strv_add(&list, syspath);
		else if (errno != ENOENT)
			result = -errno;
	}
	if (result == 0 && !entry && errno != 0)
		result = -errno;
	closedir(directory);
	if (result < 0) {
		strv_free(list);
		return result;
	}
	*members = list;
	return 0;
}
