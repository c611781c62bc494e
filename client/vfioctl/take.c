/* take and return: the two that move drivers without a lease. */
#include <stdlib.h>

#include "client/vfioctl/dry-run.h"
#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

struct move {
	const char *method;
	const char *verb;    /* "take" */
	const char *done;    /* "taken" */
	const char *already; /* "was taken already" */
};

static void moved_print(struct context *context, const struct move *move, struct json_object *reply)
{
	size_t n;
	struct json_object *devices = get_array(reply, "devices", &n);
	long long group = (long long)get_int(reply, "group", -1);

	if (n == 0) {
		fprintf(context->out, "group %lld %s\n", group, move->already);
		return;
	}
	fprintf(context->out, "group %lld %s:", group, move->done);
	for (size_t i = 0; i < n; i++) {
		char device[256];
		const char *name = json_object_get_string(json_object_array_get_idx(devices, i));

		format_printable(name ? name : "?", device, sizeof device);
		fprintf(context->out, "%s %s", i ? "," : "", device);
	}
	fputc('\n', context->out);
}

static int move_one(struct context *context, const struct move *move, const char *argument)
{
	struct json_object *parameters = selector_parameters(argument), *reply;
	char target[256];
	int r;

	target_describe(argument, target, sizeof target);
	if (!parameters) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	r = ask(context, move->method, parameters, &reply);
	if (r < 0)
		return complain(context, "%s %s", move->verb, target);
	if (context->is_json)
		json_print(context, reply);
	else
		moved_print(context, move, reply);
	json_object_put(reply);
	return EXIT_SUCCESS;
}

/* Is there each of them? A slip of the pen in the third must not cost the first its driver. */
static int find_all(struct context *context, const struct move *move, int n, char *argv[])
{
	for (int i = 0; i < n; i++) {
		struct json_object *parameters = selector_parameters(argv[i]), *reply;
		char target[256];

		target_describe(argv[i], target, sizeof target);
		if (!parameters) {
			fputs("vfioctl: out of memory\n", stderr);
			return EXIT_REFUSED;
		}
		if (ask(context, "org.vfiod.Broker.Describe", parameters, &reply) < 0) {
			complain(context, "%s %s", move->verb, target);
			fprintf(stderr, "Nothing was %s.\n", move->done);
			return EXIT_REFUSED;
		}
		json_object_put(reply);
	}
	return EXIT_SUCCESS;
}

/* All that were named; one that fails does not keep the others from being tried. */
static int move_all(struct context *context, const struct move *move, int argc, char *argv[])
{
	static const struct option own[] = {
		{ "dry-run", no_argument, NULL, 'n' },
		{ 0 },
	};
	bool is_dry = false;
	int option, exit_code;

	options_begin();
	while ((option = options_next(context, argc, argv, false, own, &exit_code)) != OPTION_END) {
		if (option == OPTION_EXIT)
			return exit_code;
		is_dry = true;
	}
	if (optind == argc)
		return usage_error(context, "which device or group?");
	for (int i = optind; i < argc; i++)
		if (!target_is_valid(argv[i]))
			return usage_error(context, "'%s': neither a device nor a group", argv[i]);
	exit_code = connect_daemon(context);
	if (!exit_code && is_dry)
		return dry_run(context, move->verb, NULL, (const char *const *)argv + optind,
			(size_t)(argc - optind));
	if (!exit_code && argc - optind > 1)
		exit_code = find_all(context, move, argc - optind, argv + optind);
	if (exit_code)
		return exit_code;
	for (int i = optind; i < argc; i++)
		if (move_one(context, move, argv[i]) != EXIT_SUCCESS)
			exit_code = EXIT_REFUSED;
	return exit_code;
}

static int take_run(struct context *context, int argc, char *argv[])
{
	static const struct move move = {
		"org.vfiod.Admin.Take",
		"take",
		"taken",
		"was taken already",
	};

	return move_all(context, &move, argc, argv);
}

static int return_run(struct context *context, int argc, char *argv[])
{
	static const struct move move = {
		"org.vfiod.Admin.Return",
		"return",
		"returned",
		"was with the host already",
	};

	return move_all(context, &move, argc, argv);
}

const struct command command_take = {
	.name = "take",
	.arguments = "[--dry-run] DEVICE|GROUP…",
	.summary = "Take whole groups away from the drivers of the host",
	.help = "All devices of a group move to VFIO drivers, or none does; bridges stay. They\n"
		"stay taken until vfioctl return. A lease does both by itself.\n"
		"Of several, a name that means nothing stops it before anything is taken; then\n"
		"each group is taken by itself, also where one before it was refused.\n"
		"  --dry-run  say what would be done with each device, and what is in the way;\n"
		"             exit status 1 if something is\n"
		"Administrators only.\n"
		"An interface goes with its driver: after take enp3s0, return the device by the\n"
		"address that take printed.\n"
		"\n"
		"Examples:\n"
		"  sudo vfioctl take 01:00.0\n"
		"  sudo vfioctl take --dry-run 01:00.0\n"
		"  sudo vfioctl take enp3s0 group:7\n",
	.run = take_run,
};

const struct command command_return = {
	.name = "return",
	.arguments = "[--dry-run] DEVICE|GROUP…",
	.summary = "Give groups back to the drivers of the host",
	.help = "Also tries a group again whose last transaction failed.\n"
		"  --dry-run  say what would be done with each device, and what is in the way;\n"
		"             exit status 1 if something is\n"
		"Administrators only.\n"
		"\n"
		"Examples:\n"
		"  sudo vfioctl return 01:00.0\n"
		"  sudo vfioctl return 7 8\n",
	.run = return_run,
};
