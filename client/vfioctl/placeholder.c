#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/selector.h"
#include "client/vfioctl/run.h"

void run_groups_clear(struct run_groups *groups)
{
	for (size_t i = 0; i < groups->n; i++)
		json_object_put(groups->groups[i].described);
	free(groups->devices);
	free(groups->groups);
	free(groups->targets);
	*groups = (struct run_groups){ 0 };
}

int run_groups_add_target(struct run_groups *groups, const char *name)
{
	struct run_target *grown =
		reallocarray(groups->targets, groups->n_targets + 1, sizeof *grown);
	int number = group_argument(name);
	bool is_any = selector_is_any(name);

	if (!grown)
		return -ENOMEM;
	groups->targets = grown;
	/* The library takes a bare number for a device's name. */
	if (is_any)
		snprintf(grown[groups->n_targets].name, sizeof grown->name, "%s", name);
	else if (number >= 0)
		snprintf(grown[groups->n_targets].name, sizeof grown->name, "group:%d", number);
	else
		device_argument(name, grown[groups->n_targets].name, sizeof grown->name);
	grown[groups->n_targets].group = 0;
	grown[groups->n_targets].selected = NULL;
	grown[groups->n_targets].number = -1;
	grown[groups->n_targets].any = is_any ? ++groups->n_any : 0;
	groups->n_targets++;
	return 0;
}

/* Its devices that would be handed over: taking the group puts a VFIO driver on them. */
static int devices_add(struct run_groups *groups, size_t group)
{
	size_t n;
	struct json_object *devices = get_array(groups->groups[group].described, "devices", &n);
	struct run_device *grown =
		reallocarray(groups->devices, groups->n_devices + n + 1, sizeof *grown);

	if (!grown)
		return -ENOMEM;
	groups->devices = grown;
	for (size_t i = 0; i < n; i++) {
		struct json_object *device = json_object_array_get_idx(devices, i);
		const char *name = get_string(device, "name");

		if (name && get_bool(device, "isBound"))
			grown[groups->n_devices++] =
				(struct run_device){ .name = name, .group = group };
	}
	return 0;
}

int run_groups_describe(struct run_groups *groups, size_t target, struct json_object *group)
{
	int64_t number = get_int(group, "number", -1);
	struct run_group *grown;

	if (number < 0 || number > INT_MAX)
		return -EPROTO;
	for (size_t i = 0; i < groups->n; i++)
		if (groups->groups[i].number == (int)number) {
			groups->targets[target].group = i;
			return 0;
		}
	if (groups->n == RUN_MAX_FDS)
		return -E2BIG;
	grown = reallocarray(groups->groups, groups->n + 1, sizeof *grown);
	if (!grown)
		return -ENOMEM;
	groups->groups = grown;
	grown[groups->n].number = (int)number;
	grown[groups->n].described = json_object_get(group);
	groups->targets[target].group = groups->n++;
	return devices_add(groups, groups->n - 1);
}

static struct json_object *granted_describe(const struct vfiod_lease *lease, size_t index)
{
	struct json_object *group = json_object_new_object(), *devices = json_object_new_array();

	json_object_object_add(
		group, "number", json_object_new_int(vfiod_lease_group_number(lease, index)));
	for (size_t i = 0; i < vfiod_lease_n_devices(lease, index); i++) {
		struct json_object *device = json_object_new_object();

		json_object_object_add(device, "name",
			json_object_new_string(vfiod_lease_device(lease, index, i)));
		json_object_object_add(device, "isBound", json_object_new_boolean(true));
		json_object_array_add(devices, device);
	}
	json_object_object_add(group, "devices", devices);
	return group;
}

/*
 * Index of the group of a target, or n_groups. One that is named may be a bridge, or without a
 * driver: the lease has no such devices.
 */
static size_t granted_find(
	const struct vfiod_lease *lease, const struct run_target *target, const char *device)
{
	size_t i = 0, n = vfiod_lease_n_groups(lease);

	for (; target->any == 0 && i < n; i++)
		if (vfiod_lease_group_number(lease, i) == target->number)
			return i;
	for (; device && i < n; i++)
		for (size_t j = 0; j < vfiod_lease_n_devices(lease, i); j++)
			if (strcmp(vfiod_lease_device(lease, i, j), device) == 0)
				return i;
	return n;
}

int run_groups_granted(struct run_groups *groups, const struct vfiod_lease *lease)
{
	for (size_t i = 0; i < groups->n_targets; i++) {
		struct run_target *target = &groups->targets[i];
		const char *device = vfiod_lease_selected(lease, i);
		size_t found = granted_find(lease, target, device);
		struct json_object *group;
		int r;

		if (found == vfiod_lease_n_groups(lease))
			return -EPROTO;
		group = granted_describe(lease, found);
		r = run_groups_describe(groups, i, group);
		json_object_put(group);
		if (r < 0)
			return r;
		if (target->any > 0)
			target->selected = device;
	}
	return 0;
}

/* "any", "any2": the target, or NULL. */
static const struct run_target *any_find(const struct run_groups *groups, const char *name)
{
	char number[24];

	for (size_t i = 0; i < groups->n_targets; i++) {
		const struct run_target *target = &groups->targets[i];

		snprintf(number, sizeof number, "any%zu", target->any);
		if (target->any > 0 && (strcmp(name, number) == 0 ||
					       (target->any == 1 && strcmp(name, "any") == 0)))
			return target;
	}
	return NULL;
}

static bool group_has_device(struct json_object *group, const char *device)
{
	size_t n;
	struct json_object *devices = get_array(group, "devices", &n);

	for (size_t i = 0; i < n; i++) {
		const char *name = get_string(json_object_array_get_idx(devices, i), "name");

		if (name && strcmp(name, device) == 0)
			return true;
	}
	return false;
}

