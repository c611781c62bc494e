/* What `vfioctl run` asks for, what it gets, and what CMD is told of that. */
#include <errno.h>
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

/* Which groups there will be, so that all of CMD's arguments are known before any is taken. */
int run_resolve(struct run *run)
{
	struct run_groups *groups = &run->groups;

	for (size_t i = 0; i < groups->n_targets; i++) {
		char target[256];
		struct json_object *reply;
		int r = run_describe(run->context, groups->targets[i].name, &reply);

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
static bool was_forgotten(int result)
{
	return result == -ECONNRESET || result == -EPIPE || result == -EREMOTEIO;
}

/* A daemon that answers, before the time is over. */
static bool come_again(struct run *run, double end)
{
	const struct timespec pause = { .tv_nsec = AGAIN_MS * 1000000L };
	struct context *context = run->context;
	struct vfiod *next;

	while (vfiod_open(context->socket, &next) < 0) {
		if (now() >= end)
			return false;
		nanosleep(&pause, NULL);
	}
	vfiod_close(context->vfiod);
	context->vfiod = next;
	return true;
}

/* As long as it is to wait; a daemon that has gone meanwhile is asked again, for what is left. */
static int acquire_in_time(struct run *run, const char **names,
	struct vfiod_acquire_options *options, struct vfiod_lease **lease)
{
	double end = now() + run->wait_seconds, left;
	int r;

	for (;;) {
		r = vfiod_acquire_with(
			run->context->vfiod, names, run->groups.n_targets, options, lease);
		if (r == 0 || !was_forgotten(r) || now() >= end)
			return r;
		fputs("vfioctl: lost vfiod while waiting; looking for the next one\n", stderr);
		if (!come_again(run, end))
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
	r = acquire_in_time(run, names, &options, lease);
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
