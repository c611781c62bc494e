/* Entries written and read back; damaged, foreign, cut at every length; the directory's list. */
#include "fake-kernel.h"

#include "daemon/base/util.h"
#include "daemon/bind/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* A state directory of its own, and an entry of two members. */
struct bench {
	char directory[64];
	struct journal_entry entry;
	char text[256];
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct fake_kernel kernel;

	assert_non_null(bench);
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-journal-XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	assert_int_equal(journal_init(bench->directory), 0);

	fake_kernel_init(&kernel);
	fake_kernel_add(&kernel, "pcieport");
	fake_kernel_add(&kernel, "e1000");
	bench->entry = (struct journal_entry){
		.phase = JOURNAL_RETURNING,
		.child = 4711,
		.child_start_ticks = 18446744073709551615ULL,
		.stay = true,
		.nodes = true,
		.holder = { .pid = 815,
			.start_ticks = 4294967296ULL,
			.uid = 4294967294U,
			.command = "qemu-system-x86" },
		.failure = "0000:01:00.1 is on no driver, was on e1000 (bind: Input/output error)",
		.plan = fake_kernel_plan(&kernel),
	};
	struct plan_member *member = &bench->entry.plan->members[1];
	member->known = true;
	snprintf(member->host_driver, sizeof(member->host_driver), "e1000");
	snprintf(member->host_override, sizeof(member->host_override), "a \"quoted\" \\ one/two");
	snprintf(member->claim, sizeof(member->claim), "vfio-pci");
	member->host_probes = true;
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	char command[128];

	journal_entry_clear(&bench->entry);
	snprintf(command, sizeof(command), "rm -r %s", bench->directory);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	free(bench);
	return 0;
}

static void path_of(const struct bench *bench, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/journal/%s", bench->directory, file);
}

static void put(const struct bench *bench, const char *file, const char *data, size_t length)
{
	char path[PATH_MAX];

	path_of(bench, file, path);
	FILE *stream = fopen(path, "we");
	assert_non_null(stream);
	assert_int_equal(fwrite(data, 1, length, stream), length);
	assert_int_equal(fclose(stream), 0);
}

static size_t get(const struct bench *bench, const char *file, char *data, size_t size)
{
	char path[PATH_MAX];

	path_of(bench, file, path);
	ssize_t length = file_read(path, data, size);
	assert_true(length > 0);
	return (size_t)length;
}

static int read_entry(struct bench *bench, struct journal_entry *entry)
{
	return journal_read(bench->directory, FAKE_GROUP, entry, bench->text, sizeof(bench->text));
}

