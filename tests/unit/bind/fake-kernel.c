#include "fake-kernel.h"

#include "daemon/base/util.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the k-th operation says before it does anything. */
static int enter(struct fake_kernel *kernel)
{
	unsigned at = ++kernel->n_ops;

	while (at == kernel->hangs_at)
		usleep(1000);
	if (at == kernel->event_at)
		kernel->event(kernel);
	if (kernel->dead_from && at >= kernel->dead_from)
		return -EIO;
	for (size_t i = 0; i < FAKE_FAULTS; i++)
		if (kernel->faults[i].at == at)
			return -kernel->faults[i].error;
	return 0;
}

static void copy(char *to, size_t size, const char *from)
{
	assert((size_t)snprintf(to, size, "%s", from) < size);
}

static struct fake_device *device_by_name(struct fake_kernel *kernel, const char *name)
{
	for (size_t i = 0; i < kernel->n_devices; i++)
		if (kernel->devices[i].is_present && strcmp(kernel->devices[i].name, name) == 0)
			return &kernel->devices[i];
	return NULL;
}

/* The device whose file `path` is, and what comes after its directory. */
static struct fake_device *device_of(
	struct fake_kernel *kernel, const char *path, const char **file)
{
	for (size_t i = 0; i < kernel->n_devices; i++) {
		struct fake_device *device = &kernel->devices[i];
		size_t length = strlen(device->syspath);
		if (device->is_present && strncmp(path, device->syspath, length) == 0 &&
			path[length] == '/') {
			*file = path + length + 1;
			return device;
		}
	}
	return NULL;
}

struct fake_driver *fake_kernel_driver(struct fake_kernel *kernel, const char *name)
{
	for (size_t i = 0; i < kernel->n_drivers; i++)
		if (strcmp(kernel->drivers[i].name, name) == 0)
			return &kernel->drivers[i];
	return NULL;
}

/* pci_match_device(): an override decides alone; vfio-pci has no ids of its own. */
static bool matches(const struct fake_device *device, const char *driver)
{
	return strcmp(*device->override ? device->override : device->native, driver) == 0;
}

static int bind_device(struct fake_kernel *kernel, const char *driver_name, const char *device_name)
{
	const struct fake_driver *driver = fake_kernel_driver(kernel, driver_name);
	struct fake_device *device = device_by_name(kernel, device_name);

	if (!driver || !driver->is_loaded)
		return -ENOENT;
	if (!device || !matches(device, driver_name))
		return -ENODEV;
	if (*device->driver)
		return -EBUSY;
	if (kernel->is_claimed && !driver_leaves_dma(driver_name))
		return -EBUSY;
	if (strcmp(device->refuses, driver_name) == 0)
		return -EIO;
	if (!kernel->binds_nothing)
		copy(device->driver, sizeof(device->driver), driver_name);
	return 0;
}

static int unbind_device(struct fake_kernel *kernel, struct fake_device *device, const char *name)
{
	if (!*device->driver)
		return -ENOENT;
	if (strcmp(device->name, name) != 0)
		return -ENODEV;
	if (device->is_open)
		kernel->n_blocked++;
	device->driver[0] = '\0';
	return 0;
}

/* Says nothing of what came of it. */
static int probe_device(struct fake_kernel *kernel, const char *name)
{
	const struct fake_device *device = device_by_name(kernel, name);

	if (!device)
		return -ENODEV;
	bind_device(kernel, *device->override ? device->override : device->native, name);
	return 0;
}

