#include "tests/vm/programs/tracer.h"

#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* After sys/ptrace.h, which has the same names: for ptrace_syscall_info. */
#include <linux/ptrace.h>

/* Children that live on, and wait for work (daemon/bind/doorman.h). */
enum { MAX_RESTING = 16 };

struct trace {
	pid_t daemon;
	struct tracer_plan plan;
	struct tracer_result result;
	int n_children;
	pid_t resting[MAX_RESTING]; /* of these: who waits for work; 0: nobody */
	bool is_idle;               /* the daemon sleeps in epoll_wait */
	bool has_died;              /* the daemon */
};

static void trace_continue(pid_t pid, int signal_number)
{
	/* ESRCH: somebody has killed it meanwhile. */
	if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal_number) < 0 && errno != ESRCH)
		err(EXIT_SYSTEM, "PTRACE_SYSCALL");
}

/* A wait with a timeout of 0 is only a look. */
static bool is_sleep(const struct ptrace_syscall_info *info)
{
	return (info->entry.nr == SYS_epoll_wait || info->entry.nr == SYS_epoll_pwait) &&
	       (int)info->entry.args[3] != 0;
}

/* tracer.h says what that is. What arrives in a socket is lost with who has received it, too. */
static bool has_effect(const struct ptrace_syscall_info *info)
{
	static const unsigned long without[] = { SYS_read, SYS_pread64, SYS_readv, SYS_close,
		SYS_close_range, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_stat, SYS_lstat,
		SYS_statx, SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat,
		SYS_getdents64, SYS_fstatfs, SYS_statfs, SYS_getcwd, SYS_fcntl, SYS_dup, SYS_dup2,
		SYS_dup3, SYS_fsync, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise,
		SYS_brk, SYS_futex, SYS_rseq, SYS_set_robust_list, SYS_set_tid_address,
		SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_getpid, SYS_gettid,
		SYS_getppid, SYS_getuid, SYS_geteuid, SYS_prlimit64, SYS_uname, SYS_prctl,
		SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_getrandom,
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_poll, SYS_ppoll, SYS_recvmsg,
		SYS_recvfrom, SYS_accept4, SYS_socket, SYS_socketpair, SYS_getsockopt,
		SYS_getsockname, SYS_setsockopt, SYS_pidfd_open, SYS_restart_syscall };

	/* A VFIO group is opened for reading and writing; others find it busy then. */
	if (info->entry.nr == SYS_openat)
		return (info->entry.args[2] & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY;
	for (size_t i = 0; i < sizeof(without) / sizeof(*without); i++)
		if (info->entry.nr == without[i])
			return false;
	return true;
}

static void rest_end(struct trace *trace, pid_t pid)
{
	for (size_t i = 0; i < MAX_RESTING; i++)
		if (trace->resting[i] == pid)
			trace->resting[i] = 0;
}

/* Bind children, which come and go, only ever use recvmsg. */
static void rest_begin(struct trace *trace, pid_t pid, const struct ptrace_syscall_info *info)
{
	if (info->entry.nr != SYS_recvfrom || (info->entry.args[3] & MSG_DONTWAIT))
		return;
	for (size_t i = 0; i < MAX_RESTING; i++)
		if (trace->resting[i] == 0) {
			trace->resting[i] = pid;
			return;
		}
	errx(EXIT_SYSTEM, "more than %d children wait for work", MAX_RESTING);
}

static int n_at_work(const struct trace *trace)
{
	int n = trace->n_children;

	for (size_t i = 0; i < MAX_RESTING; i++)
		n -= trace->resting[i] != 0;
	return n;
}

static void on_call(struct trace *trace, pid_t pid)
{
	struct ptrace_syscall_info info;
	bool counts = (trace->plan.who == TRACE_DAEMON) == (pid == trace->daemon);

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) <= 0)
		return;
	bool is_entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	if (pid == trace->daemon)
		trace->is_idle = is_entry && is_sleep(&info);
	else if (is_entry)
		rest_begin(trace, pid, &info);
	else
		rest_end(trace, pid);
	if (!counts || !is_entry)
		return;
	bool matters = has_effect(&info);
	trace->result.n_calls++;
	trace->result.n_effects += matters;
	unsigned n = trace->plan.only_effects ? trace->result.n_effects : trace->result.n_calls;
	if (n != trace->plan.kill_at || (trace->plan.only_effects && !matters))
		return;
	trace->result.has_killed = true;
	trace->result.call = (int)info.entry.nr;
	/* Killed in its entry, a call is not made (kernel/entry/common.c, syscall_trace_enter). */
	kill(pid, SIGKILL);
	while (waitpid(pid, &(int){ 0 }, __WALL) < 0 && errno == EINTR)
		;
}

