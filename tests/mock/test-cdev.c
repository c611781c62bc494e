/*
 * Leases with mode cdev, on the kernel of kernel.h: what is handed out, and what becomes of devices
 * that stay with VFIO.
 */
#include "tests/mock/lending.h"

#include "daemon/base/util.h"
#include "daemon/broker/reopening.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char rules[] = "[daemon]\nadmin = user:1000\ntake-timeout = 1\n"
			    "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n";

#define UNBIND "/sys/devices/" LENT_DEVICE "/driver/unbind"

static int set_up(void **state)
{
	int r = lending_set_up(state, rules);
	struct lending *lending = *state;

	lending->cdev = true;
	mock_kernel_make_nodes(lending->kernel, true);
	return r;
}

static struct holding *holding_of(const struct lending *lending)
{
	return holding_find_number(lending->broker, 1);
}

/* At its end, the group stays taken. */
static struct holding *lend_to_stay(struct lending *lending)
{
	lend(lending, getpid(), false);
	holding_of(lending)->stay = true;
	return holding_of(lending);
}

static void end(struct lending *lending)
{
	broker_end(lending->broker, lending->lease, "the test ends it");
	assert_null(lending->lease);
}

/* Override, unbind, bind each way: the return is the end of its nodes. */
static void test_returned(void **state)
{
	struct lending *lending = *state;
	const struct group *group = lend(lending, getpid(), false);

	assert_string_equal(lease_mode(lending->lease), "cdev");
	assert_true(holding_of(lending)->by_nodes);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), 3);
	end(lending);
	wait_for(lending, !holding_of(lending));
	assert_int_equal(mock_kernel_n_writes(lending->kernel), 6);
	assert_int_equal(group->owner, OWNER_NONE);
}

static void test_renewed(void **state)
{
	struct lending *lending = *state;
	struct journal_entry entry;
	char path[96], text[64];

	const struct holding *holding = lend_to_stay(lending);
	unsigned n_writes = mock_kernel_n_writes(lending->kernel);
	snprintf(path, sizeof(path), "%s/state", lending->directory);
	assert_int_equal(journal_read(path, 1, &entry, text, sizeof(text)), 0);
	assert_true(entry.nodes);
	assert_int_equal(entry.phase, JOURNAL_TAKEN);
	journal_entry_clear(&entry);

	/* In the middle of it, the journal tells. */
	mock_kernel_gate(lending->kernel, UNBIND);
	end(lending);
	wait_for(lending, holding->state == HOLDING_RENEWING);
	assert_int_equal(journal_read(path, 1, &entry, text, sizeof(text)), 0);
	assert_int_equal(entry.phase, JOURNAL_RENEWING);
	journal_entry_clear(&entry);
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, holding->state == HOLDING_IDLE);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes + 2);
	assert_false(holding->by_nodes);
	/* It is not kept open for who comes next. */
	assert_int_equal(holding->group_fd, -1);
	assert_int_equal(holding->group->binding, BINDING_TAKEN);
	assert_int_equal(journal_read(path, 1, &entry, text, sizeof(text)), 0);
	assert_false(entry.nodes);
	assert_int_equal(entry.phase, JOURNAL_TAKEN);
	journal_entry_clear(&entry);

	/* One on a group that is ready, then one with mode group, after which nothing is renewed.
	 */
	lend(lending, getpid(), false);
	end(lending);
	wait_for(lending, holding->state == HOLDING_IDLE);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes + 4);
	lending->cdev = false;
	lend(lending, getpid(), false);
	end(lending);
	wait_for(lending, holding->state == HOLDING_IDLE);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes + 4);
	assert_true(holding->group_fd >= 0);

	/* The group that is kept open is closed before a node of it is handed out. */
	lending->cdev = true;
	lend(lending, getpid(), false);
	assert_int_equal(holding->group_fd, -1);
	end(lending);
	wait_for(lending, holding->state == HOLDING_IDLE);
}

/* Through /proc: once in a lease on a group that is ready, by the child that renews or returns it.
 */
static void test_searches(void **state)
{
	struct lending *lending = *state;

	const struct holding *holding = lend_to_stay(lending);
	assert_int_equal(mock_kernel_n_searches(lending->kernel), 0);
	for (unsigned n = 1; n <= 2; n++) {
		end(lending);
		wait_for(lending, holding->state == HOLDING_IDLE);
		assert_int_equal(mock_kernel_n_searches(lending->kernel), n);
		lend(lending, getpid(), false);
		assert_int_equal(mock_kernel_n_searches(lending->kernel), n);
	}
	holding_of(lending)->stay = false;
	end(lending);
	wait_for(lending, !holding_of(lending));
	assert_int_equal(mock_kernel_n_searches(lending->kernel), 3);
}