static int fake_write(void *userdata, const char *path, const char *value)
{
	struct fake_kernel *kernel = userdata;
	char driver[DRIVER_NAME_SIZE];
	const char *file;

	int r = enter(kernel);
	if (r < 0)
		return r;
	kernel->n_writes++;
	if (strcmp(path, "/sys/bus/pci/drivers_probe") == 0)
		return probe_device(kernel, value);
	if (sscanf(path, "/sys/bus/pci/drivers/%63[^/]/bind", driver) == 1) {
		const char *end = strrchr(path, '/');
		return strcmp(end, "/bind") == 0 ? bind_device(kernel, driver, value) : -ENOENT;
	}
	struct fake_device *device = device_of(kernel, path, &file);
	if (!device)
		return -ENOENT;
	if (strcmp(file, "driver/unbind") == 0)
		return unbind_device(kernel, device, value);
	if (strcmp(file, "driver_override") != 0 || device->has_no_override_file)
		return -ENOENT;
	if (strcmp(value, "\n") == 0)
		device->override[0] = '\0';
	else if (*value)
		copy(device->override, sizeof(device->override), value);
	return 0;
}

static int fake_read(void *userdata, const char *path, char *buffer, size_t size)
{
	struct fake_kernel *kernel = userdata;
	const char *file;

	int r = enter(kernel);
	const struct fake_device *device = device_of(kernel, path, &file);
	/* A uevent that is not there is what says that a device has left: no fault may say that. */
	if (r < 0)
		return r == -ENOENT && device && strcmp(file, "uevent") == 0 ? -EIO : r;
	if (!device || (strcmp(file, "driver_override") == 0 && device->has_no_override_file))
		return -ENOENT;
	if (strcmp(file, "driver_override") == 0)
		copy(buffer, size, *device->override ? device->override : "(null)");
	else if (strcmp(file, "uevent") == 0)
		copy(buffer, size, "PCI_CLASS=20000");
	else if (strcmp(file, "modalias") == 0)
		copy(buffer, size, device->name);
	else
		return -ENOENT;
	return 0;
}

static int fake_read_link(void *userdata, const char *path, char *buffer, size_t size)
{
	struct fake_kernel *kernel = userdata;
	const char *file;

	int r = enter(kernel);
	const struct fake_device *device = device_of(kernel, path, &file);
	/* A link that is not there means "no driver": no failure, but another answer. */
	if (r < 0)
		return r == -ENOENT && device ? -EIO : r;
	if (!device)
		return -ENOENT;
	if (strcmp(file, "iommu_group") == 0)
		return snprintf(buffer, size, "%d", device->group) < 0 ? -EIO : 0;
	if (strcmp(file, "driver") != 0 || !*device->driver)
		return -ENOENT;
	copy(buffer, size, device->driver);
	return 0;
}

/* A driver that comes is offered every device that has none. */
static int fake_load_module(void *userdata, const char *name)
{
	struct fake_kernel *kernel = userdata;
	struct fake_driver *driver = fake_kernel_driver(kernel, name);

	int r = enter(kernel);
	if (r < 0)
		return r;
	kernel->n_loads++;
	if (!driver || driver->cannot_load)
		return -ENOENT;
	if (driver->is_loaded)
		return 0;
	driver->is_loaded = true;
	for (size_t i = 0; i < kernel->n_devices; i++)
		if (kernel->devices[i].is_present)
			bind_device(kernel, name, kernel->devices[i].name);
	return 0;
}

/* The modalias of a device is its name here. */
static int fake_find_variant(void *userdata, const char *modalias, char *module, size_t size)
{
	struct fake_kernel *kernel = userdata;

	int r = enter(kernel);
	if (r < 0)
		return r;
	const struct fake_device *device = device_by_name(kernel, modalias);
	if (!device || !*device->variant)
		return 0;
	copy(module, size, device->variant);
	return 1;
}

static int fake_module_driver(
	void *userdata, const char *module, const char *bus, char *driver, size_t size)
{
	struct fake_kernel *kernel = userdata;

	assert(strcmp(bus, "pci") == 0);
	int r = enter(kernel);
	if (r < 0)
		return r;
	const struct fake_driver *found = fake_kernel_driver(kernel, module);
	if (!found || !found->is_loaded || found->is_other)
		return -ENOENT;
	copy(driver, size, found->name);
	return 0;
}

