/* What a space allows, and what it says where it does not. */
#include "space-bench.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define REFUSES(kind_, call)                                                                       \
	do {                                                                                       \
		assert_int_equal(call, REFUSED);                                                   \
		assert_int_equal(bench.refusal.kind, kind_);                                       \
		bench_check();                                                                     \
	} while (0)
#define WORKS(call)                                                                                \
	do {                                                                                       \
		assert_int_equal(call, 0);                                                         \
		bench_check();                                                                     \
	} while (0)

static void assert_range(unsigned at, uint64_t first, uint64_t last)
{
	assert_true(at < bench.refusal.n_ranges);
	assert_true(bench.refusal.ranges[at].first == first);
	assert_true(bench.refusal.ranges[at].last == last);
}

static void start(void)
{
	bench_start();
	WORKS(bench_add_memory());
	assert_int_equal(bench.answer.memory, 1);
	assert_int_equal(bench.answer.length_bytes, 64 * BENCH_PAGE);
	assert_int_equal(bench.answer.page_bytes, BENCH_PAGE);
	assert_true(bench.answer.is_writable);
}

static void test_memories(void **state)
{
	(void)state;
	start();
	WORKS(bench_add_memory());
	assert_false(bench.answer.is_writable);
	REFUSES(REFUSAL_MEMORY_UNSUITABLE, bench_add_memory());
	WORKS(bench_add_memory());
	WORKS(bench_add_memory());
	REFUSES(REFUSAL_TOO_MANY, bench_add_memory());
	assert_int_equal(bench.refusal.max, 4);
	WORKS(bench_map(1, 0, 1, 0));
	WORKS(bench_map(1, 0, 1, 0x1000));
	REFUSES(REFUSAL_MEMORY_MAPPED, bench_remove_memory(1));
	assert_int_equal(bench.refusal.number, 1);
	assert_int_equal(bench.refusal.max, 2);
	WORKS(bench_unmap(0, 2));
	WORKS(bench_remove_memory(1));
	REFUSES(REFUSAL_NO_SUCH_MEMORY, bench_remove_memory(1));
	REFUSES(REFUSAL_NO_SUCH_MEMORY, bench_map(1, 0, 1, 0));
	assert_int_equal(bench.refusal.number, 1);
}

static int map_bytes(uint64_t offset, uint64_t length, uint64_t iova)
{
	struct space_map map = { 1, offset, iova, length, true, true };
	return bench_map_exactly(&map);
}

static void test_numbers_of_a_map(void **state)
{
	(void)state;
	struct space_map nothing = { 1, 0, 0, BENCH_PAGE, false, false };

	start();
	REFUSES(REFUSAL_INVALID_PARAMETER, map_bytes(0, 0, 0));
	assert_string_equal(bench.refusal.text, "length");
	REFUSES(REFUSAL_INVALID_PARAMETER, bench_map_exactly(&nothing));
	assert_string_equal(bench.refusal.text, "read");
	REFUSES(REFUSAL_MISALIGNED, map_bytes(1, BENCH_PAGE, 0));
	REFUSES(REFUSAL_MISALIGNED, map_bytes(0, BENCH_PAGE + 512, 0));
	REFUSES(REFUSAL_MISALIGNED, map_bytes(0, BENCH_PAGE, 2048));
	assert_int_equal(bench.refusal.number, BENCH_PAGE);
	/* The last page that there is, and one more. */
	WORKS(map_bytes(0, BENCH_PAGE, UINT64_MAX - BENCH_PAGE + 1));
	REFUSES(REFUSAL_INVALID_PARAMETER,
		map_bytes(0, 2 * BENCH_PAGE, UINT64_MAX - BENCH_PAGE + 1));
	assert_string_equal(bench.refusal.text, "length");
	REFUSES(REFUSAL_INVALID_PARAMETER,
		map_bytes(UINT64_MAX - BENCH_PAGE + 1, 2 * BENCH_PAGE, 0));
	REFUSES(REFUSAL_MEMORY_UNSUITABLE, map_bytes(63 * BENCH_PAGE, 2 * BENCH_PAGE, 0));
	REFUSES(REFUSAL_MEMORY_UNSUITABLE, map_bytes(64 * BENCH_PAGE, BENCH_PAGE, 0));
	WORKS(map_bytes(63 * BENCH_PAGE, BENCH_PAGE, 0));
	REFUSES(REFUSAL_MAPPING_OVERLAPS, map_bytes(0, 2 * BENCH_PAGE, 0));
	assert_range(0, 0, BENCH_PAGE - 1);
}

