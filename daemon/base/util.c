#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

char **strv_free(char **list)
{
	if (list)
		for (size_t i = 0; list[i]; i++)
			free(list[i]);
	free(list);
	return NULL;
}

size_t strv_length(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

int strv_add(char ***list, const char *string)
{
	size_t n = strv_length(*list);
	char *copy = strdup(string);
	char **grown = copy ? reallocarray(*list, n + 2, sizeof(*grown)) : NULL;
	if (!grown) {
		free(copy);
		return -ENOMEM;
	}
	grown[n] = copy;
	grown[n + 1] = NULL;
	*list = grown;
	return 0;
}

int strv_contains(char *const *list, const char *string)
{
	for (size_t i = 0; list && list[i]; i++)
		if (strcmp(list[i], string) == 0)
			return 1;
	return 0;
}

int string_copy(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);
	if (length >= size) {
		to[0] = '\0';
		return -ENAMETOOLONG;
	}
	memcpy(to, from, length + 1);
	return 0;
}

ssize_t file_read(const char *path, char *buffer, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;

	size_t length = 0;
	for (;;) {
		ssize_t n = read(fd, buffer + length, size - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t)n;
		if (length == size)
			return -EFBIG;
	}
	if (length > 0 && buffer[length - 1] == '\n')
		length--;
	buffer[length] = '\0';
	return (ssize_t)length;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The rename is durable only when the directory is. */
static int directory_sync(const char *path)
{
	_cleanup_free_ char *directory = strdup(path);
	if (!directory)
		return -ENOMEM;
	char *slash = strrchr(directory, '/');
	if (slash)
		*slash = '\0';
	_cleanup_close_ int fd = open(
		slash ? (*directory ? directory : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_atomic(
	const char *path, const void *data, size_t size, mode_t mode, bool is_durable)
{
	_cleanup_free_ char *temporary = NULL;
	if (asprintf(&temporary, "%s.new", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	/* One writer only, so a leftover of a crash is overwritten. */
	_cleanup_close_ int fd =
		open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, data, size);
	/* Whatever the umask is. */
	if (r == 0 && mode != 0600 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && is_durable && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return is_durable ? directory_sync(path) : 0;
}

int file_write_atomic(const char *path, const void *data, size_t size)
{
	return write_atomic(path, data, size, 0600, true);
}

int file_replace(const char *path, const void *data, size_t size)
{
	return write_atomic(path, data, size, 0600, false);
}

int file_publish(const char *path, const void *data, size_t size)
{
	return write_atomic(path, data, size, 0644, false);
}

int process_start_time(pid_t pid, unsigned long long *ticks)
{
	char path[64], stat[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ssize_t n = file_read(path, stat, sizeof(stat));
	if (n < 0)
		return (int)n;
	/* The command's name may hold blanks and parentheses: count fields from the last one. */
	char *field = strrchr(stat, ')');
	if (!field)
		return -EBADMSG;
	for (int number = 2; number < 22; number++) {
		field = strchr(field + 1, ' ');
		if (!field)
			return -EBADMSG;
	}
	char *end;
	errno = 0;
	*ticks = strtoull(field + 1, &end, 10);
	return errno || end == field + 1 ? -EBADMSG : 0;
}

short poll_now(int fd, short events)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&poll_fd, 1, 0);
	while (n < 0 && errno == EINTR);
	return (short)(n < 0 ? POLLNVAL : poll_fd.revents);
}