static int fake_open_group(void *userdata, int group)
{
	struct fake_kernel *kernel = userdata;
	bool has_node = false;

	int r = enter(kernel);
	if (r < 0)
		return r;
	for (size_t i = 0; i < kernel->n_devices; i++)
		has_node = has_node ||
			   (kernel->devices[i].is_present && kernel->devices[i].group == group &&
				   driver_is_vfio(kernel->devices[i].driver));
	if (!has_node || kernel->n_lagging-- > 0)
		return -ENOENT;
	if (kernel->is_open_elsewhere || kernel->n_open > 0)
		return -EBUSY;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert(fd >= 0);
	kernel->n_open++;
	return fd;
}

static int fake_group_viable(void *userdata, int group_fd)
{
	struct fake_kernel *kernel = userdata;

	assert(group_fd >= 0);
	int r = enter(kernel);
	if (r < 0)
		return r;
	for (size_t i = 0; i < kernel->n_devices; i++)
		if (kernel->devices[i].is_present && kernel->devices[i].group == FAKE_GROUP &&
			!driver_leaves_dma(kernel->devices[i].driver))
			return 0;
	return 1;
}

static void fake_close_group(void *userdata, int group_fd)
{
	struct fake_kernel *kernel = userdata;

	assert(close(group_fd) == 0);
	assert(kernel->n_open-- > 0);
}

static int fake_open_node(void *userdata, const char *syspath)
{
	struct fake_kernel *kernel = userdata;
	const struct fake_device *device = NULL;

	int r = enter(kernel);
	if (r < 0)
		return r;
	for (size_t i = 0; i < kernel->n_devices; i++)
		if (kernel->devices[i].is_present &&
			strcmp(kernel->devices[i].syspath, syspath) == 0)
			device = &kernel->devices[i];
	/* Nobody else may have the group meanwhile; or it is with who has the nodes already. */
	assert(kernel->n_open == (kernel->is_lent ? 0 : 1));
	if (!device || kernel->makes_no_nodes || !driver_is_vfio(device->driver))
		return -ENXIO;
	if (kernel->n_nodes_lagging > 0 && kernel->n_nodes_lagging-- > 0)
		return -ENOENT;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert(fd >= 0);
	return fd;
}

static int fake_guard(
	void *userdata, const char *syspath, const char *name, struct refusal *refusal)
{
	struct fake_kernel *kernel = userdata;
	const struct fake_device *device = device_by_name(kernel, name);

	int r = enter(kernel);
	if (r < 0)
		return r;
	if (!device || !device->is_in_use)
		return 0;
	assert(strcmp(device->syspath, syspath) == 0);
	refuse(refusal, REFUSAL_DEVICE_IN_USE, "interface eth0 is up with address 10.0.0.2");
	copy(refusal->device, sizeof(refusal->device), name);
	return REFUSED;
}

static int fake_find_opener(
	void *userdata, const struct plan *plan, bool nodes_only, struct opener *opener)
{
	struct fake_kernel *kernel = userdata;
	(void)plan;

	*opener = (struct opener){ .certainty = OPENER_UNKNOWN };
	int r = enter(kernel);
	if (r < 0)
		return r;
	if (kernel->opener_pid > 0 && (!nodes_only || kernel->is_node_open))
		*opener = (struct opener){
			.certainty = OPENER_SURE,
			.pid = kernel->opener_pid,
			.uid = 1001,
			.command = "testpmd",
		};
	return 0;
}

static bool fake_makes_nodes(void *userdata)
{
	const struct fake_kernel *kernel = userdata;
	return !kernel->makes_no_nodes;
}

struct sysfs_ops fake_kernel_ops(struct fake_kernel *kernel)
{
	return (struct sysfs_ops){
		.userdata = kernel,
		.write = fake_write,
		.read = fake_read,
		.read_link = fake_read_link,
		.load_module = fake_load_module,
		.find_variant = fake_find_variant,
		.module_driver = fake_module_driver,
		.open_group = fake_open_group,
		.group_viable = fake_group_viable,
		.close_group = fake_close_group,
		.open_node = fake_open_node,
		.find_opener = fake_find_opener,
		.makes_nodes = fake_makes_nodes,
		.guard = fake_guard,
	};
}

