/* What becomes of a process's limit, as leases come and go and others change it. */
#include "daemon/broker/memlock.h"

#include "daemon/base/util.h"
#include "tests/unit/broker/fake-memlock.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PID 100
#define OTHER 101
#define INFINITE RLIM_INFINITY

enum { N_PARTS = 3 };

struct bench {
	struct memlock_book book;
	struct memlock parts[N_PARTS];
	struct fake_process *process;
	size_t n_fds;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	fake_memlock_reset();
	memlock_book_init(&bench->book);
	bench->book.ops = &fake_memlock_ops;
	bench->process = fake_process_add(PID, 8, 64);
	bench->n_fds = count_fds();
	*state = bench;
	return 0;
}

/* Whatever a test did: no process and no descriptor is left when no part is. */
static int tear_down(void **state)
{
	struct bench *bench = *state;

	fake_memlock.fail_at = fake_memlock.end_at = fake_memlock.ends_after = 0;
	for (size_t i = 0; i < N_PARTS; i++)
		memlock_lower(&bench->book, &bench->parts[i]);
	assert_true(LIST_EMPTY(&bench->book.processes));
	assert_int_equal(count_fds(), bench->n_fds);
	free(bench);
	return 0;
}

static int raise_part(struct bench *bench, size_t part, uint64_t bytes)
{
	return memlock_raise(
		&bench->book, &bench->parts[part], PID, bench->process->start_ticks, bytes);
}

static int lower_part(struct bench *bench, size_t part)
{
	int r = memlock_lower(&bench->book, &bench->parts[part]);
	assert_null(bench->parts[part].part.process);
	return r;
}

static void set(struct bench *bench, rlim_t soft, rlim_t hard)
{
	bench->process->limit = (struct rlimit){ soft, hard };
}

#define assert_limit(process, soft, hard)                                                          \
	do {                                                                                       \
		assert_int_equal((process)->limit.rlim_cur, soft);                                 \
		assert_int_equal((process)->limit.rlim_max, hard);                                 \
	} while (0)

static void test_raised_and_lowered(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_part(bench, 0, 256), 0);
	assert_limit(bench->process, 264, 320);
	assert_int_equal(raise_part(bench, 0, 100), 0);
	assert_limit(bench->process, 364, 420);
	assert_int_equal(raise_part(bench, 0, 0), 0);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 8, 64);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 8, 64);
}

/* In each order of their ends. */
static void test_parts_add_up(void **state)
{
	struct bench *bench = *state;
	static const uint64_t bytes[N_PARTS] = { 100, 2000, 30000 };
	static const size_t orders[][N_PARTS] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
		{ 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		rlim_t sum = 0;
		for (size_t j = 0; j < N_PARTS; j++) {
			assert_int_equal(raise_part(bench, j, bytes[j]), 0);
			sum += bytes[j];
			assert_limit(bench->process, 8 + sum, 64 + sum);
		}
		for (size_t j = 0; j < N_PARTS; j++) {
			assert_int_equal(lower_part(bench, orders[i][j]), 0);
			sum -= bytes[orders[i][j]];
			assert_limit(bench->process, 8 + sum, 64 + sum);
		}
	}
}

static void test_no_limit_stays(void **state)
{
	struct bench *bench = *state;

	set(bench, 8, INFINITE);
	assert_int_equal(raise_part(bench, 0, 100), 0);
	assert_limit(bench->process, 108, INFINITE);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 8, INFINITE);
	set(bench, INFINITE, INFINITE);
	assert_int_equal(raise_part(bench, 0, 100), 0);
	assert_limit(bench->process, INFINITE, INFINITE);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, INFINITE, INFINITE);
}

/* What there was no limit on, somebody limits: none of that was ever ours. */
static void test_limited_meanwhile(void **state)
{
	struct bench *bench = *state;

	set(bench, INFINITE, INFINITE);
	assert_int_equal(raise_part(bench, 0, 100), 0);
	set(bench, 50, 60);
	assert_int_equal(raise_part(bench, 1, 7), 0);
	assert_limit(bench->process, 57, 67);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 57, 67);
	assert_int_equal(lower_part(bench, 1), 0);
	assert_limit(bench->process, 50, 60);
}

/* An administrator has raised it: it is as he wants it. */
static void test_raised_by_somebody(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_part(bench, 0, 100), 0);
	set(bench, 1000, INFINITE);
	assert_int_equal(raise_part(bench, 1, 7), 0);
	assert_limit(bench->process, 1007, INFINITE);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 1007, INFINITE);
	assert_int_equal(lower_part(bench, 1), 0);
	assert_limit(bench->process, 1000, INFINITE);
	/* By less than the part that he has made his own, too. */
	set(bench, 8, 64);
	assert_int_equal(raise_part(bench, 0, 100), 0);
	set(bench, 1000, 1000);
	assert_int_equal(raise_part(bench, 1, 7), 0);
	set(bench, 1050, 1050);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 1050, 1050);
	assert_int_equal(lower_part(bench, 1), 0);
	assert_limit(bench->process, 1050, 1050);
}

