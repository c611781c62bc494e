#include "tests/mock/testbed.h"

#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <umockdev.h>

#include <cmocka.h>

struct testbed {
	UMockdevTestbed *mock;
	char *sys;  /* where /sys really is */
	char *udev; /* stands for /run/udev */
};

static char *format(const char *text, ...) __attribute__((format(printf, 1, 2)));
static char *format(const char *text, ...)
{
	char *string = NULL;
	va_list arguments;
	va_start(arguments, text);
	assert_true(vasprintf(&string, text, arguments) >= 0);
	va_end(arguments);
	return string;
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) < 0)
		assert_int_equal(errno, EEXIST);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

struct testbed *testbed_new(void)
{
	struct testbed *bed = calloc(1, sizeof(*bed));
	assert_non_null(bed);
	bed->mock = umockdev_testbed_new();
	bed->sys = umockdev_testbed_get_sys_dir(bed->mock);
	bed->udev = strdup("/tmp/vfiod-udev.XXXXXX");
	assert_non_null(bed->udev);
	assert_non_null(mkdtemp(bed->udev));
	_cleanup_free_ char *data = format("%s/data", bed->udev);
	make_directory(data);
	_cleanup_free_ char *kernel = format("%s/kernel", bed->sys);
	make_directory(kernel);
	_cleanup_free_ char *groups = format("%s/kernel/iommu_groups", bed->sys);
	make_directory(groups);
	return bed;
}

static void remove_files(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		_cleanup_free_ char *file = format("%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			assert_int_equal(remove(file), 0);
	}
	closedir(directory);
}

struct testbed *testbed_free(struct testbed *bed)
{
	if (!bed)
		return NULL;
	_cleanup_free_ char *data = format("%s/data", bed->udev);
	remove_files(data);
	remove_files(bed->udev);
	assert_int_equal(rmdir(bed->udev), 0);
	g_object_unref(bed->mock);
	free(bed->udev);
	g_free(bed->sys);
	free(bed);
	return NULL;
}

const char *testbed_udev_directory(const struct testbed *bed)
{
	return bed->udev;
}

void testbed_set_udevd(struct testbed *bed, bool runs)
{
	_cleanup_free_ char *control = format("%s/control", bed->udev);
	if (runs)
		write_file(control, "");
	else
		assert_int_equal(remove(control), 0);
}

void testbed_set_database(struct testbed *bed, const char *bus, const char *name, const char *lines)
{
	_cleanup_free_ char *path = format("%s/data/+%s:%s", bed->udev, bus, name);
	if (lines)
		write_file(path, lines);
	else
		assert_int_equal(remove(path), 0);
}

/* The file that a path of /sys really is. */
static char *real(const struct testbed *bed, const char *path)
{
	assert_int_equal(strncmp(path, "/sys/", 5), 0);
	return format("%s/%s", bed->sys, path + 5);
}

/* The link from a device to its group, and its number; -1 if there is none. */
static int group_of(const struct testbed *bed, const char *syspath)
{
	char target[256];
	_cleanup_free_ char *path = real(bed, syspath);
	_cleanup_free_ char *link = format("%s/iommu_group", path);
	ssize_t length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return -1;
	target[length] = '\0';
	return atoi(strrchr(target, '/') + 1); /* NOLINT(cert-err34-c): written below */
}

