/* What is written is there for the next one. */
#include "fake-systemd.h"

#include "daemon/base/slots.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { FORMAT = 1 };

struct bench {
	struct ev_loop *loop;
	struct fake_systemd systemd;
	struct store *store;
	struct slots *slots;
};

static void store_start(struct bench *bench)
{
	int listen_fd;
	assert_int_equal(store_new(bench->loop, 8, &listen_fd, &bench->store), 0);
	assert_int_equal(listen_fd, -1);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	close_everything();
	int reserved[16];
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		reserved[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	bench->loop = ev_loop_new(EVFLAG_AUTO);
	fake_systemd_start(&bench->systemd, bench->loop);
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		close(reserved[i]);
	store_start(bench);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	slots_free(bench->slots);
	store_free(bench->store);
	fake_systemd_stop(&bench->systemd);
	ev_loop_destroy(bench->loop);
	free(bench);
	return 0;
}

static void restart(struct bench *bench)
{
	bench->slots = slots_free(bench->slots);
	bench->store = store_free(bench->store);
	ev_run(bench->loop, EVRUN_NOWAIT);
	fake_systemd_hand_over(&bench->systemd, -1);
	store_start(bench);
}

static void they_outlive_us(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 100, &bench->slots), 0);
	assert_int_equal(slots_count(bench->slots), 100);
	strcpy(slots_at(bench->slots, 0), "first");
	strcpy(slots_at(bench->slots, 99), "last");
	restart(bench);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 100, &bench->slots), 0);
	assert_string_equal(slots_at(bench->slots, 0), "first");
	assert_string_equal(slots_at(bench->slots, 99), "last");
	assert_int_equal(slots_free_one(bench->slots), 1);
	/* More of them, and fewer: none is lost. */
	restart(bench);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 5000, &bench->slots), 0);
	assert_int_equal(slots_count(bench->slots), 5000);
	/* By pages. */
	assert_in_range(slots_used(bench->slots), 100, 4096 / SLOT_BYTES * 4);
	assert_string_equal(slots_at(bench->slots, 99), "last");
	strcpy(slots_at(bench->slots, 4999), "very last");
	restart(bench);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 10, &bench->slots), 0);
	assert_int_equal(slots_count(bench->slots), 5000);
	assert_string_equal(slots_at(bench->slots, 4999), "very last");
	assert_int_equal(slots_used(bench->slots), 5000);
}

static void two_of_them(void **state)
{
	struct bench *bench = *state;
	struct slots *others;

	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 2, &bench->slots), 0);
	assert_int_equal(slots_open(bench->store, "ts", FORMAT, 2, &others), 0);
	strcpy(slots_at(bench->slots, 0), "connection");
	strcpy(slots_at(others, 0), "space");
	slots_free(others);
	restart(bench);
	assert_int_equal(slots_open(bench->store, "ts", FORMAT, 2, &bench->slots), 0);
	assert_string_equal(slots_at(bench->slots, 0), "space");
}

static void another_format_is_replaced(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 4, &bench->slots), 0);
	strcpy(slots_at(bench->slots, 0), "old");
	restart(bench);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT + 1, 4, &bench->slots), -EBADMSG);
	assert_int_equal(slots_free_one(bench->slots), 0);
	strcpy(slots_at(bench->slots, 0), "new");
	restart(bench);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT + 1, 4, &bench->slots), 0);
	assert_string_equal(slots_at(bench->slots, 0), "new");
}

static void what_is_no_memory_is_replaced(void **state)
{
	struct bench *bench = *state;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(store_put(bench->store, "tc", ends[0]), 0);
	close(ends[0]);
	close(ends[1]);
	restart(bench);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 4, &bench->slots), -EBADMSG);
	assert_int_equal(slots_count(bench->slots), 4);
}

static void without_a_store_it_is_memory(void **state)
{
	struct bench *bench = *state;
	int listen_fd;

	store_free(bench->store);
	assert_int_equal(store_new(bench->loop, 0, &listen_fd, &bench->store), 0);
	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 4, &bench->slots), 0);
	strcpy(slots_at(bench->slots, 3), "there");
	assert_int_equal(slots_count(bench->slots), 4);
}

static void the_lowest_is_free(void **state)
{
	struct bench *bench = *state;
	char zero[SLOT_BYTES] = { 0 };

	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 3, &bench->slots), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(slots_free_one(bench->slots), i);
		/* Its last byte makes it taken as well. */
		((char *)slots_at(bench->slots, (size_t)i))[SLOT_BYTES - 1] = 1;
	}
	assert_int_equal(slots_free_one(bench->slots), -1);
	slots_clear(bench->slots, 1);
	assert_memory_equal(slots_at(bench->slots, 1), zero, SLOT_BYTES);
	assert_int_equal(slots_free_one(bench->slots), 1);
	slots_clear(bench->slots, 0);
	assert_int_equal(slots_free_one(bench->slots), 0);
	/* By hand, too. */
	*(char *)slots_at(bench->slots, 0) = 1;
	*(char *)slots_at(bench->slots, 1) = 1;
	assert_int_equal(slots_free_one(bench->slots), -1);
	*(char *)slots_at(bench->slots, 0) = 0;
	assert_int_equal(slots_free_one(bench->slots), 0);
}

static bool is_in_memory(struct slots *slots, size_t index)
{
	unsigned char resident = 0;
	uintptr_t at = (uintptr_t)slots_at(slots, index);

	assert_int_equal(mincore((void *)(at & ~(uintptr_t)4095), 1, &resident), 0);
	return resident & 1;
}

static void what_nobody_uses_takes_no_memory(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(slots_open(bench->store, "tc", FORMAT, 200, &bench->slots), 0);
	if (sysconf(_SC_PAGESIZE) != 4096)
		return;
	for (size_t i = 0; i < 200; i++)
		*(char *)slots_at(bench->slots, i) = 1;
	/* The 32nd is the first of its page, as there is a head. */
	for (size_t i = 31; i < 62; i++)
		slots_clear(bench->slots, i);
	assert_true(is_in_memory(bench->slots, 31));
	slots_clear(bench->slots, 62);
	assert_false(is_in_memory(bench->slots, 31));
	assert_true(is_in_memory(bench->slots, 0) && is_in_memory(bench->slots, 63));
	assert_int_equal(slots_free_one(bench->slots), 31);
	*(char *)slots_at(bench->slots, 31) = 1;
	assert_int_equal(slots_free_one(bench->slots), 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(they_outlive_us, setup, teardown),
		cmocka_unit_test_setup_teardown(two_of_them, setup, teardown),
		cmocka_unit_test_setup_teardown(another_format_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_memory_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_store_it_is_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(the_lowest_is_free, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_uses_takes_no_memory, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
