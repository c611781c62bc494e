/* What a process has open of a group, as far as the kernel tells without a copy of it. */
#include "daemon/bind/opener-parts.h"

#include "daemon/base/util.h"
#include "daemon/privilege/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Enough for any honest program; one that has more shall not hide behind them for long. */
#define DESCRIPTORS_MAX 100000
#define DESCRIPTORS_A_LOOK 256 /* between two looks at the clock */
#define SEARCH_SECONDS_MAX 60  /* its own clock is looked at anyway */

/* "10:5" of a class device's attribute; 0 if it cannot be read. */
static dev_t read_node(const char *path)
{
	char text[32], *colon;

	if (file_read(path, text, sizeof(text)) < 0)
		return 0;
	unsigned major_number = (unsigned)strtoul(text, &colon, 10);
	return *colon == ':' ? makedev(major_number, (unsigned)strtoul(colon + 1, NULL, 10)) : 0;
}

/* <device>/vfio-dev/vfioX/dev: where a device has a node of its own (CONFIG_VFIO_DEVICE_CDEV). */
static dev_t read_device_node(const char *root, const char *syspath)
{
	char path[OPENER_PATH_SIZE + NAME_MAX + 8];
	const struct dirent *entry;
	dev_t node = 0;

	snprintf(path, OPENER_PATH_SIZE, "%s%s/vfio-dev", root, syspath);
	DIR *directory = opendir(path);
	if (!directory)
		return 0;
	while (node == 0 && (entry = readdir(directory)))
		if (strncmp(entry->d_name, "vfio", 4) == 0) {
			snprintf(path, sizeof(path), "%s%s/vfio-dev/%s/dev", root, syspath,
				entry->d_name);
			node = read_node(path);
		}
	closedir(directory);
	return node;
}

/* "511 vfio", a line of /proc/devices. */
static bool has_numbers(const char *text, const char *name)
{
	size_t length = strlen(name);

	while ((text = strchr(text, ' '))) {
		text++;
		if (strncmp(text, name, length) == 0 && (text[length] == '\n' || !text[length]))
			return true;
	}
	return false;
}

/* vfio_group_init() and, for these nodes, vfio_cdev_init() reserve numbers when VFIO is loaded. */
bool opener_has_nodes(const char *root)
{
	char path[OPENER_PATH_SIZE], text[16384];

	snprintf(path, sizeof(path), "%s/proc/devices", root);
	return file_read(path, text, sizeof(text)) < 0 || !has_numbers(text, "vfio") ||
	       has_numbers(text, "vfio-dev");
}

bool search_read_nodes(struct search *search)
{
	const struct opener_query *query = search->query;
	char path[OPENER_PATH_SIZE];
	bool has_any = false;

	snprintf(path, sizeof(path), "%s/sys/class/vfio/%d/dev", query->root, query->group);
	search->group_node = query->nodes_only ? 0 : read_node(path);
	if (!query->nodes_only && search->group_node == 0) {
		snprintf(path, sizeof(path), "%s/sys/class/vfio/noiommu-%d/dev", query->root,
			query->group);
		search->group_node = read_node(path);
	}
	for (size_t i = 0; i < query->n_syspaths; i++) {
		search->device_nodes[i] = read_device_node(query->root, query->syspaths[i]);
		has_any = has_any || search->device_nodes[i] != 0;
	}
	return has_any;
}

static bool is_device_node(const struct search *search, dev_t node)
{
	for (size_t i = 0; i < search->query->n_syspaths; i++)
		if (node != 0 && search->device_nodes[i] == node)
			return true;
	return false;
}

/* A descriptor of O_PATH holds nothing, and may be had without any right. */
static bool is_path_only(const char *fdinfo)
{
	const char *flags = strstr(fdinfo, "flags:");
	return flags && (strtoul(flags + strlen("flags:"), NULL, 8) & O_PATH);
}

enum file_match {
	FILE_OTHER,
	FILE_OURS,
	FILE_UNIDENTIFIED,
};

