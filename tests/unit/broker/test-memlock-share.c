/* What processes of one user have of each other's leases, where the kernel bills the user. */
#include "daemon/base/util.h"
#include "daemon/broker/memlock-process.h"
#include "daemon/broker/memlock-share.h"
#include "tests/unit/broker/fake-memlock.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ALICE 1000
#define BOB 1001
#define INFINITE RLIM_INFINITY

/* The i-th process has 8 and 64 by itself, and pid 100 + i. */
enum { N_PROCESSES = 3, N_LEASES = 5 };

struct bench {
	struct memlock_book book;
	struct memlock leases[N_LEASES];
	struct fake_process *processes[N_PROCESSES];
	size_t n_fds;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	fake_memlock_reset();
	memlock_book_init(&bench->book);
	bench->book.ops = &fake_memlock_ops;
	for (int i = 0; i < N_PROCESSES; i++)
		bench->processes[i] = fake_process_add(100 + i, 8, 64);
	bench->n_fds = count_fds();
	*state = bench;
	return 0;
}

/* Whatever a test did: nothing is left when all leases are over. */
static int tear_down(void **state)
{
	struct bench *bench = *state;

	fake_memlock.fail_at = fake_memlock.end_at = fake_memlock.ends_after = 0;
	for (size_t i = 0; i < N_LEASES; i++) {
		memlock_end(&bench->book, &bench->leases[i]);
		assert_true(LIST_EMPTY(&bench->leases[i].shares));
		assert_int_equal(bench->leases[i].bytes, 0);
	}
	assert_true(LIST_EMPTY(&bench->book.processes));
	assert_true(LIST_EMPTY(&bench->book.of_users));
	assert_int_equal(count_fds(), bench->n_fds);
	free(bench);
	return 0;
}

static int raise_lease(struct bench *bench, size_t lease, size_t process, uint64_t bytes)
{
	const struct fake_process *fake = bench->processes[process];

	memlock_of_user(&bench->leases[lease], ALICE);
	return memlock_raise(
		&bench->book, &bench->leases[lease], fake->pid, fake->start_ticks, bytes);
}

static int lower_lease(struct bench *bench, size_t lease)
{
	return memlock_lower(&bench->book, &bench->leases[lease]);
}

static int end_lease(struct bench *bench, size_t lease)
{
	return memlock_end(&bench->book, &bench->leases[lease]);
}

/* What each has more than by itself. */
static void assert_more(const struct bench *bench, rlim_t first, rlim_t second, rlim_t third)
{
	const rlim_t more[N_PROCESSES] = { first, second, third };

	for (size_t i = 0; i < N_PROCESSES; i++) {
		assert_int_equal(bench->processes[i]->limit.rlim_cur, 8 + more[i]);
		assert_int_equal(bench->processes[i]->limit.rlim_max, 64 + more[i]);
	}
}

static void test_sum(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	assert_more(bench, 100, 0, 0);
	assert_int_equal(raise_lease(bench, 1, 1, 2000), 0);
	assert_more(bench, 2100, 2100, 0);
	assert_int_equal(raise_lease(bench, 2, 2, 30000), 0);
	assert_more(bench, 32100, 32100, 32100);
	/* More for one of them. */
	assert_int_equal(raise_lease(bench, 0, 0, 5), 0);
	assert_more(bench, 32105, 32105, 32105);
	/* What its holder has pinned may be pinned still: the others keep their share until then.
	 */
	assert_int_equal(lower_lease(bench, 1), 0);
	assert_more(bench, 32105, 0, 32105);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_more(bench, 30105, 0, 30105);
	/* Who comes while something is left of a lease that is over needs a share of it, too. */
	assert_int_equal(lower_lease(bench, 0), 0);
	assert_int_equal(raise_lease(bench, 1, 1, 2000), 0);
	assert_more(bench, 0, 32105, 32105);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_more(bench, 0, 32000, 32000);
	assert_int_equal(end_lease(bench, 2), 0);
	assert_more(bench, 0, 2000, 0);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_more(bench, 0, 0, 0);
}

/* Each has it once, however many leases it has itself. */
static void test_several_of_a_process(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	assert_int_equal(raise_lease(bench, 1, 0, 200), 0);
	assert_more(bench, 300, 0, 0);
	assert_int_equal(raise_lease(bench, 2, 1, 1000), 0);
	assert_more(bench, 1300, 1300, 0);
	assert_int_equal(raise_lease(bench, 3, 1, 2000), 0);
	assert_more(bench, 3300, 3300, 0);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_more(bench, 3200, 3200, 0);
	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	assert_more(bench, 3300, 3300, 0);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_more(bench, 0, 3000, 0);
}

