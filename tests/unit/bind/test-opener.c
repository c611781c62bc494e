/* Who has a group open, as a made-up /proc shows it: who is named, how certainly, and who is not.
 */
#include "fake-proc.h"

#include "daemon/base/util.h"
#include "daemon/bind/opener-parts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#define OPEN_FILE "pos:\t0\nflags:\t02100002\nmnt_id:\t13\n"
#define OPEN_PATH "pos:\t0\nflags:\t012100000\nmnt_id:\t13\n"
#define DEVICE "anon_inode:[vfio-device]"
#define OURS "/sys/devices/pci0000:00/0000:01:00.0"
#define OUR_SECOND "/sys/devices/pci0000:00/0000:01:00.1"
#define NODE "/dev/vfio/15"

enum { DAEMON = 50, HOLDER = 900 };

struct bench {
	struct fake_proc proc;
	struct opener_query query;
	struct opener_ops ops;
	struct opener opener;
	/* What every device says of itself, or the error. */
	int facts_error;
	struct device_facts facts;
	unsigned n_asked;
};

static int facts(void *userdata, pid_t pid, int fd, struct device_facts *facts)
{
	struct bench *bench = userdata;
	(void)pid;
	(void)fd;

	bench->n_asked++;
	*facts = bench->facts;
	return bench->facts_error;
}

/* The nodes of VFIO are those of the host: "/…/dev/vfio/15" here leads to /dev/null, whose number
 * the group's attribute has. */
static void make_node(struct bench *bench, const char *host, const char *path)
{
	fake_link(&bench->proc, host, "%s", path);
}

static void number_file(struct bench *bench, const char *host, const char *path)
{
	char text[32];
	struct stat st;

	assert_int_equal(stat(host, &st), 0);
	snprintf(text, sizeof(text), "%u:%u\n", major(st.st_rdev), minor(st.st_rdev));
	fake_file(&bench->proc, text, "%s", path);
}

static void open_node(struct bench *bench, pid_t pid, int fd, const char *path, const char *fdinfo)
{
	char target[192];

	snprintf(target, sizeof(target), "%s%s", bench->proc.root, path);
	fake_descriptor(&bench->proc, pid, fd, target, fdinfo);
}

static void add_device(struct bench *bench, int group, const char *name, const char *driver)
{
	char link[96];

	snprintf(link, sizeof(link), "../../../bus/pci/drivers/%s", driver);
	if (*driver)
		fake_link(&bench->proc, link, "sys/kernel/iommu_groups/%d/devices/%s/driver", group,
			name);
	fake_link(&bench->proc, "../../../bus/pci",
		"sys/kernel/iommu_groups/%d/devices/%s/subsystem", group, name);
	static const char *const attributes[][2] = { { "vendor", "0x8086\n" },
		{ "device", "0x10d3\n" }, { "subsystem_vendor", "0x1af4\n" },
		{ "subsystem_device", "0x1100\n" }, { "class", "0x020000\n" },
		{ "revision", "0x03\n" } };
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		fake_file(&bench->proc, attributes[i][1],
			"sys/kernel/iommu_groups/%d/devices/%s/%s", group, name, attributes[i][0]);
}

static void say_ids(struct bench *bench, unsigned device)
{
	static const unsigned char header[] = { 0x86, 0x80, 0xd3, 0x10, 0, 0, 0, 0, 3, 0, 0, 2 };

	bench->facts.is_pci = true;
	memcpy(bench->facts.header, header, sizeof(header));
	bench->facts.header[2] = (unsigned char)device;
	memcpy(bench->facts.header + 0x2c, (const unsigned char[]){ 0xf4, 0x1a, 0, 0x11 }, 4);
}

static int setup(void **state)
{
	static const char *const syspaths[] = { OURS, OUR_SECOND };
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	fake_proc_init(&bench->proc);
	bench->ops = (struct opener_ops){ .userdata = bench, .facts = facts };
	bench->query = (struct opener_query){
		.root = bench->proc.root,
		.group = 15,
		.syspaths = syspaths,
		.n_syspaths = 2,
		.daemon = DAEMON,
		.seconds = 20,
	};
	make_node(bench, "/dev/null", "dev/vfio/15");
	number_file(bench, "/dev/null", "sys/class/vfio/15/dev");
	fake_process(&bench->proc, 1, 0, 1, 1, "init");
	fake_process(&bench->proc, DAEMON, 1, DAEMON, 5, "vfiod");
	fake_process(&bench->proc, HOLDER, 1, 700, 4000, "testpmd");
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	fake_proc_clear(&bench->proc);
	free(bench);
	return 0;
}

