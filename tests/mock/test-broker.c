/*
 * The broker, whole: every lease ends, every group comes home, and nothing is left, whatever
 * fails, hangs, dies, leaves or stops in whichever phase. bench_free() sees to the "nothing".
 */
#include "tests/mock/broker-bench.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

/* More operations than any transaction here has: loops over k end before. */
enum { MAX_OPS = 200 };

/* A client, and all that it was told. */
struct client {
	struct bench *bench;
	struct lease *lease; /* NULL once it is over */
	int fds[N_BENCH_GROUPS];
	size_t n_fds;
	char told[256];
	struct refusal refusal;
};

static void tell(struct client *client, const char *what)
{
	size_t length = strlen(client->told);
	snprintf(client->told + length, sizeof(client->told) - length, "%s%s", length ? " " : "",
		what);
}

static void on_queued(struct lease *lease, size_t position, void *userdata)
{
	char text[32];
	assert_int_equal(lease->state, LEASE_QUEUED);
	snprintf(text, sizeof(text), "queued:%zu", position);
	tell(userdata, text);
}

static void on_granted(struct lease *lease, const int *group_fds, void *userdata)
{
	struct client *client = userdata;
	assert_ptr_equal(lease, client->lease);
	for (size_t i = 0; i < lease->n_groups; i++) {
		client->fds[i] = fcntl(group_fds[i], F_DUPFD_CLOEXEC, 3);
		assert_true(client->fds[i] >= 0);
	}
	client->n_fds = lease->n_groups;
	tell(client, "granted");
}

static void on_event(struct lease *lease, enum lease_event event, const char *text, void *userdata)
{
	(void)lease;
	assert_non_null(text);
	tell(userdata, event == LEASE_DEVICE_GONE ? "gone" : "requested");
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	struct client *client = userdata;
	assert_ptr_equal(lease, client->lease);
	client->refusal = *refusal;
	client->lease = NULL;
	tell(client, "refused");
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	struct client *client = userdata;
	assert_ptr_equal(lease, client->lease);
	assert_non_null(reason);
	client->lease = NULL;
	tell(client, "ended");
}

static const struct lease_listener listener = {
	.queued = on_queued,
	.granted = on_granted,
	.event = on_event,
	.refused = on_refused,
	.ended = on_ended,
};
/* As service/methods-admin.c has it for Take. */
static const struct lease_listener take_listener = {
	.granted = on_granted,
	.refused = on_refused,
};

static const struct subject user = { .uid = BENCH_UID, .gid = BENCH_UID, .pid = 4711 };
static const struct subject admin = { .uid = 0, .pid = 1 };

static int acquire(struct bench *bench, struct client *client, const int *groups, size_t n_groups,
	double wait_seconds, int holder_pidfd)
{
	struct group *list[N_BENCH_GROUPS];
	struct acquire_request request = {
		.subject = &user,
		.groups = list,
		.n_groups = n_groups,
		.wait_seconds = wait_seconds,
		.holder_pidfd = holder_pidfd,
		.listener = &listener,
		.userdata = client,
	};

	*client = (struct client){ .bench = bench };
	for (size_t i = 0; i < n_groups; i++)
		list[i] = bench_group(bench, groups[i]);
	return broker_acquire(bench->broker, &request, &client->lease, &client->refusal);
}

static int take(struct bench *bench, struct client *client, int group)
{
	*client = (struct client){ .bench = bench };
	return broker_take(bench->broker, &admin, bench_group(bench, group), &take_listener, client,
		&client->lease, &client->refusal);
}

/* The process ends: the kernel closes what it has. */
static void client_close(struct client *client)
{
	while (client->n_fds > 0)
		close(client->fds[--client->n_fds]);
}

static void client_gone(struct client *client)
{
	struct lease *lease = client->lease;
	client->lease = NULL;
	client_close(client);
	if (lease)
		broker_disconnect(client->bench->broker, lease);
}

/* What a Release or a Return is told. */
struct answer {
	bool is_there;
	size_t n_lingering;
	struct refusal refusal; /* kind NONE: fine */
};

static void on_settled(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	struct answer *answer = userdata;
	assert_false(answer->is_there);
	assert_true(n_lingering == 0 || lingering);
	answer->is_there = true;
	answer->n_lingering = n_lingering;
	if (refusal)
		answer->refusal = *refusal;
}

static int release(struct bench *bench, const char *token, struct answer *answer)
{
	struct settling *settling;
	*answer = (struct answer){ 0 };
	return broker_release(
		bench->broker, &user, token, on_settled, answer, &settling, &answer->refusal);
}

static int give_back(struct bench *bench, int group, struct answer *answer)
{
	struct settling *settling;
	*answer = (struct answer){ 0 };
	return broker_return(bench->broker, bench_group(bench, group), on_settled, answer,
		&settling, &answer->refusal);
}

static void check_returned(struct bench *bench, int group)
{
	struct answer answer;
	assert_int_equal(give_back(bench, group, &answer), 0);
	bench_wait(bench, answer.is_there);
	assert_int_equal(answer.refusal.kind, REFUSAL_NONE);
	assert_int_equal(answer.n_lingering, 0);
}

static void check_device(struct bench *bench, const char *name, const char *expected)
{
	_cleanup_free_ char *text = bench_device(bench, name);
	assert_string_equal(text, expected);
}

