/* Records written and read back; damaged, foreign, of later versions; each step of a write failing.
 */
#include "daemon/base/record.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define KIND "leases"

/* A state directory of its own, and what record_each() told. */
struct bench {
	char directory[64];
	size_t n_told;
	struct told {
		char name[64], problem[128], text[64];
		int version;
	} told[16];
	const char *to_remove, *to_write;
};

static void told(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	struct bench *bench = userdata;
	struct json_object *text;

	assert_true(bench->n_told < ARRAY_SIZE(bench->told));
	assert_true((json == NULL) == (problem != NULL));
	struct told *one = &bench->told[bench->n_told++];
	*one = (struct told){ .version = version };
	snprintf(one->name, sizeof(one->name), "%s", name);
	snprintf(one->problem, sizeof(one->problem), "%s", problem ? problem : "");
	if (json && json_object_object_get_ex(json, "text", &text))
		snprintf(one->text, sizeof(one->text), "%s", json_object_get_string(text));
	if (bench->to_remove)
		assert_int_equal(record_remove(bench->directory, KIND, bench->to_remove), 0);
	if (bench->to_write && json)
		assert_int_equal(record_write(bench->directory, KIND, bench->to_write, 1, json), 0);
	json_object_put(json);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-record-XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	assert_int_equal(record_init(bench->directory, KIND), 0);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", bench->directory);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	free(bench);
	return 0;
}

static void path_of(const struct bench *bench, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/" KIND "/%s", bench->directory, file);
}

static int write_record(struct bench *bench, const char *name, int version, const char *text)
{
	struct json_object *json = json_object_new_object();

	json_object_object_add(json, "text", json_object_new_string(text));
	int r = record_write(bench->directory, KIND, name, version, json);
	/* It is still ours. */
	assert_int_equal(json_object_put(json), 1);
	return r;
}

static void put(struct bench *bench, const char *file, const char *data, size_t length)
{
	char path[PATH_MAX];

	path_of(bench, file, path);
	FILE *stream = fopen(path, "we");
	assert_non_null(stream);
	assert_int_equal(fwrite(data, 1, length, stream), length);
	assert_int_equal(fclose(stream), 0);
}

static void read_all(struct bench *bench)
{
	bench->n_told = 0;
	assert_int_equal(record_each(bench->directory, KIND, 2, told, bench), 0);
}

static void assert_told(const struct bench *bench, size_t i, const char *name, const char *text)
{
	assert_true(i < bench->n_told);
	assert_string_equal(bench->told[i].problem, "");
	assert_string_equal(bench->told[i].name, name);
	assert_string_equal(bench->told[i].text, text);
}

/* What is drafted is no record before it is committed. */
static void drafted(void **state)
{
	static const char text[] = "{\"version\":1,\"text\":\"one\"}";
	struct bench *bench = *state;
	const char *directory = bench->directory;
	char path[PATH_MAX];
	struct draft draft = NO_DRAFT;

	path_of(bench, "L1.json", path);
	assert_int_equal(record_draft(directory, KIND, "L1", text, strlen(text), &draft), 0);
	assert_true(draft.fd >= 0);
	assert_int_equal(record_commit(directory, KIND, &draft), 0);
	record_let_go(&draft);
	read_all(bench);
	assert_int_equal(bench->n_told, 1);
	assert_told(bench, 0, "L1", "one");

	/* There is a record. */
	assert_int_equal(record_draft(directory, KIND, "L1", text, strlen(text), &draft), -EEXIST);
	assert_int_equal(draft.fd, -1);
	read_all(bench);
	assert_told(bench, 0, "L1", "one");
	assert_int_equal(record_remove(directory, KIND, "L1"), 0);

	assert_int_equal(record_draft(directory, KIND, "L1", text, strlen(text), &draft), 0);
	record_drop(directory, KIND, &draft);
	assert_int_equal(draft.fd, -1);
	assert_int_equal(access(path, F_OK), -1);

	/* Its writer is killed: it is no record, and is removed. */
	assert_int_equal(record_draft(directory, KIND, "L1", text, strlen(text), &draft), 0);
	record_let_go(&draft);
	read_all(bench);
	assert_int_equal(bench->n_told, 0);
	assert_int_equal(access(path, F_OK), -1);
	put(bench, "L1.json", "", 0);
	read_all(bench);
	assert_int_equal(bench->n_told, 0);
	assert_int_equal(access(path, F_OK), -1);

	/* A record that is written meanwhile is the one that counts. */
	assert_int_equal(record_draft(directory, KIND, "L1", text, strlen(text), &draft), 0);
	assert_int_equal(write_record(bench, "L1", 1, "two"), 0);
	assert_int_equal(record_commit(directory, KIND, &draft), -ESTALE);
	read_all(bench);
	assert_told(bench, 0, "L1", "two");
	record_let_go(&draft);

	assert_int_equal(record_draft(directory, KIND, "a/b", text, strlen(text), &draft), -EINVAL);
	assert_int_equal(record_draft(directory, KIND, "L2", "[]", 2, &draft), -EINVAL);
}

