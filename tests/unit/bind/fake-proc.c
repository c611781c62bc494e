#include "tests/unit/remove-tree.h"

#include "fake-proc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void make_directories(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

__attribute__((format(printf, 2, 0))) static char *path_in(
	const struct fake_proc *proc, const char *format, va_list arguments)
{
	char *name, *path;

	assert_true(vasprintf(&name, format, arguments) >= 0);
	assert_true(asprintf(&path, "%s/%s", proc->root, name) >= 0);
	free(name);
	make_directories(path);
	return path;
}

void fake_file(const struct fake_proc *proc, const char *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *path = path_in(proc, format, arguments);
	va_end(arguments);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

void fake_link(const struct fake_proc *proc, const char *target, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *path = path_in(proc, format, arguments);
	va_end(arguments);
	assert_int_equal(symlink(target, path), 0);
	free(path);
}

void fake_proc_init(struct fake_proc *proc)
{
	snprintf(proc->root, sizeof(proc->root), "/tmp/fake-proc.XXXXXX");
	assert_non_null(mkdtemp(proc->root));
	fake_file(proc, "", "proc/uptime");
}

void fake_proc_clear(struct fake_proc *proc)
{
	assert_int_equal(remove_tree(proc->root), 0);
}

void fake_process(const struct fake_proc *proc, pid_t pid, pid_t parent, pid_t session,
	unsigned long long start_ticks, const char *command)
{
	char stat[256];

	snprintf(stat, sizeof(stat),
		"%d (%s) S %d %d %d 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %llu 9 10\n", (int)pid,
		command, (int)parent, (int)pid, (int)session, start_ticks);
	fake_file(proc, stat, "proc/%d/stat", (int)pid);
	fake_file(proc, "0::/\n", "proc/%d/cgroup", (int)pid);
}

void fake_descriptor(
	const struct fake_proc *proc, pid_t pid, int fd, const char *target, const char *fdinfo)
{
	fake_link(proc, target, "proc/%d/fd/%d", (int)pid, fd);
	fake_file(proc, fdinfo, "proc/%d/fdinfo/%d", (int)pid, fd);
}
