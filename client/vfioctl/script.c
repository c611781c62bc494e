/* CMD's arguments, for a process that was forked before they were known. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/vfioctl/run.h"

int script_new(void)
{
	int fd = memfd_create("vfioctl-run", MFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* With its NUL. */
static int text_write(int fd, const char *text)
{
	size_t size = strlen(text) + 1;

	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, text + done, size - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int script_write(int script, const char *names, char *const argv[])
{
	int r = text_write(script, names);

	for (; r == 0 && *argv; argv++)
		r = text_write(script, *argv);
	return r;
}

static char *whole_read(int script, size_t *size)
{
	struct stat status;
	char *text;

	if (fstat(script, &status) < 0)
		return NULL;
	*size = (size_t)status.st_size;
	text = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, script, 0);
	return text == MAP_FAILED ? NULL : text;
}

int script_read(int script, char **names, char ***argv)
{
	size_t size = 0, n = 0;
	char *text = whole_read(script, &size);

	if (!text || size == 0 || text[size - 1])
		return -EIO;
	for (size_t i = 0; i < size; i++)
		n += !text[i];
	/* The names, and then CMD at least. */
	if (n < 2)
		return -EIO;
	*argv = calloc(n, sizeof **argv);
	if (!*argv)
		return -ENOMEM;
	*names = text;
	text += strlen(text) + 1;
	for (size_t i = 0; i + 1 < n; i++, text += strlen(text) + 1)
		(*argv)[i] = text;
	return 0;
}
