/* What `vfioctl run` asks for, what it gets, and what CMD is told of that. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/vfioctl/run-command.h"

#define AGAIN_MS 100 /* until a daemon that has gone is looked for once more */

int run_describe(struct context *context, const char *target, struct json_object **reply)
{
	struct json_object *parameters = selector_parameters(target);

	*reply = NULL;
	if (!parameters)
		return -ENOMEM;
	return ask(context, "org.vfiod.Broker.Describe", parameters, reply);
}

/* That it means now, with --any beside it: only its number, as what is before it is not known yet.
 */
static int resolve(struct run *run, size_t index)
{
	struct run_target *target = &run->groups.targets[index];
	struct json_object *reply, *group;
	char named[256];
	int r = run_describe(run->context, target->name, &reply);

	target_describe(target->name, named, sizeof named);
	if (r < 0) {
		complain(run->context, "acquire %s", named);
		return EXIT_RUN_FAILED;
	}
	group = get_object(reply, "group");
	if (run->groups.n_any > 0)
		target->number = (int)get_int(group, "number", -1);
	else
		r = run_groups_describe(&run->groups, index, group);
	json_object_put(reply);
	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot acquire %s: %s\n", named, strerrordesc_np(-r));
		return EXIT_RUN_FAILED;
	}
	return 0;
}

int run_resolve(struct run *run)
{
	int exit_code = 0;

	for (size_t i = 0; exit_code == 0 && i < run->groups.n_targets; i++)
		if (run->groups.targets[i].any == 0)
			exit_code = resolve(run, i);
	return exit_code;
}

int run_arguments_read(struct run *run, int argc, char *argv[])
{
	run->argv = calloc((size_t)argc + 1, sizeof *run->argv);
	if (!run->argv)
		return run_out_of_memory();
	return arguments_expand(&run->groups, run->is_shim, argc, argv, run->argv);
}

/* Devices are more than their groups, and all have to go into one message. */
int run_count_check(struct run *run)
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
int run_arguments_late(struct run *run, const struct vfiod_lease *lease)
{
	unsigned char which = vfiod_lease_iommufd(lease) >= 0 ? HANDOVER_DEVICES : HANDOVER_GROUPS;
	int exit_code, r = run_groups_granted(&run->groups, lease);

	if (r < 0) {
		fprintf(stderr, "vfioctl: cannot use what was acquired: %s\n", strerrordesc_np(-r));
		return EXIT_RUN_FAILED;
	}
	exit_code = run_arguments_read(run, run->argc, run->typed);
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

/* What is observed are containers, of groups. */
static unsigned mode_flag(const struct run *run)
{
	return run->mode == RUN_CDEV                     ? VFIOD_ACQUIRE_CDEV
	       : run->mode == RUN_GROUP || run->observes ? VFIOD_ACQUIRE_GROUP
							 : 0;
}

static void queued_print(unsigned position, void *targets)
{
	patience_end();
	if (position == 0)
		fprintf(stderr, "vfioctl: waiting for %s: next in the queue\n",
			(const char *)targets);
	else
		fprintf(stderr, "vfioctl: waiting for %s: %u request%s before this one\n",
			(const char *)targets, position, position == 1 ? "" : "s");
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* While it waited in a queue, which is in no record: the next daemon knows nothing of it. */
static bool was_forgotten(const struct run *run, int result)
{
	const struct vfiod *vfiod = run->context->vfiod;
	const char *error = result < 0 ? vfiod_error_name(vfiod) : NULL;
	struct json_object *parameters;
	bool is_restart;

	if (result == -ECONNRESET)
		return true;
	if (!error || strcmp(error, "org.vfiod.Broker.Interrupted") != 0)
		return false;
	parameters = json_tokener_parse(vfiod_error_parameters(vfiod));
	is_restart = get_bool(parameters, "isRestart");
	json_object_put(parameters);
	return is_restart;
}

/* Its process would be who has the lease. */
static bool command_has_gone(const struct launch *launch)
{
	struct pollfd command = { .fd = launch->pidfd, .events = POLLIN };

	return poll(&command, 1, 0) > 0;
}

/* A daemon that answers, before the time is over. Not at once: one may come only to go. */
static int come_again(struct run *run, const struct launch *launch, double end)
{
	const struct timespec pause = { .tv_nsec = AGAIN_MS * 1000000L };
	struct context *context = run->context;
	struct vfiod *next;
	int r;

	do {
		nanosleep(&pause, NULL);
		if (command_has_gone(launch) || now() >= end)
			return -ECONNRESET;
		r = vfiod_open(context->socket, &next);
	} while (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT);
	if (r < 0)
		return r;
	vfiod_close(context->vfiod);
	context->vfiod = next;
	patience_begin();
	return 0;
}

/* As long as it is to wait; a daemon that has gone meanwhile is asked again, for what is left. */
static int acquire_in_time(struct run *run, const struct launch *launch, const char **names,
	struct vfiod_acquire_options *options, struct vfiod_lease **lease)
{
	double end = now() + run->wait_seconds, left;
	bool is_told = false;
	int r;

	for (;;) {
		r = vfiod_acquire_with(
			run->context->vfiod, names, run->groups.n_targets, options, lease);
		patience_end();
		if (!was_forgotten(run, r) || now() >= end)
			return r;
		if (!is_told)
			fputs("vfioctl: lost vfiod while waiting; looking for the next one\n",
				stderr);
		is_told = true;
		if (come_again(run, launch, end) < 0)
			return r;
		left = end - now();
		options->wait_seconds = left < 0 ? 0 : (unsigned)left + 1;
	}
}

int run_acquire(struct run *run, const struct launch *launch, struct vfiod_lease **lease)
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
	r = acquire_in_time(run, launch, names, &options, lease);
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
