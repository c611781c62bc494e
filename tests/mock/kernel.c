#include "tests/mock/kernel.h"

#include "daemon/base/util.h"
#include "daemon/bind/opener.h"
#include "daemon/inventory/device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>

#include <cmocka.h>

struct mock_kernel {
	struct sysfs_ops ops;
	char sys[PATH_MAX];   /* where /sys really is */
	char nodes[PATH_MAX]; /* where /dev/vfio would be: a file a group */
	char broken[PATH_MAX];
	char gate[PATH_MAX];
	atomic_bool is_closed, has_arrived;
	atomic_uint n_writes, n_searches;
	atomic_bool has_nodes, is_node_kept;
};

__attribute__((format(printf, 2, 3))) static void path_format(
	char path[PATH_MAX], const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(path, PATH_MAX, format, arguments);
	va_end(arguments);
	if (n < 0 || n >= PATH_MAX)
		abort();
}

/* The file that a path of /sys really is. */
static void real(const struct mock_kernel *kernel, const char *path, char file[PATH_MAX])
{
	path_format(file, "%s%s", kernel->sys, path + strlen("/sys"));
}

static int link_read(const char *link, char *buffer, size_t size)
{
	char target[PATH_MAX];

	ssize_t n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return string_copy(buffer, size, strrchr(target, '/') + 1);
}

static int mock_bind(const struct mock_kernel *kernel, const char *driver, const char *name)
{
	char device[PATH_MAX], file[PATH_MAX], override[DRIVER_NAME_SIZE], target[PATH_MAX];

	path_format(device, "%s/devices/%s", kernel->sys, name);
	path_format(file, "%s/driver_override", device);
	ssize_t n = file_read(file, override, sizeof(override));
	if (n < 0)
		return -ENODEV;
	/* pci_match_device(): an override decides alone; vfio-pci has no ids of its own. */
	const char *match = strcmp(override, "(null)") == 0 ? "e1000" : override;
	if (strcmp(driver, match) != 0)
		return -ENODEV;
	path_format(file, "%s/driver", device);
	path_format(target, "../../../bus/any/drivers/%s", driver);
	if (symlink(target, file) < 0)
		return errno == EEXIST ? -EBUSY : -errno;
	return 0;
}

static int store(const struct mock_kernel *kernel, const char *path, const char *value)
{
	char file[PATH_MAX], driver[DRIVER_NAME_SIZE];
	const char *last = strrchr(path, '/');

	if (sscanf(path, "/sys/bus/%*31[^/]/drivers/%63[^/]/bind", driver) == 1)
		return mock_bind(kernel, driver, value);
	real(kernel, path, file);
	if (strcmp(last, "/unbind") == 0) {
		*strrchr(file, '/') = '\0';
		return unlink(file) < 0 ? -errno : 0;
	}
	if (strcmp(last, "/driver_override") != 0)
		abort();
	/* Not created: a device that has gone has no attributes. */
	_cleanup_close_ int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (strcmp(value, "\n") == 0)
		value = "(null)\n";
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static void pass_gate(struct mock_kernel *kernel, const char *path)
{
	while (kernel->is_closed && strcmp(path, kernel->gate) == 0) {
		kernel->has_arrived = true;
		usleep(1000);
	}
}

static int mock_write(void *userdata, const char *path, const char *value)
{
	struct mock_kernel *kernel = userdata;

	pass_gate(kernel, path);
	if (*kernel->broken && strncmp(path, kernel->broken, strlen(kernel->broken)) == 0)
		return -EIO;
	kernel->n_writes++;
	return store(kernel, path, value);
}

static int mock_read(void *userdata, const char *path, char *buffer, size_t size)
{
	struct mock_kernel *kernel = userdata;
	char file[PATH_MAX];

	real(kernel, path, file);
	return (int)file_read(file, buffer, size);
}

static int mock_read_link(void *userdata, const char *path, char *buffer, size_t size)
{
	struct mock_kernel *kernel = userdata;
	char file[PATH_MAX];

	real(kernel, path, file);
	return link_read(file, buffer, size);
}

static int mock_find_variant(void *userdata, const char *modalias, char *module, size_t size)
{
	(void)userdata;
	(void)modalias;
	(void)module;
	(void)size;
	return 0;
}

static int mock_load_module(void *userdata, const char *name)
{
	(void)userdata;
	(void)name;
	return 0;
}

/* How many members there are on VFIO, and on drivers that do DMA for the host. */
static void count(const struct mock_kernel *kernel, int group, int *n_vfio, int *n_host)
{
	char path[PATH_MAX], link[PATH_MAX], driver[DRIVER_NAME_SIZE];
	const struct dirent *entry;

	*n_vfio = *n_host = 0;
	path_format(path, "%s/kernel/iommu_groups/%d/devices", kernel->sys, group);
	DIR *directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		path_format(link, "%s/devices/%s/driver", kernel->sys, entry->d_name);
		if (link_read(link, driver, sizeof(driver)) < 0)
			continue;
		*n_vfio += driver_is_vfio(driver);
		*n_host += !driver_leaves_dma(driver);
	}
	if (directory)
		closedir(directory);
}

