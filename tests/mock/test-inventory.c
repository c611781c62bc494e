/* The inventory against a host made of files: read right, kept right, whatever happens. */
#include "daemon/inventory/internal.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "tests/mock/faults.h"
#include "tests/mock/testbed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What the listener was told, added up: it has to come to the same as the inventory itself. */
struct mirror_device {
	UT_hash_handle hh;
	char syspath[160], driver[DRIVER_NAME_SIZE];
	int group;
};
struct mirror_group {
	UT_hash_handle hh;
	int number;
	enum binding binding;
};

struct host {
	struct testbed *bed;
	struct ev_loop *loop;
	struct inventory *inventory;
	struct mirror_device *devices;
	struct mirror_group *groups;
	unsigned n_told;
	char told[1024]; /* "driverChanged groupAdded …", the first ones */
};

static void mirror_add_device(struct host *host, const struct device *device)
{
	struct mirror_device *entry;
	const struct device *member;
	bool is_member = false;

	HASH_FIND_STR(host->devices, device->syspath, entry);
	assert_null(entry);
	entry = calloc(1, sizeof(*entry));
	assert_non_null(entry);
	assert_int_equal(string_copy(entry->syspath, sizeof(entry->syspath), device->syspath), 0);
	assert_int_equal(string_copy(entry->driver, sizeof(entry->driver), device->driver), 0);
	entry->group = device->group->number;
	HASH_ADD_STR(host->devices, syspath, entry);
	TAILQ_FOREACH (member, &device->group->devices, of_group) {
		is_member = is_member || member == device;
	}
	assert_true(is_member);
}

static void mirror_change_device(struct host *host, const struct inventory_change *change)
{
	struct mirror_device *entry;
	const struct device *device = change->device, *member;

	HASH_FIND_STR(host->devices, device->syspath, entry);
	assert_non_null(entry);
	assert_int_equal(entry->group, change->group->number);
	if (change->event == DEVICE_DRIVER) {
		assert_string_equal(change->before, entry->driver);
		assert_string_not_equal(change->before, device->driver);
		strcpy(entry->driver, device->driver);
		return;
	}
	TAILQ_FOREACH (member, &change->group->devices, of_group) {
		assert_ptr_not_equal(member, device);
	}
	HASH_DEL(host->devices, entry);
	free(entry);
}

static void mirror_change_group(struct host *host, const struct inventory_change *change)
{
	struct mirror_group *entry;
	struct group *group = change->group;

	HASH_FIND_INT(host->groups, &group->number, entry);
	if (change->event == GROUP_ADDED) {
		assert_null(entry);
		assert_true(group->n_devices > 0);
		entry = calloc(1, sizeof(*entry));
		assert_non_null(entry);
		entry->number = group->number;
		entry->binding = group->binding;
		HASH_ADD_INT(host->groups, number, entry);
		return;
	}
	assert_non_null(entry);
	if (change->event == GROUP_BINDING) {
		assert_string_equal(change->before, binding_name(entry->binding));
		entry->binding = group->binding;
	} else if (change->event == GROUP_REMOVED) {
		assert_int_equal(group->binding, BINDING_GONE);
		assert_int_equal(entry->binding, BINDING_GONE);
		assert_int_equal(group->n_devices, 0);
		HASH_DEL(host->groups, entry);
		free(entry);
	}
}

static void listen(const struct inventory_change *change, void *userdata)
{
	struct host *host = userdata;
	size_t length = strlen(host->told);

	host->n_told++;
	snprintf(host->told + length, sizeof(host->told) - length, "%s%s", length ? " " : "",
		inventory_event_name(change->event));
	assert_non_null(change->group);
	if (change->event == DEVICE_ADDED)
		mirror_add_device(host, change->device);
	else if (change->event == DEVICE_FACTS)
		assert_ptr_equal(change->device->group, change->group);
	else if (change->event == DEVICE_REMOVED || change->event == DEVICE_DRIVER)
		mirror_change_device(host, change);
	else
		mirror_change_group(host, change);
}

static void told_clear(struct host *host)
{
	host->n_told = 0;
	host->told[0] = '\0';
}

/* The listener hears from now on; what is there already goes into the mirror by hand. */
static void host_watch(struct host *host)
{
	struct group *group;
	struct device *device;

	assert_int_equal(
		inventory_new_at(host->loop, testbed_udev_directory(host->bed), &host->inventory),
		0);
	TAILQ_FOREACH (group, inventory_groups(host->inventory), of_inventory) {
		mirror_change_group(
			host, &(struct inventory_change){ GROUP_ADDED, group, NULL, NULL });
		TAILQ_FOREACH (device, &group->devices, of_group) {
			mirror_add_device(host, device);
		}
	}
	inventory_listen(host->inventory, listen, host);
	told_clear(host);
}

static void host_turn(struct host *host)
{
	ev_run(host->loop, EVRUN_NOWAIT);
}

static int setup(void **state)
{
	struct host *host = calloc(1, sizeof(*host));
	assert_non_null(host);
	host->bed = testbed_new();
	host->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(host->loop);
	*state = host;
	return 0;
}

