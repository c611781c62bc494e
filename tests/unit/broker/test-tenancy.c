/*
 * Leases on their way, in a broker without children and without a kernel (tests/fuzz/fake-job.h):
 * what is asked of those that map by themselves, and what is left when the answer is no, late, or
 * not wanted any more.
 */
#include "tests/unit/broker/bare-broker.h"

#include "daemon/broker/preview.h"
#include "daemon/broker/reopening.h"

#include <errno.h>

#define FREE 8      /* on no driver */
#define READY 9     /* on vfio-pci */
#define TRUSTING 10 /* by another rule */

struct bench {
	struct bare bare;
	struct lease *lease; /* NULL: it is no more */
	bool is_granted;
	uint64_t memory_max; /* when it was granted */
	struct refusal refusal;
	struct preview *preview;
	bool is_previewed;
};

static void add(struct bench *bench, int number, const char *name, const char *driver)
{
	struct group *group;
	struct device *device = bare_device(&bench->bare, number, name, &group);

	strcpy(device->driver, driver);
	assert_int_equal(index_add_device(bench->bare.inventory, group, device), 0);
	if (device_on_vfio(device))
		group->binding = BINDING_TAKEN;
}

static const char rules[] = "[rule all]\nmatch = bus:pci\nallow = user:1000\n"
			    "[rule trusting]\nmatch = pci:address=0000:05:00.0\n"
			    "allow = user:1000\ntrusted = yes\n";

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	bare_begin(&bench->bare);
	add(bench, FREE, "0000:03:00.0", "");
	add(bench, READY, "0000:04:00.0", "vfio-pci");
	add(bench, TRUSTING, "0000:05:00.0", "");
	bare_serve(&bench->bare, rules);
	*state = bench;
	return 0;
}

/* What a lease that came to nothing, or to its end, has left. */
static void assert_nothing_left(struct bench *bench)
{
	bare_go_round(&bench->bare);
	assert_null(bench->lease);
	assert_false(fake_bounds_are_looked_for());
	bare_assert_idle(&bench->bare);
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	assert_nothing_left(bench);
	bare_end(&bench->bare);
	free(bench);
	return 0;
}

/* --- its client ------------------------------------------------------------------------------ */

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	struct bench *bench = userdata;

	assert_int_equal(lease->brokered, group_fds == NULL);
	bench->is_granted = true;
	bench->memory_max = lease->memory_max_bytes;
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	struct bench *bench = userdata;

	(void)lease;
	bench->refusal = *refusal;
	bench->lease = NULL;
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	struct bench *bench = userdata;

	(void)lease;
	(void)reason;
	bench->lease = NULL;
}

static void on_settled(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	(void)lingering;
	(void)userdata;
	assert_int_equal(n_lingering, 0);
	assert_null(refusal);
}

static const struct lease_listener listener = {
	.granted = on_granted,
	.refused = on_refused,
	.ended = on_ended,
};

static struct subject alice(void)
{
	return (struct subject){ .uid = 1000, .gid = 1000, .process_uid = 1000, .pid = getpid() };
}

static void ask(
	struct bench *bench, const struct subject *subject, bool brokered, int first, int second)
{
	struct group *groups[2] = { inventory_group(bench->bare.inventory, first),
		second > 0 ? inventory_group(bench->bare.inventory, second) : NULL };
	struct acquire_request request = {
		.subject = subject,
		.groups = groups,
		.n_groups = second > 0 ? 2 : 1,
		.brokered = brokered,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = bench,
	};
	bench->is_granted = false;
	bench->refusal = (struct refusal){ 0 };
	assert_int_equal(
		broker_acquire(bench->bare.broker, &request, &bench->lease, &bench->refusal), 0);
	bare_go_round(&bench->bare);
}

static void assert_granted(struct bench *bench, uint64_t memory_max)
{
	assert_true(bench->is_granted);
	assert_true(bench->memory_max == memory_max);
	broker_end(bench->bare.broker, bench->lease, "the test is over");
	assert_nothing_left(bench);
}

