/*
 * cdev-open DEVICE: opens the own node of a PCI device on a VFIO driver (/dev/vfio/devices/vfioX),
 * binds it to nothing, and holds it until SIGTERM.
 */
#include "tests/vm/programs/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The node's path, "" if the device has none. */
static void find_node(const char *device, char *node, size_t size)
{
	char path[128];
	const struct dirent *entry;

	node[0] = '\0';
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/vfio-dev", device);
	DIR *directory = opendir(path);
	if (!directory)
		err(EXIT_SYSTEM, "%s", path);
	while ((entry = readdir(directory)))
		if (strncmp(entry->d_name, "vfio", 4) == 0)
			snprintf(node, size, "/dev/vfio/devices/%s", entry->d_name);
	closedir(directory);
}

int main(int argc, char *argv[])
{
	char node[512];

	if (argc != 2)
		errx(EXIT_USAGE, "usage: cdev-open DEVICE");
	find_node(argv[1], node, sizeof(node));
	int fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "node '%s' of %s", node, argv[1]);
	program_hold("holding");
	close(fd);
	return 0;
}
