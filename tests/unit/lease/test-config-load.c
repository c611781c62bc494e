/* The configuration read while the daemon serves: names are looked up in a child, and only there.
 */
#include "daemon/lease/config-load.h"

#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* Shared with children. */
static struct {
	pid_t asked_by;
	int hangs;
} * user_database;

/* In place of libc's: alice is all that it knows, and it may not answer. */
int getpwnam_r(
	const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **found)
{
	(void)buffer;
	(void)size;
	user_database->asked_by = getpid();
	while (user_database->hangs)
		pause();
	entry->pw_uid = 4711;
	*found = strcmp(name, "alice") == 0 ? entry : NULL;
	return 0;
}

struct bench {
	struct ev_loop *loop;
	char path[64];
	int result;
	struct config *config;
	struct refusal refusal;
};

static int setup(void **state)
{
	static struct bench bench;

	user_database = mmap(NULL, sizeof(*user_database), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(user_database, MAP_FAILED);
	bench = (struct bench){ .loop = ev_default_loop(0), .path = "/tmp/vfiod-load-XXXXXX" };
	int fd = mkstemp(bench.path);
	assert_true(fd >= 0);
	close(fd);
	*state = &bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	config_free(bench->config);
	unlink(bench->path);
	munmap(user_database, sizeof(*user_database));
	return 0;
}

static void write_config(const struct bench *bench, const char *text)
{
	FILE *file = fopen(bench->path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void on_loaded(
	int result, struct config *config, const struct refusal *refusal, void *userdata)
{
	struct bench *bench = userdata;
	bench->result = result;
	bench->config = config;
	bench->refusal = *refusal;
	ev_break(bench->loop, EVBREAK_ALL);
}

static void load(struct bench *bench)
{
	struct config_load *loading;
	assert_int_equal(config_load_new(bench->loop, bench->path, on_loaded, bench, &loading), 0);
	ev_run(bench->loop, 0);
	config_load_free(loading);
}

static void test_names_are_a_childs(void **state)
{
	struct bench *bench = *state;

	write_config(bench, "[daemon]\nadmin = user:alice\nadmin = user:12\n"
			    "[rule r]\nmatch = numa:0\nallow = user:alice\nallow = group:13\n");
	load(bench);
	assert_int_equal(bench->result, 0);
	assert_int_equal(bench->config->n_admins, 2);
	assert_int_equal(bench->config->admins[0].id, 4711);
	assert_int_equal(bench->config->admins[1].id, 12);
	assert_int_equal(bench->config->rules[0].allows[0].id, 4711);
	assert_int_equal(bench->config->rules[0].allows[1].id, 13);
	assert_true(user_database->asked_by > 0);
	assert_int_not_equal(user_database->asked_by, getpid());
}

static void test_refused(void **state)
{
	struct bench *bench = *state;

	write_config(bench, "[daemon]\nadmin = user:alice\nadmin = user:bob\n");
	load(bench);
	assert_int_equal(bench->result, REFUSED);
	assert_null(bench->config);
	assert_int_equal(bench->refusal.kind, REFUSAL_CONFIGURATION);
	assert_non_null(strstr(bench->refusal.text, ":3: there is no user 'bob'"));
	assert_int_not_equal(user_database->asked_by, getpid());
}

/* What the child did not see is not looked up here. */
static void test_known(void **state)
{
	struct bench *bench = *state;
	const struct config_names names = { .known = "group alice 5\nuser alic 6\nuser alice 7\n" };

	write_config(bench, "[daemon]\nadmin = user:alice\n");
	assert_int_equal(
		config_read_names(bench->path, &names, &bench->config, &bench->refusal), 0);
	assert_int_equal(bench->config->admins[0].id, 7);
	write_config(bench, "[daemon]\nadmin = user:alice\nadmin = user:ali\n");
	struct config *none;
	assert_int_equal(config_read_names(bench->path, &names, &none, &bench->refusal), REFUSED);
	assert_non_null(strstr(bench->refusal.text, "reload again"));
	assert_int_equal(user_database->asked_by, 0);
}

static void test_freed_while_it_hangs(void **state)
{
	struct bench *bench = *state;
	struct config_load *loading;

	user_database->hangs = 1;
	write_config(bench, "[daemon]\nadmin = user:alice\n");
	assert_int_equal(config_load_new(bench->loop, bench->path, on_loaded, bench, &loading), 0);
	while (!user_database->asked_by)
		usleep(1000);
	assert_null(config_load_free(loading));
	ev_run(bench->loop, EVRUN_NOWAIT);
	assert_null(bench->config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_are_a_childs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_while_it_hangs, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