void fake_kernel_init(struct fake_kernel *kernel)
{
	static const char *const names[] = { "vfio-pci", "e1000", "snd", "pcieport", "lpc_ich" };

	*kernel = (struct fake_kernel){ .n_drivers = ARRAY_SIZE(names) };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		copy(kernel->drivers[i].name, sizeof(kernel->drivers[i].name), names[i]);
		kernel->drivers[i].is_loaded = true;
	}
}

struct fake_device *fake_kernel_add(struct fake_kernel *kernel, const char *driver)
{
	assert(kernel->n_devices < FAKE_DEVICES);
	struct fake_device *device = &kernel->devices[kernel->n_devices];

	*device = (struct fake_device){
		.group = FAKE_GROUP,
		.is_present = true,
		.is_bridge = strcmp(driver, "pcieport") == 0,
		.is_chipset = strcmp(driver, "lpc_ich") == 0,
	};
	char name[32];
	snprintf(name, sizeof(name), "0000:01:%02zx.%zu", kernel->n_devices / 8,
		kernel->n_devices % 8);
	copy(device->name, sizeof(device->name), name);
	snprintf(device->syspath, sizeof(device->syspath),
		"/sys/devices/pci0000:00/0000:00:1c.0/%s", name);
	/* What VFIO has was the host's once. */
	copy(device->native, sizeof(device->native), driver_is_vfio(driver) ? "e1000" : driver);
	copy(device->driver, sizeof(device->driver), driver);
	if (driver_is_vfio(driver))
		copy(device->override, sizeof(device->override), driver);
	kernel->n_devices++;
	return device;
}

struct plan *fake_kernel_plan(const struct fake_kernel *kernel)
{
	struct plan *plan = plan_new(FAKE_GROUP, kernel->n_devices);
	assert(plan);
	for (size_t i = 0; i < kernel->n_devices; i++) {
		const struct fake_device *device = &kernel->devices[i];
		struct plan_member *member = &plan->members[i];

		copy(member->name, sizeof(member->name), device->name);
		copy(member->bus, sizeof(member->bus), "pci");
		member->syspath = strdup(device->syspath);
		assert(member->syspath);
		member->action = device->is_bridge                ? PLAN_LEAVE
				 : driver_is_vfio(device->driver) ? PLAN_ALREADY
				 : device->is_chipset             ? PLAN_PARK
								  : PLAN_BIND;
		if (member->action == PLAN_PARK)
			copy(member->target, sizeof(member->target), PLAN_PARKED);
		if (member->action == PLAN_BIND) {
			copy(member->target, sizeof(member->target), "vfio-pci");
			copy(member->module, sizeof(member->module), "vfio-pci");
			/* Those that nobody tests it with need no reading. */
			member->may_vary = *device->variant;
		}
	}
	return plan;
}

bool fake_kernel_same(const struct fake_kernel *now, const struct fake_kernel *before)
{
	for (size_t i = 0; i < before->n_devices; i++)
		if (now->devices[i].is_present &&
			(strcmp(now->devices[i].driver, before->devices[i].driver) != 0 ||
				strcmp(now->devices[i].override, before->devices[i].override) != 0))
			return false;
	return true;
}

bool fake_kernel_is_taken(const struct fake_kernel *kernel)
{
	for (size_t i = 0; i < kernel->n_devices; i++) {
		const struct fake_device *device = &kernel->devices[i];

		if (!device->is_present || device->is_bridge)
			continue;
		if (device->is_chipset
				? *device->driver || strcmp(device->override, PLAN_PARKED) != 0
				: !driver_is_vfio(device->driver))
			return false;
	}
	return true;
}

void fake_kernel_calm(struct fake_kernel *kernel)
{
	for (size_t i = 0; i < FAKE_FAULTS; i++)
		kernel->faults[i].at = 0;
	kernel->event_at = kernel->dead_from = 0;
	kernel->n_ops = kernel->n_writes = kernel->n_loads = kernel->n_blocked = 0;
}
