#include <stdlib.h>

#include "client/vfioctl/vfioctl.h"

static int reload_run(struct context *context, int argc, char *argv[])
{
	struct json_object *reply;
	int r, exit_code;
	long long rules;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (optind < argc)
		return usage_error(context, "no arguments, but there is %s", argv[optind]);
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	r = ask(context, "org.vfiod.Admin.Reload", NULL, &reply);
	if (r < 0)
		return complain(context, "reload");
	rules = (long long)get_int(reply, "rules", 0);
	if (context->is_json)
		json_print(context, reply);
	else
		fprintf(context->out, "reloaded: %lld rule%s in force\n", rules,
			rules == 1 ? "" : "s");
	json_object_put(reply);
	return EXIT_SUCCESS;
}

const struct command command_reload = {
	.name = "reload",
	.arguments = "",
	.summary = "Have the daemon read its configuration again",
	.help = "A file with an error changes nothing, and the error is shown. Leases stay.\n"
		"Administrators only.\n"
		"\n"
		"Examples:\n"
		"  sudo vfioctl reload\n"
		"  vfiod --check-config && sudo vfioctl reload\n",
	.run = reload_run,
};
