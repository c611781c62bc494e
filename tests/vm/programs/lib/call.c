/*
 * call [--more] [--pidfd PID | --open PATH]… METHOD [PARAMETERS]
 *
 * Calls a method of the daemon at $VFIOD_SOCKET, with descriptors if given: 0, 1, … of the message.
 * Each reply is a line of JSON; descriptors that come with it are told ("descriptors 2") and kept
 * open. An error reply is a line "error NAME PARAMETERS", and exit status 1.
 *
 *   --more        asks for a stream, and prints until it ends
 *   --pidfd PID   a pidfd of this process
 *   --open PATH   a file, open for reading
 */
#include "client/include/vfiod.h"
#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum { MAX_FDS = 8 };

static int on_reply(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	(void)userdata;
	puts(parameters);
	if (n_fds > 0)
		printf("descriptors %zu\n", n_fds);
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = -1;
	fflush(stdout);
	return 0;
}

static int descriptor(int option, const char *argument)
{
	int fd = option == 'p' ? pidfd_open((pid_t)program_number(argument, INT_MAX), 0)
			       : open(argument, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "%s", argument);
	return fd;
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "more", no_argument, NULL, 'm' },
		{ "pidfd", required_argument, NULL, 'p' },
		{ "open", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	struct vfiod *vfiod;
	int fds[MAX_FDS], option;
	size_t n_fds = 0;
	bool more = false;

	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (option == 'm')
			more = true;
		else if (option == '?' || n_fds == MAX_FDS)
			errx(EXIT_USAGE, "see tests/vm/programs/lib/call.c");
		else
			fds[n_fds++] = descriptor(option, optarg);
	}
	if (argc - optind < 1 || argc - optind > 2)
		errx(EXIT_USAGE, "which method?");
	if (vfiod_open(NULL, &vfiod) < 0)
		err(EXIT_SYSTEM, "the daemon's socket");
	int r = vfiod_call(vfiod, argv[optind], argc - optind == 2 ? argv[optind + 1] : NULL, more,
		fds, n_fds, -1, on_reply, NULL);
	if (r < 0 && !vfiod_error_name(vfiod))
		errx(EXIT_SYSTEM, "%s", vfiod_strerror(vfiod));
	if (r < 0)
		printf("error %s %s\n", vfiod_error_name(vfiod), vfiod_error_parameters(vfiod));
	vfiod_close(vfiod);
	return r < 0 ? EXIT_SYSTEM : 0;
}
