/* A group with devices made by hand. */
#pragma once

#include "daemon/base/util.h"
#include "daemon/inventory/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct bench {
	struct group group;
	struct device devices[4];
};

static inline struct device *bench_add(struct bench *bench, const char *name)
{
	assert_true(bench->group.n_devices < ARRAY_SIZE(bench->devices));
	struct device *device = &bench->devices[bench->group.n_devices++];
	*device = (struct device){ .group = &bench->group, .numa_node = -1, .vf_index = -1 };
	assert_int_equal(string_copy(device->name, sizeof(device->name), name), 0);
	TAILQ_INSERT_TAIL(&bench->group.devices, device, of_group);
	return device;
}

static inline struct device *bench_add_pci(
	struct bench *bench, const char *name, uint16_t vendor, uint16_t product, uint32_t class)
{
	struct device *device = bench_add(bench, name);
	device->is_pci = true;
	strcpy(device->bus, "pci");
	device->vendor = vendor;
	device->product = product;
	device->class = class;
	return device;
}

static inline void bench_init(struct bench *bench)
{
	memset(bench, 0, sizeof(*bench));
	bench->group.number = 7;
	TAILQ_INIT(&bench->group.devices);
}
