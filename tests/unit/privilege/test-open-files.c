/* The walk through what processes have open, on a directory that looks like /proc. */
#include "daemon/base/util.h"
#include "daemon/privilege/open-files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

static char proc[64];

static void make_file(const char *path, const char *text)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s/%s", proc, path);
	FILE *stream = fopen(whole, "we");
	assert_non_null(stream);
	assert_true(fputs(text, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
}

static void make_directory(const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s/%s", proc, path);
	assert_int_equal(mkdir(whole, 0700), 0);
}

static void make_link(const char *path, const char *target)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s/%s", proc, path);
	assert_int_equal(symlink(target, whole), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(proc, sizeof(proc), "/tmp/vfiod-files-XXXXXX");
	assert_non_null(mkdtemp(proc));
	make_file("uptime", "1 1\n");
	make_directory("700");
	make_directory("700/fd");
	make_directory("700/fdinfo");
	make_file("700/comm", "lamp\tserver\n");
	make_link("700/fd/0", "/dev/null");
	make_link("700/fd/7", "socket:[41]");
	make_link("700/fd/12", "/dev/null");
	make_file("700/fd/13", "no link");
	make_file("700/fdinfo/0", "pos:\t0\nflags:\t0100000\nmnt_id:\t25\n");
	make_file("700/fdinfo/7", "pos:\t0\nflags:\t02\n");
	make_file("700/fdinfo/12", "pos:\t0\nflags:\t0100001\n");
	/* Its descriptors may not be read, or it is about to end. */
	make_directory("701");
	make_directory("702");
	make_directory("702/fd");
	make_link("702/fd/3", "/dev/zero");
	make_directory("70x");
	make_directory("70x/fd");
	make_link("70x/fd/3", "/dev/zero");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", proc);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	return 0;
}

struct seen {
	unsigned n, n_of_first, n_nodes, n_writable;
	enum open_file_next answer;
};

static enum open_file_next see(void *userdata, const struct open_file *file)
{
	struct seen *seen = userdata;
	bool is_block;
	dev_t number;

	seen->n++;
	seen->n_of_first += file->pid == 700;
	seen->n_writable += open_file_can_write(file);
	if (strncmp(file->target, "socket", 6) == 0) {
		assert_false(open_file_number(file, &is_block, &number));
		assert_int_equal(file->fd, 7);
	} else if (open_file_number(file, &is_block, &number)) {
		seen->n_nodes++;
		assert_false(is_block);
		assert_int_equal(number, makedev(1, file->pid == 700 ? 3 : 5));
	}
	return seen->answer;
}

static void test_all(void **state)
{
	(void)state;
	struct seen seen = { .answer = OPEN_FILE_NEXT };

	assert_int_equal(open_files_visit(proc, 10, see, &seen), 0);
	assert_int_equal(seen.n, 4);
	assert_int_equal(seen.n_nodes, 3);
	assert_int_equal(seen.n_writable, 2);
}

static void test_answers(void **state)
{
	(void)state;
	struct seen seen = { .answer = OPEN_FILE_NEXT_PROCESS };

	assert_int_equal(open_files_visit(proc, 10, see, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.n_of_first, 1);
	seen = (struct seen){ .answer = OPEN_FILE_DONE };
	assert_int_equal(open_files_visit(proc, 10, see, &seen), 0);
	assert_int_equal(seen.n, 1);
}

static void test_failures(void **state)
{
	(void)state;
	struct seen seen = { .answer = OPEN_FILE_NEXT };

	assert_int_equal(open_files_visit(proc, -1, see, &seen), -ETIMEDOUT);
	assert_int_equal(seen.n, 0);
	assert_int_equal(open_files_visit("/nowhere", 10, see, &seen), -ENOENT);
	/* Closed, and ended, since it was seen. */
	struct open_file file = { .proc = proc, .pid = 703, .fd = 3, .target = "/dev/null" };
	bool is_block;
	dev_t number;
	assert_false(open_file_number(&file, &is_block, &number));
	assert_false(open_file_can_write(&file));
}

static void test_name(void **state)
{
	(void)state;
	char name[16];

	process_name(proc, 700, name, sizeof(name));
	assert_string_equal(name, "lamp?server");
	process_name(proc, 703, name, sizeof(name));
	assert_string_equal(name, "?");
}

/* The kernel's own. */
static void test_real(void **state)
{
	(void)state;
	struct open_file file = { .proc = "/proc", .pid = getpid(), .target = "/dev/zero" };
	bool is_block;
	dev_t number;

	file.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_true(file.fd >= 0);
	assert_true(open_file_number(&file, &is_block, &number));
	assert_int_equal(number, makedev(1, 5));
	assert_false(is_block);
	assert_false(open_file_can_write(&file));
	/* By its name, what it is. */
	static const struct {
		const char *target;
		bool is_node;
	} names[] = { { "/srv/dev/zero", true }, { "/zero", true }, { "/vfio/15", true },
		{ "/dri/card0", true }, { "/vfio/15 (deleted)", true }, { "/srv/zero", false },
		{ "/memfd:zero (deleted)", false }, { "zero", false }, { "/srv/vfio/15", false } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		string_copy(file.target, sizeof(file.target), names[i].target);
		assert_int_equal(open_file_number(&file, &is_block, &number), names[i].is_node);
		assert_int_equal(open_file_matters(&file), names[i].is_node);
	}
	close(file.fd);
	file.fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_true(open_file_can_write(&file));
	close(file.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_real),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
