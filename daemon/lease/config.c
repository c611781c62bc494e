#include "daemon/lease/config.h"

#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX (1 << 20) /* ten thousand rules; bounds what a wrong file costs */

static struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));
	if (config) {
		config->take_timeout_seconds = 30;
		config->resume_timeout_seconds = 30;
		config->host_limit_percent = 80;
		bounds_default(&config->bounds);
	}
	return config;
}

static void allows_free(struct allow *allows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(allows[i].pattern);
	free(allows);
}

static void match_clear(struct match *match)
{
	for (size_t i = 0; i < match->n_terms; i++) {
		free(match->terms[i].text);
		free(match->terms[i].value);
	}
	free(match->terms);
}

void matches_free(struct match *matches, size_t n_matches)
{
	for (size_t i = 0; i < n_matches; i++)
		match_clear(&matches[i]);
	free(matches);
}

static void rule_clear(struct rule *rule)
{
	matches_free(rule->matches, rule->n_matches);
	allows_free(rule->allows, rule->n_allows);
	free(rule->name);
	free(rule->file);
	free(rule->account);
	free(rule->driver);
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	for (size_t i = 0; i < config->n_rules; i++)
		rule_clear(&config->rules[i]);
	free(config->rules);
	for (size_t i = 0; i < config->n_accounts; i++) {
		free(config->accounts[i].name);
		free(config->accounts[i].file);
	}
	free(config->accounts);
	for (size_t i = 0; i < config->n_pools; i++) {
		matches_free(config->pools[i].matches, config->pools[i].n_matches);
		free(config->pools[i].name);
		free(config->pools[i].file);
	}
	free(config->pools);
	allows_free(config->admins, config->n_admins);
	free(config->text);
	free(config);
	return NULL;
}

static int fail_open(struct parser *parser)
{
	if (errno == ENOMEM)
		return -ENOMEM;
	return parser_fail(parser, "cannot open: %s", strerror(errno));
}

/*
 * Whoever can write here decides who gets devices. Others must not; a group may, as sites that keep
 * /etc for a group of administrators have it.
 */
static int check_writers(struct parser *parser, const struct stat *status)
{
	if (status->st_mode & S_IWOTH)
		return parser_fail(parser,
			"anybody can write to it (mode %04o), and so take devices; "
			"run: chmod o-w '%s'",
			(unsigned)status->st_mode & 07777U, parser->file);
	return 0;
}

static int read_file(struct parser *parser, int directory, const char *name, const char *path)
{
	parser->file = path;
	parser->line = 0;
	/* O_NONBLOCK: a FIFO must not hang the daemon; it is refused below. */
	_cleanup_close_ int fd =
		openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_open(parser);
	if (!S_ISREG(status.st_mode))
		return parser_fail(parser, "not a regular file");
	int r = check_writers(parser, &status);
	if (r != 0)
		return r;
	if (status.st_size > FILE_BYTES_MAX)
		return parser_fail(parser, "the file has %lld bytes; allowed: at most %d",
			(long long)status.st_size, FILE_BYTES_MAX);

	_cleanup_fclose_ FILE *file = fdopen(fd, "re");
	if (!file)
		return fail_open(parser);
	steal_fd(&fd);
	return parser_read_lines(parser, file);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_drop_in(const char *name)
{
	size_t length = strlen(name);
	return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".conf") == 0;
}

static int list_drop_ins(struct parser *parser, DIR *directory, char ***names)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(directory);
		if (!entry)
			return errno ? fail_open(parser) : 0;
		if (is_drop_in(entry->d_name) && strv_add(names, entry->d_name) < 0)
			return -ENOMEM;
	}
}

static int read_drop_ins(struct parser *parser, int fd, const char *path, char *const *names)
{
	for (size_t i = 0; names && names[i]; i++) {
		_cleanup_free_ char *file = NULL;
		if (asprintf(&file, "%s/%s", path, names[i]) < 0) {
			file = NULL;
			return -ENOMEM;
		}
		int r = read_file(parser, fd, names[i], file);
		parser->file = path; /* `file` ends here */
		if (r != 0)
			return r;
		parser->config->n_drop_ins++;
	}
	return 0;
}

static int read_directory(struct parser *parser, const char *path)
{
	parser->file = path;
	parser->line = 0;
	DIR *directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? 0 : fail_open(parser);

	char **names = NULL;
	struct stat status;
	int fd = dirfd(directory);
	int r = fstat(fd, &status) < 0 ? fail_open(parser) : check_writers(parser, &status);
	if (r == 0)
		r = list_drop_ins(parser, directory, &names);
	if (r == 0 && names)
		qsort(names, strv_length(names), sizeof(*names), compare_names);
	if (r == 0)
		r = read_drop_ins(parser, fd, path, names);
	strv_free(names);
	closedir(directory);
	return r;
}

static int read_files(struct parser *parser, const char *path)
{
	_cleanup_free_ char *directory = NULL;
	if (asprintf(&directory, "%s.d", path) < 0) {
		directory = NULL;
		return -ENOMEM;
	}
	int r = read_file(parser, AT_FDCWD, path, path);
	if (r == 0)
		r = read_directory(parser, directory);
	return r;
}

static int read_all(struct parser *parser, const char *path)
{
	size_t length;

	parser->copy = open_memstream(&parser->config->text, &length);
	if (!parser->copy)
		return -ENOMEM;
	int r = read_files(parser, path);
	bool is_whole = !ferror(parser->copy);
	return fclose(parser->copy) == 0 && is_whole ? r : -ENOMEM;
}

int config_read_names(const char *path, const struct config_names *names, struct config **config,
	struct refusal *refusal)
{
	struct parser parser = { .config = config_new(), .refusal = refusal, .names = names };
	if (!parser.config)
		return -ENOMEM;
	int r = path ? read_all(&parser, path) : 0;
	if (r == 0)
		r = parser_check_accounts(&parser);
	free(parser.daemon_file);
	if (r != 0) {
		config_free(parser.config);
		return r;
	}
	*config = parser.config;
	return 0;
}

int config_read(const char *path, struct config **config, struct refusal *refusal)
{
	return config_read_names(path, &(struct config_names){ .noted = NULL }, config, refusal);
}

int config_read_devices(const char *path, struct config **config, struct refusal *refusal)
{
	return config_read_names(path, &(struct config_names){ .ignored = true }, config, refusal);
}