static int teardown(void **state)
{
	struct host *host = *state;
	struct mirror_device *device, *next_device;
	struct mirror_group *group, *next_group;

	faults_fail_call(0);
	faults_set_events(EVENTS_ARRIVE);
	inventory_free(host->inventory);
	ev_loop_destroy(host->loop);
	testbed_free(host->bed);
	HASH_ITER (hh, host->devices, device, next_device) {
		HASH_DEL(host->devices, device);
		free(device);
	}
	HASH_ITER (hh, host->groups, group, next_group) {
		HASH_DEL(host->groups, group);
		free(group);
	}
	free(host);
	return 0;
}

/* All that an inventory says, as text: to be freed. */
static char *inventory_text(struct inventory *inventory)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	const struct group *group;
	const struct device *device;

	assert_non_null(stream);
	fprintf(stream, "%zu %zu\n", inventory_n_groups(inventory), inventory_n_devices(inventory));
	TAILQ_FOREACH (group, inventory_groups(inventory), of_inventory) {
		fprintf(stream, "%d %s %s %zu", group->number, group->type,
			binding_name(group->binding), group->n_devices);
		for (size_t i = 0; i < group->n_reserved; i++)
			fprintf(stream, " %jx-%jx:%s", (uintmax_t)group->reserved[i].first,
				(uintmax_t)group->reserved[i].last, group->reserved[i].type);
		fputc('\n', stream);
		TAILQ_FOREACH (device, &group->devices, of_group) {
			fprintf(stream, " %s %s %s \"%s\" %04x:%04x %06x \"%s\" %s %d %s/%d %u\n",
				device->syspath, device->bus, device->driver, device->description,
				device->vendor, device->product, device->class,
				device->reset_method, device->name, device->numa_node,
				device->physfn, device->vf_index, device->n_virtfns);
		}
	}
	assert_int_equal(fclose(stream), 0);
	return text;
}

/* The inventory says what one made this moment says, and what the listener was told. */
static void check_true(struct host *host)
{
	struct inventory *fresh;
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	const struct mirror_device *mirrored;
	const struct mirror_group *mirrored_group;
	const struct group *group;
	const struct device *device;

	assert_non_null(loop);
	assert_int_equal(inventory_new_at(loop, testbed_udev_directory(host->bed), &fresh), 0);
	_cleanup_free_ char *expected = inventory_text(fresh);
	_cleanup_free_ char *text = inventory_text(host->inventory);
	assert_string_equal(text, expected);
	inventory_free(fresh);
	ev_loop_destroy(loop);

	assert_int_equal(HASH_COUNT(host->devices), inventory_n_devices(host->inventory));
	assert_int_equal(HASH_COUNT(host->groups), inventory_n_groups(host->inventory));
	TAILQ_FOREACH (group, inventory_groups(host->inventory), of_inventory) {
		HASH_FIND_INT(host->groups, &group->number, mirrored_group);
		assert_non_null(mirrored_group);
		assert_int_equal(mirrored_group->binding, group->binding);
		TAILQ_FOREACH (device, &group->devices, of_group) {
			HASH_FIND_STR(host->devices, device->syspath, mirrored);
			assert_non_null(mirrored);
			assert_int_equal(mirrored->group, group->number);
			assert_string_equal(mirrored->driver, device->driver);
		}
	}
}

static struct device *find(struct host *host, const char *name)
{
	return inventory_find(host->inventory, name, NULL);
}

static void test_nothing(void **state)
{
	struct host *host = *state;
	bool ambiguous = true;

	host_watch(host);
	assert_int_equal(inventory_n_groups(host->inventory), 0);
	assert_int_equal(inventory_n_devices(host->inventory), 0);
	assert_null(inventory_group(host->inventory, 0));
	assert_null(inventory_find(host->inventory, "0000:01:00.0", &ambiguous));
	assert_false(ambiguous);
	assert_null(inventory_iommu(host->inventory));
	assert_null(inventory_free(NULL));
}

static void test_two_thousand(void **state)
{
	enum { N_GROUPS = 500, N_MEMBERS = 4 };
	struct host *host = *state;
	const struct group *group;
	const struct device *device;
	char address[32];
	int number = 0;

	/* Not in the order of their names. */
	for (int i = N_GROUPS * N_MEMBERS - 1; i >= 0; i--) {
		int in_group = i / N_MEMBERS, member = i % N_MEMBERS;
		snprintf(address, sizeof(address), "%04x:%02x:%02x.%d", in_group / 256,
			in_group % 256, member / 2, member % 2);
		free(testbed_add_pci(
			host->bed, address, in_group, in_group % 2 ? "vfio-pci" : "e1000"));
	}
	host_watch(host);
	assert_int_equal(inventory_n_groups(host->inventory), N_GROUPS);
	assert_int_equal(inventory_n_devices(host->inventory), N_GROUPS * N_MEMBERS);
	TAILQ_FOREACH (group, inventory_groups(host->inventory), of_inventory) {
		int member = 0;
		assert_int_equal(group->number, number);
		assert_ptr_equal(inventory_group(host->inventory, number), group);
		assert_int_equal(group->n_devices, N_MEMBERS);
		assert_int_equal(group->binding, number % 2 ? BINDING_TAKEN : BINDING_HOST);
		assert_string_equal(group->type, "DMA-FQ");
		assert_int_equal(group->n_reserved, 1);
		TAILQ_FOREACH (device, &group->devices, of_group) {
			snprintf(address, sizeof(address), "%04x:%02x:%02x.%d", number / 256,
				number % 256, member / 2, member % 2);
			assert_string_equal(device->name, address);
			assert_string_equal(device->driver, number % 2 ? "vfio-pci" : "e1000");
			assert_ptr_equal(device->group, group);
			assert_ptr_equal(find(host, address), device);
			member++;
		}
		number++;
	}
	check_true(host);
}

