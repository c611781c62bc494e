/*
 * open-rewritten PATH OTHER: opens PATH over and over, while a thread of its own makes it OTHER, of
 * the same length, and PATH again. Has PATH been opened at times, and OTHER never, it ends with 0;
 * with 3 otherwise.
 */
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPTS = 2000, ENOUGH = 20 };

static char path[PATH_MAX];
static const char *names[2];
static atomic_bool is_enough;

static void *rewrite(void *userdata)
{
	for (unsigned i = 0; !is_enough; i++)
		memcpy(path, names[i % 2], strlen(names[0]) + 1);
	return userdata;
}

static dev_t device_of(const char *name)
{
	struct stat status;
	if (stat(name, &status) < 0)
		err(EXIT_SYSTEM, "%s", name);
	return status.st_rdev;
}

int main(int argc, char *argv[])
{
	unsigned n_opened = 0;
	pthread_t thread;

	if (argc != 3 || strlen(argv[1]) != strlen(argv[2]) || strlen(argv[1]) >= sizeof(path))
		errx(EXIT_USAGE, "usage: open-rewritten PATH OTHER, of the same length");
	names[0] = argv[1];
	names[1] = argv[2];
	dev_t device = device_of(argv[1]), other = device_of(argv[2]);
	strcpy(path, argv[1]);
	if (pthread_create(&thread, NULL, rewrite, NULL) != 0)
		errx(EXIT_SYSTEM, "a thread");
	for (int i = 0; i < ATTEMPTS && n_opened < ENOUGH; i++) {
		struct stat status;
		int fd = open(path, O_RDWR | O_CLOEXEC);
		/* A text between the two is no path. */
		if (fd < 0 && errno != EACCES && errno != ENOENT)
			err(EXIT_SYSTEM, "%s or %s", argv[1], argv[2]);
		if (fd < 0)
			continue;
		if (fstat(fd, &status) < 0)
			err(EXIT_SYSTEM, "fstat");
		if (status.st_rdev == other || status.st_rdev != device)
			errx(EXIT_WRONG, "what was opened is not %s", argv[1]);
		n_opened++;
		close(fd);
	}
	is_enough = true;
	pthread_join(thread, NULL);
	printf("opened %u times\n", n_opened);
	return n_opened > 0 ? 0 : EXIT_WRONG;
}
