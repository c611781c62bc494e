/*
 * What a new broker makes of the journal of an earlier one: each phase, with the devices where a
 * kill may have left them, while a child of that daemon lives and after it has ended. Real
 * inventory, real children, the kernel of kernel.h.
 */
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/inventory/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#define BRIDGE "0000:01:00.0"
#define NIC_A "0000:01:01.0"
#define NIC_B "0000:01:02.0"
#define OTHER "0000:02:00.0"

enum { GROUP = 1, OTHER_GROUP = 2 };

struct bench {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that wait_for() looks, and ends */
	struct inventory *inventory;
	struct broker *broker;
	char directory[64], state[80];
	struct plan *plan;
};

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static void add_device(struct bench *bench, const char *name, int group, const char *driver)
{
	_cleanup_free_ char *syspath = testbed_add_pci(bench->bed, name, group, driver);
	testbed_set_attribute(bench->bed, syspath, "driver_override", "(null)\n");
	if (strcmp(driver, "pcieport") == 0)
		testbed_set_attribute(bench->bed, syspath, "class", "0x060400\n");
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	log_open(LOG_EMERG);
	bench->loop = ev_default_loop(EVFLAG_NOENV);
	assert_non_null(bench->loop);
	bench->bed = testbed_new();
	bench->kernel = mock_kernel_new();
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-recovery.XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	snprintf(bench->state, sizeof(bench->state), "%s/state", bench->directory);
	ev_timer_init(&bench->tick, tick, 0.01, 0.01);
	ev_timer_start(bench->loop, &bench->tick);
	add_device(bench, BRIDGE, GROUP, "pcieport");
	add_device(bench, NIC_A, GROUP, "e1000");
	add_device(bench, NIC_B, GROUP, "e1000");
	add_device(bench, OTHER, OTHER_GROUP, "e1000");
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
	plan_free(bench->plan);
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

/* --- what an earlier daemon has left ---------------------------------------------------------- */

static struct plan_wish wish(const struct device *device, void *userdata)
{
	(void)device;
	(void)userdata;
	return (struct plan_wish){ .driver = NULL };
}

/* As a child of that daemon has inspected it. */
static void make_plan(struct bench *bench)
{
	struct refusal refusal;

	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	assert_int_equal(plan_make(inventory_group(bench->inventory, GROUP), wish, NULL,
				 &bench->plan, &refusal),
		0);
	for (size_t i = 0; i < bench->plan->n_members; i++) {
		struct plan_member *member = &bench->plan->members[i];
		member->known = member->action == PLAN_BIND;
		if (member->known)
			string_copy(member->host_driver, sizeof(member->host_driver), "e1000");
	}
	bench->inventory = inventory_free(bench->inventory);
}

static void move(struct bench *bench, const char *name, const char *driver, const char *override)
{
	char syspath[64];

	snprintf(syspath, sizeof(syspath), "/sys/devices/%s", name);
	testbed_set_driver(bench->bed, syspath, driver);
	testbed_set_attribute(bench->bed, syspath, "driver_override", override);
}

/* The first `n` of the two NICs are on VFIO; with `torn`, the next has lost its driver only. */
static void move_nics(struct bench *bench, size_t n, bool torn)
{
	static const char *const nics[] = { NIC_A, NIC_B };

	for (size_t i = 0; i < ARRAY_SIZE(nics); i++)
		if (i < n)
			move(bench, nics[i], "vfio-pci", "vfio-pci\n");
		else if (i == n && torn)
			move(bench, nics[i], "", "vfio-pci\n");
}

static void start(struct bench *bench, struct journal_entry *entry)
{
	char path[128];
	struct config *config;
	struct refusal refusal;
	static const char rules[] = "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n";

	entry->plan = bench->plan;
	assert_int_equal(journal_init(bench->state), 0);
	assert_int_equal(journal_write(bench->state, entry), 0);
	snprintf(path, sizeof(path), "%s/vfiod.conf", bench->directory);
	assert_int_equal(file_write_atomic(path, rules, strlen(rules)), 0);
	assert_int_equal(config_read(path, &config, &refusal), 0);
	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	assert_int_equal(broker_new(bench->loop, bench->inventory, config, bench->state,
				 mock_kernel_ops(bench->kernel), NULL, &bench->broker),
		0);
	inventory_listen(bench->inventory, broker_on_inventory, bench->broker);
}

/* A child of that daemon, at work on something; it is this process's, but the broker knows not. */
static pid_t start_child(struct journal_entry *entry)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	entry->child = child;
	assert_int_equal(process_start_time(child, &entry->child_start_ticks), 0);
	return child;
}

