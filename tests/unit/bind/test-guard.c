/* The guard's virtual functions, consoles and open nodes. */
#include "guard-bench.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void test_functions(void **state)
{
	struct guard_bench *bench = *state;

	bench_link(bench, "device/physfn", "../0000:00:01.0");
	assert_free(bench);
	bench_link(bench, "device/virtfn0", "../0000:01:00.1");
	assert_in_use(bench, "it has 1 virtual function, which would go with it");
	bench_link(bench, "device/virtfn1", "../0000:01:00.2");
	assert_in_use(bench, "it has 2 virtual functions, which would go with it");
}

static void test_mediated(void **state)
{
	struct guard_bench *bench = *state;
	static const char uuid[] = "device/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
	char path[96];

	snprintf(path, sizeof(path), "%s/iommu_group", uuid);
	bench_link(bench, path, "anywhere");
	assert_free(bench);
	snprintf(path, sizeof(path), "%s/subsystem", uuid);
	bench_link(bench, path, "../../../bus/mdev");
	assert_in_use(bench, "it has 1 mediated device, which would go with it");
}

static void test_console(void **state)
{
	struct guard_bench *bench = *state;

	bench_class_device(bench, "device/graphics/fb1", "graphics", "29:1\n");
	bench_file(bench, "sys/class/vtconsole/vtcon0/name", "(S) dummy device\n");
	bench_file(bench, "sys/class/vtconsole/vtcon0/bind", "1\n");
	bench_file(bench, "sys/class/vtconsole/vtcon1/name", "(M) frame buffer device\n");
	bench_file(bench, "sys/class/vtconsole/vtcon1/bind", "0\n");
	assert_free(bench);
	bench_file(bench, "sys/class/vtconsole/vtcon1/bind", "1\n");
	assert_in_use(bench, "the console is on its framebuffer fb1");
	/* A second card's. */
	bench_directory(bench, "sys/class/graphics/fb0");
	assert_free(bench);
}

static void test_text_console(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "sys/class/vtconsole/vtcon0/name", "(S) VGA+\n");
	bench_file(bench, "sys/class/vtconsole/vtcon0/bind", "1\n");
	assert_free(bench);
	bench_file(bench, "device/boot_vga", "0\n");
	assert_free(bench);
	bench_file(bench, "device/boot_vga", "1\n");
	assert_in_use(bench, "the text console is on it");
	/* It has gone to another. */
	bench_file(bench, "sys/class/vtconsole/vtcon0/bind", "0\n");
	assert_free(bench);
}

/* Without the right to see them, addresses are shown as zeros. */
static void test_boot_framebuffer(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/iomem",
		"00000000-00000000 : PCI Bus 0000:00\n"
		"  00000000-00000000 : PCI Bus 0000:01\n"
		"    00000000-00000000 : 0000:01:00.0\n"
		"      00000000-00000000 : nvme\n"
		"    00000000-00000000 : 0000:01:00.1\n"
		"      00000000-00000000 : BOOTFB\n");
	assert_free(bench);
	bench_file(bench, "proc/iomem",
		"e0000000-efffffff : PCI Bus 0000:01\n"
		"  e0000000-efffffff : 0000:01:00.0\n"
		"    e0000000-e07fffff : BOOTFB\n"
		"      e0000000-e07fffff : simpledrm\n"
		"  f0000000-f0ffffff : 0000:01:00.0\n");
	assert_in_use(bench, "the boot framebuffer (BOOTFB) is in its memory");
	bench_file(bench, "proc/iomem",
		"  e0000000-efffffff : 0000:01:00.0\n  f0000000-f0ffffff : efifb\n");
	assert_free(bench);
}

