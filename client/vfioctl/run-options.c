/* The options of `vfioctl run`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/size.h"
#include "client/vfioctl/run-command.h"

/* The daemon accepts no more: 7 days. */
enum { MAX_WAIT_SECONDS = 7 * 24 * 3600 };

static int memory_option(struct run *run)
{
	int r = size_parse(optarg, &run->memory_bytes);

	/* Varlink's integers end there. */
	if (r == -ERANGE || (r == 0 && run->memory_bytes >= INT64_MAX))
		usage_error(run->context, "--memory %s: more than there can be", optarg);
	else if (r < 0)
		usage_error(run->context,
			"--memory '%s': not a number of bytes, as 4096, 512M or 16G", optarg);
	else if (run->memory_bytes > 0)
		return 0;
	else
		usage_error(run->context, "--memory %s: nothing to reserve", optarg);
	return EXIT_RUN_FAILED;
}

static int shim_option(struct run *run)
{
	run->is_shim = true;
	run->is_preload = optarg && strcmp(optarg, "preload") == 0;
	if (!optarg || run->is_preload || strcmp(optarg, "seccomp") == 0)
		return 0;
	usage_error(run->context, "--shim='%s': not one of seccomp, preload", optarg);
	return EXIT_RUN_FAILED;
}

static int any_option(struct run *run)
{
	char name[256];

	if (!*optarg || strcmp(optarg, "pool:") == 0) {
		usage_error(run->context, "--any '%s': any of what?", optarg);
		return EXIT_RUN_FAILED;
	}
	if (strlen(optarg) >= sizeof name - sizeof "any: near:1023") {
		usage_error(run->context, "--any: more than a line of vfiod.conf may have");
		return EXIT_RUN_FAILED;
	}
	snprintf(name, sizeof name, "any:%s", optarg);
	return run_groups_add_target(&run->groups, name) < 0 ? run_out_of_memory() : 0;
}

static int near_option(struct run *run)
{
	size_t length = strlen(optarg);

	if (length > 0 && length <= 4 && strspn(optarg, "0123456789") == length &&
		strtol(optarg, NULL, 10) <= 1023) {
		run->near = optarg;
		return 0;
	}
	usage_error(run->context, "--near %s: not the number of a NUMA node", optarg);
	return EXIT_RUN_FAILED;
}

/* It goes for each --any, wherever it stands. 0, or an exit code. */
static int any_check(struct run *run)
{
	struct run_groups *groups = &run->groups;

	if (run->near && groups->n_any == 0) {
		usage_error(run->context, "--near goes with --any");
		return EXIT_RUN_FAILED;
	}
	for (size_t i = 0; run->near && i < groups->n_targets; i++) {
		char *name = groups->targets[i].name;
		size_t length = strlen(name);

		if (groups->targets[i].any > 0)
			snprintf(name + length, sizeof groups->targets[i].name - length, " near:%s",
				run->near);
	}
	return 0;
}

static int run_option(struct run *run, int option)
{
	if (option == 'n') {
		run->is_dry = true;
		return 0;
	}
	if (option == 'o') {
		run->observes = true;
		return 0;
	}
	if (option == 's')
		return shim_option(run);
	if (option == 'a')
		return any_option(run);
	if (option == 'N')
		return near_option(run);
	if (option == 'd' && !target_is_valid(optarg)) {
		usage_error(run->context, "--device '%s': neither a device nor a group", optarg);
		return EXIT_RUN_FAILED;
	}
	if (option == 'd')
		return run_groups_add_target(&run->groups, optarg) < 0 ? run_out_of_memory() : 0;
	if (option == 'w') {
		if (seconds_parse(optarg, MAX_WAIT_SECONDS, &run->wait_seconds) == 0)
			return 0;
		usage_error(run->context, "--wait %s: not a number of seconds up to %d (7 days)",
			optarg, MAX_WAIT_SECONDS);
		return EXIT_RUN_FAILED;
	}
	if (option == 'm')
		return memory_option(run);
	if (option == 'M') {
		if (run_mode_parse(optarg, &run->mode) == 0)
			return 0;
		usage_error(run->context, "--mode '%s': not one of group, cdev, auto", optarg);
		return EXIT_RUN_FAILED;
	}
	if (group_argument(optarg) < 0) {
		usage_error(run->context, "--group %s: not the number of a group", optarg);
		return EXIT_RUN_FAILED;
	}
	return run_groups_add_target(&run->groups, optarg) < 0 ? run_out_of_memory() : 0;
}

/* 0, or an exit code; *is_done: there is nothing to run. */
int run_options_read(struct run *run, int argc, char *argv[], bool *is_done)
{
	static const struct option own[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "group", required_argument, NULL, 'g' },
		{ "any", required_argument, NULL, 'a' },
		{ "near", required_argument, NULL, 'N' },
		{ "wait", required_argument, NULL, 'w' },
		{ "memory", required_argument, NULL, 'm' },
		{ "mode", required_argument, NULL, 'M' },
		{ "shim", optional_argument, NULL, 's' },
		{ "observe", no_argument, NULL, 'o' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ 0 },
	};
	int option, exit_code;

	*is_done = true;
	options_begin();
	while ((option = options_next(run->context, argc, argv, true, own, &exit_code)) !=
		OPTION_END) {
		if (option == OPTION_EXIT)
			return exit_code == EXIT_SUCCESS ? 0 : EXIT_RUN_FAILED;
		exit_code = run_option(run, option);
		if (exit_code)
			return exit_code;
	}
	if ((optind == argc && !run->is_dry) || run->groups.n_targets == 0) {
		usage_error(run->context, run->groups.n_targets > 0
						  ? "which command?"
						  : "which --device, --group or --any?");
		return EXIT_RUN_FAILED;
	}
	if (run->observes && !run->is_shim) {
		usage_error(run->context, "--observe goes with --shim");
		return EXIT_RUN_FAILED;
	}
	if (run->observes && run->is_preload) {
		usage_error(run->context, "--observe goes with --shim=seccomp");
		return EXIT_RUN_FAILED;
	}
	if (run->observes && run->mode == RUN_CDEV) {
		usage_error(run->context, "--observe goes with groups, not with --mode cdev");
		return EXIT_RUN_FAILED;
	}
	exit_code = any_check(run);
	*is_done = exit_code != 0;
	return exit_code;
}
