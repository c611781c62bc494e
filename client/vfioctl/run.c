#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/dry-run.h"
#include "client/vfioctl/run-command.h"
#include "client/vfioctl/shim.h"

int run_out_of_memory(void)
{
	fputs("vfioctl: out of memory\n", stderr);
	return EXIT_RUN_FAILED;
}

static int child_start(struct run *run, struct launch *launch, struct vfiod_lease *lease)
{
	unsigned char which;
	int fds[RUN_MAX_FDS], r = handover_take(&run->groups, run->handovers, lease, fds, &which);
	const char *what = which == HANDOVER_DEVICES ? "devices" : "groups";
	struct shim_lease shim_lease;

	if (r == 0 && run->is_shim)
		r = shim_lease_make(
			&run->groups, which, vfiod_lease_token(lease), fds, &shim_lease);
	else if (r == 0)
		r = launch_go(launch, which, fds, run->handovers[which].n_fds);
	/* Only CMD has them from here on: a copy would keep the groups from going back. */
	for (size_t i = 0; i < RUN_MAX_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (r == 0 && run->is_shim)
		r = shim_go(launch, &shim_lease);
	if (r == 0)
		return 0;
	fprintf(stderr, "vfioctl: cannot hand the %s to %s: ", what, run->typed[0]);
	if (r == -ESTALE)
		fprintf(stderr, "the %s have changed, try again\n", what);
	else
		fprintf(stderr, "%s\n", strerrordesc_np(-r));
	return EXIT_RUN_FAILED;
}

/*
 * CMD's process is there before the lease, so that the lease can follow it: then killing
 * vfioctl takes nothing away from CMD.
 */
static int run_command(struct run *run)
{
	char *const *argv = run->argv ? run->argv : run->typed;
	const struct shim_options shim = { .argv = argv,
		.script = run->script,
		.socket = run->context->socket,
		.observes = run->observes,
		.library = run->is_preload ? run->library : NULL };
	int exit_code, r, connection = vfiod_get_fd(run->context->vfiod);
	struct vfiod_lease *lease;
	struct launch launch;

	r = run->is_shim ? shim_launch(&launch, &shim, connection)
			 : launch_fork(&launch, argv, run->handovers, run->script, connection);
	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot start a process: %s\n", strerrordesc_np(-r));
		return EXIT_RUN_FAILED;
	}
	exit_code = run_acquire(run, &launch, &lease);
	if (exit_code) {
		launch_close(&launch);
		return exit_code;
	}
	run->lease = strdup(vfiod_lease_name(lease)); /* without it, less waiting: no harm */
	exit_code = run->script >= 0 ? run_arguments_late(run, lease) : 0;
	if (exit_code == 0)
		exit_code = child_start(run, &launch, lease);
	run->pidfd = launch.pidfd;
	vfiod_lease_on_event(lease, run_on_event, run);
	if (exit_code == 0)
		exit_code =
			launch_wait(&launch, vfiod_get_fd(run->context->vfiod), run_on_stream, run);
	launch_close(&launch);
	run_release(run, lease);
	return exit_code;
}

/* Before anything is acquired for it. */
static int program_check(struct run *run, const char *name)
{
	char *file;
	int exit_code, r = command_lookup(name, &file);

	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot run %s: %s\n", name, strerrordesc_np(-r));
		return r == -ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_CANNOT_EXECUTE;
	}
	exit_code = run->is_preload
			    ? shim_program_check(name, file, run->library, sizeof run->library)
			    : 0;
	free(file);
	return exit_code;
}

static int run_prepared(struct run *run, int argc, char *argv[])
{
	int exit_code = program_check(run, argv[0]);

	if (exit_code)
		return exit_code;
	if (connect_daemon(run->context))
		return EXIT_RUN_FAILED;
	run->argc = argc;
	run->typed = argv;
	exit_code = run_resolve(run);
	if (exit_code)
		return exit_code;
	if (run->groups.n_any > 0) {
		run->script = script_new();
		if (run->script >= 0)
			return run_command(run);
		fprintf(stderr, "vfioctl: cannot make a file for arguments: %s\n",
			strerrordesc_np(-run->script));
		return EXIT_RUN_FAILED;
	}
	exit_code = run_arguments_read(run, argc, argv);
	if (exit_code == 0)
		exit_code = handovers_make(&run->groups, run->handovers);
	if (exit_code == 0)
		exit_code = run_count_check(run);
	return exit_code ? exit_code : run_command(run);
}

