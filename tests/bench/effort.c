#include "tests/bench/effort.h"

#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The tracepoint that every system call passes; 0: there is none, or it may not be seen. */
static uint64_t tracepoint(void)
{
	static const char *const paths[] = {
		"/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
		"/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
	};
	unsigned long long id = 0;

	for (int i = 0; i < 2 && id == 0; i++) {
		FILE *file = fopen(paths[i], "re");
		if (!file)
			continue;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's. */
		if (fscanf(file, "%llu", &id) != 1)
			id = 0;
		fclose(file);
	}
	return id;
}

static int count(pid_t pid, uint32_t type, uint64_t config)
{
	struct perf_event_attr attributes = {
		.type = type,
		.size = sizeof(attributes),
		.config = config,
	};
	return (int)syscall(SYS_perf_event_open, &attributes, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

void effort_begin(struct effort *effort, pid_t pid)
{
	uint64_t id = tracepoint();

	effort->fds[EFFORT_CALLS] = id > 0 ? count(pid, PERF_TYPE_TRACEPOINT, id) : -1;
	effort->fds[EFFORT_SWITCHES] =
		count(pid, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES);
	effort->fds[EFFORT_CPU_US] = count(pid, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK);
}

void effort_end(struct effort *effort, double n_leases, double shares[EFFORT_KINDS])
{
	for (int kind = 0; kind < EFFORT_KINDS; kind++) {
		uint64_t value;
		int fd = effort->fds[kind];

		shares[kind] = -1;
		if (fd < 0)
			continue;
		if (read(fd, &value, sizeof(value)) == sizeof(value))
			shares[kind] = (double)value / n_leases;
		close(fd);
	}
	/* The kernel counts it in nanoseconds. */
	if (shares[EFFORT_CPU_US] >= 0)
		shares[EFFORT_CPU_US] /= 1000;
}