static void test_device(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *syspath = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	testbed_set_database(host->bed, "pci", "0000:01:00.0",
		"E:ID_VENDOR_FROM_DATABASE=Intel Corporation\nE:ID_MODEL_FROM_DATABASE=82540EM\n"
		"G:lent\nQ:lent\nV:1\n");
	testbed_set_group_attribute(host->bed, 7, "reserved_regions",
		"0x00000000000a0000 0x00000000000bffff direct-relaxable\n"
		"0x00000000fee00000 0x00000000feefffff msi\n");
	host_watch(host);
	const struct device *device = find(host, "0000:01:00.0");
	assert_non_null(device);
	assert_string_equal(device->syspath, syspath);
	assert_string_equal(device->bus, "pci");
	assert_string_equal(device->driver, "e1000");
	assert_string_equal(device->description, "Intel 82540EM");
	assert_string_equal(device->reset_method, "flr bus");
	assert_int_equal(strv_length(device->properties), 2);
	assert_true(strv_contains(device->tags, "lent"));
	assert_int_equal(device->numa_node, 0);
	assert_true(device->is_pci);
	assert_int_equal(device->vendor, 0x8086);
	assert_int_equal(device->product, 0x100e);
	assert_int_equal(device->subsystem_vendor, 0x1af4);
	assert_int_equal(device->subsystem_product, 0x1100);
	assert_int_equal(device->class, 0x020000);
	assert_string_equal(device->physfn, "");
	assert_int_equal(device->vf_index, -1);
	assert_int_equal(device->n_virtfns, 0);
	assert_int_equal(device->group->number, 7);
	assert_int_equal(device->group->n_reserved, 2);
	assert_true(device->group->reserved[0].first == 0xa0000);
	assert_true(device->group->reserved[0].last == 0xbffff);
	assert_string_equal(device->group->reserved[0].type, "direct-relaxable");

	/* What changes is seen with the next event, and without one by a refresh. */
	testbed_set_database(host->bed, "pci", "0000:01:00.0", "E:ID_MODEL_FROM_DATABASE=X\n");
	testbed_set_attribute(host->bed, syspath, "reset_method", "\n");
	testbed_set_attribute(host->bed, syspath, "numa_node", "-1\n");
	testbed_send(host->bed, syspath, "change");
	host_turn(host);
	assert_string_equal(device->description, "X");
	assert_string_equal(device->reset_method, "");
	assert_int_equal(device->numa_node, -1);
	assert_null(device->tags);
	assert_string_equal(host->told, "factsChanged");
	/* The methods were taken away by hand: that there is a `reset` says nothing then. */
	testbed_set_attribute(host->bed, syspath, "reset", "");
	told_clear(host);
	testbed_send(host->bed, syspath, "change");
	host_turn(host);
	assert_string_equal(device->reset_method, "");
	testbed_set_group_attribute(host->bed, 7, "type", "identity\n");
	inventory_refresh(host->inventory, device->group);
	assert_string_equal(device->group->type, "identity");
	assert_int_equal(host->n_told, 0);
}

/* Without udevd: hwdb's names, or none where hwdb is not installed. */
static void test_hwdb(void **state)
{
	struct host *host = *state;

	free(testbed_add_pci(host->bed, "0000:01:00.0", 7, ""));
	host_watch(host);
	const struct device *device = find(host, "0000:01:00.0");
	if (host->inventory->hwdb)
		assert_true(strncmp(device->description, "Intel ", 6) == 0);
	else
		assert_string_equal(device->description, "");
	assert_null(device->properties);
}

static void test_sriov(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *pf = testbed_add_pci(host->bed, "0000:3b:00.0", 1, "ice");
	_cleanup_free_ char *vf0 = testbed_add_pci(host->bed, "0000:3b:01.0", 2, "iavf");

	testbed_set_attribute(host->bed, pf, "sriov_totalvfs", "8\n");
	testbed_set_link(host->bed, pf, "virtfn0", vf0);
	testbed_set_link(host->bed, vf0, "physfn", pf);
	host_watch(host);
	assert_int_equal(find(host, "3b:00.0")->n_virtfns, 1);
	assert_int_equal(find(host, "3b:00.0")->vf_index, -1);
	assert_string_equal(find(host, "3b:01.0")->physfn, "0000:3b:00.0");
	assert_int_equal(find(host, "3b:01.0")->vf_index, 0);

	/* A new VF has its links after its first event, and a second one then. */
	_cleanup_free_ char *vf1 = testbed_add_pci(host->bed, "0000:3b:01.1", 3, "");
	host_turn(host);
	assert_int_equal(find(host, "3b:01.1")->vf_index, -1);
	testbed_set_link(host->bed, pf, "virtfn1", vf1);
	testbed_set_link(host->bed, vf1, "physfn", pf);
	testbed_send(host->bed, vf1, "change");
	testbed_send(host->bed, pf, "change");
	host_turn(host);
	assert_int_equal(find(host, "3b:01.1")->vf_index, 1);
	assert_string_equal(find(host, "3b:01.1")->physfn, "0000:3b:00.0");
	assert_int_equal(find(host, "3b:00.0")->n_virtfns, 2);
	check_true(host);
}

