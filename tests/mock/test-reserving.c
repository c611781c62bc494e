/*
 * What leases have reserved, from their coming to the return of the last group, and what is left of
 * it where any of that fails. Real inventory, real children, the kernel of kernel.h.
 */
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "daemon/inventory/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FIRST "0000:01:00.0"
#define SECOND "0000:02:00.0"
#define MIB (UINT64_C(1) << 20)
#define ALICE 1000

/* An administrator, so that no control group is asked. */
static const char rules[] = "[daemon]\nadmin = user:1000\n"
			    "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n"
			    "[account uid]\nkernel-bill-limit = 512M\n";
static const char staying_rules[] = "[daemon]\nadmin = user:1000\n"
				    "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n"
				    "return = no\n";

/* --- a process that has leases ------------------------------------------------------------------
 */

static struct rlimit memory_lock;
static int n_swaps, failing_swap; /* 0: none */

static int fake_open(pid_t pid, unsigned long long start_ticks)
{
	(void)pid;
	(void)start_ticks;
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool fake_has_ended(int pidfd)
{
	(void)pidfd;
	return false;
}

static int fake_swap(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before)
{
	(void)pidfd;
	(void)pid;
	if (++n_swaps == failing_swap)
		return -EPERM;
	*before = memory_lock;
	if (limit)
		memory_lock = *limit;
	return 0;
}

static const struct memlock_ops fake_memlock = {
	.open = fake_open,
	.has_ended = fake_has_ended,
	.swap = fake_swap,
};

/* --- the bench ----------------------------------------------------------------------------------
 */

struct client {
	struct lease *lease; /* NULL: over */
	struct refusal refusal;
	bool is_queued, is_granted, is_refused, has_ended;
	bool keeps; /* what it gets stays open */
	int fds[2];
	size_t n_fds;
	uint64_t limit_at_grant;
};

struct bench {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that wait_for() looks, and ends */
	struct inventory *inventory;
	struct broker *broker;
	struct ledger *ledger;
	char directory[64];
	char *syspaths[2];
	struct client clients[2];
};

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static char *add_device(struct bench *bench, const char *name, int group)
{
	char *syspath = testbed_add_pci(bench->bed, name, group, "e1000");
	testbed_set_attribute(bench->bed, syspath, "driver_override", "(null)\n");
	return syspath;
}

static struct config *config_new(const struct bench *bench, const char *text)
{
	char path[128];
	struct config *config;
	struct refusal refusal;

	snprintf(path, sizeof(path), "%s/vfiod.conf", bench->directory);
	assert_int_equal(file_write_atomic(path, text, strlen(text)), 0);
	if (config_read(path, &config, &refusal) != 0)
		fail_msg("%s", refusal.text);
	return config;
}

static void start(struct bench *bench)
{
	char path[96];

	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	snprintf(path, sizeof(path), "%s/state", bench->directory);
	assert_int_equal(broker_new(bench->loop, bench->inventory, config_new(bench, rules), path,
				 mock_kernel_ops(bench->kernel), NULL, &bench->broker),
		0);
	bench->broker->memlocks.ops = &fake_memlock;
	bench->ledger = ledger_new(UINT64_C(1) << 28);
	assert_non_null(bench->ledger);
	assert_int_equal(broker_keep_spaces(bench->broker, bench->ledger, "/nonexistent"), 0);
	inventory_listen(bench->inventory, broker_on_inventory, bench->broker);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	log_open(LOG_EMERG);
	n_swaps = failing_swap = 0;
	memory_lock = (struct rlimit){ 8 * MIB, 8 * MIB };
	bench->loop = ev_default_loop(EVFLAG_NOENV);
	bench->bed = testbed_new();
	bench->kernel = mock_kernel_new();
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-reserving.XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	ev_timer_init(&bench->tick, tick, 0.01, 0.01);
	ev_timer_start(bench->loop, &bench->tick);
	bench->syspaths[0] = add_device(bench, FIRST, 1);
	bench->syspaths[1] = add_device(bench, SECOND, 2);
	start(bench);
	*state = bench;
	return 0;
}

static void close_fds(struct client *client)
{
	while (client->n_fds > 0)
		close(client->fds[--client->n_fds]);
}

static void count_record(const char *name, int version, struct json_object *json,
	const char *problem, void *userdata)
{
	(void)name;
	(void)version;
	(void)problem;
	json_object_put(json);
	++*(unsigned *)userdata;
}

static unsigned n_reserved_records(const struct bench *bench)
{
	char path[96];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/state", bench->directory);
	assert_int_equal(record_each(path, "reservations", 1, count_record, &n), 0);
	return n;
}

/* As the daemon ends: all accounts are gone then, or ledger_free() aborts. */
static int tear_down(void **state)
{
	struct bench *bench = *state;
	char command[128];

	inventory_listen(bench->inventory, NULL, NULL);
	bench->broker = broker_free(bench->broker);
	assert_int_equal(memory_lock.rlim_cur, 8 * MIB);
	assert_int_equal(memory_lock.rlim_max, 8 * MIB);
	ledger_free(bench->ledger);
	inventory_free(bench->inventory);
	for (size_t i = 0; i < ARRAY_SIZE(bench->clients); i++) {
		close_fds(&bench->clients[i]);
		free(bench->syspaths[i]);
	}
	ev_timer_stop(bench->loop, &bench->tick);
	snprintf(command, sizeof(command), "rm -r %s", bench->directory);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	mock_kernel_free(bench->kernel);
	testbed_free(bench->bed);
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

/* --- clients ------------------------------------------------------------------------------------
 */

static void on_queued(struct lease *lease, size_t position, void *userdata)
{
	(void)lease;
	(void)position;
	((struct client *)userdata)->is_queued = true;
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	struct client *client = userdata;

	client->is_granted = true;
	client->limit_at_grant = memory_lock.rlim_cur;
	for (size_t i = 0; client->keeps && i < lease->n_groups; i++)
		client->fds[client->n_fds++] = dup(group_fds[i]);
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	struct client *client = userdata;

	(void)lease;
	client->is_refused = true;
	client->refusal = *refusal;
	client->lease = NULL;
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	struct client *client = userdata;

	(void)lease;
	(void)reason;
	client->has_ended = true;
	client->lease = NULL;
}

static const struct lease_listener listener = {
	.queued = on_queued,
	.granted = on_granted,
	.refused = on_refused,
	.ended = on_ended,
};

static struct client *acquire(
	struct bench *bench, size_t which, size_t n_groups, uint64_t bytes, double wait_seconds)
{
	struct client *client = &bench->clients[which];
	struct subject alice = {
		.uid = ALICE, .process_uid = ALICE, .pid = getpid(), .start_ticks = 1
	};
	struct group *groups[] = {
		inventory_group(bench->inventory, 1),
		inventory_group(bench->inventory, 2),
	};
	struct acquire_request request = {
		.subject = &alice,
		.groups = groups,
		.n_groups = n_groups,
		.memory_bytes = bytes,
		.wait_seconds = wait_seconds,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = client,
	};

	*client = (struct client){ .keeps = client->keeps };
	assert_int_equal(
		broker_acquire(bench->broker, &request, &client->lease, &client->refusal), 0);
	return client;
}

static struct client *granted(struct bench *bench, size_t n_groups, uint64_t bytes)
{
	struct client *client = acquire(bench, 0, n_groups, bytes, 0);
	wait_for(bench, client->is_granted || client->is_refused);
	if (client->is_refused)
		fail_msg("%s", client->refusal.text);
	return client;
}

static void end(struct bench *bench, struct client *client)
{
	broker_end(bench->broker, client->lease, "it was enough");
	assert_true(client->has_ended);
	assert_int_equal(memory_lock.rlim_cur, 8 * MIB);
	assert_int_equal(memory_lock.rlim_max, 8 * MIB);
}

static uint64_t billed(const struct bench *bench)
{
	uint64_t pages = account_kernel_bill(ledger_host(bench->ledger));
	assert_int_equal(broker_reserved_pages(bench->broker, "uid:1000"), pages);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool is_home(const struct bench *bench)
{
	return TAILQ_EMPTY(&bench->broker->holdings);
}

/* --- tests --------------------------------------------------------------------------------------
 */

static void test_from_grant_to_return(void **state)
{
	struct bench *bench = *state;
	struct client *client = acquire(bench, 0, 2, 256 * MIB, 0);

	/* Not while it could still have to wait. */
	assert_int_equal(billed(bench), 0);
	wait_for(bench, billed(bench) > 0);
	assert_int_equal(billed(bench), 256 * MIB);
	assert_int_equal(memory_lock.rlim_cur, 8 * MIB);
	wait_for(bench, client->is_granted);
	assert_int_equal(client->limit_at_grant, 264 * MIB);
	assert_int_equal(memory_lock.rlim_max, 264 * MIB);
	end(bench, client);
	/* They could be open still, for all that is known. */
	assert_int_equal(billed(bench), 256 * MIB);
	wait_for(bench, is_home(bench));
	assert_int_equal(billed(bench), 0);
}

static void test_nothing_reserved(void **state)
{
	struct bench *bench = *state;
	struct client *client = granted(bench, 1, 0);

	assert_null(client->lease->reservation);
	assert_int_equal(n_swaps, 0);
	end(bench, client);
	assert_int_equal(n_swaps, 0);
}

/* One of two is open after the end: it keeps all of the charge, which the next lease runs into. */
static void test_lingering(void **state)
{
	struct bench *bench = *state;
	struct group *second = inventory_group(bench->inventory, 2);

	bench->clients[0].keeps = true;
	struct client *client = granted(bench, 2, 400 * MIB);
	close(client->fds[0]);
	client->fds[0] = client->fds[1];
	client->n_fds = 1;
	end(bench, client);
	wait_for(bench, second->owner == OWNER_LINGERING);
	wait_for(bench, !holding_find(bench->broker, inventory_group(bench->inventory, 1)));
	assert_int_equal(billed(bench), 400 * MIB);
	struct client *other = acquire(bench, 1, 1, 200 * MIB, 0);
	wait_for(bench, other->is_refused);
	assert_int_equal(other->refusal.kind, REFUSAL_LIMIT_EXCEEDED);
	assert_int_equal(other->refusal.limit_bytes, 512 * MIB);
	assert_int_equal(other->refusal.state_bytes, 400 * MIB);
	assert_int_equal(other->refusal.requested_bytes, 200 * MIB);
	close_fds(client);
	wait_for(bench, is_home(bench));
	assert_int_equal(billed(bench), 0);
}

/* The daemon ends while a group lingers, and another lease is granted. */
static void test_end_of_the_daemon(void **state)
{
	struct bench *bench = *state;

	bench->clients[0].keeps = true;
	struct client *client = granted(bench, 1, 100 * MIB);
	end(bench, client);
	wait_for(bench, inventory_group(bench->inventory, 1)->owner == OWNER_LINGERING);
	struct group *second = inventory_group(bench->inventory, 2);
	struct subject alice = { .uid = ALICE, .process_uid = ALICE, .pid = 1, .start_ticks = 1 };
	struct acquire_request request = {
		.subject = &alice,
		.groups = &second,
		.n_groups = 1,
		.memory_bytes = 50 * MIB,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = &bench->clients[1],
	};
	assert_int_equal(broker_acquire(bench->broker, &request, &bench->clients[1].lease,
				 &bench->clients[1].refusal),
		0);
	wait_for(bench, bench->clients[1].is_granted);
	assert_int_equal(billed(bench), 150 * MIB);
	assert_int_equal(memory_lock.rlim_cur, 58 * MIB);

	/* It leaves all of that to the next, which takes it up, and takes it away in the end. */
	broker_leave(bench->broker);
	inventory_listen(bench->inventory, NULL, NULL);
	broker_free(bench->broker);
	ledger_free(bench->ledger);
	inventory_free(bench->inventory);
	assert_int_equal(memory_lock.rlim_cur, 58 * MIB);
	start(bench);
	struct lease *lease = lease_book_by_name(broker_book(bench->broker), "L2");
	assert_non_null(lease);
	assert_string_equal(lease->account, "uid:1000");
	/* What lingers of the first one is charged, too, until it is closed. */
	assert_int_equal(billed(bench), 150 * MIB);
	wait_for(bench, inventory_group(bench->inventory, 1)->owner == OWNER_LINGERING);
	assert_int_equal(memory_lock.rlim_cur, 58 * MIB);
	broker_restored(bench->broker);
	broker_end(bench->broker, lease, "the test is over");
	assert_int_equal(memory_lock.rlim_cur, 8 * MIB);
	wait_for(bench, inventory_group(bench->inventory, 2)->binding == BINDING_HOST);
	assert_int_equal(billed(bench), 100 * MIB);
	close_fds(client);
	wait_for(bench, is_home(bench));
	assert_int_equal(billed(bench), 0);
	assert_int_equal(n_reserved_records(bench), 0);
}

static void count_news(const struct broker_news *news, void *userdata)
{
	if (strcmp(news->event, "limitExceeded") != 0)
		return;
	assert_non_null(strstr(news->text, "kernel-bill-limit of uid:1000 is 536870912 bytes"));
	assert_non_null(news->lease);
	(*(int *)userdata)++;
}

static void test_over_the_limit(void **state)
{
	struct bench *bench = *state;
	int n_told = 0;

	broker_listen(bench->broker, count_news, &n_told);
	struct client *client = acquire(bench, 0, 2, 513 * MIB, 0);

	wait_for(bench, client->is_refused);
	broker_listen(bench->broker, NULL, NULL);
	assert_int_equal(n_told, 1);
	assert_int_equal(client->refusal.kind, REFUSAL_LIMIT_EXCEEDED);
	assert_string_equal(client->refusal.account, "uid:1000");
	assert_string_equal(client->refusal.limit, "kernel-bill-limit");
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
	assert_true(is_home(bench));
	assert_int_equal(inventory_group(bench->inventory, 1)->owner, OWNER_NONE);
	assert_int_equal(billed(bench), 0);
	assert_int_equal(n_swaps, 0);
}

/*
 * Who waits, is charged when it is his turn: he has run into the limit by then, as the other group
 * of the lease before is open still, or not.
 */
static void test_waiting(void **state)
{
	struct bench *bench = *state;

	for (size_t n_groups = 1; n_groups <= 2; n_groups++) {
		bench->clients[0].keeps = true;
		struct client *first = granted(bench, n_groups, 300 * MIB);
		struct client *waiting = acquire(bench, 1, 1, 300 * MIB, 1000);
		assert_true(waiting->is_queued);
		assert_int_equal(billed(bench), 300 * MIB);
		close(first->fds[0]);
		first->fds[0] = first->fds[1];
		first->n_fds--;
		end(bench, first);
		wait_for(bench, waiting->is_granted || waiting->is_refused);
		if (n_groups == 1) {
			assert_true(waiting->is_granted);
			assert_int_equal(billed(bench), 300 * MIB);
			assert_int_equal(memory_lock.rlim_cur, 308 * MIB);
			end(bench, waiting);
		} else {
			assert_true(waiting->is_refused);
			assert_int_equal(waiting->refusal.kind, REFUSAL_LIMIT_EXCEEDED);
			assert_int_equal(waiting->refusal.state_bytes, 300 * MIB);
		}
		close_fds(first);
		wait_for(bench, is_home(bench));
		assert_int_equal(billed(bench), 0);
	}
}

/* A device that does not move: what was taken goes back, and nothing was raised or is charged. */
static void test_take_fails(void **state)
{
	struct bench *bench = *state;

	mock_kernel_break(bench->kernel, "/sys/devices/" SECOND "/driver_override");
	struct client *client = acquire(bench, 0, 2, 100 * MIB, 0);
	wait_for(bench, client->is_refused);
	assert_int_equal(client->refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(billed(bench), 0);
	assert_int_equal(n_swaps, 0);
	wait_for(bench, is_home(bench));
}

/* Each prlimit(2) of a grant: the client is told, and gets nothing. */
static void test_raise_fails(void **state)
{
	struct bench *bench = *state;

	for (failing_swap = 1; failing_swap <= 3; failing_swap++) {
		n_swaps = 0;
		struct client *client = acquire(bench, 0, 2, 100 * MIB, 0);
		wait_for(bench, client->is_refused);
		assert_false(client->is_granted);
		assert_int_equal(client->refusal.kind, REFUSAL_SYSTEM);
		assert_int_equal(client->refusal.errnum, EPERM);
		assert_non_null(strstr(client->refusal.text, "RLIMIT_MEMLOCK"));
		assert_int_equal(memory_lock.rlim_cur, 8 * MIB);
		assert_int_equal(billed(bench), 0);
		wait_for(bench, is_home(bench));
	}
}

/* Withdrawn while it is being taken. */
static void test_withdrawn(void **state)
{
	struct bench *bench = *state;
	struct client *client = acquire(bench, 0, 2, 100 * MIB, 0);

	wait_for(bench, billed(bench) > 0);
	broker_disconnect(bench->broker, client->lease);
	wait_for(bench, is_home(bench));
	assert_int_equal(billed(bench), 0);
	assert_int_equal(n_swaps, 0);
}

/* The return fails: it is closed everywhere, and left to an administrator. */
static void test_return_fails(void **state)
{
	struct bench *bench = *state;
	struct client *client = granted(bench, 1, 100 * MIB);

	mock_kernel_break(bench->kernel, "/sys/devices/" FIRST "/driver_override");
	end(bench, client);
	wait_for(bench, inventory_group(bench->inventory, 1)->binding == BINDING_FAILED);
	assert_int_equal(billed(bench), 0);
}

static void test_stays_taken(void **state)
{
	struct bench *bench = *state;

	broker_reconfigure(bench->broker, config_new(bench, staying_rules));
	for (int round = 0; round < 2; round++) {
		struct client *client = granted(bench, 1, 100 * MIB);
		end(bench, client);
		assert_int_equal(billed(bench), 100 * MIB);
		wait_for(bench, billed(bench) == 0);
		assert_int_equal(inventory_group(bench->inventory, 1)->binding, BINDING_TAKEN);
	}
}

/* Its devices are pulled out, one after the other. */
static void test_gone(void **state)
{
	struct bench *bench = *state;
	struct client *client = granted(bench, 2, 100 * MIB);

	testbed_remove(bench->bed, bench->syspaths[0]);
	wait_for(bench, client->lease->n_groups == 1);
	assert_int_equal(billed(bench), 100 * MIB);
	testbed_remove(bench->bed, bench->syspaths[1]);
	wait_for(bench, client->has_ended);
	assert_int_equal(memory_lock.rlim_cur, 8 * MIB);
	wait_for(bench, is_home(bench));
	assert_int_equal(billed(bench), 0);
}

/* More, and no more than the limit. */
static void test_more(void **state)
{
	struct bench *bench = *state;
	struct client *client = granted(bench, 1, 0);
	struct refusal refusal;

	assert_int_equal(lease_reserve_more(bench->broker, client->lease, 500 * MIB, &refusal), 0);
	assert_int_equal(memory_lock.rlim_cur, 508 * MIB);
	assert_int_equal(
		lease_reserve_more(bench->broker, client->lease, 13 * MIB, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_LIMIT_EXCEEDED);
	assert_int_equal(billed(bench), 500 * MIB);
	end(bench, client);
	wait_for(bench, is_home(bench));
	assert_int_equal(billed(bench), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_from_grant_to_return),
		TEST(test_nothing_reserved),
		TEST(test_lingering),
		TEST(test_end_of_the_daemon),
		TEST(test_over_the_limit),
		TEST(test_waiting),
		TEST(test_take_fails),
		TEST(test_raise_fails),
		TEST(test_withdrawn),
		TEST(test_return_fails),
		TEST(test_stays_taken),
		TEST(test_gone),
		TEST(test_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
