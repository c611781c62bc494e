#include "daemon/base/util.h"
#include "daemon/bind/kernel.h"
#include "daemon/inventory/device.h"

#include <dirent.h>
#include <errno.h>
#include <libkmod.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>

/*
 * Seen without libkmod, which finds nothing where /lib/modules is hidden
 * (ProtectKernelModules=yes). A module that is built in has a directory, if any, without
 * `initstate` (kernel/params.c, kernel/module/sysfs.c).
 */
static bool is_there(const char *name)
{
	char path[PATH_MAX], state[32];

	int length = snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (length < 0 || (size_t)length >= sizeof(path) - sizeof("/initstate"))
		return false;
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

static int load_by_kmod(const char *name)
{
	struct kmod_list *modules = NULL;
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

/*
 * What the unit takes away (CAP_SYS_MODULE, init_module) systemd itself may do. The exit status is
 * not the module's: modprobe@.service ignores that. Nothing of its name has to be escaped.
 */
static void load_by_systemd(const char *name)
{
	char unit[128];
	const char *const arguments[] = { "systemctl", "--quiet", "start", unit, NULL };
	posix_spawnattr_t attributes;
	sigset_t signals;
	pid_t pid;

	int n = snprintf(unit, sizeof(unit), "modprobe@%s.service", name);
	if (n < 0 || (size_t)n >= sizeof(unit) || posix_spawnattr_init(&attributes) != 0)
		return;
	/* Those that a bind child ignores end others. */
	sigfillset(&signals);
	posix_spawnattr_setsigdefault(&attributes, &signals);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	if (posix_spawnp(
		    &pid, arguments[0], NULL, &attributes, (char *const *)arguments, environ) == 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	posix_spawnattr_destroy(&attributes);
}

int module_load(const char *name)
{
	char module[DRIVER_NAME_SIZE];

	if (string_copy(module, sizeof(module), name) < 0)
		return -ENAMETOOLONG;
	/* Dashes are for file names only: the kernel knows modules by underscores. */
	for (char *c = module; *c; c++)
		if (*c == '-')
			*c = '_';
	if (is_there(module))
		return 0;
	int r = load_by_kmod(module);
	/* sd_booted(3) */
	if (r < 0 && access("/run/systemd/system", F_OK) == 0) {
		load_by_systemd(module);
		if (is_there(module))
			r = 0;
	}
	return r;
}

/*
 * "pci:vfio-pci" is the link's name (drivers/base/module.c, make_driver_name). Only by the driver's
 * name is it known later that a device is on VFIO: others will not do.
 */
int module_driver(const char *module, const char *bus, char *driver, size_t size)
{
	char path[PATH_MAX];
	size_t length = strlen(bus);
	const struct dirent *entry;
	int r = -ENOENT;

	int n = snprintf(path, sizeof(path), "/sys/module/%s/drivers", module);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	DIR *directory = opendir(path);
	if (!directory)
		return -errno;
	while (r == -ENOENT && (entry = readdir(directory)))
		if (strncmp(entry->d_name, bus, length) == 0 && entry->d_name[length] == ':' &&
			driver_is_vfio(entry->d_name + length + 1))
			r = string_copy(driver, size, entry->d_name + length + 1);
	closedir(directory);
	return r;
}