/* Another user's, and those of groups, which the kernel bills the process for. */
static void test_others(void **state)
{
	struct bench *bench = *state;
	struct fake_process *process = bench->processes[0];

	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	memlock_of_user(&bench->leases[1], BOB);
	assert_int_equal(memlock_raise(&bench->book, &bench->leases[1], 101,
				 bench->processes[1]->start_ticks, 2000),
		0);
	assert_int_equal(memlock_raise(&bench->book, &bench->leases[2], 102,
				 bench->processes[2]->start_ticks, 30000),
		0);
	assert_more(bench, 100, 2000, 30000);
	/* Of the same process. */
	assert_int_equal(
		memlock_raise(&bench->book, &bench->leases[3], 100, process->start_ticks, 7), 0);
	assert_more(bench, 107, 2000, 30000);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_more(bench, 7, 2000, 30000);
}

/* The k-th prlimit(2): all have what they had, and what they have ends as it would have. */
static void test_failing_calls(void **state)
{
	struct bench *bench = *state;
	int n_failed = 0;

	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	assert_int_equal(raise_lease(bench, 1, 1, 2000), 0);
	fake_memlock.error = EPERM;
	for (int call = 1;; call++) {
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		int r = raise_lease(bench, 2, 2, 30000);
		fake_memlock.fail_at = 0;
		if (r == 0)
			break;
		assert_int_equal(r, -EPERM);
		assert_more(bench, 2100, 2100, 0);
		assert_null(bench->leases[2].part.process);
		assert_false(bench->leases[2].is_listed);
		n_failed++;
	}
	/* A look and a change of its own, of one at each of the others, of what it has of each. */
	assert_int_equal(n_failed, 2 * (1 + 2 + 2));
	assert_more(bench, 32100, 32100, 32100);
	for (int call = 1; call <= 2 * 3; call++) {
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		assert_int_equal(raise_lease(bench, 2, 2, 5), -EPERM);
		fake_memlock.fail_at = 0;
		assert_more(bench, 32100, 32100, 32100);
		assert_int_equal(bench->leases[2].bytes, 30000);
	}
	/* Lowering goes on, and says what failed. */
	fake_memlock.n_calls = 0;
	fake_memlock.fail_at = 2;
	assert_int_equal(end_lease(bench, 0), -EPERM);
	fake_memlock.fail_at = 0;
	assert_int_equal(bench->processes[1]->limit.rlim_cur, 8 + 32000);
	assert_int_equal(bench->processes[2]->limit.rlim_cur, 8 + 32000);
	assert_null(bench->leases[0].part.process);
}

/* Before, in and after each call another one ends: it gets nothing, and is in nobody's way. */
static void test_other_ends(void **state)
{
	struct bench *bench = *state;

	for (int call = 3; call <= 4; call++) {
		fake_memlock_reset();
		for (int i = 0; i < 2; i++)
			bench->processes[i] = fake_process_add(100 + i, 8, 64);
		assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
		fake_memlock.n_calls = 0;
		fake_memlock.end_at = call;
		assert_int_equal(raise_lease(bench, 1, 1, 2000), 0);
		assert_int_equal(fake_process_of(100)->limit.rlim_cur, 5);
		assert_int_equal(bench->processes[1]->limit.rlim_cur, 8 + 2100);
		assert_int_equal(end_lease(bench, 0), -ESRCH);
		assert_int_equal(bench->processes[1]->limit.rlim_cur, 8 + 2000);
		assert_int_equal(end_lease(bench, 1), 0);
		assert_int_equal(bench->processes[1]->limit.rlim_cur, 8);
	}
}

static void test_no_limit(void **state)
{
	struct bench *bench = *state;

	bench->processes[0]->limit = (struct rlimit){ 8, INFINITE };
	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	assert_int_equal(raise_lease(bench, 1, 1, 2000), 0);
	assert_int_equal(bench->processes[0]->limit.rlim_cur, 8 + 2100);
	assert_int_equal(bench->processes[0]->limit.rlim_max, INFINITE);
	assert_int_equal(bench->processes[1]->limit.rlim_max, 64 + 2100);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_int_equal(bench->processes[0]->limit.rlim_cur, 8 + 100);
	assert_int_equal(bench->processes[0]->limit.rlim_max, INFINITE);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_int_equal(bench->processes[0]->limit.rlim_cur, 8);
}

