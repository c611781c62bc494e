#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/vfioctl.h"

const struct command *const commands[] = {
	&command_list,
	&command_status,
	&command_why,
	&command_check,
	&command_can,
	&command_take,
	&command_return,
	&command_leases,
	&command_revoke,
	&command_ledger,
	&command_audit,
	&command_monitor,
	&command_run,
	&command_reload,
	&command_metrics,
	&command_help,
	NULL,
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return strcmp(name, command_names.name) == 0 ? &command_names : NULL;
}

void help_print(FILE *out)
{
	fputs("vfioctl [OPTION]… COMMAND [ARGUMENT]…\n"
	      "Ask vfiod, the broker of VFIO device ownership, for devices; see who has them.\n"
	      "\n",
		out);
	for (size_t i = 0; commands[i]; i++)
		fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n"
	      "With every command:\n"
	      "  --socket PATH      talk to the daemon at PATH\n"
	      "  --json             print the replies as JSON, one a line\n"
	      "  --no-legend        no titles and no last line\n"
	      "  --timeout SECONDS  give up when an answer takes longer (1 or more)\n"
	      "  -h, --help         explain vfioctl, or the command\n"
	      "  -V, --version      print the version\n"
	      "They may stand before COMMAND or after it, also after its arguments; in run,\n"
	      "before CMD.\n"
	      "\n"
	      "DEVICE is a name in sysfs (0000:01:00.0, 01:00.0) or of an interface (enp3s0);\n"
	      "GROUP is the number of an IOMMU group (7, or group:7).\n"
	      "\n"
	      "Exit status: 0 success, 1 refused or failed, 2 wrong usage, 3 no daemon;\n"
	      "of run: that of CMD. vfioctl help COMMAND has examples, vfioctl(1) all of it.\n",
		out);
}

void command_help_print(FILE *out, const struct command *command)
{
	fprintf(out, "vfioctl %s%s%s\n%s.\n\n%s", command->name, *command->arguments ? " " : "",
		command->arguments, command->summary, command->help);
}

static int help_run(struct context *context, int argc, char *argv[])
{
	const struct command *command;
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (argc - optind > 1)
		return usage_error(context, "one command at most");
	if (optind == argc) {
		help_print(context->out);
		return EXIT_SUCCESS;
	}
	command = command_find(argv[optind]);
	if (!command)
		return usage_error(context, "there is no command %s", argv[optind]);
	command_help_print(context->out, command);
	return EXIT_SUCCESS;
}

const struct command command_help = {
	.name = "help",
	.arguments = "[COMMAND]",
	.summary = "Explain vfioctl, or one of its commands",
	.help = "Examples:\n"
		"  vfioctl help\n"
		"  vfioctl help run\n",
	.run = help_run,
};