static void test_openers(void **state)
{
	struct guard_bench *bench = *state;

	bench_class_device(bench, "device/drm/card0", "drm", "226:0\n");
	bench_file(bench, "device/drm/card0/uevent", "DEVNAME=dri/card0\n");
	bench_process(bench, 600, "login\n", "/dev/tty1", "02");
	bench_process(bench, 601, "lldpd\n", "socket:[4711]", "02");
	assert_free(bench);
	bench_process(bench, 700, "Xorg\n", "/dev/dri/card0", "02");
	assert_in_use(bench, "/dev/dri/card0 is open in Xorg (pid 700)");
	bench_process(bench, 701, "Xorg\n", "/dev/dri/card0", "02");
	bench_process(bench, 702, "kodi\n", "/dev/dri/card0", "0");
	assert_int_equal(bench_ask(bench), REFUSED);
	assert_non_null(strstr(bench->refusal.text, "is open in "));
	assert_non_null(strstr(bench->refusal.text, ", and 2 more uses"));
}

static void test_rdma(void **state)
{
	struct guard_bench *bench = *state;

	bench_class_device(
		bench, "device/infiniband_verbs/uverbs0", "infiniband_verbs", "231:192\n");
	bench_file(bench, "device/infiniband_verbs/uverbs0/uevent", "DEVNAME=infiniband/uverbs0\n");
	bench_process(bench, 700, "ib_write_bw\n", "/dev/infiniband/uverbs0", "02");
	assert_in_use(bench, "/dev/infiniband/uverbs0 is open in ib_write_bw (pid 700)");
}

static void test_nvme_controller(void **state)
{
	struct guard_bench *bench = *state;

	bench_process(bench, 700, "nvme\n", "/dev/nvme0", "0");
	assert_in_use(bench, "/dev/nvme0 is open in nvme (pid 700)");
}

/* Disks that are only read are monitored, as a rule: those who write count. */
static void test_disk_openers(void **state)
{
	struct guard_bench *bench = *state;

	bench_process(bench, 700, "multipathd\n", "/dev/nvme0n1", "0104000");
	bench_process(bench, 702, "other\n", "/dev/other", "02");
	assert_free(bench);
	bench_process(bench, 701, "qemu\n", "/dev/nvme0n1p2", "0100002");
	assert_in_use(bench, "/dev/nvme0n1p2 is open in qemu (pid 701)");
}

static const struct guard_bench *ending;

/* The one that has it open ends after the first look. */
static bool number_once(const struct open_file *file, bool *is_block, dev_t *number)
{
	char path[PATH_MAX];

	assert_non_null(ending);
	snprintf(path, sizeof(path), "%s/700/fd/5", ending->proc);
	assert_int_equal(remove(path), 0);
	bool is_node = ending->sources.file_number(file, is_block, number);
	ending = NULL;
	return is_node;
}

static void test_short_open(void **state)
{
	struct guard_bench *bench = *state;
	struct guard_bench changed = *bench;

	bench_process(bench, 700, "udev-worker\n", "/dev/nvme0", "0");
	ending = bench;
	changed.sources.file_number = number_once;
	assert_free(&changed);
	assert_null(ending);
}

static void test_no_proc(void **state)
{
	struct guard_bench *bench = *state;

	bench_file(bench, "proc/self/mountinfo", "");
	bench->sources.proc = "/nowhere";
	assert_int_equal(bench_ask(bench), -ENOENT);
}

/* The most telling is told, and what could not be seen does not hide it. */
static void test_order(void **state)
{
	struct guard_bench *bench = *state;

	bench_process(bench, 700, "nvme\n", "/dev/nvme0", "0");
	bench_link(bench, "device/virtfn0", "../0000:01:00.1");
	bench_file(bench, "proc/1/mountinfo", "29 1 259:1 / /mnt rw - ext4 /dev/nvme0n1p1 rw\n");
	assert_in_use(bench, "block device nvme0n1p1 is mounted on /mnt, and 2 more uses");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(test_functions),
		GUARD_TEST(test_mediated),
		GUARD_TEST(test_console),
		GUARD_TEST(test_text_console),
		GUARD_TEST(test_boot_framebuffer),
		GUARD_TEST(test_openers),
		GUARD_TEST(test_rdma),
		GUARD_TEST(test_nvme_controller),
		GUARD_TEST(test_disk_openers),
		GUARD_TEST(test_short_open),
		GUARD_TEST(test_no_proc),
		GUARD_TEST(test_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