static const int all_groups[] = { 1, 2, 3 };

static int setup(void **state)
{
	*state = bench_new();
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	*state = NULL;
	bench_free(bench);
	return 0;
}

/* --- the way that it should go -------------------------------------------------------------- */

static void test_lease(void **state)
{
	struct bench *bench = *state;
	struct client client;
	struct answer answer;
	char token[33];

	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	/* Nobody is told anything from within the call. */
	assert_string_equal(client.told, "");
	bench_wait(bench, *client.told);
	assert_string_equal(client.told, "granted");
	assert_int_equal(client.n_fds, 2);
	check_device(bench, BENCH_NIC_A, "vfio-pci vfio-pci");
	check_device(bench, BENCH_NIC_B, "vfio-pci vfio-pci");
	check_device(bench, BENCH_NIC_2, "vfio-pci vfio-pci");
	check_device(bench, BENCH_BRIDGE, "pcieport (null)");
	check_device(bench, BENCH_NIC_3, "e1000 (null)");
	assert_string_equal(bench_binding(bench, 1), "taken");
	assert_string_equal(bench_owner(bench, 1), "leased");
	assert_string_equal(bench_binding(bench, 3), "host");
	assert_true(bench_has_journal(bench, 1));
	assert_false(bench_has_journal(bench, 3));
	assert_ptr_equal(
		broker_holder(bench->broker, bench_group(bench, 2)), &client.lease->subject);

	strcpy(token, client.lease->token);
	client_close(&client);
	assert_int_equal(release(bench, token, &answer), 0);
	assert_string_equal(client.told, "granted ended");
	bench_wait(bench, answer.is_there);
	assert_int_equal(answer.refusal.kind, REFUSAL_NONE);
	assert_int_equal(answer.n_lingering, 0);
	assert_true(bench_is_idle(bench));
	/* It is a lease's no more. */
	assert_int_equal(release(bench, token, &answer), REFUSED);
	assert_int_equal(answer.refusal.kind, REFUSAL_NO_SUCH_LEASE);
}

