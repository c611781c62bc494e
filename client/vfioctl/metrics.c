#include <stdlib.h>

#include "client/vfioctl/vfioctl.h"

static int metrics_run(struct context *context, int argc, char *argv[])
{
	struct json_object *reply;
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (optind < argc)
		return usage_error(context, "no arguments, but there is %s", argv[optind]);
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	if (ask(context, "org.vfiod.Admin.Metrics", NULL, &reply) < 0)
		return complain(context, "metrics");
	if (context->is_json)
		json_print(context, reply);
	else
		fputs(get_string(reply, "text") ? get_string(reply, "text") : "", context->out);
	json_object_put(reply);
	return EXIT_SUCCESS;
}

const struct command command_metrics = {
	.name = "metrics",
	.arguments = "",
	.summary = "Print figures for Prometheus",
	.help = "Groups, leases, spaces, pinned memory, and how often what has happened.\n"
		"/run/vfiod/vfiod.prom has the same, for node_exporter's textfile collector.\n"
		"\n"
		"Examples:\n"
		"  vfioctl metrics\n"
		"  vfioctl metrics | grep vfiod_groups\n",
	.run = metrics_run,
};