static void find(struct bench *bench)
{
	assert_int_equal(opener_find(&bench->query, &bench->ops, &bench->opener), 0);
}

static void assert_found(struct bench *bench, enum opener_certainty certainty, pid_t pid)
{
	find(bench);
	assert_int_equal(bench->opener.certainty, certainty);
	assert_int_equal(bench->opener.pid, pid);
}

/* --- what the kernel shows ------------------------------------------------------------------- */

static void test_group_node(void **state)
{
	struct bench *bench = *state;
	char text[64];

	assert_found(bench, OPENER_UNKNOWN, 0);
	fake_descriptor(&bench->proc, HOLDER, 0, "/dev/null", OPEN_FILE);
	fake_descriptor(&bench->proc, HOLDER, 4, "socket:[77]", OPEN_FILE);
	assert_found(bench, OPENER_UNKNOWN, 0);
	open_node(bench, HOLDER, 7, NODE, OPEN_FILE);
	assert_found(bench, OPENER_SURE, HOLDER);
	assert_int_equal(bench->opener.start_ticks, 4000);
	assert_int_equal(bench->opener.uid, getuid());
	assert_int_equal(bench->opener.n_more, 0);
	assert_false(bench->opener.is_cut);
	opener_describe(&bench->opener, text, sizeof(text));
	assert_non_null(strstr(text, "testpmd (pid 900, uid "));
	/* Who has inherited it is counted. */
	fake_process(&bench->proc, 901, HOLDER, 700, 4100, "a (b) c");
	open_node(bench, 901, 7, NODE, OPEN_FILE);
	assert_found(bench, OPENER_SURE, HOLDER);
	opener_describe(&bench->opener, text, sizeof(text));
	assert_non_null(strstr(text, "and 1 more process"));
	/* A keeper has it open for its client, whoever its parent is since vfiod was restarted. */
	bench->query.keeper = HOLDER;
	assert_found(bench, OPENER_SURE, 901);
	assert_int_equal(bench->opener.n_more, 0);
}

/* A path is anybody's to make, and O_PATH holds nothing. */
static void test_liars(void **state)
{
	struct bench *bench = *state;

	fake_file(&bench->proc, "", "home/dev/vfio/15");
	open_node(bench, HOLDER, 3, "/home/dev/vfio/15", OPEN_FILE);
	make_node(bench, "/dev/zero", "other/dev/vfio/15");
	open_node(bench, HOLDER, 4, "/other/dev/vfio/15", OPEN_FILE);
	open_node(bench, HOLDER, 5, NODE, OPEN_PATH);
	fake_descriptor(&bench->proc, HOLDER, 6, "/dev/vfio/gone/15", OPEN_FILE);
	/* A name of the right form with a text of the right form in a file of its own. */
	fake_descriptor(&bench->proc, HOLDER, 8, "/tmp/anon_inode:[vfio-device]",
		"vfio-device-syspath: " OURS "\n");
	assert_found(bench, OPENER_UNKNOWN, 0);
	/* In a container the node has another name, and the same number. */
	make_node(bench, "/dev/null", "jail/dev/vfio/3");
	open_node(bench, HOLDER, 9, "/jail/dev/vfio/3", OPEN_FILE);
	assert_found(bench, OPENER_SURE, HOLDER);
}

static void test_syspath(void **state)
{
	struct bench *bench = *state;

	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE,
		OPEN_FILE "vfio-device-syspath: /sys/devices/pci0000:00/0000:01:00.00\n");
	assert_found(bench, OPENER_UNKNOWN, 0);
	fake_descriptor(&bench->proc, HOLDER, 10, DEVICE,
		OPEN_FILE "vfio-device-syspath: " OUR_SECOND "\n");
	assert_found(bench, OPENER_SURE, HOLDER);
	/* It is told: no copy is needed. */
	bench->query.ask_devices = true;
	assert_found(bench, OPENER_SURE, HOLDER);
	assert_int_equal(bench->n_asked, 0);
}