static void assert_text(struct bench *bench, const char *name, const char *text)
{
	read_all(bench);
	assert_int_equal(bench->n_told, 1);
	assert_told(bench, 0, name, text);
}

static void draft(struct bench *bench, const char *name, size_t n, struct draft *draft)
{
	char text[2048], letters[1024 + 1];

	memset(letters, 'x', n);
	letters[n] = '\0';
	snprintf(text, sizeof(text), "{\"version\":1,\"text\":\"%s\"}", letters);
	assert_int_equal(record_draft(bench->directory, KIND, name, text, strlen(text), draft), 0);
}

/* The file of a record that is over becomes that of the next one, longer or shorter. */
static void struck_out(void **state)
{
	struct bench *bench = *state;
	const char *directory = bench->directory;
	struct draft one = NO_DRAFT;
	char path[PATH_MAX];
	struct stat before, after;

	path_of(bench, "L1.json", path);
	draft(bench, "L1", 9, &one);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(record_commit(directory, KIND, &one), 0);
	assert_int_equal(record_strike(&one), 0);
	/* Whichever record is asked for, it is where its file was. */
	draft(bench, "L2", 3, &one);
	assert_string_equal(one.name, "L1");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(record_commit(directory, KIND, &one), 0);
	assert_text(bench, "L1", "xxx");

	const size_t lengths[] = { 30, 1024, 1023, 512, 511, 0, 40 };
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_int_equal(record_strike(&one), 0);
		draft(bench, "L2", lengths[i], &one);
		assert_int_equal(record_commit(directory, KIND, &one), 0);
		read_all(bench);
		assert_int_equal(bench->n_told, 1);
		assert_int_equal(strlen(bench->told[0].text), lengths[i] < 63 ? lengths[i] : 63);
	}

	/* It is removed by the name of its file, too. */
	assert_int_equal(record_strike(&one), 0);
	record_drop(directory, KIND, &one);
	assert_int_equal(one.fd, -1);
	assert_int_equal(access(path, F_OK), -1);

	/* There is a record of that name: it stays. */
	assert_int_equal(write_record(bench, "L3", 1, "three"), 0);
	assert_int_equal(record_draft(directory, KIND, "L3", "{}", 2, &one), -EEXIST);
	assert_int_equal(one.fd, -1);
	assert_text(bench, "L3", "three");
	assert_int_equal(record_remove(directory, KIND, "L3"), 0);

	/* Its writer is killed when it was struck out, or in the middle of the next one. */
	draft(bench, "L4", 9, &one);
	assert_int_equal(record_commit(directory, KIND, &one), 0);
	assert_int_equal(record_strike(&one), 0);
	record_let_go(&one);
	read_all(bench);
	assert_int_equal(bench->n_told, 0);
	path_of(bench, "L4.json", path);
	assert_int_equal(access(path, F_OK), -1);
}