static int mock_open_group(void *userdata, int group)
{
	struct mock_kernel *kernel = userdata;
	char path[PATH_MAX];
	int n_vfio, n_host;

	path_format(path, "/dev/vfio/%d", group);
	pass_gate(kernel, path);
	count(kernel, group, &n_vfio, &n_host);
	if (n_vfio == 0)
		return -ENODEV; /* -ENOENT would be waited for */
	path_format(path, "%s/%d", kernel->nodes, group);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return steal_fd(&fd);
}

static int mock_group_viable(void *userdata, int group_fd)
{
	struct mock_kernel *kernel = userdata;
	char path[64], node[32];
	int n_vfio, n_host;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", group_fd);
	int r = link_read(path, node, sizeof(node));
	if (r < 0)
		return r;
	count(kernel, atoi(node), &n_vfio, &n_host); /* NOLINT(cert-err34-c): written above */
	return n_host == 0;
}

/* Nobody shows that he has it, but for who has kept a node. */
static int mock_find_opener(
	void *userdata, const struct plan *plan, bool nodes_only, struct opener *opener)
{
	struct mock_kernel *kernel = userdata;

	(void)plan;
	(void)nodes_only;
	kernel->n_searches++;
	*opener =
		(struct opener){ .certainty = kernel->is_node_kept ? OPENER_SURE : OPENER_UNKNOWN };
	return 0;
}

static void mock_close_group(void *userdata, int group_fd)
{
	(void)userdata;
	if (close(group_fd) < 0)
		abort();
}

/* A file a device, which anybody may open: on VFIO, while its group is open. */
static int mock_open_node(void *userdata, const char *syspath)
{
	struct mock_kernel *kernel = userdata;
	char path[PATH_MAX], driver[DRIVER_NAME_SIZE];

	if (!kernel->has_nodes)
		return -ENXIO;
	path_format(path, "%s/devices/%s/driver", kernel->sys, strrchr(syspath, '/') + 1);
	if (link_read(path, driver, sizeof(driver)) < 0 || !driver_is_vfio(driver))
		return -ENXIO;
	path_format(path, "%s/node-%s", kernel->nodes, strrchr(syspath, '/') + 1);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static int mock_open_context(void *userdata)
{
	const struct mock_kernel *kernel = userdata;
	int fd = kernel->has_nodes ? open("/dev/null", O_RDWR | O_CLOEXEC) : -ENOENT;

	return fd == -1 ? -errno : fd;
}

static int mock_guard(
	void *userdata, const char *syspath, const char *name, struct refusal *refusal)
{
	(void)userdata;
	(void)syspath;
	(void)name;
	(void)refusal;
	return 0;
}

struct mock_kernel *mock_kernel_new(void)
{
	struct mock_kernel *kernel = mmap(
		NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *root = getenv("UMOCKDEV_DIR");

	assert_true(kernel != MAP_FAILED);
	assert_non_null(root);
	path_format(kernel->sys, "%s/sys", root);
	path_format(kernel->nodes, "/tmp/vfiod-nodes.XXXXXX");
	assert_non_null(mkdtemp(kernel->nodes));
	kernel->ops = (struct sysfs_ops){
		.userdata = kernel,
		.write = mock_write,
		.read = mock_read,
		.read_link = mock_read_link,
		.load_module = mock_load_module,
		.find_variant = mock_find_variant,
		.open_group = mock_open_group,
		.group_viable = mock_group_viable,
		.close_group = mock_close_group,
		.open_node = mock_open_node,
		.open_context = mock_open_context,
		.find_opener = mock_find_opener,
		.guard = mock_guard,
	};
	return kernel;
}

struct mock_kernel *mock_kernel_free(struct mock_kernel *kernel)
{
	char path[PATH_MAX];
	const struct dirent *entry;

	if (!kernel)
		return NULL;
	DIR *directory = opendir(kernel->nodes);
	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		path_format(path, "%s/%s", kernel->nodes, entry->d_name);
		if (entry->d_name[0] != '.')
			assert_int_equal(unlink(path), 0);
	}
	closedir(directory);
	assert_int_equal(rmdir(kernel->nodes), 0);
	assert_int_equal(munmap(kernel, sizeof(*kernel)), 0);
	return NULL;
}

const struct sysfs_ops *mock_kernel_ops(struct mock_kernel *kernel)
{
	return &kernel->ops;
}

void mock_kernel_break(struct mock_kernel *kernel, const char *path)
{
	path_format(kernel->broken, "%s", path);
}

void mock_kernel_gate(struct mock_kernel *kernel, const char *path)
{
	path_format(kernel->gate, "%s", path);
	kernel->has_arrived = false;
	kernel->is_closed = *path != '\0';
}

bool mock_kernel_has_arrived(const struct mock_kernel *kernel)
{
	return kernel->has_arrived;
}

void mock_kernel_make_nodes(struct mock_kernel *kernel, bool makes)
{
	kernel->has_nodes = makes;
}

unsigned mock_kernel_n_writes(const struct mock_kernel *kernel)
{
	return kernel->n_writes;
}

void mock_kernel_keep_node(struct mock_kernel *kernel, bool keeps)
{
	kernel->is_node_kept = keeps;
}

unsigned mock_kernel_n_searches(const struct mock_kernel *kernel)
{
	return kernel->n_searches;
}