static void test_device_node(void **state)
{
	struct bench *bench = *state;

	/* No device has a node of its own: nobody is looked at. */
	bench->query.nodes_only = true;
	make_node(bench, "/dev/zero", "dev/vfio/devices/vfio3");
	open_node(bench, HOLDER, 3, "/dev/vfio/devices/vfio3", OPEN_FILE);
	assert_found(bench, OPENER_UNKNOWN, 0);
	number_file(bench, "/dev/zero", OUR_SECOND "/vfio-dev/vfio3/dev");
	assert_found(bench, OPENER_SURE, HOLDER);
	bench->query.nodes_only = false;
	assert_found(bench, OPENER_SURE, HOLDER);
}

static void test_no_nodes(void **state)
{
	struct bench *bench = *state;
	const char *root = bench->proc.root;

	assert_true(opener_has_nodes(root)); /* it is not said */
	fake_file(&bench->proc, "  1 mem\n511 vfio-dev\n", "proc/devices");
	assert_true(opener_has_nodes(root)); /* not loaded, whatever that is */
	fake_file(&bench->proc, "  1 mem\n 10 misc\n511 vfio\n\nBlock devices:\n  8 sd\n",
		"proc/devices");
	assert_false(opener_has_nodes(root));
	fake_file(&bench->proc, "511 vfio\n510 vfio-devices\n509 my vfio-device\n", "proc/devices");
	assert_false(opener_has_nodes(root));
	fake_file(&bench->proc, "511 vfio\n510 vfio-dev\n\nBlock devices:\n", "proc/devices");
	assert_true(opener_has_nodes(root));
	fake_file(&bench->proc, "511 vfio-dev\n510 vfio", "proc/devices");
	assert_true(opener_has_nodes(root));
}

/* While an unbind hangs the node has gone, and fdinfo tells. */
static void test_deleted_node(void **state)
{
	struct bench *bench = *state;

	make_node(bench, "/dev/zero", "dev/vfio/devices/vfio3 (deleted)");
	open_node(bench, HOLDER, 3, "/dev/vfio/devices/vfio3 (deleted)", OPEN_FILE);
	assert_found(bench, OPENER_UNKNOWN, 0);
	open_node(bench, HOLDER, 4, "/dev/vfio/devices/vfio3 (deleted)",
		OPEN_FILE "vfio-device-syspath: " OURS "\n");
	assert_found(bench, OPENER_SURE, HOLDER);
}

/* The daemon, its children, and the child that an earlier one left. */
static void test_our_own(void **state)
{
	struct bench *bench = *state;

	open_node(bench, DAEMON, 9, NODE, OPEN_FILE);
	fake_process(&bench->proc, 60, DAEMON, 60, 100, "vfiod-bind");
	open_node(bench, 60, 9, NODE, OPEN_FILE);
	assert_found(bench, OPENER_UNKNOWN, 0);
	fake_process(&bench->proc, 40, 1, 40, 3, "vfiod-bind");
	open_node(bench, 40, 9, NODE, OPEN_FILE);
	assert_found(bench, OPENER_SURE, 40);
	bench->query.former_child = 40;
	assert_found(bench, OPENER_UNKNOWN, 0);
}

/* --- a device that has to be asked ---------------------------------------------------------------
 */

static void test_only_device(void **state)
{
	struct bench *bench = *state;

	add_device(bench, 15, "0000:01:00.0", "vfio-pci");
	add_device(bench, 16, "0000:02:00.0", "e1000e");
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	say_ids(bench, 0xd3);
	/* Not without being told to. */
	assert_found(bench, OPENER_UNKNOWN, 0);
	assert_int_equal(bench->n_asked, 0);
	bench->query.ask_devices = true;
	assert_found(bench, OPENER_SURE, HOLDER);
	assert_int_equal(bench->n_asked, 1);
	say_ids(bench, 0xd4);
	assert_found(bench, OPENER_UNKNOWN, 0);
	bench->facts = (struct device_facts){ .is_pci = false };
	assert_found(bench, OPENER_UNKNOWN, 0);
	/* It was closed meanwhile. */
	bench->facts_error = -EBADF;
	assert_found(bench, OPENER_UNKNOWN, 0);
}

/* A variant driver may show other ids than the device has. */
static void test_variant_driver(void **state)
{
	struct bench *bench = *state;

	add_device(bench, 15, "0000:01:00.0", "virtio_vfio_pci");
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	say_ids(bench, 0xd4);
	bench->query.ask_devices = true;
	assert_found(bench, OPENER_SURE, HOLDER);
}

