#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/vfioctl.h"

/*
 * What every command takes, before its name or after it. Values beyond any character, but for
 * those that have a short form: 'h' and 'V', which no command uses for its own.
 */
enum {
	OPTION_SOCKET = 1000,
	OPTION_JSON,
	OPTION_NO_LEGEND,
	OPTION_TIMEOUT,
};
static const struct option common[] = {
	{ "socket", required_argument, NULL, OPTION_SOCKET },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
};
#define N_COMMON (sizeof common / sizeof *common)
#define MAX_OWN 16

int usage_error(struct context *context, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "vfioctl%s%s: ", context->command ? " " : "",
		context->command ? context->command : "");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nSee vfioctl%s%s --help.\n", context->command ? " " : "",
		context->command ? context->command : "");
	return EXIT_USAGE;
}

int seconds_parse(const char *text, int max, int *seconds)
{
	char *end;
	long value;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtol(text, &end, 10);
	if (*end || errno || value > max)
		return -EINVAL;
	*seconds = (int)value;
	return 0;
}

void options_begin(void)
{
	optind = 0; /* getopt(3): start afresh, and read the leading '+' again */
	opterr = 0;
}

/* -1 to go on, or an exit code. */
static int common_option(struct context *context, int option)
{
	int seconds;

	switch (option) {
	case OPTION_SOCKET:
		if (!*optarg)
			return usage_error(context, "--socket '': not a path");
		context->socket = optarg;
		return -1;
	case OPTION_JSON:
		context->is_json = true;
		return -1;
	case OPTION_NO_LEGEND:
		context->has_legend = false;
		return -1;
	case OPTION_TIMEOUT:
		if (seconds_parse(optarg, INT_MAX / 1000, &seconds) < 0)
			return usage_error(
				context, "--timeout %s: not a number of seconds", optarg);
		if (seconds == 0)
			return usage_error(context, "--timeout 0: no answer is as quick as that");
		context->timeout_ms = seconds * 1000;
		return -1;
	case 'h':
		if (context->command)
			command_help_print(context->out, command_find(context->command));
		else
			help_print(context->out);
		return EXIT_SUCCESS;
	default: /* 'V' */
		fputs("vfioctl " VFIOD_VERSION "\n", context->out);
		return EXIT_SUCCESS;
	}
}

int options_next(struct context *context, int argc, char *argv[], bool stop_at_argument,
	const struct option *own, int *exit_code)
{
	struct option all[N_COMMON + MAX_OWN + 1] = { 0 };
	size_t n = N_COMMON;
	int option;

	memcpy(all, common, sizeof common);
	for (; own && own->name && n < N_COMMON + MAX_OWN; own++)
		all[n++] = *own;
	for (;;) {
		option = getopt_long(argc, argv, stop_at_argument ? "+:hV" : ":hV", all, NULL);
		if (option != 'h' && option != 'V' &&
			(option < OPTION_SOCKET || option > OPTION_TIMEOUT))
			break;
		*exit_code = common_option(context, option);
		if (*exit_code >= 0)
			return OPTION_EXIT;
	}
	if (option != '?' && option != ':')
		return option;
	*exit_code = usage_error(context, option == ':' ? "%s wants a value" : "unknown option %s",
		argv[optind - 1]);
	return OPTION_EXIT;
}

bool options_none(struct context *context, int argc, char *argv[], int *exit_code)
{
	options_begin();
	return options_next(context, argc, argv, false, NULL, exit_code) == OPTION_EXIT;
}