/* Nothing of it was written, not even to the journal. */
static void assert_refused(struct bench *bench, enum refusal_kind kind, unsigned journalled)
{
	assert_false(bench->is_granted);
	assert_int_equal(bench->refusal.kind, kind);
	assert_int_equal(fake_journal_writes(), journalled);
	assert_nothing_left(bench);
}

/* --- the tests ------------------------------------------------------------------------------- */

static void test_bounded(void **state)
{
	struct bench *bench = *state;
	struct subject subject = alice();

	ask(bench, &subject, false, FREE, 0);
	assert_granted(bench, FAKE_MEMORY_MAX);
	ask(bench, &subject, false, READY, 0);
	assert_granted(bench, FAKE_MEMORY_MAX);
	/* Trust has to be in all of its groups. */
	ask(bench, &subject, false, TRUSTING, FREE);
	assert_granted(bench, FAKE_MEMORY_MAX);
}

static void test_who_needs_no_bound(void **state)
{
	struct bench *bench = *state;
	struct subject subject = alice(), root = { .pid = getpid() };

	/* Whoever asks would wait for ever. */
	fake_bound_outcome(FAKE_HANGS);
	ask(bench, &subject, false, TRUSTING, 0);
	assert_true(bench->lease->is_trusted);
	assert_granted(bench, UINT64_MAX);
	ask(bench, &subject, true, FREE, 0);
	assert_granted(bench, UINT64_MAX);
	ask(bench, &root, false, FREE, READY);
	assert_true(bench->lease->is_trusted);
	assert_granted(bench, UINT64_MAX);

	bench->is_granted = false;
	assert_int_equal(
		broker_take(bench->bare.broker, &root, inventory_group(bench->bare.inventory, FREE),
			&listener, bench, &bench->lease, &bench->refusal),
		0);
	bare_go_round(&bench->bare);
	assert_true(bench->is_granted);
	bench->lease = NULL;
	struct settling *settling;
	assert_int_equal(
		broker_return(bench->bare.broker, inventory_group(bench->bare.inventory, FREE),
			on_settled, NULL, &settling, &bench->refusal),
		0);
}

static void test_unbounded(void **state)
{
	struct bench *bench = *state;
	struct subject subject = alice();
	unsigned journalled = fake_journal_writes();

	fake_bound_outcome(FAKE_REFUSED);
	ask(bench, &subject, false, FREE, 0);
	assert_refused(bench, REFUSAL_NO_MEMORY_BOUND, journalled);
	assert_string_equal(bench->refusal.account, "/fake");
	assert_non_null(strstr(bench->refusal.text, "user-1000.slice MemoryMax="));
	assert_non_null(strstr(bench->refusal.text, "add trusted = yes to the rule"));
	ask(bench, &subject, false, READY, FREE);
	assert_refused(bench, REFUSAL_NO_MEMORY_BOUND, journalled);
	/* The child is killed: no is the answer where none comes. */
	fake_bound_outcome(FAKE_DIES);
	ask(bench, &subject, false, READY, FREE);
	assert_refused(bench, REFUSAL_NO_MEMORY_BOUND, journalled);
	assert_string_equal(bench->refusal.account, "");
	/* There can be none. */
	fake_errands_fail(EMFILE);
	ask(bench, &subject, false, READY, FREE);
	fake_errands_fail(0);
	assert_refused(bench, REFUSAL_SYSTEM, journalled);
	assert_int_equal(bench->refusal.errnum, EMFILE);
	/* Nor is anything in the way of the next. */
	fake_bound_outcome(FAKE_WELL);
	ask(bench, &subject, false, READY, FREE);
	assert_granted(bench, FAKE_MEMORY_MAX);
}