static void test_twins(void **state)
{
	struct bench *bench = *state;

	add_device(bench, 15, "0000:01:00.0", "vfio-pci");
	add_device(bench, 16, "0000:02:00.1", "vfio-pci");
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	say_ids(bench, 0xd3);
	bench->query.ask_devices = true;
	assert_found(bench, OPENER_PROBABLE, HOLDER);
	/* The devices that are reset with it tell: in bus 1, only ours. */
	bench->facts.n_set = 2;
	bench->facts.set[0] = (struct device_address){ .bus = 1, .devfn = 0 };
	bench->facts.set[1] = (struct device_address){ .bus = 1, .devfn = 1 };
	assert_found(bench, OPENER_SURE, HOLDER);
	bench->facts.n_set = 1;
	bench->facts.set[0] = (struct device_address){ .bus = 2, .devfn = 1 };
	assert_found(bench, OPENER_UNKNOWN, 0);
	/* Two strangers, either of whom it may be. */
	bench->facts.n_set = 0;
	fake_process(&bench->proc, 901, 1, 701, 4100, "qemu");
	fake_descriptor(&bench->proc, 901, 3, DEVICE, OPEN_FILE);
	assert_found(bench, OPENER_UNKNOWN, 0);
}

/* While a device's unbind hangs it shows no driver any more, and is still one that may be open. */
static void test_hanging_unbind(void **state)
{
	struct bench *bench = *state;

	add_device(bench, 15, "0000:01:00.0", "");
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	say_ids(bench, 0xd3);
	bench->query.ask_devices = true;
	assert_found(bench, OPENER_SURE, HOLDER);
	add_device(bench, 16, "0000:02:00.0", "");
	assert_found(bench, OPENER_SURE, HOLDER);
	number_file(bench, "/dev/zero", "sys/class/vfio/16/dev");
	assert_found(bench, OPENER_PROBABLE, HOLDER);
}

/* --- family
 * ---------------------------------------------------------------------------------------- */

static void lease_to(struct bench *bench, pid_t pid)
{
	assert_int_equal(opener_kin_read(bench->proc.root, pid, &bench->query.former), 0);
}

/* The device cannot be asked at all: whoever belongs to the lease is suspected. */
static void test_descent(void **state)
{
	struct bench *bench = *state;

	fake_process(&bench->proc, 800, 1, 800, 3000, "launcher");
	fake_process(&bench->proc, 801, 800, 801, 3001, "sh");
	fake_process(&bench->proc, 802, 801, 802, 3002, "dpdk");
	lease_to(bench, 800);
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	fake_descriptor(&bench->proc, 802, 9, DEVICE, OPEN_FILE);
	assert_found(bench, OPENER_PROBABLE, 802);
	bench->query.ask_devices = true;
	bench->facts_error = -EPERM;
	assert_found(bench, OPENER_PROBABLE, 802);
	assert_int_equal(bench->opener.n_more, 0);
	/* Another process has the launcher's number now: nobody descends from that. */
	bench->query.former.start_ticks++;
	assert_found(bench, OPENER_UNKNOWN, 0);
}

static void test_session_and_cgroup(void **state)
{
	struct bench *bench = *state;

	/* The launcher has ended, its child belongs to init. */
	bench->query.former = (struct opener_kin){ .pid = 700, .start_ticks = 1, .session = 700 };
	fake_process(&bench->proc, 901, 1, 901, 4000, "qemu");
	fake_descriptor(&bench->proc, 901, 3, DEVICE, OPEN_FILE);
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	assert_found(bench, OPENER_PROBABLE, HOLDER);
	bench->query.former.session = 0;
	assert_found(bench, OPENER_UNKNOWN, 0);
	/* The root of all control groups says nothing. */
	fake_file(&bench->proc, "4:cpu:/x\n0::/a.slice/dpdk.service\n1:x:/\n", "proc/901/cgroup");
	assert_found(bench, OPENER_UNKNOWN, 0);
	snprintf(bench->query.former.cgroup, sizeof(bench->query.former.cgroup),
		"/a.slice/dpdk.service");
	assert_found(bench, OPENER_PROBABLE, 901);
	struct opener_kin kin;
	assert_int_equal(opener_kin_read(bench->proc.root, 901, &kin), 0);
	assert_string_equal(kin.cgroup, "/a.slice/dpdk.service");
	assert_int_equal(kin.session, 901);
	assert_int_equal(opener_kin_read(bench->proc.root, HOLDER, &kin), 0);
	assert_string_equal(kin.cgroup, "");
	assert_int_equal(opener_kin_read(bench->proc.root, 4711, &kin), -ENOENT);
}

