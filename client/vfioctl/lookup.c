/* Is CMD there to be run? Looked up as execvp(3) does, before anything is acquired for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/vfioctl/run.h"

static int file_check(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EACCES; /* what execve(2) says of a directory */
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : -errno;
}

/* An error that lets execvp(3) go on to the next directory. */
static bool is_elsewhere(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -ENAMETOOLONG;
}

int command_lookup(const char *name, char **found)
{
	const char *path = getenv("PATH");
	int result = -ENOENT;

	*found = NULL;
	if (strchr(name, '/')) {
		int r = file_check(name);

		*found = r == 0 ? strdup(name) : NULL;
		return r == 0 && !*found ? -ENOMEM : r;
	}
	if (!*name)
		return -ENOENT;
	if (!path)
		path = "/bin:/usr/bin"; /* glibc, posix/execvpe.c: CS_PATH */
	for (;; path++) {
		size_t length = strcspn(path, ":");
		char *file;
		int r;

		/* An empty one is the current directory. */
		if (asprintf(&file, "%.*s%s%s", (int)length, path, length ? "/" : "./", name) < 0)
			return -ENOMEM;
		r = file_check(file);
		if (r == 0)
			*found = file;
		else
			free(file);
		if (r == 0 || !is_elsewhere(r))
			return r;
		if (r == -EACCES)
			result = r;
		path += length;
		if (!*path)
			return result;
	}
}