/* It answers when the groups have, before they have, and when one has failed. */
static void test_in_any_order(void **state)
{
	struct bench *bench = *state;
	struct subject subject = alice();
	unsigned journalled = fake_journal_writes();

	fake_bound_outcome(FAKE_HANGS);
	ask(bench, &subject, false, FREE, READY);
	assert_false(bench->is_granted);
	assert_int_equal(fake_journal_writes(), journalled);
	fake_bound_outcome(FAKE_WELL);
	bare_go_round(&bench->bare);
	assert_granted(bench, FAKE_MEMORY_MAX);

	journalled = fake_journal_writes();
	fake_job_outcome(FAKE_REFUSED);
	fake_bound_outcome(FAKE_HANGS);
	ask(bench, &subject, false, FREE, 0);
	assert_non_null(bench->lease);
	fake_bound_outcome(FAKE_WELL);
	bare_go_round(&bench->bare);
	assert_refused(bench, REFUSAL_TAKE_FAILED, journalled);
	fake_job_outcome(FAKE_HANGS);
	fake_bound_outcome(FAKE_REFUSED);
	ask(bench, &subject, false, FREE, 0);
	fake_job_outcome(FAKE_WELL);
	bare_go_round(&bench->bare);
	assert_false(bench->is_granted);
	assert_nothing_left(bench);
}

/* It ends while its bound is looked for: by its client, an administrator, or with its device. */
static void test_ends_meanwhile(void **state)
{
	struct bench *bench = *state;
	struct subject subject = alice();
	unsigned journalled = fake_journal_writes();

	fake_bound_outcome(FAKE_HANGS);
	ask(bench, &subject, false, FREE, READY);
	assert_true(fake_bounds_are_looked_for());
	broker_end(bench->bare.broker, bench->lease, "an administrator");
	assert_refused(bench, REFUSAL_INTERRUPTED, journalled);

	ask(bench, &subject, false, FREE, READY);
	broker_disconnect(bench->bare.broker, bench->lease);
	bench->lease = NULL;
	assert_refused(bench, REFUSAL_NONE, journalled);

	ask(bench, &subject, false, FREE, READY);
	inventory_group(bench->bare.inventory, FREE)->binding = BINDING_GONE;
	bench->bare.broker->has_gone = true;
	broker_pump_later(bench->bare.broker);
	bare_go_round(&bench->bare);
	assert_false(bench->is_granted);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_GROUP);
	/* Another one comes in its place. */
	inventory_group(bench->bare.inventory, FREE)->binding = BINDING_HOST;
	inventory_group(bench->bare.inventory, FREE)->owner = OWNER_NONE;
	assert_refused(bench, REFUSAL_NO_SUCH_GROUP, journalled);

	/* With the daemon: broker_free() in tear_down(). */
	ask(bench, &subject, false, FREE, READY);
	broker_shutdown(bench->bare.broker, NULL, NULL);
	bare_go_round(&bench->bare);
	assert_refused(bench, REFUSAL_INTERRUPTED, journalled);
}

/* What the last user may have left in it is asked about in turn: before, somebody has it. */
static void test_reset_in_turn(void **state)
{
	struct bench *bench = *state, other = *bench;
	struct subject subject = alice(), root = { .pid = getpid() };
	struct group *group = inventory_group(bench->bare.inventory, FREE);
	struct acquire_request request = {
		.subject = &root,
		.groups = &group,
		.n_groups = 1,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = &other,
	};

	TAILQ_FIRST(&group->devices)->reset_method[0] = '\0';
	ask(bench, &subject, false, FREE, 0);
	assert_true(bench->is_granted);
	assert_int_equal(broker_acquire(bench->bare.broker, &request, &other.lease, &other.refusal),
		REFUSED);
	assert_int_equal(other.refusal.kind, REFUSAL_GROUP_BUSY);
	request.wait_seconds = 60;
	assert_int_equal(
		broker_acquire(bench->bare.broker, &request, &other.lease, &other.refusal), 0);
	broker_pump_later(bench->bare.broker);
	bare_go_round(&bench->bare);
	assert_non_null(other.lease);
	broker_end(bench->bare.broker, bench->lease, "the test goes on");
	bare_go_round(&bench->bare);
	assert_null(other.lease);
	assert_false(other.is_granted);
	assert_int_equal(other.refusal.kind, REFUSAL_RESET_REQUIRED);
	request.wait_seconds = 0;
	assert_int_equal(broker_acquire(bench->bare.broker, &request, &other.lease, &other.refusal),
		REFUSED);
	assert_int_equal(other.refusal.kind, REFUSAL_RESET_REQUIRED);
}