/* A stranger of whom it is certain comes before family of whom it is not. */
static void test_proof_first(void **state)
{
	struct bench *bench = *state;

	fake_process(&bench->proc, 801, HOLDER, 801, 4001, "child");
	lease_to(bench, HOLDER);
	fake_descriptor(&bench->proc, 801, 9, DEVICE, OPEN_FILE);
	fake_process(&bench->proc, 999, 1, 999, 5000, "stranger");
	open_node(bench, 999, 3, NODE, OPEN_FILE);
	assert_found(bench, OPENER_SURE, 999);
	assert_int_equal(bench->opener.n_more, 0);
}

/* --- bounds
 * ------------------------------------------------------------------------------------------ */

/* Its number is another process's before the search is over. */
static int facts_of_one_that_ends(void *userdata, pid_t pid, int fd, struct device_facts *facts_)
{
	struct bench *bench = userdata;

	fake_process(&bench->proc, HOLDER, 1, HOLDER, 9999, "innocent");
	return facts(userdata, pid, fd, facts_);
}

static void test_ends_meanwhile(void **state)
{
	struct bench *bench = *state;

	add_device(bench, 15, "0000:01:00.0", "vfio-pci");
	fake_descriptor(&bench->proc, HOLDER, 9, DEVICE, OPEN_FILE);
	say_ids(bench, 0xd3);
	bench->ops.facts = facts_of_one_that_ends;
	bench->query.ask_devices = true;
	assert_found(bench, OPENER_UNKNOWN, 0);
	assert_int_equal(bench->n_asked, 1);
	/* Half a process: its directory is there, and nothing in it. */
	fake_file(&bench->proc, "", "proc/903/comm");
	fake_file(&bench->proc, "903 (x S 1\n", "proc/904/stat");
	assert_found(bench, OPENER_SURE, HOLDER);
	assert_string_equal(bench->opener.command, "innocent");
}

/* Most of /proc, on a machine with many processors. */
static void test_kernel_threads(void **state)
{
	struct bench *bench = *state;

	open_node(bench, 3, 7, NODE, OPEN_FILE);
	fake_process(&bench->proc, 3, 2, 0, 1, "kworker/0:1");
	assert_found(bench, OPENER_SURE, 3);
	fake_file(&bench->proc,
		"3 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 20 0 1 0 1 9 10\n",
		"proc/3/stat");
	assert_found(bench, OPENER_UNKNOWN, 0);
}

static void test_no_time(void **state)
{
	struct bench *bench = *state;

	open_node(bench, HOLDER, 7, NODE, OPEN_FILE);
	bench->query.seconds = 0;
	assert_found(bench, OPENER_UNKNOWN, 0);
	assert_true(bench->opener.is_cut);
}

static void test_no_proc(void **state)
{
	struct bench *bench = *state;

	bench->query.root = "/nonexistent";
	assert_int_equal(opener_find(&bench->query, &bench->ops, &bench->opener), -ENOENT);
	assert_int_equal(bench->opener.certainty, OPENER_UNKNOWN);
}

/* --- the real kernel
 * ------------------------------------------------------------------------------- */

static void test_kernel(void **state)
{
	(void)state;
	struct opener opener = { .certainty = OPENER_SURE, .pid = getpid() };
	struct device_facts told;

	assert_int_equal(process_start_time(getpid(), &opener.start_ticks), 0);
	assert_true(opener_lives(&opener));
	opener.start_ticks++;
	assert_false(opener_lives(&opener));
	/* No descriptor, and one of something else: no ioctl is tried on that. */
	assert_int_equal(opener_kernel.facts(NULL, getpid(), 999, &told), -EBADF);
	assert_int_equal(opener_kernel.facts(NULL, getpid(), STDERR_FILENO, &told), -ENODEV);
	assert_int_equal(opener_kernel.facts(NULL, 0, 0, &told), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_group_node),
		TEST(test_liars),
		TEST(test_syspath),
		TEST(test_device_node),
		TEST(test_no_nodes),
		TEST(test_deleted_node),
		TEST(test_our_own),
		TEST(test_only_device),
		TEST(test_variant_driver),
		TEST(test_twins),
		TEST(test_hanging_unbind),
		TEST(test_descent),
		TEST(test_session_and_cgroup),
		TEST(test_proof_first),
		TEST(test_ends_meanwhile),
		TEST(test_kernel_threads),
		TEST(test_no_time),
		TEST(test_no_proc),
		TEST(test_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
