/* Files in a directory of the test's, in the shape of proc's and of a hierarchy's. */
#include "tests/unit/remove-tree.h"

#include "daemon/base/cgroup.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct bench {
	char top[64], proc[80], hierarchy[80];
	struct cgroup_mounts mounts;
	unsigned long long ticks; /* of this process, which plays the client */
	char path[CGROUP_PATH_SIZE];
};

static void put(const struct bench *bench, const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", bench->top, name);
	for (char *slash = path + strlen(bench->top) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void put_cgroup_of(const struct bench *bench, const char *text)
{
	char name[64];
	snprintf(name, sizeof(name), "proc/%d/cgroup", (int)getpid());
	put(bench, name, text);
}

static int find(struct bench *bench)
{
	return cgroup_find(&bench->mounts, getpid(), bench->ticks, bench->path);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	snprintf(bench->top, sizeof(bench->top), "/tmp/test-cgroup-XXXXXX");
	assert_non_null(mkdtemp(bench->top));
	snprintf(bench->proc, sizeof(bench->proc), "%s/proc", bench->top);
	snprintf(bench->hierarchy, sizeof(bench->hierarchy), "%s/cgroup", bench->top);
	bench->mounts = (struct cgroup_mounts){ bench->proc, bench->hierarchy, 0 };
	assert_int_equal(process_start_time(getpid(), &bench->ticks), 0);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	remove_tree(bench->top);
	free(bench);
	return 0;
}

static void test_of_a_process(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(find(bench), -ESRCH); /* there is no such process */
	put_cgroup_of(bench, "4:memory:/v1\n0::/user.slice/a\n");
	assert_int_equal(find(bench), 0);
	assert_string_equal(bench->path, "/user.slice/a");
	put_cgroup_of(bench, "0::/\n");
	assert_int_equal(find(bench), 0);
	assert_string_equal(bench->path, "/");
	put_cgroup_of(bench, "0::/..\n");
	assert_int_equal(find(bench), -EXDEV);
	put_cgroup_of(bench, "0::/../other\n");
	assert_int_equal(find(bench), -EXDEV);
	put_cgroup_of(bench, "0::/..hidden\n");
	assert_int_equal(find(bench), 0);
	put_cgroup_of(bench, "4:memory:/v1\n");
	assert_int_equal(find(bench), -ENOENT);

	/* Another process has its pid by now. */
	put_cgroup_of(bench, "0::/user.slice/a\n");
	bench->ticks++;
	assert_int_equal(find(bench), -ESRCH);
}

static void test_enter(void **state)
{
	struct bench *bench = *state;
	char name[160], text[16];

	assert_int_equal(cgroup_enter(&bench->mounts, "/a"), -ENOENT);
	put(bench, "cgroup/cgroup.procs", "");
	put(bench, "cgroup/a/cgroup.procs", "");
	assert_int_equal(cgroup_enter(&bench->mounts, "/a"), 0);
	snprintf(name, sizeof(name), "%s/a/cgroup.procs", bench->hierarchy);
	assert_int_equal(file_read(name, text, sizeof(text)), 1);
	assert_string_equal(text, "0");
	assert_int_equal(cgroup_enter(&bench->mounts, "/"), 0);
}

static void test_headroom_is_the_least_on_the_way_up(void **state)
{
	struct bench *bench = *state;
	struct cgroup_headroom room;

	assert_int_equal(cgroup_headroom(&bench->mounts, "/a/b/c", &room), 0);
	assert_true(room.bytes == UINT64_MAX);

	put(bench, "cgroup/a/memory.max", "9000\n");
	put(bench, "cgroup/a/memory.current", "8000\n");
	put(bench, "cgroup/a/b/memory.max", "max\n");
	put(bench, "cgroup/a/b/memory.current", "7000\n");
	put(bench, "cgroup/a/b/c/memory.max", "5000\n");
	put(bench, "cgroup/a/b/c/memory.current", "1000\n");
	assert_int_equal(cgroup_headroom(&bench->mounts, "/a/b/c", &room), 0);
	assert_int_equal(room.bytes, 1000);
	assert_int_equal(room.max, 9000);
	assert_int_equal(room.current, 8000);
	assert_string_equal(room.cgroup, "/a");

	/* What can be read again makes room; tmpfs does not. */
	put(bench, "cgroup/a/memory.stat",
		"anon 100\nfile 7900\nshmem 900\ninactive_file 6000\nactive_file 1000\n"
		"slab_reclaimable 10\n");
	assert_int_equal(cgroup_headroom(&bench->mounts, "/a/b/c", &room), 0);
	assert_int_equal(room.bytes, 4000);
	assert_string_equal(room.cgroup, "/a/b/c");
	put(bench, "cgroup/a/b/c/memory.current", "6000\n");
	assert_int_equal(cgroup_headroom(&bench->mounts, "/a/b/c", &room), 0);
	assert_int_equal(room.bytes, 0);

	/* No swap is left in the cgroup. */
	put(bench, "cgroup/a/b/c/memory.swap.max", "4096\n");
	put(bench, "cgroup/a/b/c/memory.swap.current", "4096\n");
	assert_int_equal(cgroup_headroom(&bench->mounts, "/a/b/c", &room), 0);
	assert_int_equal(room.bytes, 0);
}

static void test_a_long_path_is_cut_at_its_beginning(void **state)
{
	struct bench *bench = *state;
	struct cgroup_headroom room;
	char path[400] = "", name[512];

	for (size_t i = 0; i < 20; i++)
		strcat(path, "/0123456789abcde");
	snprintf(name, sizeof(name), "cgroup%s/memory.max", path);
	put(bench, name, "1\n");
	snprintf(name, sizeof(name), "cgroup%s/memory.current", path);
	put(bench, name, "1\n");
	assert_int_equal(cgroup_headroom(&bench->mounts, path, &room), 0);
	assert_int_equal(room.bytes, 0);
	assert_string_equal(room.cgroup, path + strlen(path) - 255);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_of_a_process),
		TEST(test_enter),
		TEST(test_headroom_is_the_least_on_the_way_up),
		TEST(test_a_long_path_is_cut_at_its_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
