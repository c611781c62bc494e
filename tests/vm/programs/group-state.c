#include "tests/vm/programs/group-state.h"

#include "tests/vm/programs/program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The last part of a link's target; "" if there is no link. */
static void read_link(const char *device, const char *link, char *name, size_t size)
{
	char path[PATH_MAX], target[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, link);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	const char *last = strrchr(target, '/');
	snprintf(name, size, "%.63s", last ? last + 1 : target);
}

static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

static void read_attribute(const char *device, const char *attribute, char *text, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, attribute);
	read_text(path, text, size);
	text[strcspn(text, "\n")] = '\0';
}

static void read_override(const char *device, char *override, size_t size)
{
	read_attribute(device, "driver_override", override, size);
	if (strcmp(override, "(null)") == 0)
		override[0] = '\0';
}

static void member_read(struct member *member, const char *name)
{
	char class[32];

	snprintf(member->name, sizeof(member->name), "%s", name);
	read_attribute(name, "class", class, sizeof(class));
	member->is_bridge = strncmp(class, "0x0604", 6) == 0;
	read_link(name, "driver", member->driver, sizeof(member->driver));
	read_override(name, member->override, sizeof(member->override));
}

void group_state_read(struct group_state *group, const char *device)
{
	const struct dirent *entry;
	char path[PATH_MAX], number[32];

	*group = (struct group_state){ .n_members = 0 };
	read_link(device, "iommu_group", number, sizeof(number));
	group->number = (int)program_number(number, INT_MAX);
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%s/devices", number);
	DIR *directory = opendir(path);
	if (!directory)
		err(EXIT_SYSTEM, "%s", path);
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (group->n_members == MAX_MEMBERS)
			errx(EXIT_USAGE, "more than %d devices in %s", MAX_MEMBERS, path);
		member_read(&group->members[group->n_members++], entry->d_name);
	}
	closedir(directory);
}

static bool group_is(const struct group_state *group, bool taken)
{
	for (size_t i = 0; i < group->n_members; i++) {
		const struct member *was = &group->members[i];
		struct member now;

		member_read(&now, was->name);
		bool moved = taken && !was->is_bridge;
		if (strcmp(now.driver, moved ? "vfio-pci" : was->driver) != 0 ||
			strcmp(now.override, moved ? "vfio-pci" : was->override) != 0)
			return false;
	}
	return true;
}

bool group_state_is_host(const struct group_state *group)
{
	return group_is(group, false);
}

bool group_state_is_taken(const struct group_state *group)
{
	return group_is(group, true);
}

size_t group_state_n_moved(const struct group_state *group)
{
	size_t n = 0;

	for (size_t i = 0; i < group->n_members; i++)
		n += !group->members[i].is_bridge;
	return n;
}

void group_state_print(const struct group_state *group)
{
	for (size_t i = 0; i < group->n_members; i++) {
		const struct member *was = &group->members[i];
		struct member now;

		member_read(&now, was->name);
		printf("%s: driver '%s' override '%s', was '%s' and '%s'\n", now.name, now.driver,
			now.override, was->driver, was->override);
	}
}

size_t journal_count(const char *state_directory)
{
	const struct dirent *entry;
	char path[PATH_MAX];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/journal", state_directory);
	DIR *directory = opendir(path);
	if (!directory)
		return 0;
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

void journal_text(const char *state_directory, int group, char *text, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/journal/%d.json", state_directory, group);
	read_text(path, text, size);
}
