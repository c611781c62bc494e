#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/size.h"
#include "client/vfioctl/dry-run.h"
#include "client/vfioctl/format.h"
#include "client/vfioctl/run.h"
#include "client/vfioctl/shim.h"

#define AGAIN_MS 100     /* until a daemon that has gone is looked for once more */
#define SETTLE_TRIES 100 /* of a tenth of a second: for groups that go back by themselves */

struct run {
	struct context *context;
	struct run_groups groups;
	char **argv; /* CMD and its arguments, expanded; NULL at the end */
	struct handover handovers[N_HANDOVERS];
	enum run_mode mode;
	int argc; /* CMD and its arguments, as typed, when they have to wait for the lease */
	char **typed;
	int script;  /* where CMD's process will find them; -1 */
	char *near;  /* of --near; NULL */
	char *lease; /* its name, once there is one */
	int wait_seconds;
	uint64_t memory_bytes; /* for CMD to map by itself */
	bool is_dry;
	bool is_shim;    /* CMD opens the groups by itself */
	bool is_preload; /* and asks for them by a library */
	bool observes;   /* and what it maps is told to vfiod */
	char library[PATH_MAX];
	int pidfd; /* of CMD; launch's */
	char end[512];
	bool is_lost; /* the lease has ended before CMD, or nobody will say so: told already */
	bool is_away; /* the daemon has gone, and may come back */
};

int run_out_of_memory(void)
{
	fputs("vfioctl: out of memory\n", stderr);
	return EXIT_RUN_FAILED;
}

static int describe(struct context *context, const char *target, struct json_object **reply)
{
	struct json_object *parameters = selector_parameters(target);

	*reply = NULL;
	if (!parameters)
		return -ENOMEM;
	return ask(context, "org.vfiod.Broker.Describe", parameters, reply);
}

/* Which groups there will be, so that all of CMD's arguments are known before any is taken. */
static int groups_resolve(struct run *run)
{
	struct run_groups *groups = &run->groups;

	for (size_t i = 0; i < groups->n_targets; i++) {
		char target[256];
		struct json_object *reply;
		int r = describe(run->context, groups->targets[i].name, &reply);

		target_describe(groups->targets[i].name, target, sizeof target);
		if (r < 0) {
			complain(run->context, "acquire %s", target);
			return EXIT_RUN_FAILED;
		}
		r = run_groups_describe(groups, i, get_object(reply, "group"));
		json_object_put(reply);
		if (r < 0) {
			fprintf(stderr, "vfioctl: cannot acquire %s: %s\n", target,
				strerrordesc_np(-r));
			return EXIT_RUN_FAILED;
		}
	}
	return 0;
}

static int arguments_read(struct run *run, int argc, char *argv[])
{
	run->argv = calloc((size_t)argc + 1, sizeof *run->argv);
	if (!run->argv)
		return run_out_of_memory();
	return arguments_expand(&run->groups, run->is_shim, argc, argv, run->argv);
}

/* Devices are more than their groups, and all have to go into one message. */
static int count_check(struct run *run)
{
	size_t n_fds = run->handovers[HANDOVER_DEVICES].n_fds;

	if (n_fds <= RUN_MAX_FDS)
		return 0;
	if (run->mode == RUN_AUTO)
		run->mode = RUN_GROUP;
	if (run->mode == RUN_GROUP)
		return 0;
	fprintf(stderr,
		"vfioctl: cannot hand over %zu devices and an iommufd: %d descriptors are the "
		"most; nothing was acquired\n",
		n_fds - 1, RUN_MAX_FDS);
	return EXIT_RUN_FAILED;
}

/* What was asked for is known by name now: so are the arguments. */
static int arguments_late(struct run *run, const struct vfiod_lease *lease)
{
	unsigned char which = vfiod_lease_iommufd(lease) >= 0 ? HANDOVER_DEVICES : HANDOVER_GROUPS;
	int exit_code, r = run_groups_granted(&run->groups, lease);

	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot use what was acquired: %s\n", strerrordesc_np(-r));
		return EXIT_RUN_FAILED;
	}
	exit_code = arguments_read(run, run->argc, run->typed);
	if (exit_code == 0)
		exit_code = handovers_make(&run->groups, run->handovers);
	if (exit_code)
		return exit_code;
	r = script_write(run->script, run->handovers[which].names, run->argv);
	if (r == 0)
		return 0;
	fprintf(stderr, "vfioctl: cannot hand its arguments to %s: %s\n", run->typed[0],
		strerrordesc_np(-r));
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

/* What is observed are containers, of groups. */
static unsigned mode_flag(const struct run *run)
{
	return run->mode == RUN_CDEV                     ? VFIOD_ACQUIRE_CDEV
	       : run->mode == RUN_GROUP || run->observes ? VFIOD_ACQUIRE_GROUP
							 : 0;
}