/* The process itself may raise the soft limit as far as the hard one goes, and no further. */
static void test_soft_raised_by_itself(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_part(bench, 0, 100), 0);
	set(bench, 164, 164);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 64, 64);
}

/* By a byte, so as to keep the rest; by more; below what it had by itself. */
static void test_lowered_by_itself(void **state)
{
	static const struct {
		struct rlimit set, left;
	} cases[] = {
		{ { 107, 163 }, { 8, 64 } },
		{ { 8, 163 }, { 8, 64 } },
		{ { 30, 70 }, { 8, 64 } },
		{ { 3, 164 }, { 3, 64 } },
		{ { 3, 9 }, { 3, 9 } },
		{ { 0, 0 }, { 0, 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *bench = *state;
		set(bench, 8, 64);
		assert_int_equal(raise_part(bench, 0, 100), 0);
		set(bench, cases[i].set.rlim_cur, cases[i].set.rlim_max);
		assert_int_equal(lower_part(bench, 0), 0);
		assert_limit(bench->process, cases[i].left.rlim_cur, cases[i].left.rlim_max);
	}
}

/* What it gave up is not given back by the next part, nor taken from it. */
static void test_lowered_between_parts(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_part(bench, 0, 100), 0);
	set(bench, 10, 70);
	assert_int_equal(raise_part(bench, 1, 1000), 0);
	assert_limit(bench->process, 1010, 1070);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 1008, 1064);
	set(bench, 4, 20);
	assert_int_equal(raise_part(bench, 2, 500), 0);
	assert_limit(bench->process, 504, 520);
	assert_int_equal(lower_part(bench, 1), 0);
	assert_limit(bench->process, 504, 520);
	assert_int_equal(lower_part(bench, 2), 0);
	assert_limit(bench->process, 4, 20);
}

static void test_too_much(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(raise_part(bench, 0, INFINITE - 64), -EOVERFLOW);
	assert_int_equal(raise_part(bench, 0, UINT64_MAX), -EOVERFLOW);
	assert_limit(bench->process, 8, 64);
	assert_int_equal(raise_part(bench, 0, INFINITE - 65), 0);
	assert_limit(bench->process, INFINITE - 57, INFINITE - 1);
	assert_int_equal(raise_part(bench, 1, 1), -EOVERFLOW);
	/* Nor what all of them were together, though it has given most of it up. */
	set(bench, 8, 64);
	assert_int_equal(raise_part(bench, 1, 1), -EOVERFLOW);
	assert_limit(bench->process, 8, 64);
}

/* Changed between the look and the change: who did it is heard, once, and all the time. */
static void test_changed_at_the_same_time(void **state)
{
	struct bench *bench = *state;

	fake_memlock.change = (struct rlimit){ 20, 40 };
	fake_memlock.n_changes = 1;
	assert_int_equal(raise_part(bench, 0, 100), 0);
	assert_limit(bench->process, 120, 140);
	fake_memlock.change = (struct rlimit){ 110, 140 };
	fake_memlock.n_changes = 1;
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 20, 40);

	fake_memlock.change = (struct rlimit){ 30, 30 };
	fake_memlock.n_changes = 8;
	assert_int_equal(raise_part(bench, 0, 100), -EAGAIN);
	assert_limit(bench->process, 30, 30);
	assert_int_equal(fake_memlock.n_changes, 0);
	/* Nobody keeps anything by that. */
	assert_int_equal(raise_part(bench, 0, 100), 0);
	fake_memlock.change = (struct rlimit){ 130, 130 };
	fake_memlock.n_changes = 100;
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 30, 30);
}

/* Each prlimit(2), to the last: nothing has changed, and no part is left. */
static void test_failing_calls(void **state)
{
	struct bench *bench = *state;

	for (int call = 1; call <= 2; call++) {
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		fake_memlock.error = EPERM;
		assert_int_equal(raise_part(bench, 0, 100), -EPERM);
		assert_null(bench->parts[0].part.process);
		assert_limit(bench->process, 8, 64);
		assert_true(LIST_EMPTY(&bench->book.processes));
	}
	fake_memlock.fails_open = true;
	assert_int_equal(raise_part(bench, 0, 100), -EMFILE);
	fake_memlock.fails_open = false;
	fake_memlock.n_calls = 0;
	fake_memlock.fail_at = 3;
	assert_int_equal(raise_part(bench, 0, 100), 0);
	assert_int_equal(raise_part(bench, 0, 50), -EPERM);
	assert_limit(bench->process, 108, 164);
	fake_memlock.fail_at = 0;
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 8, 64);
	for (int call = 1; call <= 2; call++) {
		set(bench, 8, 64);
		assert_int_equal(raise_part(bench, 0, 100), 0);
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		assert_int_equal(lower_part(bench, 0), -EPERM);
		assert_limit(bench->process, 108, 164);
		assert_true(LIST_EMPTY(&bench->book.processes));
		fake_memlock.fail_at = 0;
	}
}

