/* Control groups as files of the test's own, in the shape of the kernel's. */
#include "tests/unit/remove-tree.h"

#include "daemon/base/util.h"
#include "daemon/broker/bound.h"

#include <errno.h>
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
	struct memory_bound bound;
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
	assert_int_equal(chmod(path, 0644), 0);
}

/* max NULL: its parent has not given it the controller. */
static void put_cgroup(const struct bench *bench, const char *path, const char *max)
{
	char name[400];

	snprintf(name, sizeof(name), "cgroup%s/cgroup.procs", path);
	put(bench, name, "");
	snprintf(name, sizeof(name), "cgroup%s/cgroup.subtree_control", path);
	put(bench, name, "");
	snprintf(name, sizeof(name), "cgroup%s/memory.max", path);
	if (max)
		put(bench, name, max);
}

static void give_away(const struct bench *bench, const char *file, mode_t mode)
{
	char name[400];

	snprintf(name, sizeof(name), "%s%s", bench->hierarchy, file);
	assert_int_equal(chmod(name, mode), 0);
}

static void put_process(const struct bench *bench, const char *text)
{
	char name[64];

	snprintf(name, sizeof(name), "proc/%d/cgroup", (int)getpid());
	put(bench, name, text);
}

static int find(struct bench *bench)
{
	return memory_bound_find(&bench->mounts, getpid(), bench->ticks, &bench->bound);
}

