#include "tests/mock/broker-bench.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/inventory/internal.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char configuration[] = "[rule all]\n"
				    "match = pci:address=0000:*\n"
				    "allow = user:1000\n";

static const struct {
	const char *name, *driver;
	int group;
} devices[] = {
	{ BENCH_BRIDGE, "pcieport", 1 },
	{ BENCH_NIC_A, "e1000", 1 },
	{ BENCH_NIC_B, "e1000", 1 },
	{ BENCH_NIC_2, "e1000", 2 },
	{ BENCH_NIC_3, "e1000", 3 },
};

size_t count_fds(void)
{
	size_t n = 0;
	const struct dirent *entry;
	DIR *directory = opendir("/proc/self/fd");
	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		char target[64] = "";
		ssize_t length =
			readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		/* umockdev's thread makes and closes them when it likes; nobody else has any. */
		n += length > 0 && strcmp(target, "anon_inode:[eventfd]") != 0;
	}
	closedir(directory);
	return n;
}

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static void make_devices(struct bench *bench)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		_cleanup_free_ char *syspath = testbed_add_pci(
			bench->bed, devices[i].name, devices[i].group, devices[i].driver);
		testbed_set_attribute(bench->bed, syspath, "driver_override", "(null)\n");
		if (strcmp(devices[i].driver, "pcieport") == 0)
			testbed_set_attribute(bench->bed, syspath, "class", "0x060400\n");
	}
}

static struct config *make_config(const struct bench *bench)
{
	_cleanup_free_ char *path = NULL;
	struct config *config;
	struct refusal refusal;

	assert_true(asprintf(&path, "%s/vfiod.conf", bench->directory) > 0);
	assert_int_equal(file_write_atomic(path, configuration, strlen(configuration)), 0);
	assert_int_equal(config_read(path, &config, &refusal), 0);
	assert_int_equal(unlink(path), 0);
	return config;
}

static void start_broker(struct bench *bench)
{
	_cleanup_free_ char *state = NULL;

	assert_true(asprintf(&state, "%s/state", bench->directory) > 0);
	assert_int_equal(broker_new(bench->loop, bench->inventory, make_config(bench), state,
				 mock_kernel_ops(bench->kernel), &bench->broker),
		0);
	inventory_listen(bench->inventory, broker_on_inventory, bench->broker);
}

struct bench *bench_new(void)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	log_open(LOG_EMERG);
	/* The default loop, which reaps children, stays as it is from test to test. */
	bench->loop = ev_default_loop(EVFLAG_NOENV);
	assert_non_null(bench->loop);
	ev_run(bench->loop, EVRUN_NOWAIT);
	bench->bed = testbed_new();
	bench->kernel = mock_kernel_new();
	bench->directory = strdup("/tmp/vfiod-broker.XXXXXX");
	assert_non_null(bench->directory);
	assert_non_null(mkdtemp(bench->directory));
	ev_timer_init(&bench->tick, tick, 0.01, 0.01);
	ev_timer_start(bench->loop, &bench->tick);
	make_devices(bench);
	/* umockdev keeps some of its own, from the first event on: they do not count. */
	testbed_send(bench->bed, "/sys/devices/" BENCH_BRIDGE, "change");
	bench->n_fds = count_fds();
	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	start_broker(bench);
	assert_int_equal(inventory_n_groups(bench->inventory), N_BENCH_GROUPS);
	return bench;
}

void bench_restart(struct bench *bench)
{
	inventory_listen(bench->inventory, NULL, NULL);
	bench->broker = broker_free(bench->broker);
	/* The next daemon reads its inventory itself. */
	inventory_free(bench->inventory);
	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	start_broker(bench);
}

static void stopped(void *userdata)
{
	struct bench *bench = userdata;
	assert_false(bench->has_stopped);
	bench->has_stopped = true;
}

void bench_shut_down(struct bench *bench)
{
	broker_shutdown(bench->broker, stopped, bench);
}

bool bench_has_stopped(struct bench *bench)
{
	return bench->has_stopped;
}

void bench_idle(struct bench *bench, int ticks)
{
	while (ticks-- > 0)
		ev_run(bench->loop, EVRUN_ONCE);
}