static void test_memory_that_cannot_be_written(void **state)
{
	(void)state;
	struct space_map map = { 2, 0, 0, BENCH_PAGE, true, true };

	start();
	WORKS(bench_add_memory());
	REFUSES(REFUSAL_MEMORY_UNSUITABLE, bench_map_exactly(&map));
	map.write = false;
	WORKS(bench_map_exactly(&map));
}

static void test_as_many_as_are_allowed(void **state)
{
	(void)state;
	start();
	for (uint64_t i = 0; i < 8; i++)
		WORKS(bench_map(1, i, 1, i * BENCH_PAGE));
	REFUSES(REFUSAL_TOO_MANY, bench_map(1, 0, 1, 8 * BENCH_PAGE));
	assert_string_equal(bench.refusal.text, "max-mappings-per-space");
	assert_int_equal(bench.refusal.max, 8);
	WORKS(bench_unmap(3 * BENCH_PAGE, 1));
	WORKS(bench_map(1, 0, 1, 8 * BENCH_PAGE));
}

static void test_ranges_of_all_containers(void **state)
{
	(void)state;
	struct space_description description;

	start();
	space_describe(bench.space, &description);
	assert_int_equal(description.page_sizes, 0);
	assert_int_equal(description.n_ranges, 0);
	assert_false(description.is_coherent);
	WORKS(bench_attach(10));
	space_describe(bench.space, &description);
	assert_int_equal(description.page_sizes, 4096 | 1 << 20);
	assert_true(description.is_coherent);
	REFUSES(REFUSAL_IOVA_OUT_OF_RANGE, bench_map(1, 0, 1, 0xfee00000));
	assert_range(0, 0, 0xfedfffff);
	assert_range(1, 0xfef00000, 0xffffffffff);
	REFUSES(REFUSAL_IOVA_OUT_OF_RANGE, bench_map(1, 0, 2, 0xfedff000));
	WORKS(bench_map(1, 0, 1, 0xfedff000));
	WORKS(bench_attach(11));
	WORKS(bench_unmap(0xfedff000, 1));
	WORKS(bench_attach(20));
	/* The second container has less. */
	REFUSES(REFUSAL_IOVA_OUT_OF_RANGE, bench_map(1, 0, 1, 0xfedff000));
	assert_range(0, 0, 0xfddfffff);
	space_describe(bench.space, &description);
	assert_int_equal(description.page_sizes, 4096);
	assert_false(description.is_coherent);
	assert_int_equal(description.n_containers, 2);
	assert_int_equal(description.containers[0].n_groups, 2);
	assert_int_equal(description.containers[0].groups[1], 11);
	assert_int_equal(description.containers[1].n_groups, 1);
	assert_int_equal(description.containers[1].groups[0], 20);
	assert_int_equal(description.mappings_left, 100);
	WORKS(bench_map(1, 0, 1, 0));
	space_describe(bench.space, &description);
	assert_int_equal(description.mappings_left, 99);
	WORKS(bench_detach(20, false));
	WORKS(bench_map(1, 0, 1, 0xfedff000));
	space_describe(bench.space, &description);
	assert_int_equal(description.n_containers, 1);
	assert_int_equal(description.mapped_bytes, 2 * BENCH_PAGE);
}

