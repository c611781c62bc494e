#include "tests/mock/lending.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/restoring.h"
#include "daemon/inventory/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static void on_news(const struct broker_news *news, void *userdata)
{
	struct lending *lending = userdata;
	size_t used = strlen(lending->stages);

	lending->n_leaving += strcmp(news->event, "deviceLeaving") == 0;
	if (strcmp(news->event, "revokeStage") == 0)
		snprintf(
			lending->stages + used, sizeof(lending->stages) - used, "%s\n", news->text);
}

int lending_set_up(void **state, const char *rules)
{
	return lending_set_up_bus(state, rules, "pci", LENT_DEVICE);
}

void lending_start(struct lending *lending)
{
	struct config *config;
	struct refusal refusal;
	char path[96];

	assert_int_equal(inventory_new_at(lending->loop, testbed_udev_directory(lending->bed),
				 &lending->inventory),
		0);
	snprintf(path, sizeof(path), "%s/vfiod.conf", lending->directory);
	assert_int_equal(config_read(path, &config, &refusal), 0);
	snprintf(path, sizeof(path), "%s/state", lending->directory);
	assert_int_equal(broker_new(lending->loop, lending->inventory, config, path,
				 mock_kernel_ops(lending->kernel), NULL, &lending->broker),
		0);
	inventory_listen(lending->inventory, broker_on_inventory, lending->broker);
	broker_listen(lending->broker, on_news, lending);
}

void lending_stop(struct lending *lending)
{
	broker_leave(lending->broker);
	inventory_listen(lending->inventory, NULL, NULL);
	lending->broker = broker_free(lending->broker);
	lending->inventory = inventory_free(lending->inventory);
	lending->lease = NULL;
}

int lending_set_up_bus(void **state, const char *rules, const char *bus, const char *name)
{
	struct lending *lending = calloc(1, sizeof(*lending));
	char path[96];

	assert_non_null(lending);
	lending->group_fd = -1;
	log_open(LOG_EMERG);
	lending->loop = ev_default_loop(EVFLAG_NOENV);
	lending->bed = testbed_new();
	lending->kernel = mock_kernel_new();
	snprintf(lending->directory, sizeof(lending->directory), "/tmp/vfiod-lending.XXXXXX");
	assert_non_null(mkdtemp(lending->directory));
	ev_timer_init(&lending->tick, tick, 0.01, 0.01);
	ev_timer_start(lending->loop, &lending->tick);
	lending->syspath = strcmp(bus, "pci") == 0
				   ? testbed_add_pci(lending->bed, name, 1, "e1000")
				   : testbed_add(lending->bed, bus, name, NULL, 1, "e1000");
	testbed_set_attribute(lending->bed, lending->syspath, "driver_override", "(null)\n");
	snprintf(path, sizeof(path), "%s/vfiod.conf", lending->directory);
	assert_int_equal(file_write_atomic(path, rules, strlen(rules)), 0);
	lending_start(lending);
	*state = lending;
	return 0;
}

int lending_tear_down(void **state)
{
	struct lending *lending = *state;
	char command[128];

	if (lending->group_fd >= 0)
		close(lending->group_fd);
	inventory_listen(lending->inventory, NULL, NULL);
	broker_free(lending->broker);
	inventory_free(lending->inventory);
	ev_timer_stop(lending->loop, &lending->tick);
	snprintf(command, sizeof(command), "rm -r %s", lending->directory);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	mock_kernel_free(lending->kernel);
	testbed_free(lending->bed);
	free(lending->syspath);
	free(lending);
	return 0;
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	struct lending *lending = userdata;

	assert_int_equal(lending->cdev, lease->nodes != NULL);
	assert_int_equal(lending->cdev || lease->brokered, group_fds == NULL);
	lending->is_granted = true;
	if (lending->keeps)
		lending->group_fd =
			dup(lease->nodes ? lease->nodes->of_groups[0]->all[0].fd : group_fds[0]);
}

static void on_event(struct lease *lease, enum lease_event event, const char *text, void *userdata)
{
	struct lending *lending = userdata;

	(void)lease;
	string_copy(lending->text, sizeof(lending->text), text);
	lending->n_asked += event == LEASE_RELEASE_REQUESTED;
	lending->n_gone += event == LEASE_DEVICE_GONE;
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	(void)lease;
	(void)reason;
	((struct lending *)userdata)->lease = NULL;
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	struct lending *lending = userdata;

	(void)lease;
	lending->is_refused = true;
	refusal_describe(refusal, lending->text, sizeof(lending->text));
	lending->lease = NULL;
}

static const struct lease_listener listener = {
	.granted = on_granted,
	.refused = on_refused,
	.event = on_event,
	.ended = on_ended,
};

struct group *lend_begin(struct lending *lending, pid_t pid, bool brokered)
{
	struct subject alice = { .uid = 1000, .process_uid = 1000, .pid = pid };
	struct group *group = inventory_group(lending->inventory, 1);
	struct acquire_request request = {
		.subject = &alice,
		.groups = &group,
		.n_groups = 1,
		.holder_pidfd = -1,
		.brokered = brokered,
		.cdev = lending->cdev,
		.listener = &listener,
		.userdata = lending,
	};
	struct refusal refusal;

	assert_int_equal(process_start_time(pid, &alice.start_ticks), 0);
	lending->is_granted = lending->is_refused = false;
	assert_int_equal(broker_acquire(lending->broker, &request, &lending->lease, &refusal), 0);
	return group;
}

struct group *lend(struct lending *lending, pid_t pid, bool brokered)
{
	struct group *group = lend_begin(lending, pid, brokered);

	wait_for(lending, lending->is_granted);
	return group;
}