/* Somebody has removed its file, or given it another name: it is told, and there is no record. */
static void removed_by_hand(void **state)
{
	struct bench *bench = *state;
	const char *directory = bench->directory;
	char path[PATH_MAX], other[PATH_MAX];
	struct draft one = NO_DRAFT;

	path_of(bench, "L1.json", path);
	path_of(bench, "mine.json", other);
	draft(bench, "L1", 9, &one);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(record_commit(directory, KIND, &one), -ESTALE);
	record_drop(directory, KIND, &one);

	/* When it was a record, and is the next one's draft now. */
	draft(bench, "L1", 9, &one);
	assert_int_equal(record_commit(directory, KIND, &one), 0);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(record_strike(&one), 0);
	draft(bench, "L2", 3, &one);
	assert_int_equal(record_commit(directory, KIND, &one), -ESTALE);
	record_let_go(&one);
	read_all(bench);
	assert_int_equal(bench->n_told, 0);
}

static void written_and_read(void **state)
{
	struct bench *bench = *state;

	read_all(bench);
	assert_int_equal(bench->n_told, 0);
	assert_int_equal(write_record(bench, "L10", 1, "ten"), 0);
	assert_int_equal(write_record(bench, "L2", 2, "two \"quoted\" \\"), 0);
	assert_int_equal(write_record(bench, "L1", 1, "one"), 0);
	read_all(bench);
	assert_int_equal(bench->n_told, 3);
	assert_told(bench, 0, "L1", "one");
	assert_told(bench, 1, "L2", "two \"quoted\" \\");
	assert_int_equal(bench->told[1].version, 2);
	assert_told(bench, 2, "L10", "ten");

	assert_int_equal(write_record(bench, "L1", 2, "again"), 0);
	assert_int_equal(record_remove(bench->directory, KIND, "L2"), 0);
	assert_int_equal(record_remove(bench->directory, KIND, "L2"), 0);
	read_all(bench);
	assert_int_equal(bench->n_told, 2);
	assert_told(bench, 0, "L1", "again");
	assert_int_equal(bench->told[0].version, 2);
}

static void only_root_reads_them(void **state)
{
	struct bench *bench = *state;
	struct stat there;
	char path[PATH_MAX];

	assert_int_equal(write_record(bench, "L1", 1, "secret"), 0);
	path_of(bench, "L1.json", path);
	assert_int_equal(stat(path, &there), 0);
	assert_int_equal(there.st_mode & 07777, 0600);
	path_of(bench, ".", path);
	assert_int_equal(stat(path, &there), 0);
	assert_int_equal(there.st_mode & 07777, 0700);
}