/* A node that is kept, and not bound: nothing is written until it is closed. */
static void test_kept(void **state)
{
	struct lending *lending = *state;

	for (int stays = 1; stays >= 0; stays--) {
		struct journal_entry entry;
		char path[96], text[64];

		const struct holding *holding = lend_to_stay(lending);
		holding_of(lending)->stay = stays;
		unsigned n_writes = mock_kernel_n_writes(lending->kernel);
		mock_kernel_keep_node(lending->kernel, true);
		end(lending);
		wait_for(lending, holding->state == HOLDING_LINGERING);
		assert_int_equal(holding->group->owner, OWNER_LINGERING);
		assert_int_equal(holding->group->binding, BINDING_TAKEN);
		assert_true(holding->by_nodes);
		snprintf(path, sizeof(path), "%s/state", lending->directory);
		assert_int_equal(journal_read(path, 1, &entry, text, sizeof(text)), 0);
		assert_int_equal(entry.phase, JOURNAL_TAKEN);
		assert_true(entry.nodes);
		journal_entry_clear(&entry);
		/* From now on it is looked for before a child is to write. */
		unsigned n_searches = mock_kernel_n_searches(lending->kernel);
		wait_for(lending, mock_kernel_n_searches(lending->kernel) > n_searches + 2);
		assert_int_not_equal(holding->group->binding, BINDING_RETURNING);
		assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes);
		mock_kernel_keep_node(lending->kernel, false);
		if (stays)
			wait_for(lending, holding->state == HOLDING_IDLE);
		else
			wait_for(lending, !holding_of(lending));
	}
}

static void test_renewal_fails(void **state)
{
	struct lending *lending = *state;

	const struct holding *holding = lend_to_stay(lending);
	mock_kernel_break(lending->kernel, "/sys/bus/pci/drivers/vfio-pci/bind");
	end(lending);
	wait_for(lending, holding->state == HOLDING_FAILED);
	assert_int_equal(holding->group->binding, BINDING_FAILED);
	assert_non_null(strstr(holding->group->failure, "anew"));
	mock_kernel_break(lending->kernel, "");
}

static void test_renewal_is_late(void **state)
{
	struct lending *lending = *state;

	const struct holding *holding = lend_to_stay(lending);
	mock_kernel_gate(lending->kernel, UNBIND);
	end(lending);
	wait_for(lending, holding->group->binding == BINDING_STUCK);
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, holding->state == HOLDING_IDLE);
	assert_int_equal(holding->group->binding, BINDING_TAKEN);
}

static void test_child_is_killed(void **state)
{
	struct lending *lending = *state;

	const struct holding *holding = lend_to_stay(lending);
	unsigned n_writes = mock_kernel_n_writes(lending->kernel);
	mock_kernel_gate(lending->kernel, "/sys/bus/pci/drivers/vfio-pci/bind");
	end(lending);
	wait_for(lending, mock_kernel_has_arrived(lending->kernel));
	kill(job_pid(holding->job), SIGKILL);
	wait_for(lending, holding->state == HOLDING_LINGERING);
	mock_kernel_gate(lending->kernel, "");
	/* Only the bind was left to do. */
	wait_for(lending, holding->state == HOLDING_IDLE);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes + 2);
	assert_int_equal(holding->group->binding, BINDING_TAKEN);
}

/* --- its nodes once more ------------------------------------------------------------------ */

struct reopened {
	unsigned n;
	int result, fd;
	enum refusal_kind kind;
};

static void on_reopened(int result, int *fd, const struct refusal *refusal, void *userdata)
{
	struct reopened *reopened = userdata;

	reopened->n++;
	reopened->result = result;
	reopened->kind = result == REFUSED ? refusal->kind : REFUSAL_NONE;
	reopened->fd = steal_fd(fd);
}

/* What is said at once. */
static int reopen(struct lending *lending, unsigned uid, const char *device,
	struct reopened *reopened, struct refusal *refusal)
{
	struct subject subject = { .uid = uid };

	*reopened = (struct reopened){ .fd = -1 };
	return lease_reopen_device(lending->broker, &subject, lending->lease->token, device,
		on_reopened, reopened, refusal);
}

static void assert_denied(
	struct lending *lending, unsigned uid, const char *device, enum refusal_kind kind)
{
	struct reopened reopened;
	struct refusal refusal;

	assert_int_equal(reopen(lending, uid, device, &reopened, &refusal), REFUSED);
	assert_int_equal(refusal.kind, kind);
	assert_int_equal(reopened.n, 0);
}

