#include "tests/fuzz/world.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/inventory/internal.h"
#include "daemon/service/parts.h"
#include "tests/fuzz/fake-job.h"
#include "tests/fuzz/fuzz.h"

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static const char configuration[] = "[rule nics]\n"
				    "match = pci:address=0000:02:*\n"
				    "match = pci:address=0000:04:*\n"
				    "allow = user:1000\n"
				    "allow = user:1001\n"
				    "[rule stays]\n"
				    "match = pci:address=0000:03:*\n"
				    "allow = unit:qemu.*\n"
				    "account = lease\n"
				    "trusted = yes\n"
				    "return = no\n";

static const struct {
	int group;
	const char *name, *driver;
	uint32_t class;
} host_devices[] = {
	{ 7, "0000:01:00.0", "pcieport", 0x060400 },
	{ 7, "0000:02:01.0", "e1000", 0x020000 },
	{ 7, "0000:02:02.0", "e1000", 0x020000 },
	{ 8, "0000:03:00.0", "", 0x00ff00 },
	{ 9, "0000:04:00.0", "vfio-pci", 0x020000 },
	{ 10, "0000:05:00.0", "e1000e", 0x020000 },
};

static struct ev_loop *loop;
static struct inventory *inventory;
static struct store *store;
static struct broker *broker;
static struct service *service;
static struct sockaddr_un address;
static socklen_t address_size;

static void add_device(size_t i)
{
	struct group *group = inventory_group(inventory, host_devices[i].group);
	struct device *device = calloc(1, sizeof(*device));

	if (!group) {
		group = group_new(host_devices[i].group);
		if (!group || index_add_group(inventory, group) < 0)
			err(1, "group");
		strcpy(group->type, "DMA");
	}
	if (!device ||
		asprintf(&device->syspath, "/sys/devices/pci0000:00/%s", host_devices[i].name) < 0)
		err(1, "device");
	strcpy(device->name, host_devices[i].name);
	strcpy(device->bus, "pci");
	strcpy(device->driver, host_devices[i].driver);
	device->description = strdup("");
	device->reset_method = strdup("flr bus");
	device->is_pci = true;
	device->vendor = 0x8086;
	device->product = 0x100e;
	device->class = host_devices[i].class;
	device->numa_node = device->vf_index = -1;
	if (index_add_device(inventory, group, device) < 0)
		err(1, "device");
	if (device_on_vfio(device))
		group->binding = BINDING_TAKEN;
}

static void make_inventory(void)
{
	inventory = calloc(1, sizeof(*inventory));
	if (!inventory)
		err(1, "inventory");
	inventory->loop = loop;
	inventory->iommu = "Intel IOMMU";
	TAILQ_INIT(&inventory->groups);
	for (size_t i = 0; i < ARRAY_SIZE(host_devices); i++)
		add_device(i);
	fake_job_host(inventory);
}

static struct config *read_configuration(void)
{
	struct config *config = NULL;
	struct refusal refusal;
	char path[256];

	fuzz_write("world.conf", configuration, sizeof(configuration) - 1);
	snprintf(path, sizeof(path), "%s/world.conf", fuzz_directory());
	if (config_read(path, &config, &refusal) != 0)
		errx(1, "%s", refusal.text);
	return config;
}

static int listen_without_name(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	address_size = sizeof(address);
	/* unix(7), autobind: an abstract address that is free. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
		listen(fd, 64) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &address_size) < 0)
		err(1, "listening");
	return fd;
}

/* What a round has to do. Some watchers are called in each: `idle_events`. */
static unsigned n_events, idle_events;

static void invoke_and_count(struct ev_loop *of)
{
	n_events += ev_pending_count(of);
	ev_invoke_pending(of);
}

static unsigned go_round(int flags)
{
	n_events = 0;
	ev_run(loop, flags);
	return n_events;
}

/* Whatever the service forks ends by itself, soon. The sanitizer's child, which has one, does not.
 */
static bool has_children(void)
{
	char children[256], path[64], name[32];
	siginfo_t ignored;

	if (waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		file_read("/proc/thread-self/children", children, sizeof(children)) < 0)
		return false;
	for (char *pid = strtok(children, " "); pid; pid = strtok(NULL, " ")) {
		snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
		if (file_read(path, name, sizeof(name)) >= 0 && !strstr(name, "symbolizer"))
			return true;
	}
	return false;
}

void world_run(void)
{
	enum { QUIET_ROUNDS = 3, ROUNDS_AT_MOST = 100000 };
	int quiet = 0;

	for (int round = 0; quiet < QUIET_ROUNDS; round++) {
		must(round < ROUNDS_AT_MOST, "it does not come to rest");
		quiet = go_round(EVRUN_NOWAIT) <= idle_events ? quiet + 1 : 0;
		if (quiet == QUIET_ROUNDS && has_children()) {
			go_round(EVRUN_ONCE);
			quiet = 0;
		}
	}
}

static void measure_idleness(void)
{
	enum { ROUNDS = 20 };

	ev_set_invoke_pending_cb(loop, invoke_and_count);
	for (int i = 0; i < ROUNDS; i++)
		idle_events = go_round(EVRUN_NOWAIT);
}

void world_begin(void)
{
	struct service_hooks hooks = { .configuration = NULL };
	int none;

	if (service)
		return;
	log_open(LOG_EMERG);
	if (!loop)
		loop = ev_default_loop(0);
	if (!store && store_new(loop, 0, &none, &store) < 0)
		errx(1, "store");
	hooks.store = store;
	make_inventory();
	if (!loop || broker_new(loop, inventory, read_configuration(), fuzz_directory(),
			     &sysfs_kernel, NULL, &broker) < 0)
		errx(1, "broker");
	inventory_listen(inventory, broker_on_inventory, broker);
	if (service_new(loop, broker, listen_without_name(), &hooks, &service) < 0)
		errx(1, "service");
	broker_listen(broker, service_on_news, service);
	measure_idleness();
}

const struct bounds *world_bounds(void)
{
	return &broker_config(broker)->bounds;
}

static void world_end(void)
{
	service = service_free(service);
	broker = broker_free(broker);
	inventory = inventory_free(inventory);
	store = store_free(store);
}

int world_connect(unsigned uid)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, address_size) < 0 ||
		fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		err(1, "connect");
	fake_peer(uid);
	world_run();
	return fd;
}

static bool has_leases(void)
{
	return TAILQ_FIRST(&broker->book.leases) != NULL;
}

void world_settle(void)
{
	struct lease *lease, *next;

	fake_job_outcome(FAKE_WELL);
	world_run();
	must(service->n_sessions == 0, "%zu connections are left", service->n_sessions);
	must(LIST_EMPTY(&service->monitors), "a monitor is left");
	/* Those that follow a process, which is this one. */
	for (lease = TAILQ_FIRST(&broker->book.leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, of_book);
		must(lease->follows_process, "lease %s is left", lease->name);
		broker_end(broker, lease, "the end");
	}
	world_run();
	must(!has_leases(), "a lease does not end");
	must(TAILQ_EMPTY(&broker->settlings), "somebody waits for groups to settle");
	/* Taken to stay, failed, lingering: as it should be, but not for the next input. */
	if (!TAILQ_EMPTY(&broker->holdings))
		world_end();
}
