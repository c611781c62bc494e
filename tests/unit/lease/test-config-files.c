/* Which files are read, in which order, and which are refused for what they are. */
#include "tests/unit/lease/config-bench.h"

#define RULE "[rule r]\nmatch = bus:pci\n"

static void test_main_file(void **state)
{
	struct config_bench *bench = *state;
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf", 0,
		"cannot open: No such file or directory");
	/* A FIFO would hang who opens it for reading. */
	assert_int_equal(mkfifo(bench->main, 0644), 0);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf", 0, "not a regular file");
	unlink(bench->main);
	assert_int_equal(mkdir(bench->main, 0755), 0);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf", 0, "not a regular file");
	rmdir(bench->main);
	assert_int_equal(symlink("vfiod.conf", bench->main), 0);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf", 0, "cannot open: Too many");
}

static void test_file_size(void **state)
{
	struct config_bench *bench = *state;
	size_t size = 1 << 20;
	char *text = malloc(size + 1);
	assert_non_null(text);
	memset(text, '\n', size + 1);
	bench_write(bench, "vfiod.conf", text, size);
	assert_int_equal(bench_read(bench), 0);
	bench_write(bench, "vfiod.conf", text, size + 1);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf", 0,
		"the file has 1048577 bytes; allowed: at most 1048576");
	free(text);
}

static void test_writers(void **state)
{
	struct config_bench *bench = *state;
	char directory[64], drop_in[80];
	snprintf(directory, sizeof(directory), "%s.d", bench->main);
	snprintf(drop_in, sizeof(drop_in), "%s/a.conf", directory);
	assert_int_equal(mkdir(directory, 0755), 0);
	bench_write(bench, "vfiod.conf", "", 0);
	bench_write(bench, "vfiod.conf.d/a.conf", "", 0);
	const struct {
		const char *path, *name;
	} paths[] = {
		{ bench->main, "vfiod.conf" },
		{ directory, "vfiod.conf.d" },
		{ drop_in, "vfiod.conf.d/a.conf" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(chmod(paths[i].path, 0777), 0);
		bench_assert_refusal(bench, bench_read(bench), paths[i].name, 0,
			"anybody can write to it (mode 0777), and so take devices; run: chmod o-w");
		assert_int_equal(chmod(paths[i].path, 0775), 0);
		assert_int_equal(bench_read(bench), 0);
	}
}

static void test_drop_ins(void **state)
{
	struct config_bench *bench = *state;
	char directory[64], path[128];
	snprintf(directory, sizeof(directory), "%s.d", bench->main);
	bench_write(bench, "vfiod.conf", "[rule main]\nmatch = numa:0\n", 27);
	assert_int_equal(bench_read(bench), 0); /* no directory */
	assert_int_equal(bench->config->n_rules, 1);
	assert_int_equal(bench->config->n_drop_ins, 0);
	assert_int_equal(mkdir(directory, 0755), 0);
	assert_int_equal(bench_read(bench), 0); /* an empty one */

	/* Bytewise, so capitals first and 10 before 9. */
	static const char *const names[] = { "b", "a", "9", "10", "Z", "a-b" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char name[64], text[64];
		snprintf(name, sizeof(name), "vfiod.conf.d/%s.conf", names[i]);
		snprintf(text, sizeof(text), "# x\n[rule %s]\nmatch = numa:1\n", names[i]);
		bench_write(bench, name, text, strlen(text));
	}
	static const char *const ignored[] = { ".hidden.conf", "README", "a.conf~",
		"a.conf.dpkg-old", ".conf", "a.CONF", "conf" };
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		char name[64];
		snprintf(name, sizeof(name), "vfiod.conf.d/%s", ignored[i]);
		bench_write(bench, name, "nonsense", 8);
	}
	assert_int_equal(bench_read(bench), 0);
	static const char *const order[] = { "main", "10", "9", "Z", "a-b", "a", "b" };
	assert_int_equal(bench->config->n_rules, ARRAY_SIZE(order));
	assert_int_equal(bench->config->n_drop_ins, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		assert_string_equal(bench->config->rules[i].name, order[i]);
	snprintf(path, sizeof(path), "%s/9.conf", directory);
	assert_string_equal(bench->config->rules[2].file, path);
	assert_int_equal(bench->config->rules[2].line, 2);
	assert_string_equal(bench->config->rules[0].file, bench->main);

	/* An error is in the file where it stands, and a section does not reach into the next. */
	bench_write(bench, "vfiod.conf.d/a.conf", "\nforce = yes\n", 13);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf.d/a.conf", 2,
		"'force' stands before the first section; known: [daemon], [rule NAME], "
		"[account NAME], [pool NAME]");
	/* So does that of a rule at its end. */
	bench_write(bench, "vfiod.conf.d/a.conf", "\n[rule x]\n", 10);
	bench_assert_refusal(
		bench, bench_read(bench), "vfiod.conf.d/a.conf", 2, "[rule x] has no match = line");
	snprintf(path, sizeof(path), "%s/a.conf", directory);
	unlink(path);
	assert_int_equal(symlink("nowhere", path), 0);
	bench_assert_refusal(
		bench, bench_read(bench), "vfiod.conf.d/a.conf", 0, "cannot open: No such file");
	bench_remove_directory(directory);
	bench_write(bench, "vfiod.conf.d", "", 0);
	bench_assert_refusal(
		bench, bench_read(bench), "vfiod.conf.d", 0, "cannot open: Not a directory");
}

static void test_duplicates(void **state)
{
	struct config_bench *bench = *state;
	char directory[64], part[160];
	bench_refuses(state, "\n[daemon]\n[rule a]\nmatch = numa:0\n[daemon]\n", 5,
		"duplicate section [daemon]; it stands at ");
	bench_refuses(state, RULE "[rule r]\n", 3, "duplicate section [rule r]; it stands at ");
	snprintf(part, sizeof(part), "%s:1 already: choose another name", bench->main);
	bench_refuses(state, RULE "[rule r]\n", 3, part);

	snprintf(directory, sizeof(directory), "%s.d", bench->main);
	assert_int_equal(mkdir(directory, 0755), 0);
	static const char text[] = "[daemon]\n" RULE;
	bench_write(bench, "vfiod.conf", text, strlen(text));
	bench_write(bench, "vfiod.conf.d/a.conf", "[rule r]\n", 9);
	snprintf(part, sizeof(part), "[rule r]; it stands at %s:2 already", bench->main);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf.d/a.conf", 1, part);
	bench_write(bench, "vfiod.conf.d/a.conf", "#\n[daemon]\n", 11);
	snprintf(part, sizeof(part), "[daemon]; it stands at %s:1 already: put all keys there",
		bench->main);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf.d/a.conf", 2, part);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_main_file),
		TEST(test_file_size),
		TEST(test_writers),
		TEST(test_drop_ins),
		TEST(test_duplicates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
