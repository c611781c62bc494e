/*
 * udev's database, read as libudev reads it (systemd, src/libsystemd/sd-device/sd-device.c,
 * device_read_db_internal). Not through libudev, because libudev reads the device's `uevent`
 * attribute first; on kernels 6.10 to 6.14, and on the stable ones that had the change
 * backported, that takes the device lock (drivers/base/core.c, uevent_show), and whoever reads
 * it while an unbind hangs, hangs as well.
 */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

struct entry {
	char **properties;
	char **tags;         /* of all times */
	char **current_tags; /* of the last event */
	bool has_current;    /* since version 1 (systemd 247) */
};

static int entry_read_line(struct entry *entry, const char *line)
{
	if (strncmp(line, "E:", 2) == 0 && strchr(line, '='))
		return strv_add(&entry->properties, line + 2);
	if (strncmp(line, "G:", 2) == 0 && line[2] != '\0')
		return strv_add(&entry->tags, line + 2);
	if (strncmp(line, "Q:", 2) == 0 && line[2] != '\0')
		return strv_add(&entry->current_tags, line + 2);
	if (strncmp(line, "V:", 2) == 0)
		entry->has_current = strcmp(line + 2, "0") != 0;
	return 0;
}

static int entry_read(struct entry *entry, FILE *file)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t length;

	while ((length = getline(&line, &size, file)) >= 0) {
		if (length > 0 && line[length - 1] == '\n')
			line[length - 1] = '\0';
		int result = entry_read_line(entry, line);
		if (result < 0)
			return result;
	}
	return feof(file) ? 0 : -EIO;
}

/*
 * A tag is one that the last event gave: udev never forgets those of earlier events, and a rule
 * must not grant a device for a tag that the administrator took away.
 */
int database_read(
	const char *directory, const char *bus, const char *name, char ***properties, char ***tags)
{
	struct entry entry = { 0 };
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/data/+%s:%s", directory, bus, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}

	_cleanup_fclose_ FILE *file = fopen(path, "re");
	int result = file ? entry_read(&entry, file) : errno == ENOENT ? 0 : -errno;
	if (result == 0) {
		char ***wanted = entry.has_current ? &entry.current_tags : &entry.tags;
		strv_free(*properties);
		*properties = steal_pointer(&entry.properties);
		strv_free(*tags);
		*tags = steal_pointer(wanted);
	}
	strv_free(entry.properties);
	strv_free(entry.tags);
	strv_free(entry.current_tags);
	return result;
}

const char *property_value(char *const *properties, const char *key)
{
	size_t length = strlen(key);
	for (size_t i = 0; properties && properties[i]; i++)
		if (strncmp(properties[i], key, length) == 0 && properties[i][length] == '=')
			return properties[i] + length + 1;
	return NULL;
}