struct group *bench_group(struct bench *bench, int number)
{
	struct group *group = inventory_group(bench->inventory, number);
	assert_non_null(group);
	return group;
}

const char *bench_binding(struct bench *bench, int number)
{
	return binding_name(bench_group(bench, number)->binding);
}

const char *bench_owner(struct bench *bench, int number)
{
	return owner_name(bench_group(bench, number)->owner);
}

void bench_remove_group(struct bench *bench, int number, bool with_event)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		char syspath[64];
		snprintf(syspath, sizeof(syspath), "/sys/devices/%s", devices[i].name);
		if (devices[i].group != number)
			continue;
		mock_kernel_lock(bench->kernel);
		if (with_event)
			testbed_remove(bench->bed, syspath);
		else
			testbed_set_group(bench->bed, syspath, -1);
		mock_kernel_unlock(bench->kernel);
	}
}

void bench_remove_device(struct bench *bench, const char *name)
{
	char syspath[64];
	snprintf(syspath, sizeof(syspath), "/sys/devices/%s", name);
	mock_kernel_lock(bench->kernel);
	testbed_remove(bench->bed, syspath);
	mock_kernel_unlock(bench->kernel);
}

bool bench_has_journal(struct bench *bench, int number)
{
	_cleanup_free_ char *path = NULL;
	assert_true(asprintf(&path, "%s/state/journal/%d.json", bench->directory, number) > 0);
	return access(path, F_OK) == 0;
}

char *bench_device(struct bench *bench, const char *name)
{
	char path[128], override[DRIVER_NAME_SIZE], driver[DRIVER_NAME_SIZE], *text;

	(void)bench;
	snprintf(path, sizeof(path), "/sys/devices/%s", name);
	if (device_read_driver(path, driver) < 0)
		driver[0] = '\0';
	snprintf(path, sizeof(path), "/sys/devices/%s/driver_override", name);
	if (file_read(path, override, sizeof(override)) < 0)
		snprintf(override, sizeof(override), "gone");
	assert_true(asprintf(&text, "%s %s", driver, override) > 0);
	return text;
}

bool bench_is_idle(struct bench *bench)
{
	return TAILQ_EMPTY(&bench->broker->holdings) && TAILQ_EMPTY(&bench->broker->settlings) &&
	       TAILQ_EMPTY(&bench->broker->book.leases);
}

static void check_as_before(struct bench *bench)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		if (!inventory_find(bench->inventory, devices[i].name, NULL))
			continue;
		_cleanup_free_ char *text = bench_device(bench, devices[i].name);
		_cleanup_free_ char *expected = NULL;
		assert_true(asprintf(&expected, "%s (null)", devices[i].driver) > 0);
		assert_string_equal(text, expected);
		assert_string_equal(bench_binding(bench, devices[i].group), "host");
		assert_string_equal(bench_owner(bench, devices[i].group), "none");
	}
	for (int i = 1; i <= N_BENCH_GROUPS; i++)
		assert_false(bench_has_journal(bench, i));
}

/* Those, too, whose jobs were freed: the loop reaps them. */
static bool has_children(void)
{
	siginfo_t info;
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

struct bench *bench_free(struct bench *bench)
{
	_cleanup_free_ char *journal = NULL, *state = NULL;

	if (!bench)
		return NULL;
	bench_wait(bench, bench_is_idle(bench) && !has_children());
	check_as_before(bench);
	inventory_listen(bench->inventory, NULL, NULL);
	broker_free(bench->broker);
	inventory_free(bench->inventory);
	ev_timer_stop(bench->loop, &bench->tick);
	assert_true(asprintf(&state, "%s/state", bench->directory) > 0);
	assert_true(asprintf(&journal, "%s/journal", state) > 0);
	assert_int_equal(rmdir(journal), 0);
	assert_int_equal(rmdir(state), 0);
	assert_int_equal(rmdir(bench->directory), 0);
	free(bench->directory);
	ev_run(bench->loop, EVRUN_NOWAIT);
	assert_int_equal(count_fds(), bench->n_fds);
	mock_kernel_free(bench->kernel);
	testbed_free(bench->bed);
	free(bench);
	return NULL;
}