#define NONE UINT64_MAX
static void assert_bound(struct bench *bench, uint64_t max, const char *cgroup, bool is_own)
{
	assert_int_equal(find(bench), 0);
	assert_true(bench->bound.max_bytes == max);
	assert_string_equal(bench->bound.cgroup, cgroup);
	assert_int_equal(bench->bound.is_own, is_own);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	snprintf(bench->top, sizeof(bench->top), "/tmp/test-bound-XXXXXX");
	assert_non_null(mkdtemp(bench->top));
	snprintf(bench->proc, sizeof(bench->proc), "%s/proc", bench->top);
	snprintf(bench->hierarchy, sizeof(bench->hierarchy), "%s/cgroup", bench->top);
	bench->mounts = (struct cgroup_mounts){ bench->proc, bench->hierarchy, getuid() };
	assert_int_equal(process_start_time(getpid(), &bench->ticks), 0);
	put_cgroup(bench, "", NULL);
	put_process(bench, "0::/a/b/c\n");
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

static void test_the_least_on_the_way_up(void **state)
{
	struct bench *bench = *state;

	put_cgroup(bench, "/a", "max\n");
	put_cgroup(bench, "/a/b", "max\n");
	put_cgroup(bench, "/a/b/c", "max\n");
	assert_bound(bench, NONE, "/a/b/c", false);
	assert_true(bench->bound.is_controlled);

	put_cgroup(bench, "/a", "9000\n");
	assert_bound(bench, 9000, "/a", false);
	put_cgroup(bench, "/a/b/c", "9001\n");
	assert_bound(bench, 9000, "/a", false);
	put_cgroup(bench, "/a/b/c", "8999\n");
	assert_bound(bench, 8999, "/a/b/c", false);
	put_cgroup(bench, "/a/b", "0\n");
	assert_bound(bench, 0, "/a/b", false);
	/* One that is not above the process. */
	put_cgroup(bench, "/a/other", "1\n");
	put_process(bench, "0::/a\n");
	assert_bound(bench, 9000, "/a", false);
	put_process(bench, "0::/\n");
	assert_bound(bench, NONE, "/", false);
	assert_false(bench->bound.is_controlled);
}

static void test_without_the_controller(void **state)
{
	struct bench *bench = *state;

	put_cgroup(bench, "/a", NULL);
	put_cgroup(bench, "/a/b", NULL);
	put_cgroup(bench, "/a/b/c", NULL);
	assert_bound(bench, NONE, "/a/b/c", false);
	assert_false(bench->bound.is_controlled);
	/* On down to the second level. */
	put_cgroup(bench, "/a", "5000\n");
	assert_bound(bench, 5000, "/a", false);
	assert_true(bench->bound.is_controlled);
}

static void test_what_others_can_write_bounds_nothing(void **state)
{
	struct bench *bench = *state;

	put_cgroup(bench, "/a", "9000\n");
	put_cgroup(bench, "/a/b", "8000\n");
	put_cgroup(bench, "/a/b/c", "7000\n");
	give_away(bench, "/a/b/c/memory.max", 0664);
	assert_bound(bench, 8000, "/a/b", true);
	give_away(bench, "/a/b/memory.max", 0646);
	assert_bound(bench, 9000, "/a", true);
	give_away(bench, "/a/memory.max", 0666);
	assert_bound(bench, NONE, "/a/b/c", true);
	/* It is for its owner to write, whatever its mode. */
	give_away(bench, "/a/memory.max", 0444);
	assert_bound(bench, 9000, "/a", true);
	bench->mounts.root = getuid() + 1;
	assert_bound(bench, NONE, "/a/b/c", true);
	/* "max" is passed over in any case, and nobody's. */
	put_cgroup(bench, "/a", "max\n");
	put_cgroup(bench, "/a/b", "max\n");
	put_cgroup(bench, "/a/b/c", "max\n");
	assert_bound(bench, NONE, "/a/b/c", false);
}

static void test_a_bound_that_a_process_can_leave(void **state)
{
	struct bench *bench = *state;

	put_cgroup(bench, "/a", "9000\n");
	put_cgroup(bench, "/a/b", "8000\n");
	put_cgroup(bench, "/a/b/c", "7000\n");
	/* Within what is delegated, wherever it goes, the bound of that is above it. */
	give_away(bench, "/a/b/c/cgroup.procs", 0666);
	assert_bound(bench, 7000, "/a/b/c", false);
	give_away(bench, "/a/b/cgroup.procs", 0666);
	assert_bound(bench, 8000, "/a/b", true);
	give_away(bench, "/a/cgroup.procs", 0666);
	assert_bound(bench, 9000, "/a", true);
	give_away(bench, "/cgroup.procs", 0666);
	assert_bound(bench, NONE, "/a/b/c", true);
}

static void test_a_bound_that_can_be_taken_off(void **state)
{
	struct bench *bench = *state;

	put_cgroup(bench, "/a", "9000\n");
	put_cgroup(bench, "/a/b", "8000\n");
	put_cgroup(bench, "/a/b/c", "7000\n");
	give_away(bench, "/a/b/c/cgroup.subtree_control", 0666);
	assert_bound(bench, 7000, "/a/b/c", false);
	give_away(bench, "/a/b/cgroup.subtree_control", 0666);
	assert_bound(bench, 8000, "/a/b", true);
	give_away(bench, "/a/cgroup.subtree_control", 0666);
	assert_bound(bench, 9000, "/a", true);
}

static void test_what_cannot_be_seen(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(find(bench), -ENOENT); /* it has moved, and its cgroup is gone */
	put_cgroup(bench, "/a", "many\n");
	put_cgroup(bench, "/a/b", "8000\n");
	put_cgroup(bench, "/a/b/c", "8000\n");
	assert_int_equal(find(bench), -EINVAL);
	put_process(bench, "0::/../other\n");
	assert_int_equal(find(bench), -EXDEV);
	put_process(bench, "4:memory:/v1\n");
	assert_int_equal(find(bench), -ENOENT);
	put_process(bench, "0::/a/b\n");
	bench->ticks++;
	assert_int_equal(find(bench), -ESRCH);
}

static void test_a_long_path_is_cut_at_its_beginning(void **state)
{
	struct bench *bench = *state;
	char path[400] = "", line[512];

	for (size_t i = 0; i < 18; i++) {
		strcat(path, "/0123456789abcde");
		put_cgroup(bench, path, "max\n");
	}
	snprintf(line, sizeof(line), "0::%s\n", path);
	put_process(bench, line);
	assert_bound(bench, NONE, path + strlen(path) - 255, false);
	put_cgroup(bench, path, "1\n");
	assert_bound(bench, 1, path + strlen(path) - 255, false);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_the_least_on_the_way_up),
		TEST(test_without_the_controller),
		TEST(test_what_others_can_write_bounds_nothing),
		TEST(test_a_bound_that_a_process_can_leave),
		TEST(test_a_bound_that_can_be_taken_off),
		TEST(test_what_cannot_be_seen),
		TEST(test_a_long_path_is_cut_at_its_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
