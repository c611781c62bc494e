/* The guard on a tree of files that looks like sysfs, and on given lists. */
#include "daemon/bind/guard.h"

#include "daemon/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* A device with a disk of two partitions and an interface; another device below it. */
struct bench {
	char root[64];
	char device[PATH_MAX / 4];
	char mountinfo[PATH_MAX / 4], swaps[PATH_MAX / 4], dev[PATH_MAX / 4];
	struct guard_sources sources;
	struct refusal refusal;
};

static void make_file(const char *path, const char *text)
{
	FILE *stream = fopen(path, "we");
	assert_non_null(stream);
	assert_true(fputs(text, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
}

static void make_directory(const struct bench *bench, const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s/%s", bench->device, path);
	assert_int_equal(mkdir(whole, 0700), 0);
}

/* A directory of a class, with its device number if it is a block device's. */
static void make_class_device(
	const struct bench *bench, const char *path, const char *class, const char *number)
{
	char whole[PATH_MAX], target[64];

	make_directory(bench, path);
	snprintf(whole, sizeof(whole), "%s/%s/subsystem", bench->device, path);
	snprintf(target, sizeof(target), "../../../class/%s", class);
	assert_int_equal(symlink(target, whole), 0);
	if (number) {
		snprintf(whole, sizeof(whole), "%s/%s/dev", bench->device, path);
		make_file(whole, number);
	}
}

static void make_link(const struct bench *bench, const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s/%s", bench->device, path);
	assert_int_equal(symlink("anywhere", whole), 0);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	snprintf(bench->root, sizeof(bench->root), "/tmp/vfiod-guard-XXXXXX");
	assert_non_null(mkdtemp(bench->root));
	snprintf(bench->device, sizeof(bench->device), "%s/0000:01:00.0", bench->root);
	snprintf(bench->mountinfo, sizeof(bench->mountinfo), "%s/mountinfo", bench->root);
	snprintf(bench->swaps, sizeof(bench->swaps), "%s/swaps", bench->root);
	snprintf(bench->dev, sizeof(bench->dev), "%s/dev", bench->root);
	assert_int_equal(mkdir(bench->device, 0700), 0);
	make_file(bench->mountinfo, "21 27 0:20 / /sys rw - sysfs sysfs rw\n");

	make_directory(bench, "nvme");
	make_class_device(bench, "nvme/nvme0", "nvme", NULL);
	make_class_device(bench, "nvme/nvme0/nvme0n1", "block", "259:0\n");
	make_directory(bench, "nvme/nvme0/nvme0n1/holders");
	make_class_device(bench, "nvme/nvme0/nvme0n1/nvme0n1p1", "block", "259:1\n");
	make_directory(bench, "nvme/nvme0/nvme0n1/nvme0n1p1/holders");
	make_class_device(bench, "nvme/nvme0/nvme0n1/nvme0n1p2", "block", "259:2\n");
	make_directory(bench, "net");
	make_class_device(bench, "net/enp1s0", "net", NULL);
	/* Below a bridge, say: with a group of its own. */
	make_directory(bench, "0000:02:00.0");
	make_link(bench, "0000:02:00.0/iommu_group");
	make_directory(bench, "0000:02:00.0/net");
	make_class_device(bench, "0000:02:00.0/net/enp2s0", "net", NULL);
	/* No way to another device's. */
	make_link(bench, "device");

	bench->sources = (struct guard_sources){
		.mountinfo = bench->mountinfo,
		.mountinfo_fallback = "/nowhere",
		.swaps = bench->swaps,
		.dev = bench->dev,
	};
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", bench->root);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	free(bench);
	return 0;
}

static int ask(struct bench *bench)
{
	return guard_device(&bench->sources, bench->device, "0000:01:00.0", &bench->refusal);
}

static void assert_in_use(struct bench *bench, const char *text)
{
	assert_int_equal(ask(bench), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_string_equal(bench->refusal.device, "0000:01:00.0");
	assert_string_equal(bench->refusal.text, text);
}

/* A list as getifaddrs() makes it: per interface its packet address, then the others. */
struct address {
	const char *interface;
	unsigned flags;
	int family;
	const char *text;
};

static struct ifaddrs *make_addresses(const struct address *from, size_t n)
{
	static struct ifaddrs list[4];
	static struct sockaddr_storage storage[4];

	assert_in_range(n, 1, 4);
	memset(storage, 0, sizeof(storage));
	for (size_t i = 0; i < n; i++) {
		struct sockaddr_in *four = (void *)&storage[i];
		struct sockaddr_in6 *six = (void *)&storage[i];
		list[i] = (struct ifaddrs){
			.ifa_next = i + 1 < n ? &list[i + 1] : NULL,
			.ifa_name = (char *)from[i].interface,
			.ifa_flags = from[i].flags,
			.ifa_addr = (void *)&storage[i],
		};
		storage[i].ss_family = (sa_family_t)from[i].family;
		if (from[i].family == AF_INET)
			assert_int_equal(inet_pton(AF_INET, from[i].text, &four->sin_addr), 1);
		else if (from[i].family == AF_INET6)
			assert_int_equal(inet_pton(AF_INET6, from[i].text, &six->sin6_addr), 1);
	}
	/* An interface without any address at all (a tunnel). */
	if (from[0].family == AF_UNSPEC)
		list[0].ifa_addr = NULL;
	return list;
}

static void test_not_in_use(void **state)
{
	struct bench *bench = *state;

	make_file(
		bench->swaps, "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n");
	assert_int_equal(ask(bench), 0);
	/* Nor is a device that has left. */
	assert_int_equal(
		guard_device(&bench->sources, "/sys/devices/nowhere", "x", &bench->refusal), 0);
}

static void test_mounted(void **state)
{
	struct bench *bench = *state;

	make_file(bench->mountinfo,
		"21 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
		"22 27 259:10 / /home rw - ext4 /dev/nvme1n1 rw\n"
		"29 1 259:1 / /mnt rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n");
	assert_in_use(bench, "block device nvme0n1p1 is mounted on /mnt");
}

/* btrfs shows a device number that no block device has; a path may hold blanks. */
static void test_mounted_by_name(void **state)
{
	struct bench *bench = *state;

	make_file(bench->mountinfo, "29 1 0:40 /root /my\\040disk rw shared:1 master:2 - btrfs "
				    "/dev/nvme0n1p2 rw,a=b\n");
	assert_in_use(bench, "block device nvme0n1p2 is mounted on /my\\040disk");
	/* A longer name is another's. */
	make_file(bench->mountinfo, "29 1 0:40 / /a rw - btrfs /dev/nvme0n1p22 rw\n"
				    "30 1 0:41 / /b rw - fuse.x nvme0n1p2 rw\n"
				    "31 1 0:42 / /c rw - tmpfs\n"
				    "nonsense\n\n");
	assert_int_equal(ask(bench), 0);
}

static void test_mountinfo_unreadable(void **state)
{
	struct bench *bench = *state;
	char other[PATH_MAX];

	snprintf(other, sizeof(other), "%s/other", bench->root);
	make_file(other, "29 1 259:2 / /mnt rw - ext4 /dev/root rw\n");
	bench->sources.mountinfo = "/nowhere";
	/* Not to know is not to be free. */
	assert_int_equal(ask(bench), -ENOENT);
	bench->sources.mountinfo_fallback = other;
	assert_in_use(bench, "block device nvme0n1p2 is mounted on /mnt");
}

static void test_swap(void **state)
{
	struct bench *bench = *state;

	make_file(bench->swaps, "Filename\t\t\t\tType\t\tSize\n"
				"/dev/nvme0n1p2                          partition\t976\t0\t-2\n");
	assert_in_use(bench, "block device nvme0n1p2 is used for swap");
	make_file(bench->swaps, "/dev/nvme0n1p22\tpartition\n/dev/nvme0n1p partition\n");
	assert_int_equal(ask(bench), 0);
}

static void test_holders(void **state)
{
	struct bench *bench = *state;

	make_link(bench, "nvme/nvme0/nvme0n1/nvme0n1p1/holders/dm-0");
	assert_in_use(bench, "block device nvme0n1p1 is part of dm-0");
}

/* A path of a multipath NVMe has a directory, and no node. */
static void test_hidden(void **state)
{
	struct bench *bench = *state;

	make_class_device(bench, "nvme/nvme0/nvme0c0n1", "block", NULL);
	assert_int_equal(ask(bench), 0);
}

static void test_up_with_address(void **state)
{
	struct bench *bench = *state;
	static const struct address addresses[] = {
		{ "lo", IFF_UP, AF_INET, "127.0.0.1" },
		{ "enp1s0", IFF_UP, AF_PACKET, NULL },
		{ "enp1s0", IFF_UP, AF_INET6, "fe80::1" },
		{ "enp1s0", IFF_UP, AF_INET, "10.0.0.2" },
	};

	/* Up, and a link-local address: any interface that is up has it. */
	bench->sources.addresses = make_addresses(addresses, 3);
	assert_int_equal(ask(bench), 0);
	bench->sources.addresses = make_addresses(addresses, 4);
	assert_in_use(bench, "interface enp1s0 is up with address 10.0.0.2");

	static const struct address six[] = { { "enp1s0", IFF_UP, AF_INET6, "2001:db8::2" } };
	bench->sources.addresses = make_addresses(six, 1);
	assert_in_use(bench, "interface enp1s0 is up with address 2001:db8::2");
}

static void test_not_up(void **state)
{
	struct bench *bench = *state;
	static const struct address down[] = {
		{ "enp1s0", 0, AF_PACKET, NULL },
		{ "enp1s0", 0, AF_INET, "10.0.0.2" },
		/* Of the device below: not ours. */
		{ "enp2s0", IFF_UP, AF_INET, "10.0.0.3" },
		{ "enp1s00", IFF_UP, AF_INET, "10.0.0.4" },
	};
	static const struct address bare[] = { { "enp1s0", IFF_UP, AF_UNSPEC, NULL } };

	bench->sources.addresses = make_addresses(down, 4);
	assert_int_equal(ask(bench), 0);
	bench->sources.addresses = make_addresses(bare, 1);
	assert_int_equal(ask(bench), 0);
}

static void test_below_another(void **state)
{
	struct bench *bench = *state;
	static const struct address up[] = { { "enp1s0", IFF_UP, AF_PACKET, NULL } };
	static const struct address down[] = { { "enp1s0", 0, AF_PACKET, NULL } };

	make_link(bench, "net/enp1s0/upper_br0");
	bench->sources.addresses = make_addresses(up, 1);
	assert_in_use(bench, "interface enp1s0 is up and part of br0");
	bench->sources.addresses = make_addresses(down, 1);
	assert_int_equal(ask(bench), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_not_in_use),
		TEST(test_mounted),
		TEST(test_mounted_by_name),
		TEST(test_mountinfo_unreadable),
		TEST(test_swap),
		TEST(test_holders),
		TEST(test_hidden),
		TEST(test_up_with_address),
		TEST(test_not_up),
		TEST(test_below_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