/* --- dry runs ------------------------------------------------------------------------------------
 */

static void on_previewed(struct preview *preview, void *userdata)
{
	struct bench *bench = userdata;

	assert_ptr_equal(preview, bench->preview);
	bench->is_previewed = true;
}

static void preview(struct bench *bench, enum preview_purpose purpose)
{
	struct group *groups[] = { inventory_group(bench->bare.inventory, FREE),
		inventory_group(bench->bare.inventory, TRUSTING) };
	struct subject subject = alice();
	struct refusal refusal;

	bench->is_previewed = false;
	assert_int_equal(
		preview_new(bench->bare.broker, purpose, &subject, groups, ARRAY_SIZE(groups),
			on_previewed, bench, &bench->preview, &refusal),
		0);
	bare_go_round(&bench->bare);
}

static void assert_vetoes(struct bench *bench, size_t of_free)
{
	size_t n;

	assert_true(bench->is_previewed);
	const struct preview_group *groups = preview_groups(bench->preview, &n);
	assert_int_equal(n, 2);
	assert_int_equal(groups[0].n_vetoes, of_free);
	if (of_free > 0)
		assert_int_equal(groups[0].vetoes[0].kind, REFUSAL_NO_MEMORY_BOUND);
	assert_int_equal(groups[1].n_vetoes, 0);
	bench->preview = preview_free(bench->preview);
	assert_int_equal(bench->bare.broker->n_previews, 0);
}

static void test_dry_run(void **state)
{
	struct bench *bench = *state;

	preview(bench, PREVIEW_ACQUIRE);
	assert_vetoes(bench, 0);
	fake_bound_outcome(FAKE_REFUSED);
	preview(bench, PREVIEW_ACQUIRE);
	assert_vetoes(bench, 1);
	preview(bench, PREVIEW_BROKERED);
	assert_vetoes(bench, 0);
	preview(bench, PREVIEW_TAKE);
	assert_vetoes(bench, 0);
	/* Freed while it is looked for. */
	fake_bound_outcome(FAKE_HANGS);
	preview(bench, PREVIEW_ACQUIRE);
	assert_false(bench->is_previewed);
	bench->preview = preview_free(bench->preview);
	assert_int_equal(bench->bare.broker->n_previews, 0);
	assert_false(fake_bounds_are_looked_for());
	fake_errands_fail(ENOMEM);
	struct group *group = inventory_group(bench->bare.inventory, FREE);
	struct subject subject = alice();
	struct refusal refusal;
	assert_int_equal(preview_new(bench->bare.broker, PREVIEW_ACQUIRE, &subject, &group, 1,
				 on_previewed, bench, &bench->preview, &refusal),
		-ENOMEM);
	fake_errands_fail(0);
	assert_int_equal(bench->bare.broker->n_previews, 0);
}

/* --- a group once more ----------------------------------------------------------------------- */

struct reopened {
	unsigned n;
	int result, fd;
	enum refusal_kind kind;
};

static void on_reopened(int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct reopened *reopened = userdata;

	reopened->n++;
	reopened->result = result;
	reopened->fd = *group_fd;
	reopened->kind = result == REFUSED ? refusal->kind : REFUSAL_NONE;
}

