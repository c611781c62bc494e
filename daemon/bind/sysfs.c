#include "daemon/bind/sysfs.h"

#include "daemon/base/util.h"
#include "daemon/bind/kernel.h"
#include "daemon/inventory/device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

/* A text attribute is a page at most (Documentation/filesystems/sysfs.rst). */
#define ATTRIBUTE_SIZE 4096

static int sysfs_write(void *userdata, const char *path, const char *value)
{
	(void)userdata;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	/* One write is one store; a second one after a short write would be another value. */
	size_t length = strlen(value);
	ssize_t n = write(fd, value, length);
	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -EIO;
}

/* One read is the whole attribute, and a text ends at its first NUL. */
static int sysfs_read(void *userdata, const char *path, char *buffer, size_t size)
{
	(void)userdata;
	char attribute[ATTRIBUTE_SIZE];

	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, attribute, sizeof(attribute));
	if (n < 0)
		return -errno;
	size_t length = strnlen(attribute, (size_t)n);
	if (length > 0 && attribute[length - 1] == '\n')
		length--;
	if (length >= size)
		return -EFBIG;
	memcpy(buffer, attribute, length);
	buffer[length] = '\0';
	return (int)length;
}

static int sysfs_read_link(void *userdata, const char *path, char *buffer, size_t size)
{
	(void)userdata;
	char target[PATH_MAX];

	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	return string_copy(buffer, size, slash ? slash + 1 : target) < 0 ? -EFBIG : 0;
}

static int sysfs_load_module(void *userdata, const char *name)
{
	(void)userdata;
	return module_load(name);
}

static int sysfs_find_variant(void *userdata, const char *modalias, char *module, size_t size)
{
	(void)userdata;
	return module_find_variant(modalias, module, size);
}

static int sysfs_module_driver(
	void *userdata, const char *module, const char *bus, char *driver, size_t size)
{
	(void)userdata;
	return module_driver(module, bus, driver, size);
}

static int vfio_group_viable(void *userdata, int group_fd)
{
	(void)userdata;
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (ioctl(group_fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return -errno;
	return (status.flags & VFIO_GROUP_FLAGS_VIABLE) != 0;
}

/* No driver of the host's has a device of the group. */
static bool group_is_left_alone(int group)
{
	char path[64], driver[DRIVER_NAME_SIZE];
	const struct dirent *entry;
	bool is_left_alone = true;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices", group);
	DIR *directory = opendir(path);
	if (!directory)
		return false;
	while (is_left_alone && (entry = readdir(directory))) {
		char link[512];
		if (*entry->d_name == '.')
			continue;
		snprintf(link, sizeof(link), "%s/%s/driver", path, entry->d_name);
		is_left_alone = sysfs_read_link(NULL, link, driver, sizeof(driver)) < 0 ||
				driver_leaves_dma(driver);
	}
	closedir(directory);
	return is_left_alone;
}

/*
 * A device that was opened by way of an iommufd context keeps its group's DMA, but not its file
 * (drivers/vfio/vfio_main.c, vfio_df_device_first_open): the group can be opened, but is not
 * viable, though no driver of the host's is to blame for that.
 */
static int vfio_open_group(void *userdata, int group)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/vfio/%d", group);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		/* What no IOMMU confines (group_is_noiommu()), which a rule has to allow. */
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%d", group);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	if (vfio_group_viable(userdata, fd) == 0 && group_is_left_alone(group))
		return -EBUSY;
	return steal_fd(&fd);
}

static void vfio_close_group(void *userdata, int group_fd)
{
	(void)userdata;
	close(group_fd);
}

/* Its name in <syspath>/vfio-dev. Without CONFIG_VFIO_DEVICE_CDEV, it has no number. */
static int find_node(const char *syspath, char *node, size_t size)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	bool is_found = false;

	int n = snprintf(path, sizeof(path), "%s/vfio-dev", syspath);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	DIR *directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? -ENXIO : -errno;
	while (!is_found && (entry = readdir(directory))) {
		snprintf(node, size, "%.64s/dev", entry->d_name);
		is_found = strncmp(entry->d_name, "vfio", 4) == 0 &&
			   faccessat(dirfd(directory), node, F_OK, 0) == 0;
		snprintf(node, size, "/dev/vfio/devices/%.64s", entry->d_name);
	}
	closedir(directory);
	return is_found ? 0 : -ENXIO;
}

static int vfio_open_node(void *userdata, const char *syspath)
{
	(void)userdata;
	char node[96];

	int r = find_node(syspath, node, sizeof(node));
	if (r < 0)
		return r;
	int fd = open(node, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int iommufd_open_context(void *userdata)
{
	(void)userdata;
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

const struct sysfs_ops sysfs_kernel = {
	.write = sysfs_write,
	.read = sysfs_read,
	.read_link = sysfs_read_link,
	.load_module = sysfs_load_module,
	.find_variant = sysfs_find_variant,
	.module_driver = sysfs_module_driver,
	.open_group = vfio_open_group,
	.group_viable = vfio_group_viable,
	.close_group = vfio_close_group,
	.open_node = vfio_open_node,
	.open_context = iommufd_open_context,
	.guard = guard_ask,
	.find_opener = opener_ask,
	.makes_nodes = opener_makes_nodes,
};
