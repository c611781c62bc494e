/*
 * kill-call PID N: kills a process with one thread at the entry of its N-th system call from now
 * on. Says "armed"; then "killed at CALL", its number, or "ended", if the process ends by itself;
 * or, on SIGTERM, "alone after N", and leaves it alone.
 */
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static volatile sig_atomic_t enough;

static void on_end(int number)
{
	(void)number;
	enough = 1;
}

static void trace(pid_t pid, enum __ptrace_request request, uintptr_t address, uintptr_t data)
{
	if (ptrace(request, pid, (void *)address, (void *)data) < 0)
		err(EXIT_SYSTEM, "ptrace");
}

/* Until it stops: false when it is no more. A SIGTERM of our own makes it stop, too. */
static bool stopped(pid_t pid, int *status)
{
	while (waitpid(pid, status, __WALL) < 0) {
		if (errno != EINTR)
			err(EXIT_SYSTEM, "waitpid");
		if (enough)
			trace(pid, PTRACE_INTERRUPT, 0, 0);
	}
	return WIFSTOPPED(*status);
}

/* Lets it go to the next entry of a system call; its number, or -1. */
static long next_call(pid_t pid)
{
	struct __ptrace_syscall_info info;
	int status, signal = 0;

	for (;;) {
		trace(pid, PTRACE_SYSCALL, 0, (uintptr_t)signal);
		if (!stopped(pid, &status))
			return -1;
		signal = 0;
		if (enough)
			return -1;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			trace(pid, PTRACE_GET_SYSCALL_INFO, sizeof(info), (uintptr_t)&info);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
				return (long)info.entry.nr;
		} else if (status >> 16 == 0) {
			signal = WSTOPSIG(status);
		}
	}
}

int main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = on_end };
	int status;

	if (argc != 3)
		errx(EXIT_USAGE, "usage: kill-call PID N");
	pid_t pid = (pid_t)program_number(argv[1], INT_MAX);
	unsigned long n = program_number(argv[2], INT_MAX), made = 0;
	if (sigaction(SIGTERM, &action, NULL))
		err(EXIT_SYSTEM, "sigaction");
	trace(pid, PTRACE_SEIZE, 0, PTRACE_O_TRACESYSGOOD);
	trace(pid, PTRACE_INTERRUPT, 0, 0);
	if (!stopped(pid, &status))
		errx(EXIT_SYSTEM, "it has ended");
	puts("armed");
	fflush(stdout);

	long call;
	while ((call = next_call(pid)) >= 0 && ++made < n)
		;
	if (call >= 0) {
		kill(pid, SIGKILL);
		printf("killed at %ld\n", call);
	} else if (enough) {
		printf("alone after %lu\n", made);
	} else {
		puts("ended");
	}
	return 0;
}
