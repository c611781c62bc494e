/* vfioctl(1): the options that come before the command, and the command's start. */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/vfioctl.h"

/* What was printed must have arrived, except where the reader had enough of it (… | head). */
static int output_finish(const struct context *context, int exit_code)
{
	int error = context->write_error;

	errno = EIO; /* where an earlier write failed, and this one has nothing left to write */
	if (!error && fflush(stdout) == 0 && !ferror(stdout))
		return exit_code;
	error = error ? error : errno;
	if (error == EPIPE)
		return exit_code;
	fprintf(stderr, "vfioctl: cannot write: %s\n", strerrordesc_np(error));
	return exit_code == EXIT_SUCCESS ? EXIT_REFUSED : exit_code;
}

static int start(struct context *context, int argc, char *argv[])
{
	const struct command *command;
	int exit_code = EXIT_SUCCESS;

	options_begin();
	if (options_next(context, argc, argv, true, NULL, &exit_code) == OPTION_EXIT)
		return exit_code;
	if (optind == argc) {
		help_print(stderr);
		return EXIT_USAGE;
	}
	command = command_find(argv[optind]);
	if (!command)
		return usage_error(context, "there is no command %s", argv[optind]);
	context->command = command->name;
	return command->run(context, argc - optind, argv + optind);
}

int main(int argc, char *argv[])
{
	struct context context = {
		.has_legend = true,
		.timeout_ms = -1,
		.out = stdout,
		.is_terminal = isatty(STDOUT_FILENO),
	};
	int exit_code;

	setlocale(LC_CTYPE, "");
	stderr_wrap();
	exit_code = start(&context, argc, argv);
	vfiod_close(context.vfiod);
	return output_finish(&context, exit_code);
}
