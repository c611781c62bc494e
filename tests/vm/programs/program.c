#include "tests/vm/programs/program.h"

#include <errno.h>
#include <signal.h>

unsigned long program_number(const char *text, unsigned long max)
{
	char *end;
	errno = 0;
	unsigned long number = strtoul(text, &end, 0);
	if (errno || end == text || *end || number > max)
		errx(EXIT_USAGE, "not a number up to %lu: %s", max, text);
	return number;
}

void program_hold(const char *what)
{
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	/* Blocked before the line is out: who reads it may send the signal at once. */
	if (sigprocmask(SIG_BLOCK, &ends, NULL))
		err(EXIT_SYSTEM, "sigprocmask");
	puts(what);
	fflush(stdout);
	int number;
	sigwait(&ends, &number);
}

void program_wait_for_line(void)
{
	int c;

	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
}