static void queued_print(unsigned position, void *targets)
{
	if (position == 0)
		fprintf(stderr, "vfioctl: waiting for %s: next in the queue\n",
			(const char *)targets);
	else
		fprintf(stderr, "vfioctl: waiting for %s: %u request%s before this one\n",
			(const char *)targets, position, position == 1 ? "" : "s");
}

static int acquire(struct run *run, const struct launch *launch, struct vfiod_lease **lease)
{
	struct vfiod_acquire_options options = {
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_FOLLOW | VFIOD_ACQUIRE_WATCH | mode_flag(run),
		.pidfd = launch->pidfd,
		.wait_seconds = (unsigned)run->wait_seconds,
		.memory_bytes = run->memory_bytes,
		.on_queued = queued_print,
	};
	struct run_groups *groups = &run->groups;
	const char **names = calloc(groups->n_targets, sizeof *names);
	char numbers[256] = "";
	size_t used = 0;
	int r;

	if (!names)
		return run_out_of_memory();
	for (size_t i = 0; i < groups->n_targets; i++) {
		char target[256];

		names[i] = groups->targets[i].name;
		target_describe(names[i], target, sizeof target);
		if (used < sizeof numbers)
			used += (size_t)snprintf(numbers + used, sizeof numbers - used, "%s%s",
				i ? ", " : "", target);
	}
	options.userdata = numbers;
	r = vfiod_acquire_with(run->context->vfiod, names, groups->n_targets, &options, lease);
	free(names);
	if (r == 0)
		return 0;
	complain(run->context, "acquire %s", numbers);
	if (run->mode == RUN_CDEV && r == -EINVAL)
		fputs("This vfiod is older than vfioctl: it hands over groups only.\n", stderr);
	if (run->mode == RUN_CDEV && r == -EOPNOTSUPP)
		fputs("`vfioctl check` tells what this host has; groups are there without it: "
		      "{group}.\n",
			stderr);
	return EXIT_RUN_FAILED;
}

/* Is the group on its way back still? And if it came to rest: is it open somewhere? */
static bool group_is_settled(struct run *run, size_t index, bool *is_lingering)
{
	char target[32];
	struct json_object *reply, *group;
	const char *binding, *owner, *lease;
	bool is_settled = true;

	snprintf(target, sizeof target, "group:%d", run->groups.groups[index].number);
	*is_lingering = false;
	if (describe(run->context, target, &reply) < 0)
		return true; /* it has gone, or the daemon: nothing to wait for */
	group = get_object(reply, "group");
	binding = get_string(group, "binding");
	owner = get_string(group, "owner");
	lease = get_string(group, "lease");
	if (owner && strcmp(owner, "lingering") == 0)
		*is_lingering = true;
	else if (owner && strcmp(owner, "leased") == 0)
		/* Without a lease: it is being looked whether somebody has it open still. */
		is_settled = lease && !(run->lease && strcmp(lease, run->lease) == 0);
	else
		is_settled = !(binding && strcmp(binding, "returning") == 0);
	json_object_put(reply);
	return is_settled;
}

static void groups_settle(struct run *run)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };

	for (size_t i = 0; i < run->groups.n; i++) {
		bool is_lingering;

		for (int tries = 0; tries < SETTLE_TRIES; tries++) {
			if (group_is_settled(run, i, &is_lingering))
				break;
			nanosleep(&tenth, NULL);
		}
		if (is_lingering)
			fprintf(stderr,
				"vfioctl: group %d is still open in some process; its devices "
				"go back when that ends\n",
				run->groups.groups[i].number);
	}
}

/* The daemon sees CMD's end as well: that the lease is over already is what we want. */
static void release(struct run *run, struct vfiod_lease *lease)
{
	int r = vfiod_release(run->context->vfiod, lease);

	if (r >= 0 || r == -ENOKEY)
		groups_settle(run);
	else if (!run->is_lost && !run->is_away)
		fprintf(stderr,
			"vfioctl: %s; the lease ends with %s all the same, see vfioctl list\n",
			vfiod_strerror(run->context->vfiod), run->typed[0]);
}

static void on_event(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata)
{
	struct run *run = userdata;
	char printable[512];

	(void)lease;
	format_printable(text, printable, sizeof printable);
	switch (event) {
	case VFIOD_RELEASE_REQUESTED:
		fprintf(stderr,
			"vfioctl: an administrator asks for the devices back: %s; they go back "
			"when %s ends\n",
			printable, run->typed[0]);
		break;
	case VFIOD_DEVICE_GONE:
		fprintf(stderr, "vfioctl: %s has left the host\n", printable);
		break;
	case VFIOD_ENDED:
		run->is_lost = true;
		snprintf(run->end, sizeof run->end, "%s", printable);
		break;
	}
}

