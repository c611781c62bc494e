/* Is the host's console on a device? */
#include "daemon/base/util.h"
#include "daemon/bind/guard-tree.h"
#include "daemon/bind/guard.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "(M) frame buffer device": the drivers of consoles (drivers/tty/vt/vt.c), and whether they have
 * any. */
struct consoles {
	bool on_framebuffer;
	bool in_text_mode;
};

static void read_consoles(const char *sys, struct consoles *consoles)
{
	char path[PATH_MAX], name[128], bound[8];

	*consoles = (struct consoles){ 0 };
	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof(path), "%s/class/vtconsole/vtcon%u/bind", sys, i);
		if (file_read(path, bound, sizeof(bound)) < 0)
			return;
		snprintf(path, sizeof(path), "%s/class/vtconsole/vtcon%u/name", sys, i);
		if (strcmp(bound, "1") != 0 || file_read(path, name, sizeof(name)) < 0)
			continue;
		if (strstr(name, "frame buffer device"))
			consoles->on_framebuffer = true;
		else if (strstr(name, "VGA") || strstr(name, "EGA") || strstr(name, "CGA"))
			consoles->in_text_mode = true;
	}
}

/*
 * Consoles are on the first framebuffer there is (drivers/video/fbdev/core/fbcon.c), unless
 * somebody has mapped them with con2fbmap. Which one is first: framebuffers keep their numbers.
 */
static bool is_first_framebuffer(const char *sys, unsigned number)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < number; i++) {
		snprintf(path, sizeof(path), "%s/class/graphics/fb%u", sys, i);
		if (access(path, F_OK) == 0)
			return false;
	}
	return true;
}

static void ask_framebuffers(
	const struct guard_sources *sources, const struct guard_tree *tree, struct guard_uses *uses)
{
	for (size_t i = 0; i < tree->n_nodes; i++) {
		const struct guard_node *node = &tree->nodes[i];
		unsigned number;

		if (strcmp(node->subsystem, "graphics") != 0)
			continue;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
		if (sscanf(node->name, "fb%u", &number) == 1 &&
			is_first_framebuffer(sources->sys, number))
			guard_add(uses, "the console is on its framebuffer %s", node->name);
	}
}

static bool is_boot_framebuffer(const char *owner)
{
	/* The firmware's, by drivers/firmware/sysfb*.c and by who drives it. */
	static const char *const owners[] = { "BOOTFB", "efifb", "vesafb", "simplefb", "simpledrm",
		"simple-framebuffer" };

	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		if (strncmp(owner, owners[i], strlen(owners[i])) == 0)
			return true;
	return false;
}

/*
 * "      e0000000-e07fffff : efifb" below "    e0000000-efffffff : 0000:01:00.0" in /proc/iomem.
 * Who has no right to the addresses is shown zeros, and the names all the same: so it goes by
 * the indentation.
 */
static int ask_memory(
	const struct guard_sources *sources, const char *name, struct guard_uses *uses)
{
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;
	ssize_t depth = -1;
	char path[PATH_MAX];

	int r = path_join(path, sources->proc, "iomem");
	if (r < 0)
		return r;
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	if (!file)
		/* A machine without. */
		return errno == ENOENT ? 0 : -errno;
	while ((errno = 0, getline(&line, &capacity, file)) >= 0) {
		ssize_t indentation = (ssize_t)strspn(line, " ");
		char *owner = strstr(line, " : ");
		if (!owner)
			continue;
		owner += 3;
		owner[strcspn(owner, "\n")] = '\0';
		if (indentation <= depth)
			depth = -1;
		if (depth < 0) {
			if (strcmp(owner, name) == 0)
				depth = indentation;
		} else if (is_boot_framebuffer(owner)) {
			guard_add(uses, "the boot framebuffer (%s) is in its memory", owner);
			return 0;
		}
	}
	return errno ? -errno : 0;
}

static bool is_boot_vga(const char *syspath)
{
	char path[PATH_MAX], text[8];

	return path_join(path, syspath, "boot_vga") == 0 &&
	       file_read(path, text, sizeof(text)) > 0 && strcmp(text, "1") == 0;
}

int guard_display(const struct guard_sources *sources, const struct guard_tree *tree,
	const char *syspath, const char *name, struct guard_uses *uses)
{
	struct consoles consoles;

	read_consoles(sources->sys, &consoles);
	if (consoles.on_framebuffer)
		ask_framebuffers(sources, tree, uses);
	if (consoles.in_text_mode && is_boot_vga(syspath))
		guard_add(uses, "the text console is on it");
	return ask_memory(sources, name, uses);
}
