/* A directory of its own for each test, with a main file and drop-ins in it. */
#pragma once

#include "daemon/base/util.h"
#include "daemon/lease/config.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct config_bench {
	char directory[32];
	char main[48]; /* vfiod.conf */
	struct config *config;
	struct refusal refusal;
};

static inline int bench_setup(void **state)
{
	struct config_bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-config-XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	snprintf(bench->main, sizeof(bench->main), "%s/vfiod.conf", bench->directory);
	*state = bench;
	return 0;
}

/* A directory and the files in it. */
static inline void bench_remove_directory(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	while (directory && (entry = readdir(directory)))
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		closedir(directory);
	rmdir(path);
}

static inline int bench_teardown(void **state)
{
	struct config_bench *bench = *state;
	config_free(bench->config);
	char drop_ins[64];
	snprintf(drop_ins, sizeof(drop_ins), "%s.d", bench->main);
	bench_remove_directory(drop_ins);
	bench_remove_directory(bench->directory);
	free(bench);
	return 0;
}

/* `name` is relative to the directory: "vfiod.conf", "vfiod.conf.d/10-a.conf". */
static inline void bench_write(
	struct config_bench *bench, const char *name, const void *data, size_t size)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", bench->directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(fchmod(fd, 0644), 0);
	close(fd);
}

static inline int bench_read(struct config_bench *bench)
{
	bench->config = config_free(bench->config);
	bench->refusal = (struct refusal){ 0 };
	return config_read(bench->main, &bench->config, &bench->refusal);
}

/* The last reading was refused because of this file and line (0: none), saying `part`. */
static inline void bench_assert_refusal(
	struct config_bench *bench, int result, const char *name, unsigned line, const char *part)
{
	char prefix[160];
	if (line > 0)
		snprintf(prefix, sizeof(prefix), "%s/%s:%u: ", bench->directory, name, line);
	else
		snprintf(prefix, sizeof(prefix), "%s/%s: ", bench->directory, name);
	assert_int_equal(result, REFUSED);
	assert_null(bench->config);
	assert_int_equal(bench->refusal.kind, REFUSAL_CONFIGURATION);
	if (strncmp(bench->refusal.text, prefix, strlen(prefix)) != 0 ||
		!strstr(bench->refusal.text, part))
		fail_msg("'%s' is not '%s…%s…'", bench->refusal.text, prefix, part);
}

static inline void bench_refuses_bytes(
	void **state, const void *data, size_t size, unsigned line, const char *part)
{
	struct config_bench *bench = *state;
	bench_write(bench, "vfiod.conf", data, size);
	bench_assert_refusal(bench, bench_read(bench), "vfiod.conf", line, part);
}

static inline void bench_refuses(void **state, const char *text, unsigned line, const char *part)
{
	bench_refuses_bytes(state, text, strlen(text), line, part);
}

static inline struct config *bench_accepts(void **state, const char *text)
{
	struct config_bench *bench = *state;
	bench_write(bench, "vfiod.conf", text, strlen(text));
	if (bench_read(bench) != 0)
		fail_msg("'%s'", bench->refusal.text);
	return bench->config;
}

/* Writes `text` to a file, reads it as a configuration, removes it. */
static inline struct config *config_of(const char *text)
{
	char path[64] = "/tmp/vfiod-policy-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	struct config *config = NULL;
	struct refusal refusal = { 0 };
	int r = config_read(path, &config, &refusal);
	unlink(path);
	if (r != 0)
		fail_msg("%s", refusal.text);
	return config;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, bench_setup, bench_teardown)
