/*
 * A daemon that is hung or still starting: systemd has the socket, so connecting succeeds and the
 * first call waits. A person is told so once; SIGALRM does not end the wait, as poll(2) is begun
 * again after EINTR, and what the timer does is safe in a handler.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "client/vfioctl/vfioctl.h"

#define PATIENCE_SECONDS 3

static void say_waiting(int signal)
{
	static const char text[] =
		"waiting for vfiod to answer; `journalctl -u vfiod` may say why\n";
	int saved = errno;
	ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);

	(void)signal;
	(void)n; /* there is nowhere else to complain */
	errno = saved;
}

void patience_begin(void)
{
	const struct sigaction action = { .sa_handler = say_waiting, .sa_flags = SA_RESTART };

	if (isatty(STDERR_FILENO) && sigaction(SIGALRM, &action, NULL) == 0)
		alarm(PATIENCE_SECONDS);
}

void patience_end(void)
{
	alarm(0);
}
