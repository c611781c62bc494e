/*
 * The kernel takes a device away from who has it, and waits for him: seen without an event, told to
 * him, and over when it has left, or is only nobody's any more. Real inventory, real children, the
 * kernel of kernel.h.
 */
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/inventory/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DEVICE "0000:01:00.0"

/* An administrator, so that no control group is asked. */
static const char rules[] = "[daemon]\nadmin = user:1000\n"
			    "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n";

struct bench {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that wait_for() looks, and ends */
	struct inventory *inventory;
	struct broker *broker;
	char directory[64];
	char *syspath;
	struct lease *lease; /* NULL: over */
	bool is_granted;
	unsigned n_asked, n_gone, n_leaving;
	char text[256];
};

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static void on_news(const struct broker_news *news, void *userdata)
{
	struct bench *bench = userdata;
	bench->n_leaving += strcmp(news->event, "deviceLeaving") == 0;
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct config *config;
	struct refusal refusal;
	char path[96];

	assert_non_null(bench);
	log_open(LOG_EMERG);
	bench->loop = ev_default_loop(EVFLAG_NOENV);
	bench->bed = testbed_new();
	bench->kernel = mock_kernel_new();
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-leaving.XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	ev_timer_init(&bench->tick, tick, 0.01, 0.01);
	ev_timer_start(bench->loop, &bench->tick);
	bench->syspath = testbed_add_pci(bench->bed, DEVICE, 1, "e1000");
	testbed_set_attribute(bench->bed, bench->syspath, "driver_override", "(null)\n");
	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	snprintf(path, sizeof(path), "%s/vfiod.conf", bench->directory);
	assert_int_equal(file_write_atomic(path, rules, strlen(rules)), 0);
	assert_int_equal(config_read(path, &config, &refusal), 0);
	snprintf(path, sizeof(path), "%s/state", bench->directory);
	assert_int_equal(broker_new(bench->loop, bench->inventory, config, path,
				 mock_kernel_ops(bench->kernel), NULL, &bench->broker),
		0);
	inventory_listen(bench->inventory, broker_on_inventory, bench->broker);
	broker_listen(bench->broker, on_news, bench);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	char command[128];

	inventory_listen(bench->inventory, NULL, NULL);
	broker_free(bench->broker);
	inventory_free(bench->inventory);
	ev_timer_stop(bench->loop, &bench->tick);
	snprintf(command, sizeof(command), "rm -r %s", bench->directory);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	mock_kernel_free(bench->kernel);
	testbed_free(bench->bed);
	free(bench->syspath);
	free(bench);
	return 0;
}

/* Runs the loop until it holds; 20 seconds, then the test has failed. */
#define wait_for(bench, condition)                                                                 \
	do {                                                                                       \
		int turns_ = 2000;                                                                 \
		while (!(condition) && turns_-- > 0)                                               \
			ev_run((bench)->loop, EVRUN_ONCE);                                         \
		assert_true(condition);                                                            \
	} while (0)

static void on_granted(struct lease *lease, const int *group_fds, void *userdata)
{
	(void)lease;
	(void)group_fds;
	((struct bench *)userdata)->is_granted = true;
}

static void on_event(struct lease *lease, enum lease_event event, const char *text, void *userdata)
{
	struct bench *bench = userdata;

	(void)lease;
	string_copy(bench->text, sizeof(bench->text), text);
	bench->n_asked += event == LEASE_RELEASE_REQUESTED;
	bench->n_gone += event == LEASE_DEVICE_GONE;
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	(void)lease;
	(void)reason;
	((struct bench *)userdata)->lease = NULL;
}

static const struct lease_listener listener = {
	.granted = on_granted,
	.event = on_event,
	.ended = on_ended,
};

static struct group *lend(struct bench *bench)
{
	struct subject alice = {
		.uid = 1000, .process_uid = 1000, .pid = getpid(), .start_ticks = 1
	};
	struct group *group = inventory_group(bench->inventory, 1);
	struct acquire_request request = {
		.subject = &alice,
		.groups = &group,
		.n_groups = 1,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = bench,
	};
	struct refusal refusal;

	assert_int_equal(broker_acquire(bench->broker, &request, &bench->lease, &refusal), 0);
	wait_for(bench, bench->is_granted);
	return group;
}

/* What comes first, and without a word. */
static void take_link_away(struct bench *bench)
{
	const struct sysfs_ops *ops = mock_kernel_ops(bench->kernel);
	char path[256];

	snprintf(path, sizeof(path), "%s/driver/unbind", bench->syspath);
	assert_int_equal(ops->write(ops->userdata, path, DEVICE), 0);
}

static void assert_waits(struct bench *bench, const struct group *group)
{
	struct refusal refusal;

	wait_for(bench, group->binding == BINDING_STUCK);
	assert_non_null(strstr(group->failure, DEVICE));
	assert_int_equal(bench->n_asked, 1);
	assert_int_equal(bench->n_leaving, 1);
	assert_string_equal(bench->text, group->failure);
	assert_true(bench->lease->is_release_requested);
	assert_int_equal(group_is_usable(bench->broker, group, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_STUCK);
	assert_string_equal(refusal.device, DEVICE);
	assert_int_equal(refusal.step, STEP_UNBIND);
}

static void test_it_leaves(void **state)
{
	struct bench *bench = *state;
	struct group *group = lend(bench);

	take_link_away(bench);
	assert_waits(bench, group);
	testbed_remove(bench->bed, bench->syspath);
	wait_for(bench, !bench->lease);
	assert_int_equal(bench->n_gone, 1);
	wait_for(bench, TAILQ_EMPTY(&bench->broker->holdings));
	assert_null(inventory_group(bench->inventory, 1));
}

/* It was only unbound: the event says that the kernel waits no more. */
static void test_it_stays(void **state)
{
	struct bench *bench = *state;
	struct group *group = lend(bench);

	take_link_away(bench);
	assert_waits(bench, group);
	testbed_send(bench->bed, bench->syspath, "unbind");
	wait_for(bench, group->binding != BINDING_STUCK);
	assert_int_equal(bench->n_asked, 1);
	assert_non_null(bench->lease);
	broker_end(bench->broker, bench->lease, "it was enough");
	wait_for(bench, TAILQ_EMPTY(&bench->broker->holdings));
}

/* While the kernel waits, the lease ends: that does not make the group any better. */
static void test_its_lease_ends(void **state)
{
	struct bench *bench = *state;
	struct group *group = lend(bench);
	const struct sysfs_ops *ops = mock_kernel_ops(bench->kernel);

	int fd = ops->open_group(ops->userdata, 1);
	assert_true(fd >= 0);
	take_link_away(bench);
	assert_waits(bench, group);
	broker_end(bench->broker, bench->lease, "it was enough");
	close(fd);
	testbed_remove(bench->bed, bench->syspath);
	wait_for(bench, TAILQ_EMPTY(&bench->broker->holdings));
	assert_null(inventory_group(bench->inventory, 1));
}

#define leaving_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		leaving_test(test_it_leaves),
		leaving_test(test_it_stays),
		leaving_test(test_its_lease_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
