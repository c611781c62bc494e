/*
 * A broker without children and without a kernel (tests/fuzz/fake-job.h), on a host of PCI devices
 * that a test makes up. Only for tests that are linked with that (FAKE_JOB_TESTS), so all of it is
 * here.
 */
#pragma once

#include "tests/unit/remove-tree.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/inventory/internal.h"
#include "tests/fuzz/fake-job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct bare {
	char directory[64];
	struct ev_loop *loop;
	struct inventory *inventory;
	struct broker *broker; /* NULL: not before bare_serve() */
};

static inline void bare_begin(struct bare *bare)
{
	log_open(LOG_EMERG);
	strcpy(bare->directory, "/tmp/test-broker-XXXXXX");
	assert_non_null(mkdtemp(bare->directory));
	bare->loop = ev_default_loop(0);
	bare->inventory = calloc(1, sizeof(*bare->inventory));
	assert_true(bare->loop && bare->inventory);
	bare->inventory->loop = bare->loop;
	TAILQ_INIT(&bare->inventory->groups);
}

/* Of the group, which is made if need be; a network card, for index_add_device() when it is whole.
 */
static inline struct device *bare_device(
	struct bare *bare, int number, const char *name, struct group **group)
{
	struct device *device = calloc(1, sizeof(*device));

	assert_non_null(device);
	*group = inventory_group(bare->inventory, number);
	if (!*group) {
		*group = group_new(number);
		assert_non_null(*group);
		assert_int_equal(index_add_group(bare->inventory, *group), 0);
		strcpy((*group)->type, "DMA");
	}
	strcpy(device->name, name);
	assert_true(asprintf(&device->syspath, "/sys/devices/pci0000:00/%s", name) > 0);
	strcpy(device->bus, "pci");
	device->description = strdup("");
	device->reset_method = strdup("flr");
	device->is_pci = true;
	device->class = 0x020000;
	device->numa_node = device->vf_index = -1;
	return device;
}

static inline struct config *bare_configuration(const struct bare *bare, const char *text)
{
	struct config *config = NULL;
	struct refusal refusal;
	char path[128];

	snprintf(path, sizeof(path), "%s/vfiod.conf", bare->directory);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	int r = config_read(path, &config, &refusal);
	if (r != 0)
		fail_msg("%s", refusal.text);
	return config;
}

static inline void bare_serve(struct bare *bare, const char *configuration)
{
	fake_job_host(bare->inventory);
	fake_job_outcome(FAKE_WELL);
	assert_int_equal(
		broker_new(bare->loop, bare->inventory, bare_configuration(bare, configuration),
			bare->directory, &sysfs_kernel, NULL, &bare->broker),
		0);
	inventory_listen(bare->inventory, broker_on_inventory, bare->broker);
}

static inline void bare_go_round(struct bare *bare)
{
	for (int i = 0; i < 40; i++)
		ev_run(bare->loop, EVRUN_NOWAIT);
}

static inline void bare_assert_idle(struct bare *bare)
{
	const struct group *group;

	bare_go_round(bare);
	assert_true(TAILQ_EMPTY(&bare->broker->book.leases));
	TAILQ_FOREACH (group, &bare->inventory->groups, of_inventory) {
		assert_int_equal(group->owner, OWNER_NONE);
		assert_true(group_is_free(bare->broker, group));
	}
}

static inline void bare_end(struct bare *bare)
{
	bare_assert_idle(bare);
	broker_free(bare->broker);
	inventory_free(bare->inventory);
	remove_tree(bare->directory);
}