static void test_unmap_of_whole_mappings(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	for (uint64_t i = 0; i < 3; i++)
		WORKS(bench_map(1, 10 * i, 4, 0x10000 * i));
	REFUSES(REFUSAL_UNMAP_SPLITS, bench_unmap(0, 3));
	assert_range(0, 0, 4 * BENCH_PAGE - 1);
	REFUSES(REFUSAL_UNMAP_SPLITS, bench_unmap(BENCH_PAGE, 0x20));
	REFUSES(REFUSAL_UNMAP_SPLITS, bench_unmap(0, 0x22));
	assert_range(0, 0x20000, 0x20000 + 4 * BENCH_PAGE - 1);
	REFUSES(REFUSAL_INVALID_PARAMETER, bench_unmap(0, 0));
	REFUSES(REFUSAL_INVALID_PARAMETER, bench_unmap(UINT64_MAX - BENCH_PAGE + 1, 2));
	WORKS(bench_unmap(0x40000, 100));
	assert_int_equal(bench.answer.n_mappings, 0);
	WORKS(bench_unmap(0, 0x24));
	assert_int_equal(bench.answer.n_mappings, 3);
	assert_int_equal(bench.answer.length_bytes, 12 * BENCH_PAGE);
	assert_int_equal(bench_owed(), 0);
}

/* The same page of a memory is one frame, wherever it is mapped. */
static void test_paid_for_once(void **state)
{
	(void)state;
	start();
	WORKS(bench_map(1, 0, 32, 0));
	assert_int_equal(bench.answer.new_owed_bytes, 0);
	assert_int_equal(bench_owed(), 0);
	WORKS(bench_attach(10));
	assert_int_equal(bench_owed(), 32);
	WORKS(bench_attach(20));
	assert_int_equal(bench_owed(), 32);
	assert_int_equal(account_kernel_bill(space_account(bench.space)), 64);
	WORKS(bench_map(1, 0, 32, 0x100000));
	assert_int_equal(bench.answer.new_owed_bytes, 0);
	assert_int_equal(bench_owed(), 32);
	WORKS(bench_map(1, 24, 16, 0x200000));
	assert_true(bench.answer.new_owed_bytes >= 8 * BENCH_PAGE);
	WORKS(bench_unmap(0, 32));
	WORKS(bench_unmap(0x200000, 16));
	assert_int_equal(bench_owed(), 32);
	WORKS(bench_audit());
	assert_int_equal(bench.answer.n_pages_different, 0);
	WORKS(bench_detach(10, false));
	assert_int_equal(bench_owed(), 32);
	assert_non_null(space_payer(bench.space));
	WORKS(bench_detach(20, false));
	assert_int_equal(bench_owed(), 0);
	assert_null(space_payer(bench.space));
}

static void assert_limit(
	const char *account, const char *limit, uint64_t pages, uint64_t used, uint64_t requested)
{
	assert_string_equal(bench.refusal.account, account);
	assert_string_equal(bench.refusal.limit, limit);
	assert_int_equal(bench.refusal.limit_bytes, pages * BENCH_PAGE);
	assert_int_equal(bench.refusal.state_bytes, used * BENCH_PAGE);
	assert_int_equal(bench.refusal.requested_bytes, requested * BENCH_PAGE);
}

static void test_limits(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	WORKS(bench_map(1, 0, 10, 0));
	bench.limits.owed = 20;
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_map(1, 10, 30, 0x100000));
	assert_limit("uid:1000", "owed-limit", 20, 10, 30);
	WORKS(bench_map(1, 0, 10, 0x200000));
	bench.limits = (struct limits){ LIMIT_NONE, 30 };
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_map(1, 0, 11, 0x100000));
	assert_limit("uid:1000", "kernel-bill-limit", 30, 20, 11);
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_attach(20));
	assert_limit("uid:1000", "kernel-bill-limit", 30, 20, 20);
	bench.limits.kernel_bill = LIMIT_NONE;
	ledger_set_host_limit(bench.ledger, 12);
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_map(1, 10, 30, 0x100000));
	assert_limit("host", "host-limit", 12, 10, 30);
}

/* What was mapped before does not cost anything; the first group has it cost all. */
static void test_limits_at_the_first_attach(void **state)
{
	(void)state;
	start();
	for (uint64_t i = 0; i < 3; i++)
		WORKS(bench_map(1, 20 * i, 10, i * 0x100000));
	bench.limits.owed = 25;
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_attach(10));
	assert_limit("uid:1000", "owed-limit", 25, 0, 30);
	assert_null(space_payer(bench.space));
	bench.limits.owed = 30;
	WORKS(bench_attach(10));
	assert_int_equal(bench_owed(), 30);
}

