/* CMD is looked up as execvp(3) does it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/run.h"

static char directory[] = "/tmp/vfioctl-lookup-XXXXXX";

static void file_create(const char *name, mode_t mode)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fclose(file);
	assert_int_equal(chmod(name, mode), 0);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(mkdir("first", 0755), 0);
	assert_int_equal(mkdir("second", 0755), 0);
	assert_int_equal(mkdir("first/both", 0755), 0);
	file_create("first/locked", 0644);
	file_create("second/both", 0755);
	file_create("here", 0755);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink("here");
	unlink("second/both");
	unlink("first/locked");
	rmdir("first/both");
	rmdir("second");
	rmdir("first");
	return chdir("/") == 0 ? rmdir(directory) : -1;
}

static int lookup(const char *name)
{
	char *file;
	int r = command_lookup(name, &file);

	assert_int_equal(r == 0, file != NULL);
	if (file)
		assert_int_equal(access(file, X_OK), 0);
	free(file);
	return r;
}

static void a_name_is_looked_up_in_path(void **state)
{
	(void)state;
	setenv("PATH", "first:second", 1);
	assert_int_equal(lookup("both"), 0); /* a directory is passed over */
	assert_int_equal(lookup("locked"), -EACCES);
	assert_int_equal(lookup("here"), -ENOENT);
	assert_int_equal(lookup(""), -ENOENT);
	setenv("PATH", "second/both:first", 1); /* ENOTDIR does not end the search */
	assert_int_equal(lookup("locked"), -EACCES);
	/* An empty element, wherever it is, is the current directory. */
	setenv("PATH", "first:", 1);
	assert_int_equal(lookup("here"), 0);
	setenv("PATH", ":first", 1);
	assert_int_equal(lookup("here"), 0);
	setenv("PATH", "", 1);
	assert_int_equal(lookup("here"), 0);
	unsetenv("PATH");
	assert_int_equal(lookup("here"), -ENOENT);
	assert_int_equal(lookup("sh"), 0);
}

static void a_path_is_taken_as_it_is(void **state)
{
	(void)state;
	setenv("PATH", "second", 1);
	assert_int_equal(lookup("./here"), 0);
	assert_int_equal(lookup("./both"), -ENOENT);
	assert_int_equal(lookup("first/both"), -EACCES);
	assert_int_equal(lookup("first/locked"), -EACCES);
	assert_int_equal(lookup("here/x"), -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_looked_up_in_path),
		cmocka_unit_test(a_path_is_taken_as_it_is),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