/* vfio_device_show_fdinfo() of drivers/vfio/vfio_main.c. The format is the kernel's alone: no
 * such file has a name that its user chose. */
static enum file_match match_fdinfo(const struct search *search, const char *fdinfo)
{
	static const char key[] = "vfio-device-syspath:";
	const char *line = strstr(fdinfo, key);

	if (!line)
		return FILE_UNIDENTIFIED;
	line += strlen(key);
	line += strspn(line, " \t");
	size_t length = strcspn(line, "\n");
	for (size_t i = 0; i < search->query->n_syspaths; i++)
		if (strlen(search->query->syspaths[i]) == length &&
			strncmp(search->query->syspaths[i], line, length) == 0)
			return FILE_OURS;
	return FILE_OTHER;
}

/* "…/vfio/15": 15. "…/vfio/devices/vfio3": the same with `prefix` "/vfio/devices/vfio". */
static bool is_node_name(const char *link, const char *prefix)
{
	const char *number = strrchr(link, '/');
	size_t length = strlen(prefix);

	if (!number)
		return false;
	number += strcspn(number, "0123456789");
	if (!*number || (size_t)(number - link) < length ||
		strncmp(number - length, prefix, length) != 0)
		return false;
	number += strspn(number, "0123456789");
	/* The node goes while the device is being unbound. */
	return *number == '\0' || strcmp(number, " (deleted)") == 0;
}

static enum file_match match_node(const struct search *search, const struct open_file *file,
	const char *fdinfo, bool is_group)
{
	bool is_block;
	dev_t node;

	if (is_path_only(fdinfo) || !open_file_number(file, &is_block, &node) || is_block)
		return FILE_OTHER;
	if (is_group)
		return node == search->group_node ? FILE_OURS : FILE_OTHER;
	if (is_device_node(search, node))
		return FILE_OURS;
	return match_fdinfo(search, fdinfo) == FILE_OURS ? FILE_OURS : FILE_OTHER;
}

static enum file_match match_file(const struct search *search, const struct open_file *file)
{
	char fdinfo[OPEN_FILE_INFO_SIZE];
	bool is_group = is_node_name(file->target, "/vfio/") ||
			is_node_name(file->target, "/vfio/noiommu-");
	bool is_node = is_group || is_node_name(file->target, "/vfio/devices/vfio");
	bool is_device = strcmp(file->target, OPEN_FILE_VFIO_DEVICE) == 0;

	if ((!is_node && !is_device) || (search->query->nodes_only && (is_group || !is_node)))
		return FILE_OTHER;
	if (open_file_info(file, fdinfo, sizeof(fdinfo)) < 0)
		return FILE_OTHER;
	return is_device ? match_fdinfo(search, fdinfo)
			 : match_node(search, file, fdinfo, is_group);
}

struct look {
	struct search *search;
	struct finding *finding;
	unsigned n;
};

static enum open_file_next look_at_file(void *userdata, const struct open_file *file)
{
	struct look *look = userdata;
	struct finding *finding = look->finding;

	if (++look->n > DESCRIPTORS_MAX)
		look->search->is_cut = true;
	if (look->n > DESCRIPTORS_MAX ||
		(look->n % DESCRIPTORS_A_LOOK == 0 && !search_has_time(look->search)))
		return OPEN_FILE_DONE;
	enum file_match match = match_file(look->search, file);
	if (match == FILE_UNIDENTIFIED && finding->n_unidentified < UNIDENTIFIED_MAX)
		finding->unidentified[finding->n_unidentified++] = file->fd;
	finding->has_it = match == FILE_OURS;
	return finding->has_it ? OPEN_FILE_DONE : OPEN_FILE_NEXT;
}

void search_files(struct search *search, pid_t pid, struct finding *finding)
{
	struct look look = { .search = search, .finding = finding };

	*finding = (struct finding){ .has_it = false };
	if (privilege_visit_files(search->proc, pid, SEARCH_SECONDS_MAX, look_at_file, &look) < 0)
		search->is_cut = true;
}
