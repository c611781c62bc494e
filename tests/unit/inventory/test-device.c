/* Names, drivers, order: what a device is, told from its fields. */
#include "daemon/inventory/bus.h"
#include "daemon/inventory/internal.h"

#include "daemon/base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct device device_named(const char *name, const char *bus)
{
	struct device device = { 0 };
	snprintf(device.name, sizeof(device.name), "%s", name);
	snprintf(device.bus, sizeof(device.bus), "%s", bus);
	return device;
}

static int order(const char *a, const char *b)
{
	struct device left = device_named(a, "pci"), right = device_named(b, "pci");
	int forth = device_compare(&left, &right), back = device_compare(&right, &left);
	assert_true((forth < 0) == (back > 0) && (forth == 0) == (back == 0));
	return forth;
}

static void test_order(void **state)
{
	(void)state;
	assert_true(order("0000:01:00.2", "0000:01:00.7") < 0);
	assert_true(order("0000:02:00.0", "0000:1a:00.0") < 0); /* not 1 < 2 */
	assert_true(order("0000:0a:00.0", "0000:10:00.0") < 0);
	assert_true(order("0000:01:02.0", "0000:01:1f.0") < 0);
	assert_true(order("ffff:00:00.0", "10000:00:00.0") < 0); /* five digits: VMD */
	assert_true(order("0000:ff:1f.7", "0001:00:00.0") < 0);
	assert_int_equal(order("0000:01:00.0", "0000:01:00.0"), 0);

	assert_true(order("dma2", "dma10") < 0);
	assert_true(order("0000:01:00.0", "0.dma") < 0); /* PCI first */

	struct device a = device_named("same", "amba"), b = device_named("same", "platform");
	assert_true(device_compare(&a, &b) < 0);
}

