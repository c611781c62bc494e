#include "tests/unit/vfioctl/ctl.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"

char ctl_out[16384], ctl_err[16384];

static void file_read_all(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
}

__attribute__((noreturn)) static void child(
	const struct fake *fake, int out, int err, int argc, char *argv[])
{
	struct context context = { .socket = fake ? fake_socket(fake) : "/nonexistent/socket",
		.has_legend = true,
		.timeout_ms = 10000,
		.command = argv[0],
		.out = stdout };
	int exit_code;

	if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
		_exit(99);
	close_range(3, ~0U, 0); /* what this test's own starter left open */
	exit_code = command_find(argv[0])->run(&context, argc, argv);
	vfiod_close(context.vfiod);
	fflush(stdout);
	_exit(exit_code);
}

int ctl(const struct fake *fake, const char *command, ...)
{
	char *argv[32] = { strdup(command) };
	int argc = 1, status;
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
	const char *argument;
	va_list arguments;
	pid_t pid;

	va_start(arguments, command);
	while ((argument = va_arg(arguments, const char *)) && argc < 31)
		argv[argc++] = strdup(argument);
	va_end(arguments);
	assert_true(out >= 0 && err >= 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(fake, out, err, argc, argv);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	file_read_all(out, ctl_out, sizeof ctl_out);
	file_read_all(err, ctl_err, sizeof ctl_err);
	while (argc-- > 0)
		free(argv[argc]);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
