#include "daemon/base/util.h"
#include "daemon/bind/kernel.h"

#include <errno.h>
#include <fnmatch.h>
#include <libkmod.h>
#include <limits.h>
#include <string.h>
#include <sys/utsname.h>
#include <syslog.h>

/* The general driver, which has an alias for every device. */
#define GENERAL "vfio_pci"

static int count_stars(const char *text)
{
	int n = 0;
	for (; *text; text++)
		n += *text == '*';
	return n;
}

/*
 * How exactly the module means the device: the wildcards in its best alias. 0: it names it as it
 * is, or it is not the module who says so (modprobe.d), or its file is not there to be asked: no
 * reason to prefer another.
 */
static int vagueness(const struct kmod_module *module, const char *modalias)
{
	struct kmod_list *info = NULL, *item;
	int least = INT_MAX;

	if (kmod_module_get_info(module, &info) < 0)
		return 0;
	kmod_list_foreach(item, info)
	{
		const char *alias = kmod_module_info_get_value(item);
		if (strcmp(kmod_module_info_get_key(item), "alias") != 0 ||
			fnmatch(alias, modalias, 0) != 0)
			continue;
		int stars = count_stars(alias);
		if (stars < least)
			least = stars;
	}
	kmod_module_info_free_list(info);
	return least == INT_MAX ? 0 : least;
}

static int choose(struct kmod_list *candidates, const char *modalias, char *name, size_t size)
{
	struct kmod_list *item;
	int least = INT_MAX, r = 0;

	kmod_list_foreach(item, candidates)
	{
		struct kmod_module *module = kmod_module_get_module(item);
		int stars = vagueness(module, modalias);
		if (stars < least && r == 0) {
			least = stars;
			r = string_copy(name, size, kmod_module_get_name(module));
		}
		kmod_module_unref(module);
	}
	if (r < 0)
		return r;
	return least < INT_MAX && strcmp(name, GENERAL) != 0;
}

/*
 * ProtectKernelModules=yes hides /lib/modules; our unit shows it here. NULL: it is where libkmod
 * looks.
 */
static const char *modules_at(char *path, size_t size)
{
	struct utsname system;

	if (uname(&system) < 0)
		return NULL;
	snprintf(path, size, "/run/vfiod/modules/%s", system.release);
	return access(path, F_OK) == 0 ? path : NULL;
}

int module_find_variant(const char *modalias, char *module, size_t size)
{
	struct kmod_list *found = NULL, *allowed = NULL;
	char alias[PATH_MAX], directory[128];

	int n = snprintf(alias, sizeof(alias), "vfio_%s", modalias);
	if (n < 0 || (size_t)n >= sizeof(alias))
		return -ENAMETOOLONG;
	struct kmod_ctx *context = kmod_new(modules_at(directory, sizeof(directory)), NULL);
	if (!context)
		return -ENOMEM;
	kmod_set_log_priority(context, LOG_CRIT);
	int r = kmod_module_new_from_lookup(context, alias, &found);
	/* As modprobe does with whatever is found by an alias. */
	if (r == 0)
		r = kmod_module_apply_filter(context, KMOD_FILTER_BLACKLIST, found, &allowed);
	if (r == 0)
		r = choose(allowed, alias, module, size);
	else if (r == -ENOSYS || r == -ENOENT)
		r = 0; /* no index of aliases: a kernel without modules has none of a variant */
	kmod_module_unref_list(allowed);
	kmod_module_unref_list(found);
	kmod_unref(context);
	return r;
}