/* --- what becomes of it ------------------------------------------------------------------- */

static struct group *group_of(const struct bench *bench)
{
	struct group *group = inventory_group(bench->inventory, GROUP);
	assert_non_null(group);
	return group;
}

static const char *outcome_now;

static void note_outcome(int group, const char *found, const char *outcome, void *userdata)
{
	assert_int_equal(group, GROUP);
	assert_string_equal(found, userdata);
	outcome_now = outcome;
}

static bool has_outcome(const struct bench *bench, const char *found, const char *outcome)
{
	outcome_now = "none";
	broker_recovered(bench->broker, note_outcome, (void *)found);
	return strcmp(outcome_now, outcome) == 0;
}

static bool is_on(const char *name, const char *driver, const char *override)
{
	char path[96], now[DRIVER_NAME_SIZE];
	char target[256] = "";

	snprintf(path, sizeof(path), "/sys/devices/%s/driver_override", name);
	if (file_read(path, now, sizeof(now)) < 0 || strcmp(now, override) != 0)
		return false;
	snprintf(path, sizeof(path), "/sys/devices/%s/driver", name);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		return !*driver;
	return strcmp(strrchr(target, '/') + 1, driver) == 0;
}

static bool has_journal(const struct bench *bench)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/journal/%d.json", bench->state, GROUP);
	return access(path, F_OK) == 0;
}

static void assert_home(struct bench *bench, const char *found)
{
	wait_for(bench, has_outcome(bench, found, "returned"));
	assert_false(has_journal(bench));
	assert_true(is_on(NIC_A, "e1000", "(null)"));
	assert_true(is_on(NIC_B, "e1000", "(null)"));
	assert_int_equal(group_of(bench)->binding, BINDING_HOST);
	assert_int_equal(group_of(bench)->owner, OWNER_NONE);
	assert_true(TAILQ_EMPTY(&bench->broker->holdings));
}

static void assert_stays(struct bench *bench, const char *found)
{
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];

	wait_for(bench, has_outcome(bench, found, "taken"));
	assert_true(is_on(NIC_A, "vfio-pci", "vfio-pci"));
	assert_true(is_on(NIC_B, "vfio-pci", "vfio-pci"));
	assert_int_equal(group_of(bench)->binding, BINDING_TAKEN);
	assert_true(group_is_free(bench->broker, group_of(bench)));
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
	assert_int_equal(journal_read(bench->state, GROUP, &entry, text, sizeof(text)), 0);
	assert_int_equal(entry.phase, JOURNAL_TAKEN);
	assert_true(entry.stay);
	assert_int_equal(entry.child, 0);
	journal_entry_clear(&entry);
}

static void assert_failed(struct bench *bench, const char *found, const char *text)
{
	struct refusal refusal;

	wait_for(bench, has_outcome(bench, found, "failed"));
	assert_int_equal(group_of(bench)->binding, BINDING_FAILED);
	if (!strstr(group_of(bench)->failure, text))
		fail_msg("\"%s\" is not in \"%s\"", text, group_of(bench)->failure);
	assert_int_equal(group_is_usable(bench->broker, group_of(bench), &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_GROUP_FAILED);
	assert_true(has_journal(bench));
}

/* While the child lives nobody touches its group, and all others can be had. */
static void assert_waits(struct bench *bench, const char *found, pid_t child)
{
	struct refusal refusal;
	char number[32];

	for (int i = 0; i < 5; i++)
		ev_run(bench->loop, EVRUN_ONCE);
	assert_true(has_outcome(bench, found, "pending"));
	assert_int_equal(group_of(bench)->binding, BINDING_STUCK);
	assert_false(group_is_free(bench->broker, group_of(bench)));
	assert_int_equal(group_is_usable(bench->broker, group_of(bench), &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_STUCK);
	assert_int_equal(refusal.owner_pid, child);
	snprintf(number, sizeof(number), "(pid %d)", (int)child);
	assert_non_null(strstr(refusal.text, number));
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
	struct group *other = inventory_group(bench->inventory, OTHER_GROUP);
	assert_int_equal(group_is_usable(bench->broker, other, &refusal), 0);
	assert_true(group_is_free(bench->broker, other));
}

/* A bench for each case: the phase and the state that a kill has left, with and without a child. */
static void with_each_child(void **state, const struct journal_entry *left, size_t n_moved,
	bool torn, void (*assert_end)(struct bench *bench, const char *found), const char *found)
{
	for (int lives = 0; lives < 2; lives++) {
		struct bench *bench;
		struct journal_entry entry = *left;

		if (lives) {
			tear_down(state);
			set_up(state);
		}
		bench = *state;
		make_plan(bench);
		move_nics(bench, n_moved, torn);
		pid_t child = start_child(&entry);
		if (!lives)
			/* Its number is another process's now. */
			entry.child_start_ticks--;
		start(bench, &entry);
		if (lives)
			assert_waits(bench, found, child);
		else
			assert_int_not_equal(group_of(bench)->binding, BINDING_STUCK);
		if (!lives)
			assert_end(bench, found);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_end(bench, found);
	}
}

static void test_take_that_never_began(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_TAKING }, 0, false,
		assert_home, "taking");
}