static void test_who_may_attach(void **state)
{
	(void)state;
	static const struct iova_range reserved[] = { { 0xfee00000, 0xfeefffff },
		{ 0x5000, 0x8fff } };
	struct space_group group = { .number = 10, .account = "uid:1000" };
	struct space_group bobs = { .number = 20, .account = "uid:1001" };

	start();
	WORKS(bench_map(1, 0, 1, 0x8000));
	group.reserved = reserved;
	group.n_reserved = 2;
	REFUSES(REFUSAL_RESERVED_REGION, bench_attach_for(&group));
	assert_int_equal(bench.refusal.group, 10);
	assert_range(0, 0x5000, 0x8fff);
	assert_range(1, 0x8000, 0x8fff);
	group.n_reserved = 1;
	WORKS(bench_attach_for(&group));
	REFUSES(REFUSAL_GROUP_BUSY, bench_attach_for(&group));
	REFUSES(REFUSAL_ACCESS_DENIED, bench_attach_for(&bobs));
	WORKS(bench_attach(20));
	WORKS(bench_attach(30));
	REFUSES(REFUSAL_TOO_MANY, bench_attach(40));
	assert_int_equal(bench.refusal.max, 3);
	WORKS(bench_attach(31));
	REFUSES(REFUSAL_NOT_ATTACHED, bench_detach(40, false));
	REFUSES(REFUSAL_NOT_ATTACHED, bench_get_device(40));
	assert_int_equal(bench.refusal.group, 40);
	WORKS(bench_get_device(31));
}

static void test_resets(void **state)
{
	(void)state;
	struct refusal refusal;
	char name[WIRE_NAME_SIZE + 1];

	start();
	REFUSES(REFUSAL_NOT_ATTACHED, bench_reset_device(10, false));
	WORKS(bench_attach(10));
	WORKS(bench_reset_device(10, false));
	WORKS(bench_reset_device(10, true));
	bench.n_wanted = REFUSAL_GROUPS + 5;
	WORKS(bench_reset_device(10, false));
	REFUSES(REFUSAL_RESET_REACHES, bench_reset_device(10, true));
	assert_int_equal(bench.refusal.n_groups, REFUSAL_GROUPS);
	assert_int_equal(bench.refusal.groups[0], 30);
	assert_string_equal(bench.refusal.device, "0000:00:05.0");
	bench.reset_error = -EOPNOTSUPP;
	REFUSES(REFUSAL_NOT_SUPPORTED, bench_reset_device(10, false));
	bench.reset_error = -ENODEV;
	REFUSES(REFUSAL_NO_SUCH_DEVICE, bench_reset_device(10, false));
	bench.reset_error = -EAGAIN;
	REFUSES(REFUSAL_SYSTEM, bench_reset_device(10, true));
	assert_int_equal(bench.refusal.errnum, EAGAIN);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(
		space_reset_device(bench.space, 10, name, false, NULL, NULL, &refusal), REFUSED);
	/* It names nobody: it is not to be trusted. */
	bench.reset_error = WIRE_GROUPS_WANTED;
	bench.n_wanted = 0;
	REFUSES(REFUSAL_SPACE_ENDED, bench_reset_device(10, true));
}

static void test_as_many_groups_as_a_container_may_have(void **state)
{
	(void)state;
	bench.settings.max_groups_per_container = 1;
	start();
	WORKS(bench_map(1, 0, 8, 0));
	WORKS(bench_attach(10));
	assert_int_equal(bench.answer.container, 0);
	WORKS(bench_attach(11));
	assert_int_equal(bench.answer.container, 1);
	assert_int_equal(account_kernel_bill(space_account(bench.space)), 16);
	assert_int_equal(bench_owed(), 8);
}

