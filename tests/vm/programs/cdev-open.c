/*
 * cdev-open DEVICE: opens the own node of a PCI device on a VFIO driver (/dev/vfio/devices/vfioX),
 * binds it to nothing, and holds it until SIGTERM.
 */
#include "tests/vm/programs/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	char path[512];
	const struct dirent *entry;

	if (argc != 2)
		errx(EXIT_USAGE, "usage: cdev-open DEVICE");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/vfio-dev", argv[1]);
	DIR *directory = opendir(path);
	if (!directory)
		err(EXIT_SYSTEM, "%s", path);
	do
		entry = readdir(directory);
	while (entry && strncmp(entry->d_name, "vfio", 4) != 0);
	if (!entry)
		errx(EXIT_SYSTEM, "%s has no node of its own", argv[1]);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
	closedir(directory);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "%s", path);
	program_hold("holding");
	close(fd);
	return 0;
}
