/*
 * group-open N: opens /dev/vfio/N and holds it until SIGTERM.
 * group-open --race N: tries to, over and over, until there is no such group any more; has it once,
 * and it ends with 3.
 */
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static int race(const char *path)
{
	unsigned long n = 0;
	int fd;

	do {
		/* Who waits for this line knows that it has begun. */
		if (n++ == 1) {
			puts("racing");
			fflush(stdout);
		}
		fd = open(path, O_RDWR | O_CLOEXEC);
	} while (fd < 0 && errno == EBUSY);
	if (fd >= 0)
		errx(EXIT_WRONG, "got %s after %lu attempts", path, n);
	if (errno != ENOENT && errno != ENODEV && errno != ENXIO)
		err(EXIT_SYSTEM, "%s", path);
	printf("never had it in %lu attempts\n", n);
	return 0;
}

int main(int argc, char *argv[])
{
	char path[32], line[64];
	int is_race = argc > 1 && strcmp(argv[1], "--race") == 0;

	if (argc != 2 + is_race)
		errx(EXIT_USAGE, "usage: group-open [--race] N");
	snprintf(path, sizeof(path), "/dev/vfio/%lu", program_number(argv[1 + is_race], INT_MAX));
	if (is_race)
		return race(path);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "%s", path);
	snprintf(line, sizeof(line), "holding %s", path);
	program_hold(line);
	close(fd);
	return 0;
}