static void test_address(void **state)
{
	struct pci_address address;
	static const char *const good[] = { "0000:01:00.0", "01:00.0", "1:0.0", "10000:e1:1f.7",
		"ffffffff:ff:1f.7", "0000:AB:0C.1" };
	static const char *const bad[] = { "", "0000", "01:00", "01:00.", "01:00.8", "01:20.0",
		"100:00.0", "01:000.0", "0000:01:00.00", "0000:01:00.0 ", "0000:01:00.0\n",
		"100000000:01:00.0", ":01:00.0", "0000::00.0", "0000:01:00:0", "0000:01:00.-1",
		"enp3s0", "-1:00.0", "0x1:00.0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(pci_address_parse(good[i], &address));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (pci_address_parse(bad[i], &address))
			fail_msg("\"%s\" is no address", bad[i]);

	assert_true(pci_address_parse("3b:02.1", &address));
	assert_int_equal(address.domain, 0);
	assert_int_equal(address.bus, 0x3b);
	assert_int_equal(address.slot, 2);
	assert_int_equal(address.function, 1);
}

static void test_drivers(void **state)
{
	static const char *const vfio[] = { "vfio-pci", "vfio-platform", "vfio-amba", "vfio-fsl-mc",
		"vfio-cdx", "vfio_ap", "mlx5_vfio_pci", "hisi_acc_vfio_pci", "hisi-acc-vfio-pci",
		"pds_vfio_pci", "nvgrace-gpu-vfio-pci", "nvgrace_gpu_vfio_pci", "virtio_vfio_pci",
		"qat_vfio_pci", "xe-vfio-pci" };
	static const char *const host[] = { "e1000", "nvme", "uio_pci_generic", "vfio", "vfio_pc",
		"vfio-platform2", "pciback", "igb_uio", "pcieport2" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vfio); i++) {
		assert_true(driver_is_vfio(vfio[i]));
		assert_true(driver_leaves_dma(vfio[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(host); i++) {
		assert_false(driver_is_vfio(host[i]));
		assert_false(driver_leaves_dma(host[i]));
	}
	assert_false(driver_is_vfio(""));
	assert_true(driver_leaves_dma(""));
	assert_false(driver_is_vfio("pcieport"));
	assert_true(driver_leaves_dma("pcieport"));
	assert_false(driver_is_vfio("pci-stub"));
	assert_true(driver_leaves_dma("pci-stub"));
}

static void test_mdev(void **state)
{
	struct device device = device_named("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "mdev");

	(void)state;
	assert_false(device_on_vfio(&device));
	assert_true(device_leaves_dma(&device));
	strcpy(device.driver, "mtty");
	assert_true(device_on_vfio(&device));
	assert_true(device_leaves_dma(&device));
	strcpy(device.bus, "pci");
	assert_false(device_on_vfio(&device));
	assert_false(device_leaves_dma(&device));
}

static void test_buses(void **state)
{
	static const char *const takable[] = { "pci", "platform", "amba", "fsl-mc", "cdx", "ap" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(takable); i++) {
		const struct bus *bus = bus_find(takable[i]);
		assert_non_null(bus);
		assert_string_equal(bus->name, takable[i]);
		assert_true(driver_is_vfio(bus->vfio_driver));
		assert_true(*bus->vfio_module != '\0');
	}
	assert_string_equal(bus_find("pci")->vfio_driver, "vfio-pci");
	assert_null(bus_find("mdev"));
	assert_null(bus_find(""));
	assert_null(bus_find("usb"));
}

static void test_bridges(void **state)
{
	struct device device = { .is_pci = true };
	const struct {
		uint32_t class;
		bool is_bridge, is_chipset;
	} cases[] = { { 0x060400, true, false }, { 0x060401, true, false },
		{ 0x060700, true, false }, { 0x060940, true, false }, { 0x060000, false, true },
		{ 0x060100, false, true }, { 0x068000, false, true }, { 0x020000, false, false },
		{ 0x050400, false, false }, { 0x070400, false, false }, { 0, false, false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		device.class = cases[i].class;
		assert_int_equal(device_is_bridge(&device), cases[i].is_bridge);
		assert_int_equal(device_is_chipset(&device), cases[i].is_chipset);
	}
	device = (struct device){ .class = 0x060400 };
	assert_false(device_is_bridge(&device));
	device = (struct device){ .class = 0x060100 };
	assert_false(device_is_chipset(&device));
}

static void test_describe(void **state)
{
	const struct {
		const char *vendor, *model, *expected;
	} cases[] = {
		{ "Intel Corporation", "82540EM Gigabit Ethernet Controller",
			"Intel 82540EM Gigabit Ethernet Controller" },
		{ "Broadcom Inc. and subsidiaries", "BCM5720", "Broadcom BCM5720" },
		{ "Advanced Micro Devices, Inc. [AMD/ATI]", "Navi 31", "AMD/ATI Navi 31" },
		{ "Red Hat, Inc.", "Virtio network device", "Red Hat Virtio network device" },
		{ "Realtek Semiconductor Co., Ltd.", "RTL8125", "Realtek Semiconductor RTL8125" },
		{ "Samsung Electronics Co Ltd", "NVMe", "Samsung Electronics NVMe" },
		{ "NVIDIA Corporation", "AD103 [GeForce RTX 4080]",
			"NVIDIA AD103 [GeForce RTX 4080]" },
		{ "QEMU", "QEMU edu", "QEMU edu" }, { "Corporation", "X", "Corporation X" },
		{ "[]", "X", "[] X" }, { "Intel Corporation", NULL, "Intel" }, { NULL, "X", "X" },
		{ "", "", "" }, { "Zo\xc3\xab", "\xe2\x82\xac", "Zo\xc3\xab \xe2\x82\xac" },
		{ "a\x1b[2J", "b\x7f", "a?[2J b?" },
		{ "c1\xc2\x9b", "d\xc2\xa0", "c1?? d\xc2\xa0" },
		{ "cut\xe2\x82", "\xff\xc0\x80", "cut?? ???" },
		{ "\xed\xa0\x80", "\xf4\x90\x80\x80", "??? ????" }, /* surrogate; beyond U+10FFFF */
		{ "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "??? ????" }, /* overlong */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = device_describe(cases[i].vendor, cases[i].model);
		assert_non_null(text);
		assert_string_equal(text, cases[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_drivers),
		cmocka_unit_test(test_mdev),
		cmocka_unit_test(test_buses),
		cmocka_unit_test(test_bridges),
		cmocka_unit_test(test_describe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
