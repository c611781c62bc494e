/*
 * Preloaded into the daemon on a kernel with injected failures: the N-th allocation that the kernel
 * makes for a bind child fails (Documentation/fault-injection/fault-injection.rst, fail-nth). N is
 * read from the file $FAIL_NTH when a child begins: anything but a positive number, and none fails.
 * When the child ends, it writes "N failed", or "N not reached", to the same name with ".done".
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail_nth = -1; /* /proc/self/task/TID/fail-nth */
static long nth;

static long number_from(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	return strtol(text, NULL, 10);
}

static void arm(void)
{
	char path[64], text[32];
	const char *name = getenv("FAIL_NTH");
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	nth = number_from(fd);
	close(fd);
	if (nth <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", gettid());
	fail_nth = open(path, O_RDWR | O_CLOEXEC);
	int length = snprintf(text, sizeof(text), "%ld", nth);
	if (fail_nth < 0 || write(fail_nth, text, (size_t)length) != length)
		dprintf(STDERR_FILENO, "fail-nth: cannot be armed\n");
}

/* The last thing that a bind child does before its work (daemon/base/child.c). */
int close_range(unsigned first, unsigned last, int flags)
{
	long r = syscall(SYS_close_range, first, last, flags);
	char name[17] = "";

	prctl(PR_GET_NAME, name);
	if (strcmp(name, "vfiod-bind") == 0 && fail_nth < 0)
		arm();
	return (int)r;
}

void _exit(int status)
{
	const char *name = getenv("FAIL_NTH");
	char done[4096];

	if (name && fail_nth >= 0) {
		/* The kernel counts down to 0 and fails then. */
		long left = number_from(fail_nth);
		if (pwrite(fail_nth, "0", 1, 0) != 1)
			dprintf(STDERR_FILENO, "fail-nth: cannot be disarmed\n");
		snprintf(done, sizeof(done), "%s.done", name);
		int fd = open(done, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd >= 0)
			dprintf(fd, "%ld %s\n", nth, left == 0 ? "failed" : "not reached");
	}
	syscall(SYS_exit_group, status);
	__builtin_unreachable();
}
