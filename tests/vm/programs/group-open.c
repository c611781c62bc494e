/*
 * group-open N: opens /dev/vfio/N and holds it until SIGTERM.
 */
#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	char path[32], line[64];

	if (argc != 2)
		errx(EXIT_USAGE, "usage: group-open N");
	snprintf(path, sizeof(path), "/dev/vfio/%lu", program_number(argv[1], INT_MAX));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "%s", path);
	snprintf(line, sizeof(line), "holding %s", path);
	program_hold(line);
	close(fd);
	return 0;
}
