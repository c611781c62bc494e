#include "daemon/base/record.h"

#include "daemon/base/text.h"
#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Beyond this it is not ours. */
#define RECORD_SIZE ((size_t)1024 * 1024)
#define DEPTH 8
/* What a record begins with, and a draft. */
#define RECORD_MARK '{'
#define DRAFT_MARK '?'

static const char suffix[] = ".json", leftover_suffix[] = ".json.new";

static int directory_path(char path[PATH_MAX], const char *state_directory, const char *kind)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", state_directory, kind);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int file_path(
	char path[PATH_MAX], const char *state_directory, const char *kind, const char *name)
{
	if (!*name || *name == '.' || strchr(name, '/'))
		return -EINVAL;
	const char *const parts[] = { state_directory, "/", kind, "/", name, suffix };
	const char *end = path + PATH_MAX;
	char *to = path;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		to = text_put(to, end, parts[i]);
	/* One byte is the NUL's, and one shows that nothing was cut off. */
	return to + 1 < end ? 0 : -ENAMETOOLONG;
}

static int make_directories(const char *state_directory, const char *path)
{
	/* The socket lies in it, too, for everybody to reach. */
	if (mkdir(state_directory, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (mkdir(path, 0700) == 0)
		return 0;
	struct stat there;
	if (errno != EEXIST || lstat(path, &there) < 0)
		return -errno;
	return S_ISDIR(there.st_mode) ? 0 : -ENOTDIR;
}

static bool ends_with(const char *file_name, const char *end)
{
	size_t length = strlen(file_name), of_end = strlen(end);
	return length > of_end && strcmp(file_name + length - of_end, end) == 0;
}

/* Of file_replace(), killed before its rename: the record from before is the one that counts.
 */
static int remove_leftovers(const char *path)
{
	const struct dirent *entry;

	DIR *directory = opendir(path);
	if (!directory)
		return -errno;
	/* One that cannot be removed is no record all the same. */
	while ((errno = 0, entry = readdir(directory)))
		if (ends_with(entry->d_name, leftover_suffix))
			unlinkat(dirfd(directory), entry->d_name, 0);
	int r = -errno;
	closedir(directory);
	return r;
}

int record_init(const char *state_directory, const char *kind)
{
	char path[PATH_MAX];

	int r = directory_path(path, state_directory, kind);
	if (r == 0)
		r = make_directories(state_directory, path);
	return r < 0 ? r : remove_leftovers(path);
}

int record_write(const char *state_directory, const char *kind, const char *name, int version,
	struct json_object *json)
{
	size_t length;

	struct json_object *number = json_object_new_int(version);
	if (!number || json_object_object_add(json, "version", number) < 0) {
		json_object_put(number);
		return -ENOMEM;
	}
	const char *text = json_object_to_json_string_length(json, JSON_C_TO_STRING_PLAIN, &length);
	return text ? record_write_text(state_directory, kind, name, text, length) : -ENOMEM;
}

int record_write_text(const char *state_directory, const char *kind, const char *name,
	const char *text, size_t length)
{
	char path[PATH_MAX];

	int r = file_path(path, state_directory, kind, name);
	if (r == 0 && length >= RECORD_SIZE)
		r = -EFBIG;
	return r < 0 ? r : file_replace(path, text, length);
}

void record_let_go(struct draft *draft)
{
	if (draft->fd >= 0)
		close(draft->fd);
	*draft = NO_DRAFT;
}

void record_drop(const char *state_directory, const char *kind, struct draft *draft)
{
	char path[PATH_MAX];

	if (draft->fd >= 0 && file_path(path, state_directory, kind, draft->name) == 0)
		unlink(path);
	record_let_go(draft);
}

static int draft_create(
	const char *state_directory, const char *kind, const char *name, struct draft *draft)
{
	char path[PATH_MAX];
	struct stat file;

	int r = strlen(name) < sizeof(draft->name) ? 0 : -ENAMETOOLONG;
	if (r == 0)
		r = file_path(path, state_directory, kind, name);
	if (r < 0)
		return r;
	draft->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (draft->fd < 0)
		return -errno;
	if (fstat(draft->fd, &file) < 0) {
		int errnum = errno;
		unlink(path);
		record_let_go(draft);
		return -errnum;
	}
	draft->length = 0;
	draft->device = file.st_dev;
	draft->inode = file.st_ino;
	string_copy(draft->name, sizeof(draft->name), name);
	return 0;
}

/* What is longer than this one is blank. */
static int draft_write(struct draft *draft, const char *text, size_t length)
{
	enum { BLANKS_MAX = 512 };
	static const char blanks[BLANKS_MAX] = { [0 ... BLANKS_MAX - 1] = ' ' };

	if (draft->length > length + sizeof(blanks)) {
		if (ftruncate(draft->fd, 1) < 0)
			return -errno;
		draft->length = 1;
	}
	size_t n_blanks = draft->length > length ? draft->length - length : 0;
	const struct iovec parts[] = { { (char[]){ DRAFT_MARK }, 1 }, { (char *)blanks, n_blanks },
		{ (char *)text + 1, length - 1 } };
	ssize_t n = pwritev(draft->fd, parts, ARRAY_SIZE(parts), 0);
	if (n < 0 || (size_t)n < length + n_blanks)
		return n < 0 ? -errno : -ENOSPC;
	draft->length = (size_t)n;
	return 0;
}

int record_draft(const char *state_directory, const char *kind, const char *name, const char *text,
	size_t length, struct draft *draft)
{
	int r = length >= RECORD_SIZE ? -EFBIG : *text != RECORD_MARK ? -EINVAL : 0;
	if (r == 0 && draft->fd < 0)
		r = draft_create(state_directory, kind, name, draft);
	if (r == 0)
		r = draft_write(draft, text, length);
	if (r < 0)
		record_drop(state_directory, kind, draft);
	return r;
}

static int draft_mark(const struct draft *draft, char mark)
{
	ssize_t n = pwrite(draft->fd, &mark, 1, 0);
	return n == 1 ? 0 : n < 0 ? -errno : -EIO;
}

static bool is_where_it_was(
	const char *state_directory, const char *kind, const struct draft *draft)
{
	char path[PATH_MAX];
	struct stat file;

	return file_path(path, state_directory, kind, draft->name) == 0 &&
	       lstat(path, &file) == 0 && file.st_dev == draft->device &&
	       file.st_ino == draft->inode;
}

int record_commit(const char *state_directory, const char *kind, const struct draft *draft)
{
	int r = draft_mark(draft, RECORD_MARK);

	if (r < 0 || is_where_it_was(state_directory, kind, draft))
		return r;
	/* It may have another name now, under which it would be a record. */
	(void)draft_mark(draft, DRAFT_MARK);
	return -ESTALE;
}

int record_strike(const struct draft *draft)
{
	return draft_mark(draft, DRAFT_MARK);
}

int record_remove(const char *state_directory, const char *kind, const char *name)
{
	char path[PATH_MAX];

	int r = file_path(path, state_directory, kind, name);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int record_parse(const char *text, size_t length, struct json_object **object)
{
	enum json_tokener_error error = json_tokener_continue;
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH);

	*object = NULL;
	if (!tokener)
		return -ENOMEM;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	if (length <= INT_MAX) {
		*object = json_tokener_parse_ex(tokener, text, (int)length);
		error = json_tokener_get_error(tokener);
	}
	bool is_whole = error == json_tokener_success &&
			json_tokener_get_parse_end(tokener) == length &&
			json_object_is_type(*object, json_type_object);
	json_tokener_free(tokener);
	if (is_whole)
		return 0;
	json_object_put(*object);
	*object = NULL;
	return -EBADMSG;
}

struct visit {
	const char *state_directory, *kind;
	int max_version;
	record_visit tell;
	void *userdata;
};

static void tell_problem(
	const struct visit *visit, const char *name, int version, const char *problem)
{
	visit->tell(name, version, NULL, problem, visit->userdata);
}

static void tell_text(const struct visit *visit, const char *name, const char *text, size_t length)
{
	struct json_object *json, *number;
	char problem[96];

	if (record_parse(text, length, &json) < 0) {
		tell_problem(visit, name, 0, "it is damaged: not a whole JSON object");
		return;
	}
	int64_t version = json_object_object_get_ex(json, "version", &number) &&
					  json_object_is_type(number, json_type_int)
				  ? json_object_get_int64(number)
				  : 0;
	if (version >= 1 && version <= visit->max_version) {
		visit->tell(name, (int)version, json, NULL, visit->userdata);
		return;
	}
	json_object_put(json);
	if (version > visit->max_version && version <= INT_MAX) {
		snprintf(problem, sizeof(problem), "its version is %d, this vfiod knows 1 to %d",
			(int)version, visit->max_version);
		tell_problem(visit, name, (int)version, problem);
	} else {
		tell_problem(visit, name, 0, "it is damaged: it has no version");
	}
}

/* 0, or -ENOMEM. `buffer` is RECORD_SIZE. */
static int tell_file(const struct visit *visit, const char *file_name, char *buffer)
{
	char path[PATH_MAX], problem[96];
	_cleanup_free_ char *name = strndup(file_name, strlen(file_name) - strlen(suffix));

	if (!name)
		return -ENOMEM;
	int r = file_path(path, visit->state_directory, visit->kind, name);
	ssize_t length = r < 0 ? r : file_read(path, buffer, RECORD_SIZE);
	/* What was told before it may have removed it. */
	if (length == -ENOENT)
		return 0;
	/* A draft, or not even that: its writer was killed, and nobody counts on it. */
	if (length == 0 || (length > 0 && *buffer == DRAFT_MARK)) {
		unlink(path);
		return 0;
	}
	if (length < 0) {
		snprintf(problem, sizeof(problem), "it cannot be read: %s", strerror((int)-length));
		tell_problem(visit, name, 0, problem);
	} else {
		tell_text(visit, name, buffer, (size_t)length);
	}
	return 0;
}

static int is_record(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && ends_with(entry->d_name, suffix);
}

int record_each(const char *state_directory, const char *kind, int max_version, record_visit visit,
	void *userdata)
{
	const struct visit each = { state_directory, kind, max_version, visit, userdata };
	struct dirent **entries;
	char path[PATH_MAX];

	int r = directory_path(path, state_directory, kind);
	if (r < 0)
		return r;
	_cleanup_free_ char *buffer = malloc(RECORD_SIZE);
	if (!buffer)
		return -ENOMEM;
	/* All names first: who is told may write and remove records. L2 comes before L10. */
	int n = scandir(path, &entries, is_record, versionsort);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = tell_file(&each, entries[i]->d_name, buffer);
		free(entries[i]);
	}
	free(entries);
	return r;
}

bool record_any(const char *state_directory, const char *kind)
{
	struct dirent **entries;
	char path[PATH_MAX];

	if (directory_path(path, state_directory, kind) < 0)
		return false;
	int n = scandir(path, &entries, is_record, NULL);
	for (int i = 0; i < n; i++)
		free(entries[i]);
	if (n >= 0)
		free(entries);
	return n > 0;
}