/* What is said at once. */
static int reopen(
	struct bench *bench, unsigned uid, const char *token, int group, struct reopened *reopened)
{
	struct subject subject = { .uid = uid };

	*reopened = (struct reopened){ .fd = -1 };
	return lease_reopen(
		bench->bare.broker, &subject, token, group, on_reopened, reopened, &bench->refusal);
}

static void assert_reopened(
	struct bench *bench, const struct reopened *reopened, int result, enum refusal_kind kind)
{
	bare_go_round(&bench->bare);
	assert_int_equal(reopened->n, 1);
	assert_int_equal(reopened->result, result);
	assert_int_equal(reopened->kind, kind);
	assert_int_equal(reopened->fd >= 0, result == 0);
	assert_true(LIST_EMPTY(&bench->bare.broker->reopenings));
}

static void test_reopened(void **state)
{
	struct bench *bench = *state;
	struct subject subject = alice();
	struct reopened reopened;
	char token[TOKEN_SIZE];

	ask(bench, &subject, false, TRUSTING, READY);
	strcpy(token, bench->lease->token);
	assert_int_equal(reopen(bench, 1000, token, READY, &reopened), 0);
	assert_reopened(bench, &reopened, 0, REFUSAL_NONE);
	/* The kernel says who is the first. */
	fake_job_outcome(FAKE_REFUSED);
	assert_int_equal(reopen(bench, 1000, token, TRUSTING, &reopened), 0);
	assert_reopened(bench, &reopened, REFUSED, REFUSAL_GROUP_BUSY);
	fake_job_outcome(FAKE_DIES);
	assert_int_equal(reopen(bench, 1000, token, TRUSTING, &reopened), 0);
	assert_reopened(bench, &reopened, -ECHILD, REFUSAL_NONE);
	fake_job_outcome(FAKE_HANGS);
	assert_int_equal(reopen(bench, 1000, token, TRUSTING, &reopened), 0);
	assert_reopened(bench, &reopened, REFUSED, REFUSAL_STUCK);
	fake_job_outcome(FAKE_WELL);

	assert_int_equal(reopen(bench, 1000, token, FREE, &reopened), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_int_equal(reopen(bench, 1001, token, READY, &reopened), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_LEASE);
	assert_int_equal(reopen(bench, 1000, "0123", READY, &reopened), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NO_SUCH_LEASE);

	/* Who asked has gone; the lease has; the daemon does. */
	assert_int_equal(reopen(bench, 1000, token, READY, &reopened), 0);
	lease_reopen_forget(bench->bare.broker, &reopened);
	bare_go_round(&bench->bare);
	assert_int_equal(reopened.n, 0);
	assert_true(LIST_EMPTY(&bench->bare.broker->reopenings));
	assert_int_equal(reopen(bench, 1000, token, READY, &reopened), 0);
	broker_end(bench->bare.broker, bench->lease, "the test goes on");
	assert_reopened(bench, &reopened, REFUSED, REFUSAL_NO_SUCH_LEASE);
	assert_nothing_left(bench);
	ask(bench, &subject, true, READY, 0);
	assert_int_equal(reopen(bench, 1000, bench->lease->token, READY, &reopened), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_ACCESS_DENIED);
	broker_end(bench->bare.broker, bench->lease, "the test goes on");
	assert_nothing_left(bench);
	ask(bench, &subject, false, READY, 0);
	assert_int_equal(reopen(bench, 1000, bench->lease->token, READY, &reopened), 0);
	broker_end(bench->bare.broker, bench->lease, "the test is over");
	reopenings_free_all(bench->bare.broker);
	bare_go_round(&bench->bare);
	assert_int_equal(reopened.n, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_bounded),
		TEST(test_who_needs_no_bound),
		TEST(test_unbounded),
		TEST(test_in_any_order),
		TEST(test_ends_meanwhile),
		TEST(test_reset_in_turn),
		TEST(test_dry_run),
		TEST(test_reopened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