static void damaged_and_foreign(void **state)
{
	struct bench *bench = *state;
	static const struct {
		const char *file, *data, *problem;
	} cases[] = {
		{ "L1.json", " ", "it is damaged: not a whole JSON object" },
		{ "L2.json", "{\"version\":1", "it is damaged: not a whole JSON object" },
		{ "L3.json", "{\"version\":1} x", "it is damaged: not a whole JSON object" },
		{ "L4.json", "[1]", "it is damaged: not a whole JSON object" },
		{ "L5.json", "{}", "it is damaged: it has no version" },
		{ "L6.json", "{\"version\":\"1\"}", "it is damaged: it has no version" },
		{ "L7.json", "{\"version\":0}", "it is damaged: it has no version" },
		{ "L8.json", "{\"version\":4294967297}", "it is damaged: it has no version" },
		{ "L9.json", "{\"version\":3}", "its version is 3, this vfiod knows 1 to 2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		put(bench, cases[i].file, cases[i].data, strlen(cases[i].data));
	/* No records at all. */
	put(bench, "README", "x", 1);
	put(bench, ".json", "x", 1);
	put(bench, ".hidden.json", "x", 1);
	read_all(bench);
	assert_int_equal(bench->n_told, ARRAY_SIZE(cases));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(bench->told[i].problem, cases[i].problem);
	assert_int_equal(bench->told[8].version, 3);
	/* They are left where they are. */
	read_all(bench);
	assert_int_equal(bench->n_told, ARRAY_SIZE(cases));
}

static void too_large(void **state)
{
	struct bench *bench = *state;
	const size_t size = (size_t)1024 * 1024;
	char *text = malloc(size + 1);

	assert_non_null(text);
	memset(text, 'x', size);
	text[size] = '\0';
	assert_int_equal(write_record(bench, "L1", 1, "before"), 0);
	assert_int_equal(write_record(bench, "L1", 1, text), -EFBIG);
	put(bench, "L2.json", text, size);
	free(text);
	read_all(bench);
	assert_int_equal(bench->n_told, 2);
	assert_told(bench, 0, "L1", "before");
	assert_string_equal(bench->told[1].problem, "it cannot be read: File too large");
}

static void cut_at_every_byte(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX], whole[256];

	assert_int_equal(write_record(bench, "L1", 1, "text"), 0);
	path_of(bench, "L1.json", path);
	ssize_t length = file_read(path, whole, sizeof(whole));
	assert_true(length > 0);
	for (size_t cut = 1; cut < (size_t)length; cut++) {
		put(bench, "L1.json", whole, cut);
		read_all(bench);
		assert_int_equal(bench->n_told, 1);
		assert_string_not_equal(bench->told[0].problem, "");
	}
}

static void names_stay_in_the_directory(void **state)
{
	struct bench *bench = *state;
	static const char *const names[] = { "", ".", "..", "../L1", "a/b", ".hidden" };
	char long_name[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(write_record(bench, names[i], 1, "x"), -EINVAL);
		assert_int_equal(record_remove(bench->directory, KIND, names[i]), -EINVAL);
	}
	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(write_record(bench, long_name, 1, "x"), -ENAMETOOLONG);
}

/* What a visitor does to the directory neither hides a record nor shows one twice. */
static void visitors_may_change_records(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(write_record(bench, "L1", 1, "one"), 0);
	assert_int_equal(write_record(bench, "L2", 1, "two"), 0);
	assert_int_equal(write_record(bench, "L3", 1, "three"), 0);
	bench->to_remove = "L2";
	bench->to_write = "L4";
	read_all(bench);
	assert_int_equal(bench->n_told, 2);
	assert_told(bench, 0, "L1", "one");
	assert_told(bench, 1, "L3", "three");
}

static void a_killed_writer(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX];
	struct stat there;

	assert_int_equal(write_record(bench, "L1", 1, "whole"), 0);
	put(bench, "L1.json.new", "{\"ver", 5);
	read_all(bench);
	assert_int_equal(bench->n_told, 1);
	assert_told(bench, 0, "L1", "whole");
	assert_int_equal(record_init(bench->directory, KIND), 0);
	path_of(bench, "L1.json.new", path);
	assert_int_equal(stat(path, &there), -1);
	read_all(bench);
	assert_told(bench, 0, "L1", "whole");
}

static void where_it_cannot_be(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX];

	/* A directory where the record, or what becomes it, has to be: root writes everywhere else.
	 */
	path_of(bench, "L1.json", path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(write_record(bench, "L1", 1, "x"), -EISDIR);
	read_all(bench);
	assert_int_equal(bench->n_told, 1);
	assert_string_equal(bench->told[0].problem, "it cannot be read: Is a directory");
	assert_int_equal(record_remove(bench->directory, KIND, "L1"), -EISDIR);
	assert_int_equal(rmdir(path), 0);

	assert_int_equal(write_record(bench, "L1", 1, "before"), 0);
	path_of(bench, "L1.json.new", path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(write_record(bench, "L1", 1, "x"), -EISDIR);
	read_all(bench);
	assert_told(bench, 0, "L1", "before");

	put(bench, "file", "", 0);
	path_of(bench, "file", path);
	assert_int_equal(record_init(path, KIND), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/" KIND, bench->directory);
	assert_int_equal(record_init(path, "file"), -ENOTDIR);
	assert_int_equal(record_each(bench->directory, "nothing", 1, told, bench), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written_and_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drafted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(struck_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(removed_by_hand, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_root_reads_them, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_and_foreign, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_large, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cut_at_every_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_stay_in_the_directory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(visitors_may_change_records, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_killed_writer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_it_cannot_be, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