static void test_memory_that_changes(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	bench.n_changes = 3;
	WORKS(bench_map(1, 0, 10, 0));
	bench.n_changes = 4;
	bench.moved = 0;
	REFUSES(REFUSAL_MEMORY_CHANGED, bench_map(1, 20, 10, 0x100000));
	assert_range(0, 0x100000, 0x100000 + 10 * BENCH_PAGE - 1);
	/* What is pinned in one container cannot change: a hole was punched. */
	bench.n_changes = 1;
	bench.moved = 0;
	REFUSES(REFUSAL_MEMORY_CHANGED, bench_attach(20));
	assert_range(0, 0, 10 * BENCH_PAGE - 1);
	WORKS(bench_attach(20));
}

static void test_what_the_kernel_refuses(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	bench.map_error = -ENOSPC;
	REFUSES(REFUSAL_TOO_MANY, bench_map(1, 0, 1, 0));
	assert_string_equal(bench.refusal.text, "dma_entry_limit");
	assert_int_equal(bench.refusal.max, 100);
	bench.map_error = -ENOMEM;
	REFUSES(REFUSAL_SYSTEM, bench_map(1, 0, 1, 0));
	assert_int_equal(bench.refusal.errnum, ENOMEM);
	bench.map_error = 0;
	bench.attach_error = -EPERM;
	REFUSES(REFUSAL_SYSTEM, bench_attach(11));
	assert_int_equal(bench.refusal.errnum, EPERM);
	bench.attach_error = 0;
	WORKS(bench_attach(11));
	fake_host.no_container = -ENODEV;
	assert_int_equal(bench_attach(20), -ENODEV);
	bench_check();
}

static void test_holes_are_filled(void **state)
{
	(void)state;
	start();
	/* Nothing is to be there before something pins it. */
	bench.n_holes = 8;
	WORKS(bench_map(1, 0, 16, 0));
	assert_int_equal(bench.n_populated, 0);
	WORKS(bench_attach(10));
	assert_int_equal(bench.n_populated, 1);
	bench.n_holes = 3;
	WORKS(bench_map(1, 32, 4, 0x100000));
	assert_int_equal(bench.n_populated, 2);
	assert_int_equal(bench.n_punched, 0);
}

static void test_holes_that_cannot_be_filled(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	bench.n_holes = 8;
	bench.populate_fails = true;
	REFUSES(REFUSAL_MEMORY_UNSUITABLE, bench_map(1, 0, 16, 0));
	assert_int_equal(bench.n_punched, 1);
	bench.populate_fails = false;

	bench.populate_dies = true;
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_map(1, 0, 16, 0));
	assert_string_equal(bench.refusal.limit, "memory.max");
	assert_string_equal(bench.refusal.account, "/client");
	assert_int_equal(bench.refusal.requested_bytes, 8 * BENCH_PAGE);
	assert_int_equal(bench.n_punched, 2);

	/* It is seen before anything is filled. */
	fake_host.no_room = true;
	REFUSES(REFUSAL_LIMIT_EXCEEDED, bench_map(1, 0, 16, 0));
	assert_int_equal(bench.refusal.limit_bytes, 1 << 20);
	assert_int_equal(bench.n_populated, 2);

	/* And not at all where there is something already. */
	bench.n_holes = 0;
	WORKS(bench_map(1, 0, 16, 0));
}

static void test_holes_again_and_again(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	bench.n_holes = 1;
	bench.keeps_holes = true;
	REFUSES(REFUSAL_MEMORY_CHANGED, bench_map(1, 0, 16, 0));
	assert_int_equal(bench.n_populated, 3);
}

/* Undone by the next daemon until its answer is being sent, and not from then on. */
static void test_answered_is_done(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	WORKS(bench_map(1, 0, 16, 0));
	assert_int_not_equal(bench.work_before_answer, 0);
	assert_int_equal(bench.work_in_answer, 0);
	WORKS(bench_detach(10, false));
	assert_int_not_equal(bench.work_before_answer, 0);
	assert_int_equal(bench.work_in_answer, 0);
}

/* Closed, and somebody only looks at the file: asked again. */
static void test_detach_of_a_group_just_closed(void **state)
{
	(void)state;
	start();
	WORKS(bench_map(1, 0, 16, 0));
	WORKS(bench_attach(10));
	bench.n_busy = 5;
	WORKS(bench_detach(10, false));
	assert_int_equal(bench.n_asked_to_leave, 6);
	assert_false(space_has_group(bench.space, 10));
	assert_int_equal(bench_owed(), 0);
}

