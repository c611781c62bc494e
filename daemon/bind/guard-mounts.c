#include "daemon/bind/guard-mounts.h"

#include "daemon/base/util.h"
#include "daemon/bind/guard-tree.h"
#include "daemon/bind/guard.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

/*
 * A line of proc(5): "36 35 98:0 /root /mnt opts optional... - fstype /dev/source superopts".
 * The source counts as well: btrfs mounts show an anonymous device number.
 */
static bool is_mount_of(char *line, const struct guard_node *node, char **point)
{
	char *fields[5], *rest = line, number[32];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i] = strsep(&rest, " ");
		if (!rest)
			return false;
	}
	*point = fields[4];
	snprintf(number, sizeof(number), "%u:%u", major(node->number), minor(node->number));
	if (strcmp(fields[2], number) == 0)
		return true;
	/* The options' own hyphen is never alone between blanks. */
	char *source = strstr(rest, " - ");
	if (!source)
		return false;
	source += 3;
	strsep(&source, " ");
	const char *path = strsep(&source, " \n");
	return path && strncmp(path, "/dev/", 5) == 0 && strcmp(path + 5, node->devname) == 0;
}

int mounts_find(const char *mountinfo, const struct guard_node *node, char *point, size_t size)
{
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;
	char *found;

	point[0] = '\0';
	_cleanup_fclose_ FILE *file = fopen(mountinfo, "re");
	if (!file)
		return -errno;
	while ((errno = 0, getline(&line, &capacity, file)) >= 0)
		if (is_mount_of(line, node, &found)) {
			snprintf(point, size, "%s", found);
			return 0;
		}
	return errno ? -errno : 0;
}

/* Processes share namespaces: each is read once. */
struct search {
	const char *proc;
	const struct guard_node *node;
	char **namespaces;
};

static int search_process(struct search *search, const char *process, char *point, size_t size)
{
	char directory[PATH_MAX], mountinfo[PATH_MAX], path[PATH_MAX], namespace[64];
	int r = 0;

	if (path_join(directory, search->proc, process) < 0 ||
		path_join(mountinfo, directory, "mountinfo") < 0 ||
		path_join(path, directory, "ns/mnt") < 0)
		return -ENAMETOOLONG;
	ssize_t n = readlink(path, namespace, sizeof(namespace) - 1);
	namespace[n > 0 ? n : 0] = '\0';
	/* Which one it is takes CAP_SYS_PTRACE to know; what is in it does not. */
	if ((n < 0 && errno != EACCES) || strv_contains(search->namespaces, namespace))
		return 0;
	if (n >= 0)
		r = strv_add(&search->namespaces, namespace);
	/* It may end at any time, and what has ended uses nothing. */
	return r < 0 ? r : (mounts_find(mountinfo, search->node, point, size), 0);
}

int mounts_find_anywhere(
	const char *proc, const struct guard_node *node, char *point, size_t size, pid_t *pid)
{
	struct search search = { .proc = proc, .node = node };
	time_t end = time(NULL) + GUARD_SECONDS;
	const struct dirent *entry;
	int r = 0;

	point[0] = '\0';
	DIR *open = opendir(proc);
	if (!open)
		return -errno;
	while (r == 0 && !*point && (entry = readdir(open))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		r = time(NULL) > end ? -ETIMEDOUT
				     : search_process(&search, entry->d_name, point, size);
		*pid = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(open);
	strv_free(search.namespaces);
	return r;
}