/* One sum does not fit: nobody has more. */
static void test_too_much(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_lease(bench, 0, 0, INFINITE - 1000), 0);
	assert_int_equal(raise_lease(bench, 1, 1, 936), -EOVERFLOW);
	assert_more(bench, INFINITE - 1000, 0, 0);
	assert_int_equal(raise_lease(bench, 1, 1, 935), 0);
	assert_more(bench, INFINITE - 65, INFINITE - 65, 0);
}

/* Somebody has made it his own to say: from then on, shares are of what comes later. */
static void test_raised_by_somebody(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	assert_int_equal(raise_lease(bench, 1, 1, 2000), 0);
	bench->processes[0]->limit = (struct rlimit){ 50000, 60000 };
	assert_int_equal(raise_lease(bench, 2, 2, 7), 0);
	assert_int_equal(bench->processes[0]->limit.rlim_cur, 50007);
	assert_int_equal(bench->processes[0]->limit.rlim_max, 60007);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_int_equal(bench->processes[0]->limit.rlim_cur, 50000);
	assert_int_equal(bench->processes[0]->limit.rlim_max, 60000);
	assert_int_equal(bench->processes[2]->limit.rlim_cur, 8 + 7);
}

/* The next daemon knows who has what, and takes it away as this one would have. */
static void test_adopted(void **state)
{
	struct bench *bench = *state;
	struct memlock_note notes[N_PROCESSES];
	static const uint64_t bytes[] = { 100, 2000, 30000 };

	for (size_t i = 0; i < N_PROCESSES; i++)
		assert_int_equal(raise_lease(bench, i, i, bytes[i]), 0);
	assert_int_equal(lower_lease(bench, 2), 0);
	for (size_t i = 0; i < N_PROCESSES; i++) {
		memlock_note(&bench->leases[i], &notes[i]);
		assert_int_equal(notes[i].bytes[MEMLOCK_SOFT], i < 2 ? bytes[i] : 0);
		memlock_leave(&bench->leases[i]);
	}
	assert_more(bench, 32100, 32100, 0);
	assert_true(LIST_EMPTY(&bench->book.processes));

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(memlock_adopt(&bench->book, &bench->leases[i], 100 + (pid_t)i,
					 bench->processes[i]->start_ticks, &notes[i], bytes[i]),
			0);
	assert_int_equal(memlock_adopt_lowered(&bench->book, &bench->leases[2], bytes[2]), 0);
	assert_more(bench, 32100, 32100, 0);
	assert_int_equal(end_lease(bench, 2), 0);
	assert_more(bench, 2100, 2100, 0);
	assert_int_equal(raise_lease(bench, 0, 0, 5), 0);
	assert_more(bench, 2105, 2105, 0);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_more(bench, 0, 2000, 0);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_more(bench, 0, 0, 0);
}

/* Killed between the record and the raise, in the middle, or with the holder: the same end. */
static void test_adopted_halfway(void **state)
{
	struct bench *bench = *state;
	struct memlock_note note;

	for (size_t i = 0; i < N_PROCESSES; i++)
		memlock_of_user(&bench->leases[i], ALICE);
	assert_int_equal(raise_lease(bench, 0, 0, 100), 0);
	memlock_note(&bench->leases[0], &note);
	memlock_leave(&bench->leases[0]);
	/* Of the second one, nothing has been raised but its share in the first. */
	bench->processes[0]->limit = (struct rlimit){ 8 + 2100, 64 + 2100 };
	assert_int_equal(memlock_adopt(&bench->book, &bench->leases[0], 100,
				 bench->processes[0]->start_ticks, &note, 100),
		0);
	note = (struct memlock_note){ .own = { 8, 64 }, .bytes = { 2000, 2000 } };
	assert_int_equal(memlock_adopt(&bench->book, &bench->leases[1], 101,
				 bench->processes[1]->start_ticks, &note, 2000),
		0);
	bench->processes[2]->has_ended = true;
	assert_int_equal(memlock_adopt(&bench->book, &bench->leases[2], 102,
				 bench->processes[2]->start_ticks, &note, 30000),
		-ESRCH);
	assert_int_equal(end_lease(bench, 2), 0);
	assert_int_equal(end_lease(bench, 1), 0);
	assert_int_equal(bench->processes[0]->limit.rlim_cur, 108);
	assert_int_equal(end_lease(bench, 0), 0);
	assert_more(bench, 0, 0, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sum),
		TEST(test_several_of_a_process),
		TEST(test_others),
		TEST(test_failing_calls),
		TEST(test_other_ends),
		TEST(test_no_limit),
		TEST(test_too_much),
		TEST(test_raised_by_somebody),
		TEST(test_adopted),
		TEST(test_adopted_halfway),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
