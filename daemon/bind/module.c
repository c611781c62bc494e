#include "daemon/base/util.h"
#include "daemon/bind/kernel.h"

#include <errno.h>
#include <libkmod.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

/*
 * Seen without libkmod, which finds nothing where /lib/modules is hidden
 * (ProtectKernelModules=yes). A module that is built in has a directory, if any, without
 * `initstate` (kernel/params.c, kernel/module/sysfs.c).
 */
static bool is_there(const char *name)
{
	char path[PATH_MAX], state[32];

	/* Dashes are for file names only: the kernel knows modules by underscores. */
	int prefix = snprintf(path, sizeof(path), "/sys/module/");
	int length = snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (length < 0 || (size_t)length >= sizeof(path) - sizeof("/initstate"))
		return false;
	for (char *c = path + prefix; *c; c++)
		if (*c == '-')
			*c = '_';
	if (access(path, F_OK) < 0)
		return false;
	memcpy(path + length, "/initstate", sizeof("/initstate"));
	ssize_t r = file_read(path, state, sizeof(state));
	return r == -ENOENT || (r >= 0 && strcmp(state, "live") == 0);
}

static int insert_all(struct kmod_list *modules)
{
	struct kmod_list *item;

	kmod_list_foreach(item, modules)
	{
		struct kmod_module *module = kmod_module_get_module(item);
		int r = kmod_module_probe_insert_module(module, 0, NULL, NULL, NULL, NULL);
		kmod_module_unref(module);
		if (r < 0)
			return r;
	}
	return 0;
}

int module_load(const char *name)
{
	struct kmod_list *modules = NULL;

	if (is_there(name))
		return 0;
	struct kmod_ctx *context = kmod_new(NULL, NULL);
	if (!context)
		return -ENOMEM;
	/* The caller reports; libkmod would write to stderr on its own. */
	kmod_set_log_priority(context, LOG_CRIT);
	int r = kmod_module_new_from_lookup(context, name, &modules);
	if (r == 0)
		r = modules ? insert_all(modules) : -ENOENT;
	kmod_module_unref_list(modules);
	kmod_unref(context);
	return r;
}
