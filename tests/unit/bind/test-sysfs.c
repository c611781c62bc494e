/* The real table of operations, on ordinary files where that says the same. */
#include "daemon/bind/sysfs.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char directory[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/vfiod-sysfs-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command); /* NOLINT(cert-env33-c) */
}

static const char *attribute(const char *text, size_t length)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/attribute", directory);
	FILE *stream = fopen(path, "we");
	assert_non_null(stream);
	assert_int_equal(fwrite(text, 1, length, stream), length);
	assert_int_equal(fclose(stream), 0);
	return path;
}

static void test_read(void **state)
{
	(void)state;
	char value[8];

	assert_int_equal(sysfs_kernel.read(NULL, attribute("e1000\n", 6), value, 8), 5);
	assert_string_equal(value, "e1000");
	assert_int_equal(sysfs_kernel.read(NULL, attribute("", 0), value, 8), 0);
	assert_string_equal(value, "");
	/* One newline is cut, no more. */
	assert_int_equal(sysfs_kernel.read(NULL, attribute("a\n\n", 3), value, 8), 2);
	assert_string_equal(value, "a\n");
	/* Seven fit into eight, eight do not. */
	assert_int_equal(sysfs_kernel.read(NULL, attribute("1234567\n", 8), value, 8), 7);
	assert_int_equal(sysfs_kernel.read(NULL, attribute("12345678", 8), value, 8), -EFBIG);
	/* A text ends at its first NUL, and reading is one read: /dev/full is an empty text. */
	assert_int_equal(sysfs_kernel.read(NULL, attribute("ab\0cdefghijk", 12), value, 8), 2);
	assert_int_equal(sysfs_kernel.read(NULL, "/dev/full", value, 8), 0);
	assert_int_equal(sysfs_kernel.read(NULL, "/nowhere", value, 8), -ENOENT);
}

static void test_write(void **state)
{
	(void)state;
	char value[16];
	const char *path = attribute("", 0);

	assert_int_equal(sysfs_kernel.write(NULL, path, "vfio-pci"), 0);
	assert_int_equal(file_read(path, value, sizeof(value)), 8);
	assert_string_equal(value, "vfio-pci");
	assert_int_equal(sysfs_kernel.write(NULL, "/dev/full", "vfio-pci"), -ENOSPC);
	assert_int_equal(sysfs_kernel.write(NULL, "/nowhere", "x"), -ENOENT);
}

static void test_read_link(void **state)
{
	(void)state;
	char path[PATH_MAX], value[8];

	snprintf(path, sizeof(path), "%s/driver", directory);
	assert_int_equal(sysfs_kernel.read_link(NULL, path, value, 8), -ENOENT);
	assert_int_equal(symlink("../../bus/pci/drivers/e1000-7", path), 0);
	assert_int_equal(sysfs_kernel.read_link(NULL, path, value, 8), 0);
	assert_string_equal(value, "e1000-7");
	assert_int_equal(sysfs_kernel.read_link(NULL, path, value, 7), -EFBIG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("e1000", path), 0);
	assert_int_equal(sysfs_kernel.read_link(NULL, path, value, 8), 0);
	assert_string_equal(value, "e1000");
}

static void test_no_such_group(void **state)
{
	(void)state;
	int pair[2];

	assert_int_equal(sysfs_kernel.open_group(NULL, 2147483647), -ENOENT);
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(sysfs_kernel.group_viable(NULL, pair[0]), -ENOTTY);
	sysfs_kernel.close_group(NULL, pair[0]);
	assert_int_equal(close(pair[0]), -1);
	close(pair[1]);
}

static void test_no_such_module(void **state)
{
	(void)state;
	char name[PATH_MAX + 1];

	assert_true(sysfs_kernel.load_module(NULL, "vfiod-no-such-module") < 0);
	memset(name, 'x', PATH_MAX);
	name[PATH_MAX] = '\0';
	assert_true(sysfs_kernel.load_module(NULL, name) < 0);
	/* Built into every kernel that has modules, and known by its directory. */
	assert_int_equal(sysfs_kernel.load_module(NULL, "kernel"), 0);
	/* It has a directory, but no drivers. */
	char driver[DRIVER_NAME_SIZE];
	assert_int_equal(
		sysfs_kernel.module_driver(NULL, "kernel", "pci", driver, sizeof(driver)), -ENOENT);
}

static void test_guard(void **state)
{
	(void)state;
	struct refusal refusal;

	assert_int_equal(sysfs_kernel.guard(NULL, directory, "0000:01:00.0", &refusal), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_read_link),
		cmocka_unit_test(test_no_such_group),
		cmocka_unit_test(test_no_such_module),
		cmocka_unit_test(test_guard),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
