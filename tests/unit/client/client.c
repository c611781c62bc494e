#include "tests/unit/client/client.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct vfiod *client_open(const struct fake *fake)
{
	struct vfiod *vfiod;

	assert_int_equal(vfiod_open(fake_socket(fake), &vfiod), 0);
	assert_non_null(vfiod);
	return vfiod;
}

int client_count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}
