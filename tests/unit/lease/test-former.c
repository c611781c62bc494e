/* Who had a device last: over restarts, for this device and not its successor, and when in doubt.
 */
#include "tests/unit/remove-tree.h"

#include "daemon/lease/former.h"
#include "tests/unit/lease/device-bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct state {
	char directory[64];
	struct former_book book;
	struct bench bench;
	struct device *edu, *nic;
};

static int setup(void **state)
{
	struct state *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	strcpy(s->directory, "/tmp/vfiod-former.XXXXXX");
	assert_non_null(mkdtemp(s->directory));
	bench_init(&s->bench);
	s->edu = bench_add_pci(&s->bench, "0000:00:04.0", 0x1234, 0x11e8, 0x00ff00);
	s->nic = bench_add_pci(&s->bench, "0000:01:00.0", 0x8086, 0x100e, 0x020000);
	s->edu->inode = 100;
	s->nic->inode = 101;
	*state = s;
	return former_book_init(&s->book, s->directory);
}

static int teardown(void **state)
{
	struct state *s = *state;

	former_book_clear(&s->book);
	remove_tree(s->directory);
	free(s);
	return 0;
}

static void restart(struct state *s)
{
	former_book_clear(&s->book);
	assert_int_equal(former_book_init(&s->book, s->directory), 0);
}

static void put(const struct state *s, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/former/%s", s->directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void assert_former(const struct state *s, const struct device *device, uid_t expected)
{
	uid_t uid = 4711;

	assert_true(former_find(&s->book, device, &uid));
	assert_int_equal(uid, expected);
}

static void test_notes(void **state)
{
	struct state *s = *state;
	uid_t uid;

	assert_false(former_find(&s->book, s->edu, &uid));
	assert_int_equal(former_note(&s->book, s->edu, 1000, false), 0);
	assert_former(s, s->edu, 1000);
	assert_false(former_find(&s->book, s->nic, &uid));
	restart(s);
	assert_former(s, s->edu, 1000);
	assert_int_equal(former_note(&s->book, s->edu, 0, false), 0);
	assert_int_equal(former_note(&s->book, s->nic, 4294967294U, false), 0);
	restart(s);
	assert_former(s, s->edu, 0);
	assert_former(s, s->nic, 4294967294U);
}

/* The same name on another bus, and another device of the same name, are others. */
static void test_which_device(void **state)
{
	struct state *s = *state;
	uid_t uid;

	assert_int_equal(former_note(&s->book, s->edu, 1000, false), 0);
	strcpy(s->edu->bus, "platform");
	assert_false(former_find(&s->book, s->edu, &uid));
	strcpy(s->edu->bus, "pci");
	s->edu->inode = 200;
	assert_false(former_find(&s->book, s->edu, &uid));
	restart(s);
	assert_false(former_find(&s->book, s->edu, &uid));
	assert_int_equal(former_note(&s->book, s->edu, 1000, false), 0);
	restart(s);
	assert_former(s, s->edu, 1000);
}

/* What cannot be understood is somebody's, until it is somebody's for certain. */
static void test_damaged(void **state)
{
	struct state *s = *state;
	static const char *const texts[] = { "", "\n", "1000\n", "alice 100\n", "1000 100 x\n",
		"1000 100\n1001 100\n" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		put(s, "pci:0000:00:04.0", texts[i]);
		restart(s);
		assert_former(s, s->edu, (uid_t)-1);
	}
	assert_int_equal(former_note(&s->book, s->edu, 1000, false), 0);
	restart(s);
	assert_former(s, s->edu, 1000);
	/* A write that did not come to its end leaves what was before. */
	put(s, "pci:0000:00:04.0.new", "10");
	put(s, "pci:0000:01:00.0.new", "10");
	restart(s);
	assert_former(s, s->edu, 1000);
	uid_t uid;
	assert_false(former_find(&s->book, s->nic, &uid));
}

/* Without its directory nothing can be written down, and nothing has changed. */
static void test_not_written(void **state)
{
	struct state *s = *state;
	char path[160];
	uid_t uid;

	snprintf(path, sizeof(path), "%s/former", s->directory);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(former_note(&s->book, s->edu, 1000, false), -ENOENT);
	assert_false(former_find(&s->book, s->edu, &uid));
	former_book_clear(&s->book);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(former_book_init(&s->book, s->directory), -ENOTDIR);
	former_book_clear(&s->book);
	assert_int_equal(former_book_init(&s->book, "/nonexistent/vfiod"), -ENOENT);
}

/* Once its node was handed out, to whomever: until it is another device. */
static void test_node(void **state)
{
	struct state *s = *state;

	assert_false(former_has_node(&s->book, s->edu));
	assert_int_equal(former_note(&s->book, s->edu, 1000, false), 0);
	assert_false(former_has_node(&s->book, s->edu));
	assert_int_equal(former_note(&s->book, s->edu, 1000, true), 0);
	assert_true(former_has_node(&s->book, s->edu));
	assert_int_equal(former_note(&s->book, s->edu, 1001, false), 0);
	assert_true(former_has_node(&s->book, s->edu));
	assert_false(former_has_node(&s->book, s->nic));
	restart(s);
	assert_true(former_has_node(&s->book, s->edu));
	s->edu->inode++;
	assert_false(former_has_node(&s->book, s->edu));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_notes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_which_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_node, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
