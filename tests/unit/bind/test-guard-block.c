/* The guard's block devices. */
#include "daemon/bind/guard-mounts.h"
#include "daemon/bind/guard-tree.h"
#include "guard-bench.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#define DISK "device/nvme/nvme0/nvme0n1"

static void test_not_in_use(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/swaps",
		"Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n");
	assert_free(bench);
	/* Nor is a device that has left. */
	assert_int_equal(
		guard_device(&bench->sources, "/sys/devices/nowhere", "x", &bench->refusal), 0);
}

static void test_mounted(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/1/mountinfo",
		"21 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
		"22 27 259:10 / /home rw - ext4 /dev/nvme1n1 rw\n"
		"29 1 259:1 / /mnt rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n");
	assert_in_use(bench, "block device nvme0n1p1 is mounted on /mnt");
}

/* btrfs shows a device number that no block device has; a path may hold blanks. */
static void test_mounted_by_name(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/1/mountinfo",
		"29 1 0:40 /root /my\\040disk rw shared:1 master:2 - btrfs "
		"/dev/nvme0n1p2 rw,a=b\n");
	assert_in_use(bench, "block device nvme0n1p2 is mounted on /my\\040disk");
	/* A longer name is another's. */
	bench_file(bench, "proc/1/mountinfo",
		"29 1 0:40 / /a rw - btrfs /dev/nvme0n1p22 rw\n"
		"30 1 0:41 / /b rw - fuse.x nvme0n1p2 rw\n"
		"31 1 0:42 / /c rw - tmpfs\n"
		"nonsense\n\n");
	assert_free(bench);
}

static void test_mountinfo_unreadable(void **state)
{
	struct guard_bench *bench = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/1/mountinfo", bench->proc);
	assert_int_equal(remove(path), 0);
	/* Not to know is not to be free. */
	assert_int_equal(bench_ask(bench), -ENOENT);
	bench_file(bench, "proc/self/mountinfo", "29 1 259:2 / /mnt rw - ext4 /dev/root rw\n");
	assert_in_use(bench, "block device nvme0n1p2 is mounted on /mnt");
}

static void test_swap(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/swaps",
		"Filename\t\t\t\tType\t\tSize\n"
		"/dev/nvme0n1p2                          partition\t976\t0\t-2\n");
	assert_in_use(bench, "block device nvme0n1p2 is used for swap");
	bench_file(bench, "proc/swaps", "/dev/nvme0n1p22\tpartition\n/dev/nvme0n1p partition\n");
	assert_free(bench);
}

static void test_holders(void **state)
{
	struct guard_bench *bench = *state;

	bench_link(bench, DISK "/nvme0n1p1/holders/md127", "anywhere");
	assert_in_use(bench, "block device nvme0n1p1 is part of md127");
	bench_link(bench, DISK "/holders/dm-0", "anywhere");
	bench_file(bench, "sys/class/block/dm-0/dm/name", "vg-root\n");
	assert_int_equal(bench_ask(bench), REFUSED);
	assert_non_null(strstr(bench->refusal.text, "nvme0n1 is part of dm-0 (vg-root)"));
	assert_non_null(strstr(bench->refusal.text, ", and 1 more use"));
}

static void test_loop(void **state)
{
	struct guard_bench *bench = *state;

	/* Not in use, and a file's. */
	bench_directory(bench, "sys");
	bench_file(bench, "sys/class/block/loop0/uevent", "");
	bench_file(bench, "sys/class/block/loop1/loop/backing_file", "/srv/dev/nvme0n1p1\n");
	assert_free(bench);
	bench_file(bench, "sys/class/block/loop2/loop/backing_file", "/dev/nvme0n1p1\n");
	assert_in_use(bench, "block device nvme0n1p1 is behind loop2");
}