/* While it is to be asked again, its keeper dies. */
static void test_detach_pauses_for_a_dead_keeper(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	bench.n_busy = 2;
	bench.dies_when_busy = true;
	REFUSES(REFUSAL_SPACE_ENDED, bench_detach(10, false));
}

static void test_detach_of_a_group_in_use(void **state)
{
	(void)state;
	start();
	WORKS(bench_map(1, 0, 16, 0));
	WORKS(bench_attach(10));
	bench.has_device_open[10] = true;
	REFUSES(REFUSAL_GROUP_BUSY, bench_detach(10, false));
	assert_int_equal(bench.n_asked_to_leave, 6);
	assert_int_equal(bench.n_let_go, 0);
	WORKS(bench_detach(10, true));
	assert_true(bench.is_waiting[10]);
	REFUSES(REFUSAL_NOT_ATTACHED, bench_detach(10, false));
	REFUSES(REFUSAL_NOT_ATTACHED, bench_get_device(10));
	WORKS(bench_detach(10, true));
	assert_int_equal(bench.n_let_go, 1);
	/* Its pins live on, and are paid for. */
	assert_int_equal(bench_owed(), 16);
	bench_close_devices();
	WORKS(bench_audit());
	assert_int_equal(bench_owed(), 0);
	assert_false(space_has_group(bench.space, 10));

	WORKS(bench_attach(10));
	WORKS(bench_detach(10, true));
	assert_int_equal(bench.n_let_go, 2);
	assert_false(bench.is_waiting[10]);
}

/* Nothing is pinned after that, though a device stays open. */
static void test_destroy_with_a_device_open(void **state)
{
	(void)state;
	start();
	WORKS(bench_attach(10));
	WORKS(bench_attach(11));
	WORKS(bench_map(1, 0, 16, 0));
	bench.has_device_open[10] = true;
	space_destroy(bench.space, "the client has gone");
	assert_int_equal(space_state(bench.space), SPACE_ENDING);
	REFUSES(REFUSAL_SPACE_ENDED, bench_map(1, 0, 1, 0x100000));
	assert_string_equal(bench.refusal.text, "the client has gone");
	bench_wait(bench_is_over);
	assert_true(bench.is_waiting[10]);
	assert_false(bench.is_waiting[11]);
	assert_int_equal(bench_owed(), 0);
}

static void count(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	int *results = userdata;
	results[answer->result == REFUSED ? (int)answer->refusal->kind : REFUSAL_NONE]++;
}

static void test_destroy_while_others_wait(void **state)
{
	(void)state;
	int results[REFUSAL_SYSTEM + 1] = { 0 };
	struct refusal refusal;

	start();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(space_audit(bench.space, count, results, &refusal), 0);
	assert_int_equal(space_detach(bench.space, 7, true, count, results, &refusal), 0);
	space_destroy(bench.space, "enough");
	space_destroy(bench.space, "again");
	bench_wait(bench_is_over);
	assert_int_equal(results[REFUSAL_INTERRUPTED], 3);
	assert_int_equal(results[REFUSAL_NONE], 1);
}

static void test_destroyed_before_it_has_started(void **state)
{
	(void)state;
	static const struct subject client = { .pid = 1 };

	start();
	bench_destroy();
	fake_host.is_silent = true;
	bench.has_ended = false;
	assert_int_equal(space_new(bench.loop, bench.ledger, "S2", &client, &bench.settings,
				 &bench_hooks, &bench, &bench.space),
		0);
	assert_int_equal(space_state(bench.space), SPACE_STARTING);
	bench_destroy();
}

static void test_not_started(void **state)
{
	(void)state;
	static const struct subject client = { .pid = 1 };

	fake_host.spawn_fails = -EAGAIN;
	assert_int_equal(space_new(bench.loop, bench.ledger, "S2", &client, &bench.settings,
				 &bench_hooks, &bench, &bench.space),
		-EAGAIN);
	assert_null(bench.space);
}