static void test_in_use(void **state)
{
	struct bench *bench = *state;
	struct client client;

	mock_kernel_use(bench->kernel, true);
	assert_int_equal(acquire(bench, &client, all_groups, 3, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_string_equal(client.told, "refused");
	assert_int_equal(client.refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_true(client.refusal.group > 0);
	assert_int_equal(mock_kernel_n_writes(bench->kernel), 0);
}

static void test_denied(void **state)
{
	struct bench *bench = *state;
	const struct subject stranger = { .uid = 1001, .pid = 4712 };
	struct group *group = bench_group(bench, 1);
	struct lease *lease;
	struct refusal refusal;
	const struct acquire_request request = {
		.subject = &stranger,
		.groups = &group,
		.n_groups = 1,
		.holder_pidfd = open("/dev/null", O_RDONLY | O_CLOEXEC),
		.listener = &listener,
	};

	/* The descriptor is taken over also then: bench_free() counts. */
	assert_int_equal(broker_acquire(bench->broker, &request, &lease, &refusal), REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_true(bench_is_idle(bench));
}

/* --- one operation fails ---------------------------------------------------------------------- */

static void check_fault(struct bench *bench, unsigned k, bool is_kill, bool *is_over)
{
	struct client client;
	struct answer answer;
	char token[33];

	if (is_kill)
		mock_kernel_kill(bench->kernel, k);
	else
		mock_kernel_fail(bench->kernel, k);
	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	if (!client.lease) {
		assert_string_equal(client.told, "refused");
		assert_true(mock_kernel_struck(bench->kernel));
		assert_true(is_kill || client.refusal.rolled_back);
		bench_wait(bench, bench_is_idle(bench));
		return;
	}
	strcpy(token, client.lease->token);
	client_close(&client);
	assert_int_equal(release(bench, token, &answer), 0);
	bench_wait(bench, answer.is_there);
	*is_over = !mock_kernel_struck(bench->kernel);
	if (answer.refusal.kind != REFUSAL_NONE) {
		assert_int_equal(answer.refusal.kind, REFUSAL_RETURN_FAILED);
		assert_string_equal(bench_binding(bench, 1), "failed");
		assert_string_equal(bench_owner(bench, 1), "none");
		assert_true(bench_has_journal(bench, 1));
		/* Nobody can have it before an administrator has returned it. */
		assert_int_equal(acquire(bench, &client, all_groups, 1, 10, -1), REFUSED);
		assert_int_equal(client.refusal.kind, REFUSAL_GROUP_FAILED);
		check_returned(bench, 1);
	}
	bench_wait(bench, bench_is_idle(bench));
	check_device(bench, BENCH_NIC_A, "e1000 (null)");
	check_device(bench, BENCH_NIC_B, "e1000 (null)");
}

static void test_each_failure(void **state)
{
	bool is_over = false;
	for (unsigned k = 1; !is_over; k++) {
		assert_true(k < MAX_OPS);
		check_fault(*state, k, false, &is_over);
	}
}

static void test_each_death(void **state)
{
	bool is_over = false;
	for (unsigned k = 1; !is_over; k++) {
		assert_true(k < MAX_OPS);
		check_fault(*state, k, true, &is_over);
	}
}

/* One group of two cannot be taken: the other goes back, too. */
static void test_all_or_none(void **state)
{
	struct bench *bench = *state;
	struct client client;

	mock_kernel_break(bench->kernel, "/sys/devices/" BENCH_NIC_2);
	assert_int_equal(acquire(bench, &client, all_groups, 3, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_string_equal(client.told, "refused");
	assert_int_equal(client.refusal.kind, REFUSAL_TAKE_FAILED);
	assert_int_equal(client.refusal.group, 2);
	assert_string_equal(client.refusal.device, BENCH_NIC_2);
	assert_int_equal(client.refusal.step, STEP_OVERRIDE);
	assert_int_equal(client.refusal.errnum, EIO);
	assert_true(client.refusal.rolled_back);
	/* The answer comes when all is as before. */
	check_device(bench, BENCH_NIC_A, "e1000 (null)");
	check_device(bench, BENCH_NIC_3, "e1000 (null)");
	assert_true(bench_is_idle(bench));
}

/* A rollback that fails, and then a return that does: shown, kept, and an administrator's. */
static void test_rollback_fails(void **state)
{
	struct bench *bench = *state;
	struct client client, waiter;
	struct answer answer;

	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_int_equal(acquire(bench, &waiter, all_groups, 1, 100, -1), 0);
	mock_kernel_break(bench->kernel, "/sys/devices/" BENCH_NIC_A);
	client_gone(&client);
	/* Who waits for it hears at once that it cannot be had. */
	bench_wait(bench, !waiter.lease);
	assert_string_equal(waiter.told, "queued:0 refused");
	assert_int_equal(waiter.refusal.kind, REFUSAL_GROUP_FAILED);
	assert_string_equal(bench_binding(bench, 1), "failed");

	assert_int_equal(give_back(bench, 1, &answer), 0);
	bench_wait(bench, answer.is_there);
	assert_int_equal(answer.refusal.kind, REFUSAL_RETURN_FAILED);
	assert_string_equal(answer.refusal.device, BENCH_NIC_A);
	assert_string_equal(bench_binding(bench, 1), "failed");
	assert_true(bench_has_journal(bench, 1));
	mock_kernel_break(bench->kernel, "");
	check_returned(bench, 1);
}

/* --- somebody goes away in the middle -------------------------------------------------- */

/* The other group's child comes to its end. */
static void wait_for_standstill(struct bench *bench)
{
	unsigned n_ops;
	do {
		n_ops = mock_kernel_n_ops(bench->kernel);
		bench_idle(bench, 2);
	} while (n_ops != mock_kernel_n_ops(bench->kernel));
}

typedef void (*interruption)(struct bench *bench, struct client *client);

/*
 * For every k: a lease on groups 1 and 2 stands still at the k-th operation, of taking as of
 * giving back; then it is interrupted, and after a moment the kernel goes on.
 */
static void check_interrupted(void **state, interruption interrupt, bool again)
{
	bool is_over = false;
	for (unsigned k = 1; !is_over; k++) {
		struct bench *bench = *state;
		struct client client;
		bool was_granted = false;

		assert_true(k < MAX_OPS);
		mock_kernel_hang(bench->kernel, k);
		assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
		bench_wait(bench, mock_kernel_hangs(bench->kernel) || *client.told);
		if (!mock_kernel_hangs(bench->kernel)) {
			was_granted = true;
			client_gone(&client);
			bench_wait(bench, mock_kernel_hangs(bench->kernel) || bench_is_idle(bench));
		}
		is_over = was_granted && !mock_kernel_struck(bench->kernel);
		wait_for_standstill(bench);
		interrupt(bench, &client);
		bench_idle(bench, 2);
		mock_kernel_let_go(bench->kernel);
		client_close(&client);
		/* Where it was not in the way of the grant, or nobody had noticed. */
		bench_wait(bench, bench_is_idle(bench) || client.n_fds > 0);
		client_gone(&client);
		bench_wait(bench, bench_is_idle(bench));
		if (again && !is_over) {
			*state = NULL;
			bench_free(bench);
			*state = bench_new();
		}
	}
}

static void client_goes(struct bench *bench, struct client *client)
{
	(void)bench;
	client_gone(client);
}

static void test_client_goes(void **state)
{
	check_interrupted(state, client_goes, false);
}

static void lease_ended(struct bench *bench, struct client *client)
{
	if (client->lease)
		broker_end(bench->broker, client->lease, "an administrator asks for it");
	if (client->lease)
		broker_request_release(bench->broker, client->lease, "please");
}

static void test_revoke(void **state)
{
	check_interrupted(state, lease_ended, false);
}

static void group_goes(struct bench *bench, struct client *client)
{
	(void)client;
	bench_remove_group(bench, 1, true);
}

static void test_group_goes(void **state)
{
	check_interrupted(state, group_goes, true);
}

static void groups_go(struct bench *bench, struct client *client)
{
	(void)client;
	bench_remove_group(bench, 1, true);
	bench_remove_group(bench, 2, true);
}

static void test_groups_go(void **state)
{
	check_interrupted(state, groups_go, true);
}

/* Nobody hears of it before the broker itself looks. */
static void group_goes_silently(struct bench *bench, struct client *client)
{
	(void)client;
	bench_remove_group(bench, 1, false);
}

static void test_group_goes_silently(void **state)
{
	check_interrupted(state, group_goes_silently, true);
}

static void member_goes(struct bench *bench, struct client *client)
{
	(void)client;
	bench_remove_device(bench, BENCH_NIC_B);
}

static void test_member_goes(void **state)
{
	check_interrupted(state, member_goes, true);
}

static void administrator_comes(struct bench *bench, struct client *client)
{
	struct answer answer;
	struct client taker;

	(void)client;
	if (bench_is_idle(bench))
		return;
	assert_int_equal(take(bench, &taker, 1), REFUSED);
	assert_int_equal(taker.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(give_back(bench, 1, &answer), REFUSED);
	assert_int_equal(answer.refusal.kind, REFUSAL_GROUP_BUSY);
	client_gone(client);
}

/* Take and Return of a group that is on its way are refused, and disturb nothing. */
static void test_administrator_comes(void **state)
{
	struct bench *bench = *state;
	struct client holder;

	/* Group 1 is the slowest: while 2 stands still it may have come home already. */
	assert_int_equal(acquire(bench, &holder, (const int[]){ 3 }, 1, 0, -1), 0);
	for (unsigned k = 1; k < MAX_OPS; k++) {
		struct client client;

		mock_kernel_hang(bench->kernel, k);
		assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
		bench_wait(bench, mock_kernel_hangs(bench->kernel) || *client.told);
		if (!mock_kernel_hangs(bench->kernel)) {
			client_gone(&client);
			bench_wait(bench, mock_kernel_hangs(bench->kernel) ||
						  !strcmp(bench_binding(bench, 1), "host"));
		}
		if (!mock_kernel_hangs(bench->kernel)) {
			client_gone(&holder);
			return;
		}
		administrator_comes(bench, &client);
		mock_kernel_let_go(bench->kernel);
		bench_wait(bench, !strcmp(bench_binding(bench, 1), "host") &&
					  !strcmp(bench_owner(bench, 1), "none") &&
					  bench->broker->book.leases.tqh_first == holder.lease);
		bench_wait(bench, !holding_find(bench->broker, bench_group(bench, 1)));
	}
	fail();
}

static void daemon_stops(struct bench *bench, struct client *client)
{
	client_close(client);
	bench_shut_down(bench);
	bench_idle(bench, 2);
	/* It waits for what stands still, and for nothing else. */
	assert_int_equal(bench_has_stopped(bench), bench_is_idle(bench));
	if (!bench_is_idle(bench)) {
		mock_kernel_let_go(bench->kernel);
		bench_wait(bench, bench_has_stopped(bench));
		assert_true(bench_is_idle(bench));
	}
}

/* SIGTERM in whichever phase: the daemon stops, and all is as before when it does. */
static void test_daemon_stops(void **state)
{
	check_interrupted(state, daemon_stops, true);
}

static void test_no_lease_while_stopping(void **state)
{
	struct bench *bench = *state;
	struct client client, late;

	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_int_equal(acquire(bench, &late, all_groups, 1, 100, -1), 0);
	client_close(&client);
	bench_shut_down(bench);
	assert_string_equal(client.told, "granted ended");
	assert_string_equal(late.told, "queued:0 refused");
	assert_int_equal(late.refusal.kind, REFUSAL_INTERRUPTED);
	assert_int_equal(acquire(bench, &late, (const int[]){ 2 }, 1, 0, -1), REFUSED);
	assert_int_equal(late.refusal.kind, REFUSAL_INTERRUPTED);
	bench_wait(bench, bench_has_stopped(bench));
}

/* A lease that nobody waits for any more is waited for by the end of the daemon. */
static void test_stops_after_disconnect(void **state)
{
	struct bench *bench = *state;
	struct client client;

	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	bench_wait(bench, *client.told);
	client_gone(&client);
	bench_shut_down(bench);
	bench_wait(bench, bench_has_stopped(bench));
	assert_true(bench_is_idle(bench));
}

/* The broker is freed with leases, holdings and jobs in every phase: bench_free() counts. */
static void broker_goes(struct bench *bench, struct client *client)
{
	client->lease = NULL;
	bench_restart(bench);
}

static void test_broker_freed(void **state)
{
	struct bench *bench = *state;
	for (unsigned k = 1; k < 60; k += 3) {
		struct client client;

		mock_kernel_hang(bench->kernel, k);
		assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
		bench_wait(bench, mock_kernel_hangs(bench->kernel) || *client.told);
		client_close(&client);
		broker_goes(bench, &client);
		mock_kernel_let_go(bench->kernel);
		/* What the children leave, the journal names: failed, until it is returned. */
		bench_idle(bench, 10);
		for (int i = 1; i <= 2; i++) {
			struct answer answer;
			if (strcmp(bench_binding(bench, i), "failed") != 0)
				continue;
			assert_true(bench_has_journal(bench, i));
			check_returned(bench, i);
			assert_int_equal(give_back(bench, i, &answer), 0);
			assert_true(answer.is_there);
		}
		bench_wait(bench, bench_is_idle(bench));
	}
}

/* --- several at once ------------------------------------------------------------------- */

static void test_opposite_order(void **state)
{
	struct bench *bench = *state;
	struct client first, second, third;

	assert_int_equal(acquire(bench, &first, (const int[]){ 1, 2 }, 2, 100, -1), 0);
	assert_int_equal(acquire(bench, &second, (const int[]){ 2, 1 }, 2, 100, -1), 0);
	assert_int_equal(acquire(bench, &third, (const int[]){ 1 }, 1, 100, -1), 0);
	assert_string_equal(second.told, "queued:1");
	assert_string_equal(third.told, "queued:2");
	bench_wait(bench, *first.told);
	assert_string_equal(first.told, "granted");
	client_gone(&first);
	bench_wait(bench, second.n_fds == 2);
	assert_string_equal(second.told, "queued:1 queued:0 granted");
	assert_string_equal(third.told, "queued:2 queued:1 queued:0");
	assert_int_equal(third.n_fds, 0);
	client_gone(&second);
	bench_wait(bench, third.n_fds == 1);
	client_gone(&third);
}

static void test_busy(void **state)
{
	struct bench *bench = *state;
	struct client first, second, other;

	assert_int_equal(acquire(bench, &first, all_groups, 1, 0, -1), 0);
	/* Not started yet, and still it was there first. */
	assert_int_equal(acquire(bench, &second, all_groups, 2, 0, -1), REFUSED);
	assert_int_equal(second.refusal.kind, REFUSAL_GROUP_BUSY);
	bench_wait(bench, *first.told);
	assert_int_equal(acquire(bench, &second, all_groups, 2, 0, -1), REFUSED);
	assert_int_equal(second.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(second.refusal.group, 1);
	assert_int_equal(second.refusal.owner_pid, user.pid);
	assert_int_equal(second.refusal.owner_uid, user.uid);
	/* A wait ends. */
	assert_int_equal(acquire(bench, &second, all_groups, 2, 0.05, -1), 0);
	/* Who does not compete passes. */
	assert_int_equal(acquire(bench, &other, (const int[]){ 3 }, 1, 0, -1), 0);
	bench_wait(bench, !second.lease);
	assert_string_equal(second.told, "queued:0 refused");
	assert_int_equal(second.refusal.kind, REFUSAL_TIMED_OUT);
	assert_int_equal(second.refusal.owner_pid, user.pid);
	bench_wait(bench, *other.told);
	assert_string_equal(other.told, "granted");
	client_gone(&first);
	client_gone(&other);
}

/* Something gets in the way between the request and its turn: who wants to wait, waits. */
static void test_waits_for_late_obstacle(void **state)
{
	struct bench *bench = *state;
	struct client taker, client, hasty;
	struct answer answer;

	assert_int_equal(take(bench, &taker, 1), 0);
	bench_wait(bench, *taker.told);
	client_close(&taker);
	assert_int_equal(acquire(bench, &client, all_groups, 1, 100, -1), 0);
	assert_int_equal(acquire(bench, &hasty, (const int[]){ 2 }, 1, 0, -1), 0);
	assert_int_equal(give_back(bench, 1, &answer), 0);
	bench_wait(bench, client.n_fds == 1 && *hasty.told);
	assert_string_equal(client.told, "queued:0 granted");
	assert_true(answer.is_there);
	client_gone(&client);
	client_gone(&hasty);
}

static void test_two_releases(void **state)
{
	struct bench *bench = *state;
	struct client client;
	struct answer first, second, stranger = { 0 };
	struct settling *settling;
	char token[33];
	const struct subject other = { .uid = 1001 };

	assert_int_equal(acquire(bench, &client, all_groups, 3, 0, -1), 0);
	bench_wait(bench, *client.told);
	strcpy(token, client.lease->token);
	client_close(&client);
	assert_int_equal(broker_release(bench->broker, &other, token, on_settled, &stranger,
				 &settling, &stranger.refusal),
		REFUSED);
	assert_int_equal(release(bench, token, &first), 0);
	assert_int_equal(release(bench, token, &second), 0);
	assert_int_equal(broker_release(bench->broker, &other, token, on_settled, &stranger,
				 &settling, &stranger.refusal),
		REFUSED);
	bench_wait(bench, first.is_there);
	assert_true(second.is_there);
	assert_int_equal(first.refusal.kind, REFUSAL_NONE);
	assert_int_equal(second.refusal.kind, REFUSAL_NONE);
	assert_false(stranger.is_there);
}

static void test_release_forgotten(void **state)
{
	struct bench *bench = *state;
	struct client client;
	struct answer answer = { 0 };
	struct settling *settling;

	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	client_close(&client);
	assert_int_equal(broker_release(bench->broker, &user, client.lease->token, on_settled,
				 &answer, &settling, &answer.refusal),
		0);
	settling_forget(settling, &answer);
	bench_wait(bench, bench_is_idle(bench));
	assert_false(answer.is_there);
}

/* --- lingering ------------------------------------------------------------------------- */

static void test_lingering(void **state)
{
	struct bench *bench = *state;
	struct client client, other;
	struct answer answer;
	char token[33];

	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	bench_wait(bench, *client.told);
	strcpy(token, client.lease->token);
	close(client.fds[1]);
	client.n_fds = 1; /* group 1 stays open */
	assert_int_equal(release(bench, token, &answer), 0);
	bench_wait(bench, answer.is_there);
	assert_int_equal(answer.n_lingering, 1);
	assert_int_equal(answer.refusal.kind, REFUSAL_NONE);
	assert_string_equal(bench_owner(bench, 1), "lingering");
	assert_string_equal(bench_binding(bench, 1), "taken");
	assert_int_equal(broker_holder(bench->broker, bench_group(bench, 1))->pid, user.pid);
	check_device(bench, BENCH_NIC_2, "e1000 (null)");
	check_device(bench, BENCH_NIC_A, "vfio-pci vfio-pci");
	/* Other groups are not touched by it. */
	assert_int_equal(acquire(bench, &other, (const int[]){ 2 }, 1, 0, -1), 0);
	bench_wait(bench, *other.told);
	assert_string_equal(other.told, "granted");
	client_gone(&other);
	assert_int_equal(acquire(bench, &other, all_groups, 1, 0, -1), REFUSED);
	assert_int_equal(other.refusal.kind, REFUSAL_GROUP_BUSY);
	assert_int_equal(give_back(bench, 1, &answer), 0);
	bench_wait(bench, answer.is_there);
	assert_int_equal(answer.n_lingering, 1);
	/* Who waits for it gets it when the last process closes it. */
	assert_int_equal(acquire(bench, &other, all_groups, 1, 100, -1), 0);
	bench_idle(bench, 10);
	assert_string_equal(other.told, "queued:0");
	client_close(&client);
	bench_wait(bench, other.n_fds == 1);
	client_gone(&other);
}

static void test_stop_lingering(void **state)
{
	struct bench *bench = *state;
	struct client client;

	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	bench_wait(bench, *client.told);
	bench_shut_down(bench);
	bench_wait(bench, bench_has_stopped(bench));
	check_device(bench, BENCH_NIC_A, "vfio-pci vfio-pci");
	assert_true(bench_has_journal(bench, 1));
	/* The next daemon shows it; the process ends; an administrator returns it. */
	bench_restart(bench);
	assert_string_equal(bench_binding(bench, 1), "failed");
	client_close(&client);
	check_returned(bench, 1);
	check_returned(bench, 2);
}

static void test_lingering_goes(void **state)
{
	struct bench *bench = *state;
	struct client client;

	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	broker_disconnect(bench->broker, client.lease);
	client.lease = NULL;
	bench_wait(bench, strcmp(bench_owner(bench, 1), "lingering") == 0);
	bench_remove_group(bench, 1, true);
	bench_wait(bench, bench_is_idle(bench));
	client_close(&client);
}

/* --- the kernel does not let go -------------------------------------------------------- */

/* At every k, until the deadline has passed: the group is stuck, or lingers, and nothing else is.
 */
static void test_late(void **state)
{
	/* Each second costs one: some of each kind of operation. */
	static const unsigned at[] = { 1, 6, 12, 16, 20, 25, 30 };
	struct bench *bench = *state;

	bench->broker->config->take_timeout_seconds = 1;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct client client, other;

		mock_kernel_hang(bench->kernel, at[i]);
		assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
		bench_wait(bench, *client.told);
		if (strcmp(client.told, "granted") == 0) {
			client_gone(&client);
			bench_wait(bench, mock_kernel_hangs(bench->kernel));
			bench_wait(bench, strcmp(bench_binding(bench, 1), "stuck") == 0 ||
						  strcmp(bench_owner(bench, 1), "lingering") == 0);
		} else {
			assert_string_equal(client.told, "refused");
			assert_int_equal(client.refusal.kind, REFUSAL_STUCK);
			assert_int_equal(client.refusal.group, 1);
		}
		assert_string_not_equal(bench_owner(bench, 1), "leased");
		if (strcmp(bench_binding(bench, 1), "stuck") == 0) {
			struct answer answer;
			/* At once, and named. */
			assert_int_equal(acquire(bench, &other, all_groups, 1, 100, -1), REFUSED);
			assert_int_equal(other.refusal.kind, REFUSAL_STUCK);
			assert_true(other.refusal.step != STEP_NONE);
			assert_int_equal(give_back(bench, 1, &answer), REFUSED);
			assert_int_equal(answer.refusal.kind, REFUSAL_STUCK);
		}
		assert_int_equal(acquire(bench, &other, (const int[]){ 2 }, 1, 0, -1), 0);
		bench_wait(bench, *other.told);
		assert_string_equal(other.told, "granted");
		client_gone(&other);
		mock_kernel_let_go(bench->kernel);
		bench_wait(bench, bench_is_idle(bench));
	}
}

/* One of two is stuck: the other goes back, and the client is told. A stop does not wait. */
static void test_late_one_of_two(void **state)
{
	struct bench *bench = *state;
	struct client client;

	bench->broker->config->take_timeout_seconds = 1;
	mock_kernel_hang(bench->kernel, 24);
	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_string_equal(client.told, "refused");
	assert_int_equal(client.refusal.kind, REFUSAL_STUCK);
	int stuck = client.refusal.group;
	assert_string_equal(bench_binding(bench, stuck), "stuck");
	assert_string_equal(bench_owner(bench, stuck), "none");
	assert_string_equal(bench_binding(bench, 3 - stuck), "host");
	bench_shut_down(bench);
	bench_wait(bench, bench_has_stopped(bench));
	assert_true(mock_kernel_hangs(bench->kernel));
	mock_kernel_let_go(bench->kernel);
}

/* --- without a lease ------------------------------------------------------------------- */

static void test_take_and_return(void **state)
{
	struct bench *bench = *state;
	struct client taker, client;

	assert_int_equal(take(bench, &taker, 1), 0);
	bench_wait(bench, *taker.told);
	assert_string_equal(taker.told, "granted");
	client_close(&taker);
	assert_string_equal(bench_binding(bench, 1), "taken");
	assert_string_equal(bench_owner(bench, 1), "none");
	assert_true(TAILQ_EMPTY(&bench->broker->book.leases));
	assert_true(bench_has_journal(bench, 1));
	/* A second time, and for a lease: nothing is written. */
	unsigned n_writes = mock_kernel_n_writes(bench->kernel);
	assert_int_equal(take(bench, &taker, 1), 0);
	bench_wait(bench, *taker.told);
	client_close(&taker);
	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_string_equal(client.told, "granted");
	client_gone(&client);
	bench_wait(bench, strcmp(bench_owner(bench, 1), "none") == 0);
	assert_string_equal(bench_binding(bench, 1), "taken");
	assert_int_equal(mock_kernel_n_writes(bench->kernel), n_writes);
	check_returned(bench, 1);
}

/* A lease on a group that was taken before: it hangs, is given up, and nobody is in its way. */
static void test_taken_then_given_up(void **state)
{
	struct bench *bench = *state;
	struct client taker, client, next;

	assert_int_equal(take(bench, &taker, 1), 0);
	bench_wait(bench, *taker.told);
	client_close(&taker);
	for (unsigned k = 1; k <= 2; k++) {
		mock_kernel_hang(bench->kernel, k);
		assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
		bench_wait(bench, mock_kernel_hangs(bench->kernel));
		client_gone(&client);
		assert_int_equal(acquire(bench, &next, all_groups, 1, 100, -1), 0);
		bench_idle(bench, 2);
		mock_kernel_let_go(bench->kernel);
		bench_wait(bench, next.n_fds == 1);
		client_gone(&next);
		bench_wait(bench, strcmp(bench_owner(bench, 1), "none") == 0);
	}
	/* And it leaves the host while that is so. */
	mock_kernel_hang(bench->kernel, 1);
	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, mock_kernel_hangs(bench->kernel));
	bench_remove_group(bench, 1, true);
	bench_wait(bench, *client.told);
	assert_int_equal(client.refusal.kind, REFUSAL_NO_SUCH_GROUP);
	mock_kernel_let_go(bench->kernel);
}

/* A group that was taken before is ready and leaves, while the other is still being taken. */
static void test_ready_group_goes(void **state)
{
	struct bench *bench = *state;
	struct client taker, client;

	assert_int_equal(take(bench, &taker, 2), 0);
	bench_wait(bench, *taker.told);
	client_close(&taker);
	mock_kernel_hang(bench->kernel, 20);
	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	bench_wait(bench, mock_kernel_hangs(bench->kernel));
	assert_string_equal(bench_binding(bench, 1), "taking");
	bench_remove_group(bench, 2, true);
	bench_idle(bench, 2);
	mock_kernel_let_go(bench->kernel);
	bench_wait(bench, !client.lease);
	assert_string_equal(client.told, "gone refused");
	assert_int_equal(client.refusal.kind, REFUSAL_NO_SUCH_GROUP);
	assert_int_equal(client.refusal.group, 2);
}

/* Take has no listener for events. */
static void test_take_interrupted(void **state)
{
	struct bench *bench = *state;
	struct client taker;

	mock_kernel_hang(bench->kernel, 12);
	assert_int_equal(take(bench, &taker, 1), 0);
	bench_wait(bench, mock_kernel_hangs(bench->kernel));
	broker_request_release(bench->broker, taker.lease, "please");
	bench_remove_device(bench, BENCH_NIC_B);
	bench_idle(bench, 3);
	broker_end(bench->broker, taker.lease, "enough");
	mock_kernel_let_go(bench->kernel);
	bench_wait(bench, *taker.told);
	assert_string_equal(taker.told, "refused");
}

static void test_return_of_others(void **state)
{
	struct bench *bench = *state;
	struct answer answer;

	/* What the host has is where it belongs. */
	assert_int_equal(give_back(bench, 1, &answer), 0);
	assert_true(answer.is_there);
	/* What another tool took is its own. */
	testbed_set_driver(bench->bed, "/sys/devices/" BENCH_NIC_3, "vfio-pci");
	bench_wait(bench, strcmp(bench_binding(bench, 3), "taken") == 0);
	assert_int_equal(give_back(bench, 3, &answer), REFUSED);
	assert_int_equal(answer.refusal.kind, REFUSAL_NOT_SUPPORTED);
	testbed_set_driver(bench->bed, "/sys/devices/" BENCH_NIC_3, "e1000");
	bench_wait(bench, strcmp(bench_binding(bench, 3), "host") == 0);
}

/* --- granted --------------------------------------------------------------------------- */

static void test_groups_leave_lease(void **state)
{
	struct bench *bench = *state;
	struct client client, waiter;

	assert_int_equal(acquire(bench, &client, all_groups, 2, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_int_equal(acquire(bench, &waiter, all_groups, 2, 100, -1), 0);
	bench_remove_group(bench, 2, true);
	bench_wait(bench, !waiter.lease);
	assert_int_equal(waiter.refusal.kind, REFUSAL_NO_SUCH_GROUP);
	assert_string_equal(client.told, "granted gone");
	assert_int_equal(client.lease->n_groups, 1);
	assert_int_equal(lease_book_count(&bench->broker->book, LEASE_GRANTED), 1);
	assert_false(bench_has_journal(bench, 2));
	bench_remove_group(bench, 1, true);
	bench_wait(bench, !client.lease);
	assert_string_equal(client.told, "granted gone gone gone gone ended");
	client_close(&client);
}

/* The number is used again while the old group's child still runs. */
static void test_number_again(void **state)
{
	struct bench *bench = *state;
	struct client client, next;

	mock_kernel_hang(bench->kernel, 10);
	assert_int_equal(acquire(bench, &client, (const int[]){ 3 }, 1, 0, -1), 0);
	bench_wait(bench, mock_kernel_hangs(bench->kernel) || *client.told);
	bench_remove_group(bench, 3, true);
	_cleanup_free_ char *syspath = testbed_add_pci(bench->bed, BENCH_NIC_3, 3, "e1000");
	testbed_set_attribute(bench->bed, syspath, "driver_override", "(null)\n");
	testbed_send(bench->bed, syspath, "change");
	const struct group *old = client.lease->groups[0];
	bench_wait(bench, inventory_group(bench->inventory, 3) &&
				  inventory_group(bench->inventory, 3) != old);
	/* The new one waits for the old one's end. */
	assert_int_equal(acquire(bench, &next, (const int[]){ 3 }, 1, 100, -1), 0);
	bench_idle(bench, 3);
	assert_string_equal(next.told, "queued:0");
	mock_kernel_let_go(bench->kernel);
	bench_wait(bench, next.n_fds == 1);
	assert_true(bench_has_journal(bench, 3));
	check_device(bench, BENCH_NIC_3, "vfio-pci vfio-pci");
	client_close(&client);
	client_gone(&next);
}

static pid_t start_holder(int *pidfd)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	*pidfd = pidfd_open(pid, 0);
	assert_true(*pidfd >= 0);
	return pid;
}

static double cpu_seconds(void)
{
	struct rusage usage;
	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void test_holder(void **state)
{
	struct bench *bench = *state;
	struct client client;
	int pidfd;

	/* It outlives the connection, and ends with the process. */
	pid_t pid = start_holder(&pidfd);
	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, pidfd), 0);
	bench_wait(bench, *client.told);
	assert_true(client.lease->follows_process);
	client_gone(&client);
	bench_idle(bench, 3);
	assert_string_equal(bench_owner(bench, 1), "leased");
	kill(pid, SIGKILL);
	bench_wait(bench, bench_is_idle(bench));

	/* It ends while the take stands still: the loop does not spin meanwhile. */
	pid = start_holder(&pidfd);
	mock_kernel_hang(bench->kernel, 15);
	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, pidfd), 0);
	bench_wait(bench, mock_kernel_hangs(bench->kernel));
	kill(pid, SIGKILL);
	bench_idle(bench, 3);
	double before = cpu_seconds();
	bench_idle(bench, 50);
	assert_true(cpu_seconds() - before < 0.25);
	mock_kernel_let_go(bench->kernel);
	bench_wait(bench, !client.lease);
	assert_string_equal(client.told, "refused");
	assert_int_equal(client.refusal.kind, REFUSAL_INTERRUPTED);
}

/* Rules that change while a lease waits count; those that it was granted by do not. */
static void test_reconfigured(void **state)
{
	struct bench *bench = *state;
	struct client client, waiter;
	struct config *config;
	struct refusal refusal;

	assert_int_equal(acquire(bench, &client, all_groups, 1, 0, -1), 0);
	bench_wait(bench, *client.told);
	assert_int_equal(acquire(bench, &waiter, all_groups, 1, 100, -1), 0);
	assert_int_equal(config_read(NULL, &config, &refusal), 0);
	broker_reconfigure(bench->broker, config);
	bench_wait(bench, !waiter.lease);
	assert_int_equal(waiter.refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_string_equal(client.told, "granted");
	client_gone(&client);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lease),
		TEST(test_in_use),
		TEST(test_denied),
		TEST(test_each_failure),
		TEST(test_each_death),
		TEST(test_all_or_none),
		TEST(test_rollback_fails),
		TEST(test_client_goes),
		TEST(test_revoke),
		TEST(test_group_goes),
		TEST(test_groups_go),
		TEST(test_group_goes_silently),
		TEST(test_member_goes),
		TEST(test_administrator_comes),
		TEST(test_daemon_stops),
		TEST(test_no_lease_while_stopping),
		TEST(test_stops_after_disconnect),
		TEST(test_broker_freed),
		TEST(test_opposite_order),
		TEST(test_busy),
		TEST(test_waits_for_late_obstacle),
		TEST(test_two_releases),
		TEST(test_release_forgotten),
		TEST(test_lingering),
		TEST(test_stop_lingering),
		TEST(test_lingering_goes),
		TEST(test_late),
		TEST(test_late_one_of_two),
		TEST(test_take_and_return),
		TEST(test_taken_then_given_up),
		TEST(test_ready_group_goes),
		TEST(test_take_interrupted),
		TEST(test_return_of_others),
		TEST(test_groups_leave_lease),
		TEST(test_number_again),
		TEST(test_holder),
		TEST(test_reconfigured),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