static void test_reopened(void **state)
{
	struct lending *lending = *state;
	struct subject alice = { .uid = 1000 }, bob = { .uid = 1001 };
	struct reopened reopened;
	struct refusal refusal;
	int fd;

	lend(lending, getpid(), false);
	const char *token = lending->lease->token;
	unsigned n_writes = mock_kernel_n_writes(lending->kernel);
	/* As often as they like. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(reopen(lending, 1000, LENT_DEVICE, &reopened, &refusal), 0);
		wait_for(lending, reopened.n == 1);
		assert_int_equal(reopened.result, 0);
		assert_true(reopened.fd >= 0);
		close(reopened.fd);
		assert_int_equal(
			lease_open_context(lending->broker, &alice, token, &fd, &refusal), 0);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_denied(lending, 1001, LENT_DEVICE, REFUSAL_NO_SUCH_LEASE);
	assert_denied(lending, 1000, "0000:77:00.0", REFUSAL_ACCESS_DENIED);
	assert_int_equal(lease_open_context(lending->broker, &bob, token, &fd, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NO_SUCH_LEASE);
	assert_int_equal(fd, -1);
	/* Groups are not what it has. */
	assert_int_equal(
		lease_reopen(lending->broker, &alice, token, 1, on_reopened, &reopened, &refusal),
		REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_int_equal(mock_kernel_n_writes(lending->kernel), n_writes);

	/* Where there is none any more, it says so. */
	mock_kernel_make_nodes(lending->kernel, false);
	assert_int_equal(reopen(lending, 1000, LENT_DEVICE, &reopened, &refusal), 0);
	wait_for(lending, reopened.n == 1);
	assert_int_equal(reopened.result, REFUSED);
	assert_int_equal(reopened.fd, -1);
	assert_int_equal(
		lease_open_context(lending->broker, &alice, token, &fd, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);
	mock_kernel_make_nodes(lending->kernel, true);

	/* Who asked has gone; the lease has, in the middle of it. */
	assert_int_equal(reopen(lending, 1000, LENT_DEVICE, &reopened, &refusal), 0);
	lease_reopen_forget(lending->broker, &reopened);
	wait_for(lending, LIST_EMPTY(&lending->broker->reopenings));
	assert_int_equal(reopened.n, 0);
	assert_int_equal(reopen(lending, 1000, LENT_DEVICE, &reopened, &refusal), 0);
	end(lending);
	wait_for(lending, reopened.n == 1);
	assert_int_equal(reopened.result, REFUSED);
	assert_int_equal(reopened.kind, REFUSAL_NO_SUCH_LEASE);
	assert_int_equal(reopened.fd, -1);
	wait_for(lending, !holding_of(lending));
}

static void test_groups_are_no_devices(void **state)
{
	struct lending *lending = *state;
	struct subject alice = { .uid = 1000 };
	struct refusal refusal;
	int fd;

	lending->cdev = false;
	lend(lending, getpid(), false);
	assert_denied(lending, 1000, LENT_DEVICE, REFUSAL_ACCESS_DENIED);
	assert_int_equal(
		lease_open_context(lending->broker, &alice, lending->lease->token, &fd, &refusal),
		REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_ACCESS_DENIED);
	end(lending);
	wait_for(lending, !holding_of(lending));
}

/* Before a device is touched. */
static void test_not_supported(void **state)
{
	struct lending *lending = *state;
	const struct subject alice = { .uid = 1000, .process_uid = 1000, .pid = getpid() };
	struct group *group = inventory_group(lending->inventory, 1);
	struct acquire_request request = {
		.subject = &alice, .groups = &group, .n_groups = 1, .holder_pidfd = -1, .cdev = true
	};
	struct lease *lease;
	struct refusal refusal;

	mock_kernel_make_nodes(lending->kernel, false);
	assert_int_equal(broker_acquire(lending->broker, &request, &lease, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_non_null(strstr(refusal.text, "CONFIG_IOMMUFD"));
	assert_int_equal(mock_kernel_n_writes(lending->kernel), 0);
	assert_null(holding_of(lending));
}

/* That devices have no nodes may be seen when they are taken, and not before: all is undone. */
static void test_no_nodes(void **state)
{
	struct lending *lending = *state;

	mock_kernel_gate(lending->kernel, "/dev/vfio/1");
	lend_begin(lending, getpid(), false);
	wait_for(lending, mock_kernel_has_arrived(lending->kernel));
	mock_kernel_make_nodes(lending->kernel, false);
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, lending->is_refused);
	assert_non_null(strstr(lending->text, "CONFIG_VFIO_DEVICE_CDEV"));
	wait_for(lending, !holding_of(lending));
}

/* Who has a node without a journal that tells, might keep it: he gets none. */
static void test_not_written(void **state)
{
	struct lending *lending = *state;
	char there[96], elsewhere[96];

	snprintf(there, sizeof(there), "%s/state/journal", lending->directory);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", lending->directory);
	mock_kernel_gate(lending->kernel, "/dev/vfio/1");
	lend_begin(lending, getpid(), false);
	wait_for(lending, mock_kernel_has_arrived(lending->kernel));
	assert_int_equal(rename(there, elsewhere), 0);
	mock_kernel_gate(lending->kernel, "");
	wait_for(lending, holding_of(lending)->state == HOLDING_LINGERING);
	assert_false(lending->is_granted);
	assert_int_equal(rename(elsewhere, there), 0);
	wait_for(lending, !holding_of(lending) && lending->is_refused);
	assert_non_null(strstr(lending->text, "writing the journal"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_returned, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_renewed, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_searches, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_kept, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_renewal_fails, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_renewal_is_late, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_child_is_killed, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_reopened, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(
			test_groups_are_no_devices, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_not_supported, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_no_nodes, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_not_written, set_up, lending_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
