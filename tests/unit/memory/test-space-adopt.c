/* A space is taken over from a daemon that is no more: what is known of it afterwards. */
#include "space-bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void start(void)
{
	bench_start();
	assert_int_equal(bench_add_memory(), 0);
	assert_int_equal(bench_add_memory(), 0);
	assert_int_equal(bench_map(1, 0, 16, 0x300000), 0);
	assert_int_equal(bench_map(1, 8, 16, 0x100000), 0);
	assert_int_equal(bench_attach(10), 0);
	assert_int_equal(bench_attach(11), 0);
	assert_int_equal(bench_attach(20), 0);
	assert_int_equal(bench_map(1, 30, 4, 0x200000), 0);
}

static void test_all_is_known(void **state)
{
	(void)state;
	struct space_description before, after;

	start();
	uint64_t owed = bench_owed();
	space_describe(bench.space, &before);
	bench_kill_daemon(NULL);
	assert_int_equal(bench.state, SPACE_LIVE);
	bench_check();
	assert_int_equal(bench_owed(), owed);
	space_describe(bench.space, &after);
	assert_int_equal(after.n_memories, 2);
	assert_int_equal(after.n_mappings, 3);
	assert_true(after.mapped_bytes == 36 * BENCH_PAGE);
	assert_int_equal(after.n_containers, 2);
	assert_int_equal(after.page_sizes, before.page_sizes);
	assert_int_equal(after.n_ranges, before.n_ranges);
	assert_int_equal(after.containers[0].n_groups, 2);
	assert_int_equal(after.containers[1].groups[0], 20);
	/* Mappings are there to collide, and numbers of memories are not given again. */
	assert_int_equal(bench_map(1, 0, 16, 0x20f000), 0);
	assert_int_equal(bench_map(1, 0, 16, 0x308000), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_MAPPING_OVERLAPS);
	struct space_map map = { 2, 0, 0x400000, BENCH_PAGE, true, true };
	assert_int_equal(bench_map_exactly(&map), REFUSED);
	assert_int_equal(bench_remove_memory(2), 0);
	bench_kill_daemon(NULL);
	assert_int_equal(bench_add_memory(), REFUSED); /* the third is unsuitable */
	assert_int_equal(bench.refusal.kind, REFUSAL_MEMORY_UNSUITABLE);
	assert_int_equal(bench_unmap(0, 1 << 20), 0);
	assert_int_equal(bench.answer.n_mappings, 4);
	bench_check();
}

static void test_a_device_is_open(void **state)
{
	(void)state;
	start();
	bench.has_device_open[20] = true;
	assert_int_equal(bench_detach(20, true), 0);
	assert_true(bench.is_waiting[20]);
	bench_kill_daemon(NULL);
	assert_true(bench.is_waiting[20]);
	assert_true(space_group_is_let_go(bench.space, 20));
	assert_false(space_group_is_let_go(bench.space, 10));
	bench_check();
	bench_close_devices();
	assert_int_equal(bench_audit(), 0);
	assert_false(space_has_group(bench.space, 20));
	bench_check();
}

static bool is_orphaned(void)
{
	return bench.n_changed > 0;
}

static void check_orphaned(uint64_t owed)
{
	bench_wait(is_orphaned);
	assert_int_equal(bench.state, SPACE_ORPHANED);
	assert_int_equal(bench_owed(), owed);
	assert_int_equal(account_kernel_bill(ledger_host(bench.ledger)), 2 * 36);
	assert_true(bench.is_waiting[10] && bench.is_waiting[11] && bench.is_waiting[20]);
	bench_close_devices();
	bench_wait(bench_is_over);
	assert_int_equal(bench_owed(), 0);
}

/* Who asks what a space has waits until that is known. */
static unsigned n_described;
static enum space_state described_state;
static unsigned described_mappings;

static void describe(struct space *space, const struct space_answer *answer, void *userdata)
{
	struct space_description description;

	assert_int_equal(answer->result, 0);
	assert_ptr_equal(userdata, &n_described);
	space_describe(space, &description);
	described_mappings = description.n_mappings;
	described_state = space_state(space);
	n_described++;
	ev_break(bench.loop, EVBREAK_ONE);
}

static void ask_at_once(void)
{
	assert_int_equal(space_state(bench.space), SPACE_STARTING);
	assert_int_equal(space_wait(bench.space, describe, &n_described), 0);
	assert_int_equal(n_described, 0);
}

static bool is_described(void)
{
	return n_described > 0;
}

static void test_who_asks_waits(void **state)
{
	(void)state;
	start();
	n_described = 0;
	bench_kill_daemon(ask_at_once);
	bench_wait(is_described);
	assert_int_equal(described_state, SPACE_LIVE);
	assert_int_equal(described_mappings, 3);
	assert_int_equal(n_described, 1);
}

static void test_who_asks_waits_for_the_book(void **state)
{
	(void)state;
	start();
	uint64_t owed = bench_owed();
	n_described = 0;
	fake_die(&fake_host.keepers[bench.keeper]);
	bench_kill_daemon(ask_at_once);
	bench_wait(is_described);
	assert_int_equal(described_state, SPACE_ORPHANED);
	assert_int_equal(described_mappings, 3);
	check_orphaned(owed);
	assert_int_equal(n_described, 1);
}

static void test_its_keeper_has_ended(void **state)
{
	(void)state;
	start();
	uint64_t owed = bench_owed();
	fake_die(&fake_host.keepers[bench.keeper]);
	bench_kill_daemon(NULL);
	check_orphaned(owed);
}

/* The number of its process is another one's now. */
static void test_it_is_not_its_keeper(void **state)
{
	(void)state;
	start();
	uint64_t owed = bench_owed();
	bench.start_ticks++;
	bench_kill_daemon(NULL);
	check_orphaned(owed);
}

static void test_its_keeper_is_of_another_version(void **state)
{
	(void)state;
	start();
	uint64_t owed = bench_owed();
	fake_host.version++;
	bench_kill_daemon(NULL);
	check_orphaned(owed);
}

/* It was orphaned before, and one group was free already. */
static void test_it_was_orphaned_before(void **state)
{
	(void)state;
	start();
	uint64_t owed = bench_owed();
	bench.n_changed = 0;
	fake_die(&fake_host.keepers[bench.keeper]);
	bench_wait(is_orphaned);
	bench_kill_daemon(NULL);
	check_orphaned(owed);
}

/* Nothing of it was ever attached. */
static void test_its_keeper_has_ended_with_nothing(void **state)
{
	(void)state;
	bench_start();
	assert_int_equal(bench_add_memory(), 0);
	assert_int_equal(bench_map(1, 0, 16, 0x300000), 0);
	fake_die(&fake_host.keepers[bench.keeper]);
	bench_kill_daemon(NULL);
	assert_true(bench.has_ended);
}

/* Its book is not what it was charged by. */
static void test_its_book_lies(void **state)
{
	(void)state;
	start();
	bench.run_pages = 1;
	bench.mappings[0].n_runs--;
	bench_kill_daemon(NULL);
	assert_int_equal(bench.state, SPACE_ORPHANED);
	bench_close_devices();
	bench_wait(bench_is_over);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_all_is_known),
		TEST(test_a_device_is_open),
		TEST(test_who_asks_waits),
		TEST(test_who_asks_waits_for_the_book),
		TEST(test_its_keeper_has_ended),
		TEST(test_it_is_not_its_keeper),
		TEST(test_its_keeper_is_of_another_version),
		TEST(test_it_was_orphaned_before),
		TEST(test_its_keeper_has_ended_with_nothing),
		TEST(test_its_book_lies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