static int run_dry(const struct run *run)
{
	static const char *const modes[] = { [RUN_GROUP] = "group", [RUN_CDEV] = "cdev" };
	const char **names = calloc(run->groups.n_targets, sizeof *names);
	int exit_code;

	if (!names)
		return run_out_of_memory();
	for (size_t i = 0; i < run->groups.n_targets; i++)
		names[i] = run->groups.targets[i].name;
	exit_code = connect_daemon(run->context);
	if (exit_code == 0)
		exit_code = dry_run(
			run->context, "acquire", modes[run->mode], names, run->groups.n_targets);
	free(names);
	return exit_code ? EXIT_RUN_FAILED : EXIT_SUCCESS;
}

static int run_run(struct context *context, int argc, char *argv[])
{
	struct run run = { .context = context, .script = -1 };
	bool is_done;
	int exit_code = run_options_read(&run, argc, argv, &is_done);

	/* With --shim there are no descriptors to name: that is told of each. */
	if (!is_done && !run.is_shim && optind < argc)
		exit_code = run_mode_choose(argc - optind, argv + optind, &run.mode);
	is_done = is_done || exit_code;
	if (!is_done && run.is_dry)
		exit_code = run_dry(&run);
	else if (!is_done)
		exit_code = run_prepared(&run, argc - optind, argv + optind);
	for (char **argument = run.argv; argument && *argument; argument++)
		free(*argument);
	free(run.argv);
	for (size_t i = 0; i < N_HANDOVERS; i++)
		free(run.handovers[i].names);
	free(run.lease);
	if (run.script >= 0)
		close(run.script);
	run_groups_clear(&run.groups);
	return exit_code;
}

const struct command command_run = {
	.name = "run",
	.arguments = "[--device DEVICE | --group GROUP | --any MATCH]… [--near NODE] \\\n"
		     "            [--mode MODE] \\\n"
		     "            [--memory BYTES] [--shim[=HOW] [--observe]] [--wait SECONDS] \\\n"
		     "            [--dry-run] -- CMD [ARG…]",
	.summary = "Run a program, as yourself, that has groups for as long as it lives",
	.help = "Acquires the groups of all devices, or none, and starts CMD with their open\n"
		"/dev/vfio/N as descriptors 3 and up, named in LISTEN_FDNAMES (group13:group14).\n"
		"In ARG, {group:X} becomes the number of a descriptor; X is a group's number\n"
		"or one of its devices; {group} is enough where there is one group.\n"
		"  --any MATCH     any device that fits and that you may have, as match = of\n"
		"                  vfiod.conf(5), or pool:NAME; {group:any}, of the second\n"
		"                  {group:any2}\n"
		"  --near NODE     once, for every --any: rather near that NUMA node\n"
		"With {device:X}, {device} or {iommufd} it gets devices in place of groups,\n"
		"/dev/vfio/devices/vfioN, and an iommufd (device-0000-01-00.0:iommufd).\n"
		"{device-name:X} becomes the device's name in /sys, {group-number:X} the\n"
		"group's number.\n"
		"  --mode MODE     group, or cdev for devices, where CMD names neither; auto, the\n"
		"                  default, is groups where the kernel has them\n"
		"  --memory BYTES  let CMD lock and map so much more memory (512M, 16G) while it\n"
		"                  has the lease; charged to your account, see vfioctl ledger\n"
		"  --shim[=HOW]    for a CMD that opens /dev/vfio/N by itself: it gets its groups\n"
		"                  so, and no descriptors; with --mode cdev, its devices and\n"
		"                  /dev/iommu. HOW: seccomp, the default, for any\n"
		"                  program; preload, a library: nothing but opens costs more, but\n"
		"                  not for static programs\n"
		"  --observe       with --shim: tell the ledger what CMD maps, if rules trust you\n"
		"  --wait SECONDS  wait in the queue while others have the groups; at most\n"
		"                  604800 (7 days)\n"
		"  --dry-run       say what would be done with each device, and what is in the\n"
		"                  way; nothing is run, and CMD may be left out\n"
		"The lease ends with CMD, not with vfioctl. Exit status: that of CMD, 128 + N\n"
		"when signal N killed it, 125 when it was not started, 126 when it cannot be\n"
		"executed, 127 when it is not found.\n"
		"\n"
		"Examples:\n"
		"  vfioctl run --device 01:00.0 -- my-driver --vfio-group-fd={group}\n"
		"  vfioctl run --memory 4G --device 01:00.0 -- my-vmm --vfio-group-fd={group}\n"
		"  vfioctl run --memory 4G --device 01:00.0 -- qemu-system-x86_64 … \\\n"
		"      -object iommufd,id=i0,fd={iommufd} \\\n"
		"      -device vfio-pci,iommufd=i0,fd={device}\n"
		"  vfioctl run --shim --any pool:nics -- testpmd -a {device-name:any} …\n"
		"  vfioctl run --wait 60 --device 3b:02.0 --group 15 -- \\\n"
		"      pump --in={group:3b:02.0} --out={group:15}\n",
	.run = run_run,
};