static void assert_damaged(struct bench *bench, const char *part)
{
	struct journal_entry entry;

	assert_int_equal(read_entry(bench, &entry), -EBADMSG);
	assert_null(entry.plan);
	if (!strstr(bench->text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, bench->text);
}

/* The entry's file with one piece of text replaced. */
static void put_edited(struct bench *bench, const char *from, const char *to)
{
	char data[8192], edited[8192];

	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	size_t length = get(bench, "7.json", data, sizeof(data));
	char *place = strstr(data, from);
	if (!place)
		fail_msg("no %s in %s", from, data);
	int n = snprintf(edited, sizeof(edited), "%.*s%s%s", (int)(place - data), data, to,
		place + strlen(from));
	assert_in_range(n, 1, length + strlen(to));
	put(bench, "7.json", edited, (size_t)n);
}

static void test_round_trip(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;

	for (enum journal_phase phase = JOURNAL_TAKING; phase <= JOURNAL_FAILED; phase++) {
		bench->entry.phase = phase;
		assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
		assert_int_equal(read_entry(bench, &entry), 0);
		assert_int_equal(entry.phase, phase);
		assert_int_equal(entry.child, 4711);
		assert_true(entry.child_start_ticks == 18446744073709551615ULL);
		assert_true(entry.stay);
		assert_true(entry.nodes);
		assert_int_equal(entry.holder.pid, 815);
		assert_true(entry.holder.start_ticks == 4294967296ULL);
		assert_true(entry.holder.uid == 4294967294U);
		assert_string_equal(entry.holder.command, "qemu-system-x86");
		assert_string_equal(entry.failure, bench->entry.failure);
		assert_int_equal(entry.plan->group, FAKE_GROUP);
		assert_int_equal(entry.plan->n_members, 2);
		for (size_t i = 0; i < 2; i++) {
			const struct plan_member *was = &bench->entry.plan->members[i];
			const struct plan_member *is = &entry.plan->members[i];
			assert_int_equal(is->action, was->action);
			assert_string_equal(is->name, was->name);
			assert_string_equal(is->bus, was->bus);
			assert_string_equal(is->syspath, was->syspath);
			assert_string_equal(is->target, was->target);
			assert_string_equal(is->module, was->module);
			assert_int_equal(is->force, was->force);
			assert_int_equal(is->known, was->known);
			assert_string_equal(is->host_driver, was->host_driver);
			assert_string_equal(is->host_override, was->host_override);
			assert_string_equal(is->claim, was->claim);
			assert_int_equal(is->host_probes, was->host_probes);
		}
		journal_entry_clear(&entry);
		assert_null(entry.plan);
	}
}

static void test_actions(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;

	for (enum plan_action action = PLAN_BIND; action <= PLAN_ALREADY; action++) {
		bench->entry.plan->members[0].action = action;
		assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
		assert_int_equal(read_entry(bench, &entry), 0);
		assert_int_equal(entry.plan->members[0].action, action);
		journal_entry_clear(&entry);
	}
}

static void test_absent(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;

	assert_int_equal(read_entry(bench, &entry), -ENOENT);
	assert_null(entry.plan);
	assert_int_equal(journal_remove(bench->directory, FAKE_GROUP), 0);
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(journal_remove(bench->directory, FAKE_GROUP), 0);
	assert_int_equal(read_entry(bench, &entry), -ENOENT);
}

static void test_cut_at_every_length(void **state)
{
	struct bench *bench = *state;
	char data[8192];
	struct journal_entry entry;

	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	size_t length = get(bench, "7.json", data, sizeof(data));
	for (size_t cut = 0; cut < length; cut++) {
		put(bench, "7.json", data, cut);
		assert_damaged(bench, "damaged");
	}
	put(bench, "7.json", data, length);
	assert_int_equal(read_entry(bench, &entry), 0);
	journal_entry_clear(&entry);
	/* Nor is there anything behind it. */
	data[length] = '}';
	put(bench, "7.json", data, length + 1);
	assert_damaged(bench, "damaged");
}

static void test_damaged(void **state)
{
	struct bench *bench = *state;
	static const struct {
		const char *from, *to, *told;
	} edits[] = {
		{ "\"version\":3", "\"version\":4", "version is 4" },
		{ "\"version\":3", "\"version\":\"1\"", "version" },
		{ "\"version\":3", "\"revision\":1", "version" },
		{ "\"group\":7", "\"group\":8", "group" },
		{ "\"group\":7", "\"group\":4294967303", "group" },
		{ "\"phase\":\"returning\"", "\"phase\":\"pausing\"", "phase" },
		{ "\"child\":4711", "\"child\":-1", "child" },
		{ "\"child\":4711", "\"child\":4711.5", "child" },
		{ "\"18446744073709551615\"", "\"18446744073709551616\"", "childStartTicks" },
		{ "\"18446744073709551615\"", "\"-1\"", "childStartTicks" },
		{ "\"18446744073709551615\"", "\"\"", "childStartTicks" },
		{ "\"stay\":true", "\"stay\":1", "stay" },
		{ "\"version\":3", "\"version\":0", "version is 0" },
		{ "\"holder\":{", "\"holders\":{", "holder" },
		{ "\"pid\":815", "\"pid\":-815", "pid" },
		{ "\"uid\":4294967294", "\"uid\":4294967296", "uid" },
		{ "\"4294967296\"", "4294967296", "startTicks" },
		{ "qemu-system-x86", "qemu-system-x86_64", "command" },
		{ "\"failure\":\"", "\"failure\":[],\"was\":\"", "failure" },
		{ "\"members\":[", "\"members\":[7,", "action" },
		{ "\"members\":[", "\"fellows\":[", "members" },
		{ "\"action\":\"bind\"", "\"action\":\"blind\"", "action" },
		{ "\"bus\":\"pci\"", "\"bus\":\"a-bus-with-a-name-of-32-characters\"", "bus" },
		{ "\"known\":true", "\"known\":null", "known" },
		{ "\"e1000\"", "\"e1000\\u0000x\"", "hostDriver" },
		{ "{", "[{", "damaged" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		put_edited(bench, edits[i].from, edits[i].to);
		assert_damaged(bench, edits[i].told);
	}
	put(bench, "7.json", "[]", 2);
	assert_damaged(bench, "damaged");
	put(bench, "7.json", "null", 4);
	assert_damaged(bench, "damaged");
}

/* As the first vfiod wrote it: nobody is known to have had it. */
static void test_first_version(void **state)
{
	struct bench *bench = *state;
	static const char old[] =
		"{\"version\":1,\"group\":7,\"phase\":\"taken\",\"child\":12,"
		"\"childStartTicks\":\"34\",\"stay\":true,\"members\":[{\"action\":\"bind\","
		"\"name\":\"0000:01:00.0\",\"bus\":\"pci\",\"syspath\":\"/sys/x\","
		"\"target\":\"vfio-pci\",\"module\":\"vfio-pci\",\"force\":false,"
		"\"known\":true,\"hostDriver\":\"e1000\",\"hostOverride\":\"\"}]}";
	struct journal_entry entry;

	put(bench, "7.json", old, strlen(old));
	assert_int_equal(read_entry(bench, &entry), 0);
	assert_int_equal(entry.phase, JOURNAL_TAKEN);
	assert_int_equal(entry.child, 12);
	assert_true(entry.stay);
	assert_false(entry.nodes);
	assert_int_equal(entry.holder.pid, 0);
	assert_string_equal(entry.failure, "");
	assert_string_equal(entry.plan->members[0].host_driver, "e1000");
	journal_entry_clear(&entry);
}

static void test_names_at_their_longest(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;
	struct plan_member *member = &bench->entry.plan->members[1];

	memset(member->host_driver, 'x', DRIVER_NAME_SIZE - 1);
	member->host_driver[DRIVER_NAME_SIZE - 1] = '\0';
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(read_entry(bench, &entry), 0);
	assert_string_equal(entry.plan->members[1].host_driver, member->host_driver);
	journal_entry_clear(&entry);
	put_edited(bench, "\"xx", "\"xxx");
	assert_damaged(bench, "hostDriver");
}

static void test_too_large(void **state)
{
	struct bench *bench = *state;
	size_t size = (size_t)2 * 1024 * 1024;
	char *blanks = malloc(size);

	assert_non_null(blanks);
	memset(blanks, ' ', size);
	put(bench, "7.json", blanks, size);
	free(blanks);
	assert_damaged(bench, "too large");
}

/* A crash while writing leaves the old entry; what is left beside it is no entry. */
static void test_atomic(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;
	int *groups;
	size_t n;

	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	put(bench, "7.json.new", "{\"vers", 6);
	assert_int_equal(read_entry(bench, &entry), 0);
	journal_entry_clear(&entry);
	assert_int_equal(journal_list(bench->directory, &groups, &n), 0);
	assert_int_equal(n, 1);
	free(groups);
	bench->entry.phase = JOURNAL_FAILED;
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(read_entry(bench, &entry), 0);
	assert_int_equal(entry.phase, JOURNAL_FAILED);
	journal_entry_clear(&entry);

	/* What cannot be written leaves the old one, too. */
	char path[PATH_MAX];
	put(bench, "7.json.new", "{\"vers", 6);
	assert_int_equal(journal_init(bench->directory), 0);
	path_of(bench, "7.json.new", path);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(mkdir(path, 0700), 0);
	bench->entry.phase = JOURNAL_TAKEN;
	assert_true(journal_write(bench->directory, &bench->entry) < 0);
	assert_int_equal(read_entry(bench, &entry), 0);
	assert_int_equal(entry.phase, JOURNAL_FAILED);
	journal_entry_clear(&entry);
}

static ino_t inode_of(const struct bench *bench, const char *file)
{
	char path[PATH_MAX];
	struct stat st;

	path_of(bench, file, path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

/* What stands there already is left alone; what differs in as little as a byte is not. */
static void test_unchanged(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;
	char text[8192];

	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	ino_t first = inode_of(bench, "7.json");
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(inode_of(bench, "7.json"), first);

	size_t length = get(bench, "7.json", text, sizeof(text));
	put(bench, "7.json", text, length - 1);
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(read_entry(bench, &entry), 0);
	journal_entry_clear(&entry);
	text[length] = ' ';
	put(bench, "7.json", text, length + 1);
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(get(bench, "7.json", text, sizeof(text)), length);

	bench->entry.stay = false;
	assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	assert_int_equal(read_entry(bench, &entry), 0);
	assert_false(entry.stay);
	journal_entry_clear(&entry);
}

static void test_list(void **state)
{
	struct bench *bench = *state;
	static const char *const others[] = { "x.json", "-1.json", "07.json", "1.json.new", "2",
		"2147483648.json", "3.jsonx", ".json", " 4.json" };
	static const int numbers[] = { 100, 0, 9, 2147483647, 10 };
	int *groups;
	size_t n;

	assert_int_equal(journal_list(bench->directory, &groups, &n), 0);
	assert_int_equal(n, 0);
	assert_null(groups);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		put(bench, others[i], "{}", 2);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		bench->entry.plan->group = numbers[i];
		assert_int_equal(journal_write(bench->directory, &bench->entry), 0);
	}
	assert_int_equal(journal_list(bench->directory, &groups, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(groups[0], 0);
	assert_int_equal(groups[1], 9);
	assert_int_equal(groups[2], 10);
	assert_int_equal(groups[3], 100);
	assert_int_equal(groups[4], 2147483647);
	free(groups);
	assert_int_equal(journal_list("/nowhere", &groups, &n), -ENOENT);
	assert_null(groups);
}

static void test_init(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX];
	struct stat there;

	path_of(bench, "", path);
	assert_int_equal(stat(path, &there), 0);
	assert_int_equal(there.st_mode & 07777, 0700);
	assert_int_equal(journal_init(bench->directory), 0);
	assert_int_equal(journal_init("/nowhere/at/all"), -ENOENT);

	char inside[PATH_MAX];
	snprintf(path, sizeof(path), "%s/new", bench->directory);
	snprintf(inside, sizeof(inside), "%s/new/journal", bench->directory);
	assert_int_equal(journal_init(path), 0);
	/* A file in its place is told. */
	assert_int_equal(rmdir(inside), 0);
	int fd = open(inside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(journal_init(path), -ENOTDIR);
}

/* Of a process: a child has to ask for it, and it is free when its owner ends. */
static void test_lock(void **state)
{
	struct bench *bench = *state;
	int fd = -1, other = -1, status;
	pid_t owner;

	assert_int_equal(journal_lock(bench->directory, &fd, &owner), 0);
	pid_t child = fork();
	if (child == 0) {
		bool is_refused = journal_lock(bench->directory, &other, &owner) == -EBUSY &&
				  owner == getppid() && other == -1;
		close(fd);
		_exit(is_refused ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* Nor did the child's close let go of it. */
	child = fork();
	if (child == 0)
		_exit(journal_lock(bench->directory, &other, &owner) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(fd);
	child = fork();
	if (child == 0)
		_exit(journal_lock(bench->directory, &other, &owner) == 0 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(journal_lock(bench->directory, &fd, &owner), 0);
	close(fd);
	assert_int_equal(journal_lock("/nowhere", &fd, &owner), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_actions),
		TEST(test_absent),
		TEST(test_cut_at_every_length),
		TEST(test_damaged),
		TEST(test_first_version),
		TEST(test_names_at_their_longest),
		TEST(test_too_large),
		TEST(test_atomic),
		TEST(test_unchanged),
		TEST(test_list),
		TEST(test_init),
		TEST(test_lock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