/* A path of a multipath NVMe has no node: what is used is the head, and its partitions. */
static void test_multipath(void **state)
{
	struct guard_bench *bench = *state;

	bench_class_device(bench, "device/nvme/nvme0/nvme3c0n2", "block", NULL);
	assert_free(bench);
	bench_class_device(
		bench, "sys/class/nvme-subsystem/nvme-subsys3/nvme3n2", "block", "259:8\n");
	bench_class_device(bench, "sys/class/nvme-subsystem/nvme-subsys3/nvme3n2/nvme3n2p1",
		"block", "259:9\n");
	/* Another namespace of the subsystem, that this controller has no path to. */
	bench_class_device(
		bench, "sys/class/nvme-subsystem/nvme-subsys3/nvme3n1", "block", "259:6\n");
	bench_file(bench, "proc/1/mountinfo", "22 27 259:6 / /home rw - ext4 /dev/nvme3n1 rw\n");
	assert_free(bench);
	bench_file(bench, "proc/1/mountinfo", "22 27 259:9 / /home rw - ext4 /dev/nvme3n2p1 rw\n");
	assert_in_use(bench, "block device nvme3n2p1 is mounted on /home");
}

/* "cciss!c0d0" is /dev/cciss/c0d0; and where there is a DEVNAME, that. */
static void test_names(void **state)
{
	struct guard_bench *bench = *state;

	bench_class_device(bench, "device/block/cciss!c0d0", "block", "104:0\n");
	bench_file(bench, "proc/swaps", "/dev/cciss/c0d0 partition\n");
	assert_in_use(bench, "block device cciss/c0d0 is used for swap");
	bench_file(bench, "device/block/cciss!c0d0/uevent", "MAJOR=104\nDEVNAME=disks/a\nX=Y\n");
	assert_free(bench);
	bench_file(bench, "proc/swaps", "/dev/disks/a partition\n");
	assert_in_use(bench, "block device disks/a is used for swap");
}

static void test_several(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/swaps", "/dev/nvme0n1p1 partition\n/dev/nvme0n1p2 partition\n");
	bench_link(bench, DISK "/holders/md0", "anywhere");
	assert_int_equal(bench_ask(bench), REFUSED);
	assert_non_null(strstr(bench->refusal.text, ", and 2 more uses"));
}

/* What cannot be read is no "no". */
static void test_nonsense(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, DISK "/dev", "nonsense\n");
	assert_int_equal(bench_ask(bench), -EBADMSG);
}

/* For who claims a disk, and is not seen in the first process's namespace. */
static void test_other_namespaces(void **state)
{
	struct guard_bench *bench = *state;
	struct guard_node node = { .number = makedev(259, 1), .devname = "nvme0n1p1" };
	char point[64];
	pid_t pid = 0;

	bench_link(bench, "proc/1/ns/mnt", "mnt:[4026531841]");
	bench_link(bench, "proc/70/ns/mnt", "mnt:[4026532001]");
	bench_file(bench, "proc/70/mountinfo", "22 27 259:1 /home /h rw - ext4 /dev/a rw\n");
	/* Of a namespace that has been read, and one that may not be. */
	bench_link(bench, "proc/80/ns/mnt", "mnt:[4026531841]");
	bench_directory(bench, "proc/81");
	bench_directory(bench, "proc/tty");
	assert_int_equal(mounts_find_anywhere(bench->proc, &node, point, sizeof(point), &pid), 0);
	assert_string_equal(point, "/h");
	assert_int_equal(pid, 70);
	node.number = makedev(259, 2);
	assert_int_equal(mounts_find_anywhere(bench->proc, &node, point, sizeof(point), &pid), 0);
	assert_string_equal(point, "");
	assert_int_equal(
		mounts_find_anywhere("/nowhere", &node, point, sizeof(point), &pid), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(test_not_in_use),
		GUARD_TEST(test_mounted),
		GUARD_TEST(test_mounted_by_name),
		GUARD_TEST(test_mountinfo_unreadable),
		GUARD_TEST(test_swap),
		GUARD_TEST(test_holders),
		GUARD_TEST(test_loop),
		GUARD_TEST(test_multipath),
		GUARD_TEST(test_names),
		GUARD_TEST(test_several),
		GUARD_TEST(test_nonsense),
		GUARD_TEST(test_other_namespaces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
