/* udev's database, as udevd writes it. */
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char directory[64], data[80], path[128];
	char **properties, **tags;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	strcpy(fixture->directory, "/tmp/vfiod-database.XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->data, sizeof(fixture->data), "%s/data", fixture->directory);
	assert_int_equal(mkdir(fixture->data, 0755), 0);
	snprintf(fixture->path, sizeof(fixture->path), "%s/+pci:0000:01:00.0", fixture->data);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	if (remove(fixture->path) < 0)
		assert_int_equal(errno, ENOENT);
	assert_int_equal(rmdir(fixture->data), 0);
	assert_int_equal(rmdir(fixture->directory), 0);
	strv_free(fixture->properties);
	strv_free(fixture->tags);
	free(fixture);
	return 0;
}

static int read_entry(struct fixture *fixture, const char *text)
{
	if (text)
		assert_int_equal(file_write_atomic(fixture->path, text, strlen(text)), 0);
	return database_read(
		fixture->directory, "pci", "0000:01:00.0", &fixture->properties, &fixture->tags);
}

static void test_entry(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_entry(f, "I:123\nE:ID_MODEL_FROM_DATABASE=82540EM\nE:EMPTY=\n"
				       "E:A=b=c\nE:nonsense\nS:link\nG:old\nG:lent\nQ:lent\nV:1\n"),
		0);
	assert_int_equal(strv_length(f->properties), 3);
	assert_string_equal(property_value(f->properties, "ID_MODEL_FROM_DATABASE"), "82540EM");
	assert_string_equal(property_value(f->properties, "EMPTY"), "");
	assert_string_equal(property_value(f->properties, "A"), "b=c");
	assert_null(property_value(f->properties, "ID_MODEL"));
	assert_null(property_value(f->properties, "a"));
	assert_null(property_value(NULL, "A"));
	assert_int_equal(strv_length(f->tags), 1);
	assert_string_equal(f->tags[0], "lent");
}

/* A tag that was taken away: of all times, but not a current one. */
static void test_tag_taken_away(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_entry(f, "G:lent\nV:1\n"), 0);
	assert_null(f->tags);
	/* Before systemd 247 there was no such difference. */
	assert_int_equal(read_entry(f, "G:lent\n"), 0);
	assert_int_equal(strv_length(f->tags), 1);
}

static void test_replaced(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_entry(f, "E:A=1\nQ:t\nV:1"), 0); /* no newline at the end */
	assert_int_equal(strv_length(f->properties), 1);
	assert_int_equal(read_entry(f, "E:B=2\nV:1\n"), 0);
	assert_null(property_value(f->properties, "A"));
	assert_string_equal(property_value(f->properties, "B"), "2");
	assert_null(f->tags);
	assert_int_equal(remove(f->path), 0);
	assert_int_equal(read_entry(f, NULL), 0);
	assert_null(f->properties);
}

/* What cannot be read leaves things as they are. */
static void test_unreadable(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_entry(f, "E:A=1\nQ:t\nV:1\n"), 0);
	assert_int_equal(remove(f->path), 0);
	assert_int_equal(mkdir(f->path, 0755), 0);
	assert_true(read_entry(f, NULL) < 0);
	assert_string_equal(property_value(f->properties, "A"), "1");
	assert_int_equal(strv_length(f->tags), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_entry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tag_taken_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