static void test_odd_buses(void **state)
{
	static const struct {
		const char *bus, *name, *driver;
		bool on_vfio;
	} odd[] = {
		{ "platform", "b1900000.dma-controller", "pl330", false },
		{ "platform", "b1a00000.dma-controller", "vfio-platform", true },
		{ "mdev", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "mtty", true },
		{ "amba", "2b600000.dma", "vfio-amba", true },
		{ "fsl-mc", "dprc.2", "vfio-fsl-mc", true },
		{ "cdx", "cdx-00:00", "vfio-cdx", true },
		{ "ap", "00.0004", "vfio_ap", true },
	};
	struct host *host = *state;

	_cleanup_free_ char *parent = testbed_add(host->bed, "platform", "mtty", NULL, -1, "");
	_cleanup_free_ char *type = testbed_add(
		host->bed, "platform", "mtty-1", parent, -1, ""); /* as good as a kobject */
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		bool is_mdev = strcmp(odd[i].bus, "mdev") == 0;
		_cleanup_free_ char *added = testbed_add(host->bed, odd[i].bus, odd[i].name,
			is_mdev ? parent : NULL, (int)i, odd[i].driver);

		if (is_mdev)
			testbed_set_link(host->bed, added, "mdev_type", type);
	}
	host_watch(host);
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		const struct device *device = find(host, odd[i].name);
		assert_non_null(device);
		assert_string_equal(device->bus, odd[i].bus);
		assert_string_equal(device->driver, odd[i].driver);
		assert_int_equal(device_on_vfio(device), odd[i].on_vfio);
		assert_int_equal(
			device->group->binding, odd[i].on_vfio ? BINDING_TAKEN : BINDING_HOST);
		assert_false(device->is_pci);
		assert_int_equal(device->vendor, 0);
		assert_int_equal(device->vf_index, -1);
		assert_int_equal(device->numa_node, -1);
		assert_string_equal(device->reset_method, "");
		bool is_mdev = strcmp(odd[i].bus, "mdev") == 0;
		assert_string_equal(device->mdev_type, is_mdev ? "mtty-1" : "");
		assert_string_equal(device->parent, is_mdev ? "mtty" : "");
	}
	assert_non_null(find(host, "83B8F4F2-509F-382F-3C1E-E6BFE0FA1001"));
	assert_null(find(host, "CDX-00:00"));
}

/* A controller of nvme-subsys0, with a path to the disk nvme0n1 of that subsystem. */
static void add_path(struct host *host, const char *subsystem, const char *device,
	const char *controller, const char *path)
{
	_cleanup_free_ char *added = testbed_add(host->bed, "nvme", controller, device, -1, "");

	free(testbed_add(host->bed, "block", path, added, -1, ""));
	testbed_set_link(host->bed, subsystem, controller, added);
}

static void test_find_multipath(void **state)
{
	struct host *host = *state;
	bool ambiguous;
	_cleanup_free_ char *one = testbed_add_pci(host->bed, "0000:01:00.0", 7, "nvme");
	_cleanup_free_ char *two = testbed_add_pci(host->bed, "0000:02:00.0", 8, "nvme");
	_cleanup_free_ char *root = testbed_add(host->bed, "x", "virtual", NULL, -1, "");
	_cleanup_free_ char *class = testbed_add(host->bed, "x", "nvme-subsystem", root, -1, "");
	_cleanup_free_ char *subsystem =
		testbed_add(host->bed, "nvme-subsystem", "nvme-subsys0", class, -1, "");
	_cleanup_free_ char *first = testbed_add(host->bed, "block", "nvme0n1", subsystem, -1, "");

	free(testbed_add(host->bed, "block", "nvme0n1p1", first, -1, ""));
	free(testbed_add(host->bed, "block", "nvme0n2", subsystem, -1, ""));
	free(testbed_add(host->bed, "block", "nvme0n3", subsystem, -1, ""));
	add_path(host, subsystem, one, "nvme0", "nvme0c0n1");
	add_path(host, subsystem, two, "nvme1", "nvme0c1n2");
	host_watch(host);
	/* Each controller has a path to one of them, none to the third. */
	assert_ptr_equal(find(host, "nvme0n1"), find(host, one));
	assert_ptr_equal(find(host, "nvme0n1p1"), find(host, one));
	assert_ptr_equal(find(host, "nvme0n2"), find(host, two));
	assert_null(inventory_find(host->inventory, "nvme0n3", &ambiguous));
	assert_false(ambiguous);
	add_path(host, subsystem, one, "nvme2", "nvme0c2n2");
	assert_null(inventory_find(host->inventory, "nvme0n2", &ambiguous));
	assert_true(ambiguous);
}