int run_groups_find(const struct run_groups *groups, const char *name)
{
	int number = group_argument(name);
	char device[256];

	if (!*name)
		return groups->n == 1 ? 0 : -1;
	if (any_find(groups, name))
		return (int)any_find(groups, name)->group;
	if (number >= 0) {
		for (size_t i = 0; i < groups->n; i++)
			if (groups->groups[i].number == number)
				return (int)i;
		return -1;
	}
	device_argument(name, device, sizeof device);
	for (size_t i = 0; i < groups->n_targets; i++)
		if (strcmp(groups->targets[i].name, device) == 0)
			return (int)groups->targets[i].group;
	for (size_t i = 0; i < groups->n; i++)
		if (group_has_device(groups->groups[i].described, device))
			return (int)i;
	return -1;
}

/* The only device of a group, or -1. */
static int device_of_group(const struct run_groups *groups, size_t group)
{
	int found = -1;

	for (size_t i = 0; i < groups->n_devices; i++) {
		if (groups->devices[i].group != group)
			continue;
		if (found >= 0)
			return -1;
		found = (int)i;
	}
	return found;
}

int run_devices_find(const struct run_groups *groups, const char *name)
{
	char device[256];

	if (!*name)
		return groups->n_devices == 1 ? 0 : -1;
	if (any_find(groups, name))
		name = any_find(groups, name)->selected;
	device_argument(name, device, sizeof device);
	for (size_t i = 0; i < groups->n_devices; i++)
		if (strcmp(groups->devices[i].name, device) == 0)
			return (int)i;
	/* "enp3s0": which device of a larger group that is, only the daemon knows. */
	for (size_t i = 0; i < groups->n_targets; i++)
		if (strcmp(groups->targets[i].name, device) == 0 && group_argument(device) < 0)
			return device_of_group(groups, groups->targets[i].group);
	return -1;
}

enum placeholder placeholder_at(const char *text, size_t *length)
{
	static const struct {
		const char *start;
		enum placeholder kind;
	} kinds[] = {
		{ "{group}", PLACEHOLDER_GROUP },
		{ "{group:", PLACEHOLDER_GROUP },
		{ "{device}", PLACEHOLDER_DEVICE },
		{ "{device:", PLACEHOLDER_DEVICE },
		{ "{iommufd}", PLACEHOLDER_IOMMUFD },
		{ "{group-number}", PLACEHOLDER_GROUP_NUMBER },
		{ "{group-number:", PLACEHOLDER_GROUP_NUMBER },
		{ "{device-name}", PLACEHOLDER_DEVICE_NAME },
		{ "{device-name:", PLACEHOLDER_DEVICE_NAME },
	};

	*length = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strncmp(text, kinds[i].start, strlen(kinds[i].start)) == 0) {
			*length = strcspn(text, "}");
			*length += text[*length] ? 1 : 0;
			return kinds[i].kind;
		}
	return PLACEHOLDER_NONE; /* other text in braces is CMD's own: QEMU takes JSON */
}

/* What is between the colon and the brace: "" for {group}. False: {group:}, or never closed. */
static bool placeholder_name(const char *text, size_t length, char *name, size_t size)
{
	const char *colon = memchr(text, ':', length);
	size_t n = colon ? length - (size_t)(colon - text) - 2 : 0;

	if (text[length - 1] != '}' || n >= size || (colon && n == 0))
		return false;
	if (colon)
		memcpy(name, colon + 1, n);
	name[n] = '\0';
	return true;
}

/* Which of the groups or of the devices with their iommufd it is, or -1. */
static int placeholder_index(
	const struct run_groups *groups, const char *text, enum placeholder kind, size_t length)
{
	char name[256];

	if (!placeholder_name(text, length, name, sizeof name))
		return -1;
	if (kind == PLACEHOLDER_GROUP || kind == PLACEHOLDER_GROUP_NUMBER)
		return run_groups_find(groups, name);
	if (kind == PLACEHOLDER_DEVICE || kind == PLACEHOLDER_DEVICE_NAME)
		return run_devices_find(groups, name);
	return groups->n > 0 ? (int)groups->n_devices : -1;
}

static void placeholder_print(
	FILE *stream, const struct run_groups *groups, enum placeholder kind, int index)
{
	if (kind == PLACEHOLDER_DEVICE_NAME)
		fputs(groups->devices[index].name, stream);
	else if (kind == PLACEHOLDER_GROUP_NUMBER)
		fprintf(stream, "%d", groups->groups[index].number);
	else
		fprintf(stream, "%d", RUN_FIRST_FD + index);
}

int placeholders_expand(const struct run_groups *groups, const char *argument, char **expanded,
	char *wrong, size_t wrong_size)
{
	size_t size;
	FILE *stream = open_memstream(expanded, &size);
	int r = 0;

	if (!stream)
		return -ENOMEM;
	while (*argument && r == 0) {
		size_t length;
		enum placeholder kind = placeholder_at(argument, &length);
		int index;

		if (kind == PLACEHOLDER_NONE) {
			fputc(*argument++, stream);
			continue;
		}
		index = placeholder_index(groups, argument, kind, length);
		if (index < 0) {
			snprintf(wrong, wrong_size, "%.*s", (int)length, argument);
			r = -EINVAL;
		} else {
			placeholder_print(stream, groups, kind, index);
		}
		argument += length;
	}
	if (ferror(stream) && r == 0)
		r = -ENOMEM;
	if (fclose(stream) != 0 && r == 0)
		r = -ENOMEM;
	if (r < 0) {
		free(*expanded);
		*expanded = NULL;
	}
	return r;
}
