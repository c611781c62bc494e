#include "daemon/bind/journal.h"

#include "daemon/base/record.h"
#include "daemon/base/util.h"
#include "daemon/bind/journal-json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* Some 400 bytes a member; beyond this it is not ours. */
#define ENTRY_SIZE ((size_t)1024 * 1024)

static int entry_path(char path[PATH_MAX], const char *state_directory, int group)
{
	int n = snprintf(path, PATH_MAX, "%s/journal/%d.json", state_directory, group);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int journal_init(const char *state_directory)
{
	return record_init(state_directory, "journal");
}

int journal_lock(const char *state_directory, int *fd, pid_t *owner)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET }, other = lock;
	char path[PATH_MAX];

	*owner = 0;
	int n = snprintf(path, sizeof(path), "%s/lock", state_directory);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	/* A lock of the process, not of the descriptor: bind children do not inherit it. */
	_cleanup_close_ int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return -errno;
	if (fcntl(file, F_SETLK, &lock) < 0) {
		if (errno != EACCES && errno != EAGAIN)
			return -errno;
		if (fcntl(file, F_GETLK, &other) == 0 && other.l_type != F_UNLCK)
			*owner = other.l_pid;
		return -EBUSY;
	}
	*fd = steal_fd(&file);
	return 0;
}

/* Then it was synced when it was written. */
static bool stands_already(const char *path, const char *json, size_t length)
{
	_cleanup_free_ char *there = malloc(length + 2);
	ssize_t n = there ? file_read(path, there, length + 2) : -ENOMEM;

	return n >= 0 && (size_t)n == length && memcmp(there, json, length) == 0;
}

int journal_write(const char *state_directory, const struct journal_entry *entry)
{
	_cleanup_free_ char *json = NULL;
	char path[PATH_MAX];
	size_t length;

	int r = entry_path(path, state_directory, entry->plan->group);
	if (r == 0)
		r = journal_encode(entry, &json, &length);
	/* What a lease on a group that is ready leaves is what was there before it. */
	if (r == 0 && !stands_already(path, json, length))
		r = file_write_atomic(path, json, length);
	return r;
}

bool journal_stands(const char *state_directory, int group)
{
	char path[PATH_MAX];

	return entry_path(path, state_directory, group) == 0 && access(path, F_OK) == 0;
}

int journal_remove(const char *state_directory, int group)
{
	char path[PATH_MAX];

	int r = entry_path(path, state_directory, group);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int journal_read(const char *state_directory, int group, struct journal_entry *entry, char *text,
	size_t text_size)
{
	char path[PATH_MAX];

	*entry = (struct journal_entry){ .plan = NULL };
	if (text_size > 0)
		text[0] = '\0';
	int r = entry_path(path, state_directory, group);
	if (r < 0)
		return r;
	_cleanup_free_ char *json = malloc(ENTRY_SIZE);
	if (!json)
		return -ENOMEM;
	ssize_t length = file_read(path, json, ENTRY_SIZE);
	if (length == -EFBIG) {
		snprintf(text, text_size, "it is too large");
		return -EBADMSG;
	}
	if (length < 0)
		return (int)length;
	return journal_decode(json, (size_t)length, group, entry, text, text_size);
}

void journal_entry_clear(struct journal_entry *entry)
{
	plan_free(entry->plan);
	*entry = (struct journal_entry){ .plan = NULL };
}

/* The group of "12.json", exactly as entry_path() writes it; -1: no entry. */
static int group_of(const char *file_name)
{
	char expected[32], *end;

	errno = 0;
	long number = strtol(file_name, &end, 10);
	if (errno || end == file_name || number < 0 || number > INT_MAX)
		return -1;
	snprintf(expected, sizeof(expected), "%ld.json", number);
	return strcmp(file_name, expected) == 0 ? (int)number : -1;
}

static int compare(const void *left, const void *right)
{
	int a = *(const int *)left, b = *(const int *)right;
	return (a > b) - (a < b);
}

int journal_list(const char *state_directory, int **groups, size_t *n_groups)
{
	_cleanup_free_ int *found = NULL;
	const struct dirent *entry;
	char path[PATH_MAX];
	size_t n_found = 0;

	*groups = NULL;
	*n_groups = 0;
	int n = snprintf(path, sizeof(path), "%s/journal", state_directory);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	DIR *directory = opendir(path);
	if (!directory)
		return -errno;
	int r = 0;
	while (r == 0 && (errno = 0, entry = readdir(directory))) {
		int group = group_of(entry->d_name);
		if (group < 0)
			continue;
		int *grown = reallocarray(found, n_found + 1, sizeof(*found));
		if (!grown) {
			r = -ENOMEM;
			break;
		}
		found = grown;
		found[n_found++] = group;
	}
	if (r == 0 && errno)
		r = -errno;
	closedir(directory);
	if (r < 0)
		return r;
	if (n_found > 0)
		qsort(found, n_found, sizeof(*found), compare);
	*groups = steal_pointer(&found);
	*n_groups = n_found;
	return 0;
}