/* That CMD ends is why a lease ends, most of the time; whoever waits for it will see. */
static int tell_end(struct run *run)
{
	struct pollfd cmd = { .fd = run->pidfd, .events = POLLIN };

	if (poll(&cmd, 1, 0) == 0)
		fprintf(stderr,
			"vfioctl: the lease has ended: %s; %s goes on, and its devices go back "
			"when it has closed them\n",
			run->end, run->typed[0]);
	return NEWS_NEVER;
}

static int give_up(struct run *run)
{
	fprintf(stderr, "vfioctl: nothing more will be heard of the lease: %s\n",
		vfiod_strerror(run->context->vfiod));
	run->is_lost = true;
	return NEWS_NEVER;
}

/* CMD and its lease need us for nothing: what is at stake is what we can tell of them. */
static int come_back(struct run *run)
{
	int r = vfiod_resume(run->context->vfiod, 0);

	if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT)
		return AGAIN_MS;
	run->is_away = false;
	if (run->is_lost)
		return tell_end(run);
	if (r < 0)
		return give_up(run);
	fprintf(stderr, "vfioctl: vfiod is back, and %s has its lease as before\n", run->typed[0]);
	return NEWS_WHEN_READABLE;
}

/* The daemon has something to say, or has gone: when to come again. */
static int on_stream(void *userdata)
{
	struct run *run = userdata;

	if (run->is_away)
		return come_back(run);
	int r = vfiod_dispatch(run->context->vfiod, 0);
	if (run->is_lost)
		return tell_end(run);
	if (r >= 0)
		return NEWS_WHEN_READABLE;
	if (r != -ECONNRESET)
		return give_up(run);
	fprintf(stderr,
		"vfioctl: lost vfiod; %s goes on with its devices, `systemctl status vfiod` may "
		"say why\n",
		run->typed[0]);
	run->is_away = true;
	return AGAIN_MS;
}

/*
 * CMD's process is there before the lease, so that the lease can follow it: then killing
 * vfioctl takes nothing away from CMD.
 */
static int run_command(struct run *run)
{
	const struct shim_options shim = { .argv = run->argv ? run->argv : run->typed,
		.socket = run->context->socket,
		.observes = run->observes,
		.library = run->is_preload ? run->library : NULL };
	int exit_code, r, connection = vfiod_get_fd(run->context->vfiod);
	struct vfiod_lease *lease;
	struct launch launch;

	r = run->is_shim ? shim_launch(&launch, &shim, connection)
			 : launch_fork(&launch, run->argv ? run->argv : run->typed, run->handovers,
				   run->script, connection);
	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot start a process: %s\n", strerrordesc_np(-r));
		return EXIT_RUN_FAILED;
	}
	exit_code = acquire(run, &launch, &lease);
	if (exit_code) {
		launch_close(&launch);
		return exit_code;
	}
	run->lease = strdup(vfiod_lease_name(lease)); /* without it, less waiting: no harm */
	exit_code = run->script >= 0 ? arguments_late(run, lease) : 0;
	if (exit_code == 0)
		exit_code = child_start(run, &launch, lease);
	run->pidfd = launch.pidfd;
	vfiod_lease_on_event(lease, on_event, run);
	if (exit_code == 0)
		exit_code = launch_wait(&launch, vfiod_get_fd(run->context->vfiod), on_stream, run);
	launch_close(&launch);
	release(run, lease);
	return exit_code;
}

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
	if (run->is_shim && groups->n_any > 0) {
		usage_error(run->context,
			"--shim goes with --device and --group: CMD has to know which");
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
		if (seconds_parse(optarg, INT_MAX, &run->wait_seconds) == 0)
			return 0;
		usage_error(run->context, "--wait %s: not a number of seconds", optarg);
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
static int options_read(struct run *run, int argc, char *argv[], bool *is_done)
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
	if (run->groups.n_any > 0) {
		run->script = script_new();
		if (run->script >= 0)
			return run_command(run);
		fprintf(stderr, "vfioctl: cannot make a file for arguments: %s\n",
			strerrordesc_np(-run->script));
		return EXIT_RUN_FAILED;
	}
	exit_code = groups_resolve(run);
	if (exit_code == 0)
		exit_code = arguments_read(run, argc, argv);
	if (exit_code == 0)
		exit_code = handovers_make(&run->groups, run->handovers);
	if (exit_code == 0)
		exit_code = count_check(run);
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
	int exit_code = options_read(&run, argc, argv, &is_done);

	/* With --shim there is nothing to name: that is told of each. */
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
		"  --near NODE     with --any: rather near that NUMA node\n"
		"With {device:X}, {device} or {iommufd} it gets devices in place of groups,\n"
		"/dev/vfio/devices/vfioN, and an iommufd (device-0000-01-00.0:iommufd).\n"
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
		"  --wait SECONDS  wait in the queue while others have the groups\n"
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
		"  vfioctl run --wait 60 --device 3b:02.0 --group 15 -- \\\n"
		"      pump --in={group:3b:02.0} --out={group:15}\n",
	.run = run_run,
};