static void test_take_half_done(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_TAKING }, 1, true,
		assert_home, "taking");
}

static void test_take_all_done(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_TAKING }, 2, false,
		assert_home, "taking");
}

static void test_return_not_begun(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_RETURNING }, 2, false,
		assert_home, "returning");
}

static void test_return_half_done(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_RETURNING }, 0, true,
		assert_home, "returning");
}

static void test_return_all_done(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_RETURNING }, 0, false,
		assert_home, "returning");
}

static void test_lent(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_TAKEN }, 2, false,
		assert_home, "taken");
}

static void test_taken_to_stay(void **state)
{
	with_each_child(state, &(struct journal_entry){ .phase = JOURNAL_TAKEN, .stay = true }, 2,
		false, assert_stays, "taken");
}

static void assert_failed_as_before(struct bench *bench, const char *found)
{
	assert_failed(bench, found, "0000:01:01.0 is on no driver, was on e1000");
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
}

static void test_failed_before(void **state)
{
	with_each_child(state,
		&(struct journal_entry){ .phase = JOURNAL_FAILED,
			.failure = "0000:01:01.0 is on no driver, was on e1000" },
		0, true, assert_failed_as_before, "failed");
}

static void ask_return(struct bench *bench)
{
	struct settling *settling = settling_new(bench->broker, NULL, 0);
	struct refusal refusal;

	assert_non_null(settling);
	assert_int_equal(
		holding_return(holding_find(bench->broker, group_of(bench)), settling, &refusal),
		0);
	settling_begin(settling);
}

/* The text survives one more daemon, and what an administrator asks for is done. */
static void test_rollback_fails(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry = { .phase = JOURNAL_TAKING }, read;
	char text[REFUSAL_TEXT_SIZE];

	make_plan(bench);
	move_nics(bench, 2, false);
	mock_kernel_break(bench->kernel, "/sys/bus/pci/drivers/e1000/bind");
	start(bench, &entry);
	assert_failed(bench, "taking", NIC_B " is on no driver, was on e1000");
	assert_int_equal(journal_read(bench->state, GROUP, &read, text, sizeof(text)), 0);
	assert_int_equal(read.phase, JOURNAL_FAILED);
	assert_string_equal(read.failure, group_of(bench)->failure);
	journal_entry_clear(&read);

	mock_kernel_break(bench->kernel, "");
	ask_return(bench);
	wait_for(bench, TAILQ_EMPTY(&bench->broker->holdings));
	assert_true(is_on(NIC_A, "e1000", "(null)"));
	assert_false(has_journal(bench));
}

/* Its client has it open still: nothing is written, and it is known who that was. */
static void test_still_open(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry = {
		.phase = JOURNAL_TAKEN,
		.holder = { .pid = 4711, .start_ticks = 815, .uid = 1000, .command = "qemu" },
	};
	const struct sysfs_ops *ops = mock_kernel_ops(bench->kernel);

	make_plan(bench);
	move_nics(bench, 2, false);
	int fd = ops->open_group(ops->userdata, GROUP);
	assert_true(fd >= 0);
	start(bench, &entry);
	wait_for(bench, group_of(bench)->owner == OWNER_LINGERING);
	assert_true(has_outcome(bench, "taken", "pending"));
	/* That process has ended since, or never was: it is not to be named as who has it. */
	bool still_runs = true;
	assert_null(broker_holder(bench->broker, group_of(bench)));
	const struct subject *holder = broker_former(bench->broker, group_of(bench), &still_runs);
	assert_non_null(holder);
	assert_false(still_runs);
	assert_int_equal(holder->pid, 4711);
	assert_int_equal(holder->process_uid, 1000);
	assert_true(holder->start_ticks == 815);
	assert_string_equal(holder->command, "qemu");
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
	close(fd);
	assert_home(bench, "taken");
}

