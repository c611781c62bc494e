/* Which processes have a device's nodes open: DRM, RDMA, NVMe, sound, tty, input, disks. */
#include "daemon/bind/guard-tree.h"
#include "daemon/bind/guard.h"
#include "daemon/privilege/open-files.h"

#include <string.h>

/* udevd's programs open what has just appeared, for an instant. */
#define LOOKS 3

struct look {
	const struct guard_sources *sources;
	const struct guard_tree *tree;
	struct guard_uses uses;
};

static const struct guard_node *find_node(
	const struct guard_tree *tree, bool is_block, dev_t number)
{
	for (size_t i = 0; i < tree->n_nodes; i++) {
		const struct guard_node *node = &tree->nodes[i];
		if (node->has_number && node->number == number &&
			(strcmp(node->subsystem, "block") == 0) == is_block)
			return node;
	}
	return NULL;
}

static enum open_file_next look_at(void *userdata, const struct open_file *file)
{
	struct look *look = userdata;
	char name[32];
	bool is_block;
	dev_t number;

	if (!look->sources->file_number(file, &is_block, &number))
		return OPEN_FILE_NEXT;
	const struct guard_node *node = find_node(look->tree, is_block, number);
	if (!node || (is_block && !open_file_can_write(file)))
		return OPEN_FILE_NEXT;
	process_name(file->proc, file->pid, name, sizeof(name));
	guard_add(
		&look->uses, "/dev/%s is open in %s (pid %d)", node->devname, name, (int)file->pid);
	return OPEN_FILE_NEXT_PROCESS;
}

static bool has_nodes(const struct guard_tree *tree)
{
	for (size_t i = 0; i < tree->n_nodes; i++)
		if (tree->nodes[i].has_number)
			return true;
	return false;
}

int guard_openers(
	const struct guard_sources *sources, const struct guard_tree *tree, struct guard_uses *uses)
{
	struct look look = { .sources = sources, .tree = tree };

	if (!has_nodes(tree))
		return 0;
	for (int i = 0; i < LOOKS; i++) {
		if (i > 0)
			nanosleep(&sources->pause, NULL);
		look.uses.n = 0;
		int r = open_files_visit(sources->proc, GUARD_SECONDS, look_at, &look);
		if (r < 0)
			return r;
		if (look.uses.n == 0)
			return 0;
	}
	guard_add(uses, "%s", look.uses.first);
	uses->n += look.uses.n - 1;
	return 0;
}