static void test_find(void **state)
{
	struct host *host = *state;
	bool ambiguous;
	_cleanup_free_ char *nic = testbed_add_pci(host->bed, "0000:01:00.0", 7, "virtio-pci");
	_cleanup_free_ char *disk = testbed_add_pci(host->bed, "0000:02:00.0", 8, "nvme");
	_cleanup_free_ char *far = testbed_add_pci(host->bed, "10000:01:00.0", 9, "nvme");
	_cleanup_free_ char *virtio = testbed_add(host->bed, "virtio", "virtio0", nic, -1, "net");
	_cleanup_free_ char *net = testbed_add(host->bed, "net", "enp1s0", virtio, -1, "");
	_cleanup_free_ char *block = testbed_add(host->bed, "block", "nvme0n1", disk, -1, "");
	free(testbed_add(host->bed, "block", "nvme0n1p1", block, -1, ""));
	free(testbed_add(host->bed, "net", "lo", NULL, -1, ""));
	free(testbed_add(host->bed, "net", "twice", nic, -1, ""));
	free(testbed_add(host->bed, "block", "twice", disk, -1, ""));
	free(testbed_add(host->bed, "platform", "same", NULL, 10, ""));
	free(testbed_add(host->bed, "amba", "same", far, 11, ""));

	faults_set_events(EVENTS_VANISH);
	host_watch(host);
	const struct {
		const char *name, *found;
		bool ambiguous;
	} cases[] = {
		{ "0000:01:00.0", nic, false },
		{ "01:00.0", nic, false },
		{ "1:0.0", nic, false },
		{ "10000:01:00.0", far, false },
		{ "enp1s0", nic, false },
		{ "nvme0n1", disk, false },
		{ "nvme0n1p1", disk, false },
		{ nic, nic, false },
		{ far, far, false },
		{ "twice", NULL, true },
		{ "same", NULL, true },
		{ "03:00.0", NULL, false },
		{ "lo", NULL, false },
		{ "", NULL, false },
		{ ".", NULL, false },
		{ "..", NULL, false },
		{ "/", NULL, false },
		{ net, NULL, false },
		{ "/sys/class/net/enp1s0", NULL, false },
		{ "../../devices/0000:01:00.0", NULL, false },
		{ "/sys/devices/../devices/0000:01:00.0", nic, false },
		{ "/sys/devices/../../etc/passwd", NULL, false },
		{ "/sys/devices/none", NULL, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct device *device =
			inventory_find(host->inventory, cases[i].name, &ambiguous);
		const char *found = device ? device->syspath : NULL;
		if (!found != !cases[i].found || (found && strcmp(found, cases[i].found) != 0))
			fail_msg("\"%s\" gave %s", cases[i].name, found ? found : "nothing");
		assert_int_equal(ambiguous, cases[i].ambiguous);
	}
}

static void test_events(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	host_watch(host);
	/* Joins a group that was listed. */
	_cleanup_free_ char *b = testbed_add_pci(host->bed, "0000:01:00.1", 7, "e1000");
	host_turn(host);
	assert_string_equal(host->told, "deviceAdded");
	told_clear(host);

	/* One member alone on VFIO is not a group taken; both are. */
	testbed_set_driver(host->bed, a, "vfio-pci");
	host_turn(host);
	assert_string_equal(host->told, "driverChanged");
	assert_int_equal(inventory_group(host->inventory, 7)->binding, BINDING_HOST);
	testbed_set_driver(host->bed, b, "");
	host_turn(host);
	assert_string_equal(host->told, "driverChanged driverChanged bindingChanged");
	assert_int_equal(inventory_group(host->inventory, 7)->binding, BINDING_TAKEN);
	told_clear(host);

	/* A new group. A child of a member is nobody's concern. */
	_cleanup_free_ char *c = testbed_add_pci(host->bed, "0000:02:00.0", 3, "nvme");
	free(testbed_add(host->bed, "nvme", "nvme0", c, -1, ""));
	host_turn(host);
	assert_string_equal(host->told, "groupAdded deviceAdded");
	assert_int_equal(TAILQ_FIRST(inventory_groups(host->inventory))->number, 3);
	told_clear(host);

	/* Into another group: out of the first, which goes with it. */
	testbed_set_group(host->bed, c, 7);
	testbed_send(host->bed, c, "change");
	host_turn(host);
	assert_string_equal(
		host->told, "deviceRemoved bindingChanged groupRemoved deviceAdded bindingChanged");
	assert_int_equal(inventory_group(host->inventory, 7)->n_devices, 3);
	told_clear(host);

	testbed_remove(host->bed, b);
	host_turn(host);
	assert_string_equal(host->told, "deviceRemoved");
	testbed_remove(host->bed, a);
	testbed_remove(host->bed, c);
	host_turn(host);
	assert_int_equal(inventory_n_groups(host->inventory), 0);
	assert_int_equal(inventory_n_devices(host->inventory), 0);
	check_true(host);
}

/* Events that come late, twice, or for nothing change nothing. */
static void test_stale_events(void **state)
{
	static const char *const actions[] = { "add", "remove", "change", "bind", "unbind",
		"online" };
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	host_watch(host);
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		testbed_send(host->bed, a, actions[i]);
	host_turn(host);
	assert_int_equal(host->n_told, 0);
	check_true(host);
}

static void test_move(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add(host->bed, "platform", "a.dma", NULL, 7, "pl330");
	free(testbed_add(host->bed, "platform", "b.dma", NULL, 7, "pl330"));

	host_watch(host);
	_cleanup_free_ char *moved = testbed_move(host->bed, a, "c.dma");
	host_turn(host);
	assert_non_null(inventory_device(host->inventory, moved));
	assert_string_equal(host->told, "deviceRemoved deviceAdded");
	assert_null(find(host, "a.dma"));
	assert_string_equal(find(host, "c.dma")->driver, "pl330");
	check_true(host);
}

/* With udevd its events are listened to, which come when its rules have run. */
static void test_udevd(void **state)
{
	struct host *host = *state;

	testbed_set_udevd(host->bed, true);
	host_watch(host);
	free(testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000"));
	host_turn(host);
	assert_string_equal(host->told, "groupAdded deviceAdded");
	testbed_set_udevd(host->bed, false);
}

/* States of a transaction are not overwritten by what is seen meanwhile. */
static void test_transaction_states(void **state)
{
	static const enum binding kept[] = { BINDING_TAKING, BINDING_RETURNING, BINDING_FAILED,
		BINDING_STUCK };
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	host_watch(host);
	struct group *group = inventory_group(host->inventory, 7);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		group_set_binding(host->inventory, group, kept[i], "for a reason");
		testbed_set_driver(host->bed, a, i % 2 ? "e1000" : "vfio-pci");
		host_turn(host);
		assert_int_equal(group->binding, kept[i]);
		inventory_refresh(host->inventory, group);
		assert_int_equal(group->binding, kept[i]);
	}
	group_set_binding(host->inventory, group, group_observed_binding(group), NULL);
	assert_int_equal(group->binding, BINDING_HOST);
	testbed_set_driver(host->bed, a, "vfio-pci");
	host_turn(host);
	assert_int_equal(group->binding, BINDING_TAKEN);
	testbed_set_driver(host->bed, a, "e1000");
	host_turn(host);
	assert_int_equal(group->binding, BINDING_HOST);
}

static void test_number_reused(void **state)
{
	struct host *host = *state;

	free(testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000"));
	host_watch(host);
	struct group *old = group_hold(inventory_group(host->inventory, 7));
	group_set_owner(host->inventory, old, OWNER_LEASED);
	told_clear(host);

	testbed_reuse_group(host->bed, 7);
	inventory_refresh(host->inventory, old);
	assert_string_equal(
		host->told, "deviceRemoved bindingChanged groupRemoved groupAdded deviceAdded");
	struct group *new = inventory_group(host->inventory, 7);
	assert_ptr_not_equal(new, old);
	assert_int_equal(new->owner, OWNER_NONE);
	assert_int_equal(new->n_devices, 1);
	assert_int_equal(old->binding, BINDING_GONE);
	assert_int_equal(old->n_devices, 0);
	assert_int_equal(old->n_holds, 1);

	/* The old one is out of everything: nothing that is done to it reaches the new one. */
	testbed_set_group_attribute(host->bed, 7, "type", "identity\n");
	inventory_refresh(host->inventory, old);
	assert_string_equal(new->type, "DMA-FQ");
	inventory_refresh(host->inventory, new);
	assert_string_equal(new->type, "identity");
	group_set_binding(host->inventory, old, BINDING_HOST, NULL);
	assert_int_equal(old->binding, BINDING_GONE);
	assert_ptr_equal(inventory_group(host->inventory, 7), new);
	check_true(host);
	assert_null(group_release(old));
}

/* VFIO names the groups that it makes, of mdevs and of what no IOMMU translates for. */
static void test_noiommu(void **state)
{
	struct host *host = *state;

	free(testbed_add_pci(host->bed, "0000:61:00.0", 7, "vfio-pci"));
	free(testbed_add_pci(host->bed, "0000:01:00.0", 8, "vfio-pci"));
	free(testbed_add(host->bed, "mdev", "83b8f4f2", NULL, 9, "mtty"));

	testbed_set_group_attribute(host->bed, 7, "type", "unknown\n");
	testbed_set_group_attribute(host->bed, 7, "name", "vfio-noiommu\n");
	testbed_set_group_attribute(host->bed, 9, "name", "vfio-noiommu\n");
	host_watch(host);
	assert_string_equal(group_type(inventory_group(host->inventory, 7)), "noiommu");
	assert_false(group_is_noiommu(inventory_group(host->inventory, 8)));
	assert_false(group_is_noiommu(inventory_group(host->inventory, 9)));
	/* Another name says nothing. */
	testbed_set_group_attribute(
		host->bed, 8, "name", "vfio-noiommu-and-more-than-that-in-it\n");
	inventory_refresh(host->inventory, inventory_group(host->inventory, 8));
	assert_false(group_is_noiommu(inventory_group(host->inventory, 8)));
}

/* Removed and back under the same path before anybody looked: it is another device. */
static void test_device_came_back(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	host_watch(host);
	find(host, "0000:01:00.0")->inode++; /* as if the directory had been another one */
	testbed_send(host->bed, a, "add");
	host_turn(host);
	assert_string_equal(host->told, "deviceRemoved deviceAdded");
	assert_int_equal(inventory_group(host->inventory, 7)->n_devices, 1);
	check_true(host);
}

/* A held group outlives the inventory, too. */
static void test_held(void **state)
{
	struct host *host = *state;

	free(testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000"));
	host_watch(host);
	struct group *group = group_hold(group_hold(inventory_group(host->inventory, 7)));
	host->inventory = inventory_free(host->inventory);
	assert_int_equal(group->binding, BINDING_GONE);
	assert_int_equal(group->n_devices, 0);
	group_release(group);
	assert_int_equal(group->number, 7);
	group_release(group);
}

static void test_overrun(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");
	_cleanup_free_ char *b = testbed_add_pci(host->bed, "0000:02:00.0", 8, "e1000");
	_cleanup_free_ char *c = testbed_add_pci(host->bed, "0000:03:00.0", 9, "e1000");

	host_watch(host);
	faults_set_events(EVENTS_VANISH);
	testbed_remove(host->bed, a);
	testbed_set_driver(host->bed, b, "vfio-pci");
	host_turn(host);
	free(testbed_add_pci(host->bed, "0000:03:00.1", 9, ""));
	free(testbed_add_pci(host->bed, "0000:04:00.0", 2, "nvme"));
	host_turn(host);
	assert_int_equal(host->n_told, 0); /* nobody has heard of it */

	faults_set_events(EVENTS_OVERRUN);
	testbed_send(host->bed, c, "change");
	testbed_send(host->bed, b, "change");
	host_turn(host);
	host_turn(host);
	assert_int_equal(faults_n_events(), 0); /* what was queued is older than the rescan */
	/* In the order of the groups' numbers: 2, 7, 8, 9. */
	assert_string_equal(host->told,
		"groupAdded deviceAdded deviceRemoved bindingChanged groupRemoved "
		"driverChanged bindingChanged deviceAdded");
	check_true(host);
	told_clear(host);
	testbed_set_driver(host->bed, c, "");
	host_turn(host);
	assert_string_equal(host->told, "driverChanged"); /* and on it goes */
}

/* A storm does not keep the loop's other watchers waiting. */
static void test_events_a_turn(void **state)
{
	struct host *host = *state;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	host_watch(host);
	faults_set_events(EVENTS_ENDLESS); /* its first event stays the next one for ever */
	testbed_send(host->bed, a, "change");
	host_turn(host);
	assert_int_equal(faults_n_events(), 64); /* a turn, then others have theirs */
	host_turn(host);
	assert_int_equal(faults_n_events(), 64); /* the queue is empty: no turn */
	assert_int_equal(host->n_told, 0);
}

static void later(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(loop, EVBREAK_ONE);
}

/* A group that cannot be read has not gone; it is read again when it can be. */
static void test_unreadable(void **state)
{
	struct host *host = *state;
	ev_timer timer;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");

	host_watch(host);
	testbed_set_driver(host->bed, a, "vfio-pci");
	testbed_break_group(host->bed, 7, true);
	host_turn(host);
	assert_int_equal(host->n_told, 0);
	testbed_break_group(host->bed, 7, false);
	ev_timer_init(&timer, later, 1.5, 0.0);
	ev_timer_start(host->loop, &timer);
	ev_run(host->loop, 0);
	assert_string_equal(host->told, "driverChanged bindingChanged");
	check_true(host);
}

/* A driver that was there for as long as it looked at the device. */
static void test_probe_that_fails(void **state)
{
	struct host *host = *state;
	ev_timer timer;

	host_watch(host);
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "shpchp");
	host_turn(host);
	assert_string_equal(host->told, "groupAdded deviceAdded");
	told_clear(host);
	testbed_lose_driver(host->bed, a);
	ev_timer_init(&timer, later, 1.5, 0.0);
	ev_timer_start(host->loop, &timer);
	ev_run(host->loop, 0);
	assert_string_equal(host->told, "driverChanged");
	check_true(host);
}

/* Whichever system call fails: -EMFILE and nothing left behind, or it did not matter. */
static void test_new_fails_anywhere(void **state)
{
	struct host *host = *state;
	struct inventory *inventory;
	unsigned k = 0, n_failed = 0;
	_cleanup_free_ char *pf = testbed_add_pci(host->bed, "0000:01:00.0", 7, "ice");
	_cleanup_free_ char *vf = testbed_add_pci(host->bed, "0000:01:00.1", 7, "iavf");

	testbed_set_attribute(host->bed, pf, "sriov_totalvfs", "8\n");
	testbed_set_link(host->bed, pf, "virtfn0", vf);
	testbed_set_link(host->bed, vf, "physfn", pf);
	do {
		faults_fail_call(++k);
		int result =
			inventory_new_at(host->loop, testbed_udev_directory(host->bed), &inventory);
		bool struck = faults_struck();
		faults_fail_call(0);
		if (result < 0) {
			assert_true(struck);
			assert_int_equal(result, -EMFILE);
			n_failed++;
			continue;
		}
		assert_int_equal(inventory_n_devices(inventory), 2);
		assert_int_equal(inventory_group(inventory, 7)->n_devices, 2);
		inventory_free(inventory);
		if (!struck)
			break;
	} while (k < 1000);
	assert_in_range(k, 30, 999);
	assert_in_range(n_failed, 30, 999);
}

/* The same for a refresh: what was told stays true, and a rescan brings the rest. */
static void test_refresh_fails_anywhere(void **state)
{
	struct host *host = *state;
	unsigned k = 0;
	bool struck;
	_cleanup_free_ char *a = testbed_add_pci(host->bed, "0000:01:00.0", 7, "e1000");
	_cleanup_free_ char *moving = testbed_add_pci(host->bed, "0000:01:00.1", 8, "e1000");

	host_watch(host);
	faults_set_events(EVENTS_VANISH);
	do {
		testbed_set_driver(host->bed, a, k % 2 ? "e1000" : "vfio-pci");
		testbed_set_group(host->bed, moving, k % 2 ? 8 : 7);
		host_turn(host);
		faults_fail_call(++k);
		inventory_refresh(host->inventory, inventory_group(host->inventory, 7));
		struck = faults_struck();
		faults_fail_call(0);
		assert_non_null(inventory_group(host->inventory, 7));
		assert_int_equal(inventory_rescan(host->inventory), 0);
		check_true(host);
	} while (struck && k < 1000);
	assert_in_range(k, 10, 999);
}

/* --- the storm ------------------------------------------------------------------- */

enum { N_SLOTS = 120, N_NUMBERS = 40, N_EVENTS = 10000, QUEUE = 8 };

struct slot {
	char *syspath; /* NULL: empty */
	int group;
	const char *driver;
};

/* A fixed sequence (Numerical Recipes' LCG): every run is the same. */
static unsigned draw(uint64_t *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(*seed >> 33) % below;
}

static const char *draw_driver(uint64_t *seed)
{
	static const char *const drivers[] = { "", "e1000", "vfio-pci", "vfio-pci", "pcieport" };
	return drivers[draw(seed, ARRAY_SIZE(drivers))];
}

/* One change; the number of events that it sends at most. */
static unsigned storm_step(struct host *host, struct slot slots[static N_SLOTS], uint64_t *seed)
{
	unsigned i = draw(seed, N_SLOTS), what = draw(seed, 10);
	struct slot *slot = &slots[i];
	char address[32];

	if (!slot->syspath) {
		snprintf(address, sizeof(address), "0000:%02x:%02x.%u", i / 16, i % 16, i % 8);
		slot->group = (int)draw(seed, N_NUMBERS);
		slot->driver = draw_driver(seed);
		slot->syspath = testbed_add_pci(host->bed, address, slot->group, slot->driver);
		return 1;
	}
	if (what < 3) {
		testbed_remove(host->bed, slot->syspath);
		free(slot->syspath);
		slot->syspath = NULL;
		return 1;
	}
	if (what < 4) { /* taken out and put back elsewhere, before anybody looks */
		slot->group = (int)draw(seed, N_NUMBERS);
		testbed_set_group(host->bed, slot->syspath, slot->group);
		testbed_send(host->bed, slot->syspath, "change");
		return 1;
	}
	slot->driver = draw_driver(seed);
	testbed_set_driver(host->bed, slot->syspath, slot->driver);
	return 2;
}

static void check_model(struct host *host, const struct slot slots[static N_SLOTS])
{
	size_t n_devices = 0, n_groups = 0;
	size_t members[N_NUMBERS] = { 0 };

	for (int i = 0; i < N_SLOTS; i++) {
		if (!slots[i].syspath)
			continue;
		const struct device *device = inventory_device(host->inventory, slots[i].syspath);
		assert_non_null(device);
		assert_int_equal(device->group->number, slots[i].group);
		assert_string_equal(device->driver, slots[i].driver);
		n_devices++;
		n_groups += members[slots[i].group]++ == 0;
	}
	assert_int_equal(inventory_n_devices(host->inventory), n_devices);
	assert_int_equal(inventory_n_groups(host->inventory), n_groups);
	for (int i = 0; i < N_NUMBERS; i++) {
		const struct group *group = inventory_group(host->inventory, i);
		assert_int_equal(group ? group->n_devices : 0, members[i]);
		if (group)
			assert_int_equal(group->binding, group_observed_binding(group));
	}
}

static void test_storm(void **state)
{
	struct host *host = *state;
	struct slot slots[N_SLOTS] = { 0 };
	uint64_t seed = 20140606;
	unsigned n_events = 0, queued = 0, n_checks = 0;

	host_watch(host);
	while (n_events < N_EVENTS) {
		unsigned sent = storm_step(host, slots, &seed);
		n_events += sent;
		queued += sent;
		if (queued < QUEUE && draw(&seed, 4) > 0)
			continue;
		host_turn(host);
		queued = 0;
		told_clear(host);
		check_model(host, slots);
		if (n_events / 1000 > n_checks) {
			n_checks++;
			check_true(host);
		}
	}
	host_turn(host);
	check_model(host, slots);
	check_true(host);
	assert_int_equal(n_checks, N_EVENTS / 1000);
	for (int i = 0; i < N_SLOTS; i++)
		free(slots[i].syspath);
}

static void test_iommus(void **state)
{
	static const struct {
		const char *name, *kind;
	} cases[] = {
		{ "dmar0", "Intel IOMMU" },
		{ "ivhd1", "AMD IOMMU" },
		{ "smmu3.0x0000000009050000", "SMMU" },
		{ "arm-smmu-v3.0.auto", "SMMU" },
		{ "ff914000.iommu", "IOMMU" },
	};
	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(cases); i++) {
		void *one = NULL;
		setup(&one);
		struct host *host = one;
		const char *expected = "virtio IOMMU";
		if (i < ARRAY_SIZE(cases)) {
			testbed_add_iommu(host->bed, cases[i].name, NULL);
			expected = cases[i].kind;
		} else { /* named after its transport */
			_cleanup_free_ char *pci =
				testbed_add_pci(host->bed, "0000:00:02.0", -1, "virtio-pci");
			_cleanup_free_ char *virtio =
				testbed_add(host->bed, "virtio", "virtio3", pci, -1, "");
			testbed_add_iommu(host->bed, "0000:00:02.0", virtio);
		}
		host_watch(host);
		assert_string_equal(inventory_iommu(host->inventory), expected);
		teardown(&one);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_thousand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hwdb, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sriov, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_buses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_find, setup, teardown),
		cmocka_unit_test_setup_teardown(test_find_multipath, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_udevd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transaction_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_number_reused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noiommu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_came_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overrun, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events_a_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_probe_that_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_fails_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refresh_fails_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_storm, setup, teardown),
		cmocka_unit_test(test_iommus),
	};
	log_open(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
