/*
 * A host with a thousand VFs, each in a group of its own: what is found, what is listed, and which
 * one "any of them" is. How long that takes is told, not judged: what is judged is what is counted.
 */
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/inventory/internal.h"
#include "daemon/lease/wish.h"
#include "daemon/service/parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PF "0000:01:00.0"
#define RULES                                                                                      \
	"[daemon]\nadmin = user:1000\n"                                                            \
	"[rule all]\nmatch = pci:pf=" PF "\nallow = user:1000\n"

enum { N_VFS = 1000 };

struct bench {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that the loop comes round */
	struct inventory *inventory;
	struct broker *broker;
	char directory[64];
	struct lease *lease; /* NULL: over, or refused */
	int granted;         /* a group; -1: not yet */
};

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void tell(const char *what, double since)
{
	print_message("           %s: %.0f ms\n", what, (now() - since) * 1e3);
}

static void vf_name(int i, char name[DEVICE_NAME_SIZE])
{
	snprintf(name, DEVICE_NAME_SIZE, "0000:%02x:%02x.%d", 2 + i / 256, i / 8 % 32, i % 8);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	char name[DEVICE_NAME_SIZE], link[32];

	assert_non_null(bench);
	log_open(LOG_EMERG);
	bench->loop = ev_default_loop(EVFLAG_NOENV);
	bench->bed = testbed_new();
	bench->kernel = mock_kernel_new();
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-many.XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	ev_timer_init(&bench->tick, tick, 0.01, 0.01);
	ev_timer_start(bench->loop, &bench->tick);
	_cleanup_free_ char *pf = testbed_add_pci(bench->bed, PF, 1, "e1000");
	testbed_set_attribute(bench->bed, pf, "driver_override", "(null)\n");
	testbed_set_attribute(bench->bed, pf, "sriov_totalvfs", "1000\n");
	for (int i = 0; i < N_VFS; i++) {
		vf_name(i, name);
		_cleanup_free_ char *vf = testbed_add_pci(bench->bed, name, 2 + i, "e1000");
		testbed_set_attribute(bench->bed, vf, "driver_override", "(null)\n");
		testbed_set_link(bench->bed, vf, "physfn", pf);
		snprintf(link, sizeof(link), "virtfn%d", i);
		testbed_set_link(bench->bed, pf, link, vf);
	}
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
	free(bench);
	return 0;
}

static void start(struct bench *bench)
{
	struct config *config;
	struct refusal refusal;
	char path[96];

	snprintf(path, sizeof(path), "%s/vfiod.conf", bench->directory);
	assert_int_equal(file_write_atomic(path, RULES, strlen(RULES)), 0);
	assert_int_equal(config_read(path, &config, &refusal), 0);
	double since = now();
	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	tell("reading the host", since);
	since = now();
	snprintf(path, sizeof(path), "%s/state", bench->directory);
	assert_int_equal(broker_new(bench->loop, bench->inventory, config, path,
				 mock_kernel_ops(bench->kernel), NULL, &bench->broker),
		0);
	inventory_listen(bench->inventory, broker_on_inventory, bench->broker);
	tell("the broker's start", since);
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	(void)group_fds;
	((struct bench *)userdata)->granted = lease->groups[0]->number;
}

static void on_over(struct bench *bench)
{
	bench->lease = NULL;
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	(void)lease;
	(void)refusal;
	on_over(userdata);
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	(void)lease;
	(void)reason;
	on_over(userdata);
}

static const struct lease_listener listener = {
	.granted = on_granted,
	.refused = on_refused,
	.ended = on_ended,
};

/* "any pci:pf=…" */
static void acquire_any(struct bench *bench)
{
	struct subject alice = { .uid = 1000, .process_uid = 1000, .pid = getpid() };
	struct wishes *wishes = wishes_new(1);
	struct group *groups[1];
	struct acquire_request request = {
		.subject = &alice,
		.groups = groups,
		.wishes = wishes,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = bench,
	};
	struct refusal refusal;

	assert_non_null(wishes);
	wishes->n = wishes->n_described = 1;
	wishes->all[0].near_node = ANYWHERE;
	assert_int_equal(match_parse("pci:pf=" PF, &wishes->all[0].matches,
				 &wishes->all[0].n_matches, &refusal),
		0);
	assert_int_equal(process_start_time(alice.pid, &alice.start_ticks), 0);
	bench->granted = -1;
	if (broker_acquire(bench->broker, &request, &bench->lease, &refusal) != 0)
		fail_msg("%s", refusal.text);
	for (int i = 0; i < 4000 && bench->lease && bench->granted < 0; i++)
		ev_run(bench->loop, EVRUN_ONCE);
	assert_true(bench->granted >= 0);
}

static size_t list_all(struct bench *bench)
{
	struct group *group;
	struct subject root = { .uid = 0 };
	size_t n_bytes = 0;

	TAILQ_FOREACH (group, inventory_groups(bench->inventory), of_inventory) {
		struct json_object *json = describe_group(bench->broker, &root, group);
		assert_non_null(json);
		n_bytes += strlen(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
		json_object_put(json);
	}
	return n_bytes;
}

static void test_a_thousand(void **state)
{
	struct bench *bench = *state;

	start(bench);
	assert_int_equal(inventory_n_groups(bench->inventory), N_VFS + 1);
	for (int i = 0; i < N_VFS; i++) {
		char name[DEVICE_NAME_SIZE];
		vf_name(i, name);
		const struct device *device = inventory_find(bench->inventory, name, NULL);
		assert_non_null(device);
		assert_int_equal(device->vf_index, i);
		assert_string_equal(device->physfn, PF);
	}

	double since = now();
	size_t n_bytes = list_all(bench);
	tell("describing all of it", since);
	assert_true(n_bytes > (size_t)N_VFS * 100);

	/* Each group is looked at once for each description, and no lease's is one of them. */
	unsigned long long n_steps = bench->broker->n_steps;
	since = now();
	acquire_any(bench);
	tell("acquiring any of them", since);
	assert_int_equal(bench->granted, 2);
	assert_true(bench->broker->n_steps - n_steps < 2 * (N_VFS + 1));
	struct lease *first = bench->lease;
	since = now();
	acquire_any(bench);
	tell("and another", since);
	assert_int_equal(bench->granted, 3);
	struct lease *second = bench->lease;
	broker_end(bench->broker, first, "it was enough");
	broker_end(bench->broker, second, "it was enough");
	for (int i = 0; i < 4000 && !TAILQ_EMPTY(&bench->broker->holdings); i++)
		ev_run(bench->loop, EVRUN_ONCE);
	assert_true(TAILQ_EMPTY(&bench->broker->holdings));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_thousand, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
