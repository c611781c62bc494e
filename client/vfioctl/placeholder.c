#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/run.h"

void run_groups_clear(struct run_groups *groups)
{
	for (size_t i = 0; i < groups->n; i++)
		json_object_put(groups->groups[i].described);
	free(groups->groups);
	free(groups->targets);
	*groups = (struct run_groups){ 0 };
}

int run_groups_add_target(struct run_groups *groups, const char *name)
{
	struct run_target *grown =
		reallocarray(groups->targets, groups->n_targets + 1, sizeof *grown);
	int number = group_argument(name);

	if (!grown)
		return -ENOMEM;
	groups->targets = grown;
	/* The library takes a bare number for a device's name. */
	if (number >= 0)
		snprintf(grown[groups->n_targets].name, sizeof grown->name, "group:%d", number);
	else
		device_argument(name, grown[groups->n_targets].name, sizeof grown->name);
	grown[groups->n_targets].group = 0;
	groups->n_targets++;
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
	if (groups->n == RUN_MAX_GROUPS)
		return -E2BIG;
	grown = reallocarray(groups->groups, groups->n + 1, sizeof *grown);
	if (!grown)
		return -ENOMEM;
	groups->groups = grown;
	grown[groups->n].number = (int)number;
	grown[groups->n].described = json_object_get(group);
	groups->targets[target].group = groups->n++;
	return 0;
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

/*
 * Is there a placeholder at `text`? Its length, to the end of `text` where it is never closed; 0
 * for other text in braces, which is CMD's own: QEMU takes JSON. {device:…} and {iommufd} are
 * kept for the cdev mode: now they mean nothing.
 */
static size_t placeholder_length(const char *text)
{
	static const char *const starts[] = { "{group}", "{group:", "{device}",
		"{device:", "{iommufd}" };

	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		if (strncmp(text, starts[i], strlen(starts[i])) == 0) {
			size_t length = strcspn(text, "}");

			return text[length] ? length + 1 : length;
		}
	return 0;
}

/* The index of the group that the placeholder names, or -1. */
static int placeholder_group(const struct run_groups *groups, const char *text, size_t length)
{
	static const char start[] = "{group";
	char name[256];
	size_t skip = sizeof start - 1, n;

	if (strncmp(text, start, skip) != 0 || text[length - 1] != '}')
		return -1;
	if (text[skip] == ':')
		skip++;
	n = length - skip - 1;
	if (n >= sizeof name || (n == 0 && text[skip - 1] == ':'))
		return -1;
	memcpy(name, text + skip, n);
	name[n] = '\0';
	return run_groups_find(groups, name);
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
		size_t length = placeholder_length(argument);
		int group = length ? placeholder_group(groups, argument, length) : -1;

		if (length == 0) {
			fputc(*argument++, stream);
			continue;
		}
		if (group < 0) {
			snprintf(wrong, wrong_size, "%.*s", (int)length, argument);
			r = -EINVAL;
		}
		fprintf(stream, "%d", RUN_FIRST_FD + group);
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