static void on_stop(struct trace *trace, pid_t pid, int status)
{
	int signal_number = WSTOPSIG(status), event = status >> 16;

	if (signal_number == (SIGTRAP | 0x80)) {
		on_call(trace, pid);
		signal_number = 0;
	} else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
		   event == PTRACE_EVENT_CLONE) {
		trace->n_children++;
	}
	if (!trace->result.has_killed)
		trace_continue(pid, event ? 0 : signal_number);
}

/* All news there is. */
static void trace_look(struct trace *trace)
{
	int status;
	pid_t pid;

	while (!trace->result.has_killed && !trace->has_died &&
		(pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status))
			on_stop(trace, pid, status);
		else if (pid == trace->daemon)
			trace->has_died = true;
		else {
			trace->n_children--;
			rest_end(trace, pid);
		}
	}
}

/* Stopped afterwards; false: it has ended. */
static bool trace_seize(pid_t pid, long options)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) < 0 ||
		ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0) {
		if (errno == ESRCH)
			return false;
		err(EXIT_SYSTEM, "PTRACE_SEIZE of %d", (int)pid);
	}
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			err(EXIT_SYSTEM, "waitpid");
	return WIFSTOPPED(status);
}

/* Those that it has already. */
static void trace_seize_children(struct trace *trace, long options)
{
	char path[64];
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", trace->daemon, trace->daemon);
	FILE *children = fopen(path, "re");
	if (!children)
		err(EXIT_SYSTEM, "%s", path);
	while (fscanf(children, "%d", &pid) == 1)
		if (trace_seize(pid, options)) {
			trace->n_children++;
			trace_continue(pid, 0);
		}
	fclose(children);
}

static void trace_arm(struct trace *trace)
{
	/* Threads, which would be its own. The daemon's children are followed only if they count.
	 */
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;

	if (trace->plan.who == TRACE_CHILDREN)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
	if (!trace_seize(trace->daemon, options))
		errx(EXIT_WRONG, "the daemon has ended before its time");
	if (trace->plan.who == TRACE_CHILDREN)
		trace_seize_children(trace, options);
	trace_continue(trace->daemon, 0);
}

/* The end of this process lets go of all that is traced still (ptrace(2)). */
static _Noreturn void trace_run(struct trace *trace, int answer, const sigset_t *signals)
{
	bool is_asked = false;

	trace_arm(trace);
	if (write(answer, "", 1) != 1)
		err(EXIT_SYSTEM, "write");
	while (!trace->result.has_killed && !trace->has_died &&
		!(is_asked && trace->is_idle && n_at_work(trace) <= 0)) {
		is_asked = sigwaitinfo(signals, NULL) == SIGTERM || is_asked;
		trace_look(trace);
	}
	if (write(answer, &trace->result, sizeof(trace->result)) != sizeof(trace->result))
		err(EXIT_SYSTEM, "write");
	_exit(0);
}

void tracer_start(struct tracer *tracer, pid_t daemon, const struct tracer_plan *plan)
{
	struct trace trace = { .daemon = daemon, .plan = *plan };
	sigset_t signals, before;
	int pipe_ends[2];
	char armed;

	if (pipe(pipe_ends) < 0)
		err(EXIT_SYSTEM, "pipe");
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGCHLD);
	/* Before the fork: none may come and be lost. */
	sigprocmask(SIG_BLOCK, &signals, &before);
	tracer->pid = fork();
	if (tracer->pid < 0)
		err(EXIT_SYSTEM, "fork");
	if (tracer->pid == 0) {
		/* What the caller has open, a group perhaps, is not to be open here, too. */
		if (dup2(pipe_ends[1], STDIN_FILENO) < 0 ||
			close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
			err(EXIT_SYSTEM, "descriptors");
		trace_run(&trace, STDIN_FILENO, &signals);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pipe_ends[1]);
	tracer->answer = pipe_ends[0];
	if (read(tracer->answer, &armed, 1) != 1)
		errx(EXIT_SYSTEM, "the tracer has failed");
}

bool tracer_has_ended(const struct tracer *tracer)
{
	struct pollfd answer = { .fd = tracer->answer, .events = POLLIN };
	return poll(&answer, 1, 0) > 0;
}

struct tracer_result tracer_stop(struct tracer *tracer)
{
	struct tracer_result result;

	kill(tracer->pid, SIGTERM);
	if (read(tracer->answer, &result, sizeof(result)) != sizeof(result))
		errx(EXIT_SYSTEM, "the tracer has failed");
	close(tracer->answer);
	while (waitpid(tracer->pid, NULL, 0) < 0 && errno == EINTR)
		;
	return result;
}