/* Before, in, and after each prlimit(2). Whoever has its number then keeps what he has. */
static void test_ended(void **state)
{
	struct bench *bench = *state;

	for (int call = 1; call <= 2; call++) {
		struct fake_process *before, *other;
		fake_memlock_reset();
		bench->process = before = fake_process_add(PID, 8, 64);
		fake_memlock.end_at = call;
		assert_int_equal(raise_part(bench, 0, 100), -ESRCH);
		other = fake_process_of(PID);
		assert_ptr_not_equal(other, before);
		assert_limit(other, 5, 7);

		fake_memlock_reset();
		bench->process = fake_process_add(PID, 8, 64);
		fake_memlock.ends_after = call;
		assert_int_equal(raise_part(bench, 0, 100), -ESRCH);

		fake_memlock_reset();
		bench->process = fake_process_add(PID, 8, 64);
		assert_int_equal(raise_part(bench, 0, 100), 0);
		fake_memlock.n_calls = 0;
		fake_memlock.end_at = call;
		assert_int_equal(lower_part(bench, 0), -ESRCH);
		assert_limit(fake_process_of(PID), 5, 7);
	}
	assert_true(LIST_EMPTY(&bench->book.processes));

	bench->process->has_ended = true;
	fake_memlock.n_calls = 0;
	assert_int_equal(raise_part(bench, 0, 100), -ESRCH);
	assert_int_equal(fake_memlock.n_calls, 0);
}

/* Another one, with the number of one that had a part: each has its own. */
static void test_number_used_again(void **state)
{
	struct bench *bench = *state;
	unsigned long long first_ticks = bench->process->start_ticks;

	assert_int_equal(raise_part(bench, 0, 100), 0);
	bench->process->has_ended = true;
	bench->process = fake_process_add(PID, 1, 2);
	assert_int_equal(
		memlock_raise(&bench->book, &bench->parts[1], PID, first_ticks, 100), -ESRCH);
	assert_int_equal(raise_part(bench, 1, 10), 0);
	assert_limit(bench->process, 11, 12);
	assert_int_equal(raise_part(bench, 0, 100), -ESRCH);
	assert_int_equal(lower_part(bench, 0), -ESRCH);
	assert_limit(bench->process, 11, 12);
	assert_int_equal(lower_part(bench, 1), 0);
	assert_limit(bench->process, 1, 2);
}

static void test_two_processes(void **state)
{
	struct bench *bench = *state;
	struct fake_process *other = fake_process_add(OTHER, 30, 30);

	assert_int_equal(raise_part(bench, 0, 100), 0);
	assert_int_equal(
		memlock_raise(&bench->book, &bench->parts[1], OTHER, other->start_ticks, 5), 0);
	assert_limit(bench->process, 108, 164);
	assert_limit(other, 35, 35);
	assert_int_equal(lower_part(bench, 0), 0);
	assert_limit(bench->process, 8, 64);
	assert_limit(other, 35, 35);
	assert_int_equal(lower_part(bench, 1), 0);
	assert_limit(other, 30, 30);
}

/* The kernel itself: a child of our own, whose hard limit is raised nowhere. */
static void test_kernel(void **state)
{
	struct bench *bench = *state;
	unsigned long long ticks;
	struct rlimit limit;

	bench->book.ops = &memlock_kernel;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		for (;;)
			pause();
	assert_int_equal(process_start_time(child, &ticks), 0);
	/* Without privilege, the soft limit can go up to the hard one only. */
	assert_int_equal(prlimit(child, RLIMIT_MEMLOCK, &(struct rlimit){ 4096, 8192 }, NULL), 0);
	int r = memlock_raise(&bench->book, &bench->parts[0], child, ticks, 4096);
	assert_true(r == 0 || r == -EPERM);
	assert_int_equal(prlimit(child, RLIMIT_MEMLOCK, NULL, &limit), 0);
	assert_int_equal(limit.rlim_cur, r == 0 ? 8192 : 4096);
	assert_int_equal(limit.rlim_max, r == 0 ? 12288 : 8192);
	assert_int_equal(
		memlock_raise(&bench->book, &bench->parts[1], child, ticks + 1, 1), -ESRCH);
	assert_int_equal(memlock_lower(&bench->book, &bench->parts[0]), 0);
	assert_int_equal(prlimit(child, RLIMIT_MEMLOCK, NULL, &limit), 0);
	assert_int_equal(limit.rlim_cur, 4096);
	assert_int_equal(limit.rlim_max, 8192);
	/* It has ended, and its number is its own still. */
	kill(child, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(memlock_raise(&bench->book, &bench->parts[0], child, ticks, 4096), -ESRCH);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(memlock_raise(&bench->book, &bench->parts[0], child, ticks, 4096), -ESRCH);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_raised_and_lowered),
		TEST(test_parts_add_up),
		TEST(test_no_limit_stays),
		TEST(test_limited_meanwhile),
		TEST(test_raised_by_somebody),
		TEST(test_soft_raised_by_itself),
		TEST(test_lowered_by_itself),
		TEST(test_lowered_between_parts),
		TEST(test_too_much),
		TEST(test_changed_at_the_same_time),
		TEST(test_failing_calls),
		TEST(test_ended),
		TEST(test_number_used_again),
		TEST(test_two_processes),
		TEST(test_kernel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