/* An administrator need not wait for the daemon to have looked at what stays. */
static void test_returned_at_once(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry = { .phase = JOURNAL_TAKEN, .stay = true };

	make_plan(bench);
	move_nics(bench, 2, false);
	start(bench, &entry);
	assert_false(group_is_free(bench->broker, group_of(bench)));
	ask_return(bench);
	assert_home(bench, "taken");
	assert_true(TAILQ_EMPTY(&bench->broker->settlings));
}

static void note_end(int group, const char *found, const char *outcome, void *userdata)
{
	(void)group;
	(void)found;
	*(unsigned *)userdata += strcmp(outcome, "returned") == 0;
}

/*
 * While the daemon was killed, and its child was at work on it, a device left and came back in
 * another group: without the driver that the child has taken away from it by its name.
 */
static void test_left_and_came_back(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry = { .phase = JOURNAL_TAKING };
	unsigned n_returned = 0;

	make_plan(bench);
	move_nics(bench, 1, false);
	move(bench, NIC_B, "", "(null)\n");
	testbed_set_group(bench->bed, "/sys/devices/" NIC_B, 3);
	start(bench, &entry);
	wait_for(bench, TAILQ_EMPTY(&bench->broker->holdings));
	assert_true(is_on(NIC_A, "e1000", "(null)"));
	assert_true(is_on(NIC_B, "e1000", "(null)"));
	assert_false(has_journal(bench));
	broker_recovered(bench->broker, note_end, &n_returned);
	assert_int_equal(n_returned, 2);
	int *groups;
	size_t n_groups;
	assert_int_equal(journal_list(bench->state, &groups, &n_groups), 0);
	assert_int_equal(n_groups, 0);
	free(groups);
}

/* All of them: the group that the journal names is not there any more. */
static void test_group_has_gone(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry = { .phase = JOURNAL_RETURNING };

	make_plan(bench);
	move(bench, NIC_A, "", "(null)\n");
	move(bench, NIC_B, "", "(null)\n");
	testbed_set_group(bench->bed, "/sys/devices/" BRIDGE, 4);
	testbed_set_group(bench->bed, "/sys/devices/" NIC_A, 4);
	testbed_set_group(bench->bed, "/sys/devices/" NIC_B, 5);
	mock_kernel_break(bench->kernel, "/sys/bus/pci/drivers/e1000/bind");
	start(bench, &entry);
	assert_null(inventory_group(bench->inventory, GROUP));
	for (int number = 4; number <= 5; number++) {
		wait_for(bench,
			inventory_group(bench->inventory, number)->binding == BINDING_FAILED);
		int r = journal_read(
			bench->state, number, &entry, (char[REFUSAL_TEXT_SIZE]){ 0 }, 1);
		assert_int_equal(r, 0);
		assert_int_equal(entry.phase, JOURNAL_FAILED);
		journal_entry_clear(&entry);
	}
	assert_false(has_journal(bench));
}

/* A daemon that ends meanwhile does not wait for the child; the next one finds the entry. */
static void stopped(void *userdata)
{
	*(bool *)userdata = true;
}

static void test_stop_beside_a_child(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry = { .phase = JOURNAL_TAKING };
	bool has_stopped = false;

	make_plan(bench);
	move_nics(bench, 1, true);
	pid_t child = start_child(&entry);
	start(bench, &entry);
	assert_waits(bench, "taking", child);
	broker_shutdown(bench->broker, stopped, &has_stopped);
	wait_for(bench, has_stopped);
	assert_true(has_journal(bench));
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_take_that_never_began),
		TEST(test_take_half_done),
		TEST(test_take_all_done),
		TEST(test_return_not_begun),
		TEST(test_return_half_done),
		TEST(test_return_all_done),
		TEST(test_lent),
		TEST(test_taken_to_stay),
		TEST(test_failed_before),
		TEST(test_rollback_fails),
		TEST(test_still_open),
		TEST(test_returned_at_once),
		TEST(test_left_and_came_back),
		TEST(test_group_has_gone),
		TEST(test_stop_beside_a_child),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