static void test_forgotten(void **state)
{
	(void)state;
	int results[REFUSAL_SYSTEM + 1] = { 0 };
	struct refusal refusal;

	start();
	WORKS(bench_attach(10));
	assert_int_equal(
		space_get_device(bench.space, 10, "0000:00:05.0", count, results, &refusal), 0);
	assert_int_equal(
		space_get_device(bench.space, 10, "0000:00:05.0", count, results, &refusal), 0);
	space_forget(bench.space, results);
	WORKS(bench_audit());
	assert_int_equal(results[REFUSAL_NONE], 0);
}

/* Two spaces of one account: the second pays for nothing that the first has. */
static void test_two_spaces(void **state)
{
	(void)state;
	struct space *first;

	start();
	WORKS(bench_map(1, 0, 16, 0));
	WORKS(bench_attach(10));
	first = bench.space;
	/* A host of its own for the model; the ledger is one. */
	memset(bench.mappings, 0, sizeof(bench.mappings));
	memset(bench.groups, 0, sizeof(bench.groups));
	memset(bench.containers, 0, sizeof(bench.containers));
	bench_start();
	assert_int_equal(bench_add_memory(), 0);
	assert_int_equal(bench_attach(20), 0);
	assert_int_equal(bench_map(1, 8, 16, 0), 0);
	assert_int_equal(bench.answer.new_owed_bytes, 8 * BENCH_PAGE);
	assert_int_equal(account_owed(space_account(bench.space)), 16);
	assert_int_equal(bench_owed(), 24);
	space_destroy(bench.space, "the second");
	bench_wait(bench_is_over);
	assert_int_equal(bench_owed(), 16);

	/* The first has a keeper that the model has forgotten: it dies, as good as any. */
	bench.space = first;
	bench.has_ended = false;
	kill(space_keeper_pid(first), SIGKILL);
	while (space_state(first) == SPACE_LIVE)
		ev_run(bench.loop, EVRUN_ONCE);
	bench_destroy();
}

/* What cannot be taken back by the book stays charged, loudly. */
static void test_a_book_that_lies(void **state)
{
	(void)state;
	start();
	WORKS(bench_map(1, 0, 16, 0));
	WORKS(bench_attach(10));
	bench.book_lies = true;
	/* As soon as it is seen that it does, the keeper is not asked again. */
	assert_int_equal(bench_unmap(0, 16), REFUSED);
	assert_int_equal(bench.refusal.kind, REFUSAL_SPACE_ENDED);
	assert_int_equal(space_state(bench.space), SPACE_ORPHANED);
	assert_int_equal(bench_owed(), 16);
	unsigned n_changed = bench.n_changed;
	bench_close_devices();
	while (bench.n_changed == n_changed)
		ev_run(bench.loop, EVRUN_ONCE);
	assert_int_equal(space_state(bench.space), SPACE_ORPHANED);
	assert_int_equal(bench_owed(), 16);
	/* The end of the daemon. */
	bench.space = space_free(bench.space);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_memories),
		TEST(test_numbers_of_a_map),
		TEST(test_memory_that_cannot_be_written),
		TEST(test_as_many_as_are_allowed),
		TEST(test_ranges_of_all_containers),
		TEST(test_unmap_of_whole_mappings),
		TEST(test_paid_for_once),
		TEST(test_limits),
		TEST(test_limits_at_the_first_attach),
		TEST(test_who_may_attach),
		TEST(test_resets),
		TEST(test_as_many_groups_as_a_container_may_have),
		TEST(test_memory_that_changes),
		TEST(test_what_the_kernel_refuses),
		TEST(test_holes_are_filled),
		TEST(test_holes_that_cannot_be_filled),
		TEST(test_holes_again_and_again),
		TEST(test_answered_is_done),
		TEST(test_detach_of_a_group_just_closed),
		TEST(test_detach_pauses_for_a_dead_keeper),
		TEST(test_detach_of_a_group_in_use),
		TEST(test_destroy_with_a_device_open),
		TEST(test_destroy_while_others_wait),
		TEST(test_destroyed_before_it_has_started),
		TEST(test_not_started),
		TEST(test_forgotten),
		TEST(test_two_spaces),
		TEST(test_a_book_that_lies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