static void group_make(struct testbed *bed, int group)
{
	_cleanup_free_ char *path = format("%s/kernel/iommu_groups/%d", bed->sys, group);
	if (mkdir(path, 0755) < 0) {
		assert_int_equal(errno, EEXIST);
		return;
	}
	_cleanup_free_ char *devices = format("%s/devices", path);
	make_directory(devices);
	testbed_set_group_attribute(bed, group, "type", "DMA-FQ\n");
	testbed_set_group_attribute(
		bed, group, "reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
}

static void group_remove(struct testbed *bed, int group)
{
	_cleanup_free_ char *path = format("%s/kernel/iommu_groups/%d", bed->sys, group);
	_cleanup_free_ char *devices = format("%s/devices", path);
	if (rmdir(devices) < 0) {
		assert_int_equal(errno, ENOTEMPTY);
		return;
	}
	remove_files(path);
	assert_int_equal(rmdir(path), 0);
}

void testbed_set_group(struct testbed *bed, const char *syspath, int group)
{
	int before = group_of(bed, syspath);
	const char *name = strrchr(syspath, '/') + 1;
	_cleanup_free_ char *device = real(bed, syspath);
	_cleanup_free_ char *link = format("%s/iommu_group", device);

	if (before >= 0) {
		_cleanup_free_ char *member =
			format("%s/kernel/iommu_groups/%d/devices/%s", bed->sys, before, name);
		assert_int_equal(unlink(link), 0);
		assert_int_equal(unlink(member), 0);
		group_remove(bed, before);
	}
	if (group < 0)
		return;
	group_make(bed, group);
	_cleanup_free_ char *member =
		format("%s/kernel/iommu_groups/%d/devices/%s", bed->sys, group, name);
	_cleanup_free_ char *to_device = format("../../../../%s", syspath + strlen("/sys/"));
	_cleanup_free_ char *to_group = format("%s/kernel/iommu_groups/%d", bed->sys, group);
	assert_int_equal(symlink(to_device, member), 0);
	assert_int_equal(symlink(to_group, link), 0);
}

static void driver_link(struct testbed *bed, const char *syspath, const char *driver)
{
	_cleanup_free_ char *path = real(bed, syspath);
	_cleanup_free_ char *link = format("%s/driver", path);
	_cleanup_free_ char *target = format("../../../bus/any/drivers/%s", driver);

	if (unlink(link) < 0)
		assert_int_equal(errno, ENOENT);
	if (*driver != '\0')
		assert_int_equal(symlink(target, link), 0);
}

void testbed_set_driver(struct testbed *bed, const char *syspath, const char *driver)
{
	_cleanup_free_ char *path = real(bed, syspath);
	_cleanup_free_ char *link = format("%s/driver", path);
	struct stat st;
	bool was_bound = lstat(link, &st) == 0;

	driver_link(bed, syspath, driver);
	if (was_bound)
		testbed_send(bed, syspath, "unbind");
	if (*driver != '\0')
		testbed_send(bed, syspath, "bind");
}

void testbed_lose_driver(struct testbed *bed, const char *syspath)
{
	driver_link(bed, syspath, "");
}

char *testbed_add(struct testbed *bed, const char *bus, const char *name, const char *parent,
	int group, const char *driver)
{
	gchar *syspath = umockdev_testbed_add_device(
		bed->mock, bus, name, parent, NULL, "SUBSYSTEM", bus, NULL);
	assert_non_null(syspath);
	char *copy = strdup(syspath);
	assert_non_null(copy);
	g_free(syspath);

	testbed_set_group(bed, copy, group);
	driver_link(bed, copy, driver);
	return copy;
}

char *testbed_add_pci(struct testbed *bed, const char *address, int group, const char *driver)
{
	gchar *syspath = umockdev_testbed_add_device(bed->mock, "pci", address, NULL, "vendor",
		"0x8086\n", "device", "0x100e\n", "subsystem_vendor", "0x1af4\n",
		"subsystem_device", "0x1100\n", "class", "0x020000\n", "numa_node", "0\n",
		"reset_method", "flr bus\n", "modalias",
		"pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00\n", NULL, "SUBSYSTEM", "pci",
		NULL);
	assert_non_null(syspath);
	char *copy = strdup(syspath);
	assert_non_null(copy);
	g_free(syspath);

	testbed_set_group(bed, copy, group);
	driver_link(bed, copy, driver);
	return copy;
}

void testbed_remove(struct testbed *bed, const char *syspath)
{
	testbed_set_group(bed, syspath, -1);
	testbed_send(bed, syspath, "remove"); /* umockdev sends none of its own */
	umockdev_testbed_remove_device(bed->mock, syspath);
}

char *testbed_move(struct testbed *bed, const char *syspath, const char *name)
{
	int group = group_of(bed, syspath);
	char *moved = format("/sys/devices/%s", name);
	_cleanup_free_ char *from = real(bed, syspath);
	_cleanup_free_ char *to = real(bed, moved);
	_cleanup_free_ char *member = format(
		"%s/kernel/iommu_groups/%d/devices/%s", bed->sys, group, strrchr(syspath, '/') + 1);
	_cleanup_free_ char *to_device = format("../../../../devices/%s", name);

	assert_int_equal(rename(from, to), 0);
	assert_int_equal(unlink(member), 0);
	assert_int_equal(symlink(to_device, member), 0); /* the link keeps its name */
	testbed_send(bed, moved, "move");
	return moved;
}

void testbed_set_attribute(
	struct testbed *bed, const char *syspath, const char *name, const char *value)
{
	umockdev_testbed_set_attribute(bed->mock, syspath, name, value);
}

void testbed_remove_attribute(struct testbed *bed, const char *syspath, const char *name)
{
	_cleanup_free_ char *path = format("%s%s/%s", bed->sys, syspath + strlen("/sys"), name);
	assert_int_equal(unlink(path), 0);
}

void testbed_set_link(
	struct testbed *bed, const char *syspath, const char *name, const char *target)
{
	_cleanup_free_ char *path = real(bed, syspath);
	_cleanup_free_ char *link = format("%s/%s", path, name);
	_cleanup_free_ char *destination = real(bed, target);
	assert_int_equal(symlink(destination, link), 0);
}

void testbed_send(struct testbed *bed, const char *syspath, const char *action)
{
	umockdev_testbed_uevent(bed->mock, syspath, action);
}

void testbed_set_group_attribute(
	struct testbed *bed, int group, const char *name, const char *value)
{
	_cleanup_free_ char *path = format("%s/kernel/iommu_groups/%d/%s", bed->sys, group, name);
	write_file(path, value);
}

void testbed_reuse_group(struct testbed *bed, int group)
{
	_cleanup_free_ char *path = format("%s/kernel/iommu_groups/%d", bed->sys, group);
	_cleanup_free_ char *old = format("%s/kernel/old-%d", bed->sys, group);
	static const char *const files[] = { "devices", "type", "reserved_regions" };

	/* The old directory stays until the new one is there, or it could have its inode again. */
	assert_int_equal(rename(path, old), 0);
	make_directory(path);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *from = format("%s/%s", old, files[i]);
		_cleanup_free_ char *to = format("%s/%s", path, files[i]);
		assert_int_equal(rename(from, to), 0);
	}
	assert_int_equal(rmdir(old), 0);
}

void testbed_break_group(struct testbed *bed, int group, bool broken)
{
	_cleanup_free_ char *path = format("%s/kernel/iommu_groups/%d/devices", bed->sys, group);
	_cleanup_free_ char *aside = format("%s/kernel/iommu_groups/%d/aside", bed->sys, group);

	if (broken) {
		assert_int_equal(rename(path, aside), 0);
		write_file(path, "");
	} else {
		assert_int_equal(remove(path), 0);
		assert_int_equal(rename(aside, path), 0);
	}
}

void testbed_add_iommu(struct testbed *bed, const char *name, const char *parent)
{
	gchar *syspath = umockdev_testbed_add_device(
		bed->mock, "iommu", name, parent, NULL, "SUBSYSTEM", "iommu", NULL);
	assert_non_null(syspath);
	if (parent)
		testbed_set_link(bed, syspath, "device", parent);
	g_free(syspath);
}
