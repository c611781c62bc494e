/* Mappings: made in all containers or in none, with the frames that the book says. */
#include "bench.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void test_what_cannot_be_prepared(void **state)
{
	struct bench *bench = *state;
	const struct wire_request good = {
		.memory = MEMORY,
		.mapping = 5,
		.offset = PAGE,
		.iova = 0x10000,
		.length = 2 * PAGE,
		.flags = WIRE_READ_ALLOWED,
	};
	struct wire_request bad[13];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].memory = 2;
	bad[1].length = 0;
	bad[2].length = PAGE - 1;
	bad[3].offset = 1;
	bad[4].iova = 0x10001;
	bad[5].length = (MEMORY_PAGES + 1) * PAGE;
	bad[6].offset = (MEMORY_PAGES - 1) * PAGE;
	bad[7].offset = UINT64_MAX - PAGE + 1;
	bad[8].iova = UINT64_MAX - PAGE + 1;
	bad[9].flags = 0;
	bad[10].flags = WIRE_READ_ALLOWED | WIRE_FORCE;
	bad[11].length = UINT64_MAX - PAGE + 1;
	bad[12].offset = MEMORY_PAGES * PAGE;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = mapping_prepare(&bench->keeping, &bad[i], &bench->done);
		if (r != (i == 0 ? -ENOENT : -EINVAL))
			fail_msg("request %zu: %d", i, r);
		assert_null(keeping_mapping(&bench->keeping, 5));
	}

	/* The last page of all. */
	struct wire_request last = good;
	last.iova = UINT64_MAX - 2 * PAGE + 1;
	assert_int_equal(mapping_prepare(&bench->keeping, &last, &bench->done), 0);
	/* The number is taken. */
	assert_int_equal(mapping_prepare(&bench->keeping, &good, &bench->done), -EINVAL);
	assert_int_equal(keeping_remove_memory(&bench->keeping, MEMORY), -EBUSY);
	mapping_forget(&bench->keeping, keeping_mapping(&bench->keeping, 5));
	assert_int_equal(keeping_remove_memory(&bench->keeping, MEMORY), 0);
	assert_int_equal(keeping_remove_memory(&bench->keeping, MEMORY), -ENOENT);
}

static void test_permission_is_the_descriptors(void **state)
{
	struct bench *bench = *state;
	struct wire_request request = {
		.memory = 2, .mapping = 1, .length = PAGE, .flags = WIRE_WRITE_ALLOWED
	};
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", bench->memory);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(keeping_add_memory(&bench->keeping, 2, fd, &bench->done), 0);
	assert_int_equal(bench->done.flags, WIRE_READ_ALLOWED);
	assert_int_equal(mapping_prepare(&bench->keeping, &request, &bench->done), -EACCES);
	request.flags = WIRE_READ_ALLOWED;
	assert_int_equal(mapping_prepare(&bench->keeping, &request, &bench->done), 0);
	/* Numbers are not given twice. */
	assert_int_equal(keeping_add_memory(&bench->keeping, 2, bench_fd(), &bench->done), -EINVAL);
}

static void test_frames_are_in_the_book(void **state)
{
	struct bench *bench = *state;
	frame_run runs[8];
	uint64_t n_pages = 0;

	assert_int_equal(bench_prepare(bench, 1, 0, MEMORY_PAGES, 0), 0);
	assert_in_range(bench->done.n_runs, 4, 5); /* 16 pages each */
	assert_int_equal(
		book_read(bench->book, bench->done.book_offset, runs, bench->done.n_runs), 0);
	for (size_t i = 0; i < bench->done.n_runs; i++) {
		assert_int_equal(
			run_first(runs[i]), fake_frame(bench_page(bench, (unsigned)n_pages)));
		n_pages += run_length(runs[i]);
	}
	assert_int_equal(n_pages, MEMORY_PAGES);
}

static void test_holes(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(fallocate(bench->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 10 * PAGE, 3 * PAGE),
		0);
	assert_int_equal(bench_prepare(bench, 1, 0, 11, 0), WIRE_HOLES);
	assert_int_equal(bench->done.n_pages, 1);
	struct mapping *mapping = keeping_mapping(&bench->keeping, 1);
	assert_non_null(mapping);
	assert_int_equal(bench->fake.n_populated, 0);
	/* It cannot be made, nor replayed, before its frames are known. */
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), -EINVAL);
	assert_int_equal(pwrite(bench->memory, "x", 1, 10 * PAGE), 1);
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), 0);
	assert_true(mapping->part.n_runs > 0);
	/* Punched again: the book forgets. */
	assert_int_equal(
		fallocate(bench->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), WIRE_HOLES);
	assert_int_equal(mapping->part.n_runs, 0);
}

static void test_frames_that_cannot_be_read(void **state)
{
	struct bench *bench = *state;

	bench->fake.populate_error = -EFAULT;
	assert_int_equal(bench_prepare(bench, 1, 0, 4, 0), WIRE_UNSUITABLE);
	assert_null(keeping_mapping(&bench->keeping, 1));
	bench->fake.populate_error = -ENOMEM;
	assert_int_equal(bench_prepare(bench, 1, 0, 4, 0), -ENOMEM);
	bench->fake.populate_error = 0;

	bench->fake.absent = bench_page(bench, 2);
	bench->fake.absent_reads = 1000;
	assert_int_equal(bench_prepare(bench, 1, 0, 4, 0), WIRE_CHANGED);
	assert_true(TAILQ_EMPTY(&bench->keeping.book.parts));
	bench->fake.absent_reads = 3;
	assert_int_equal(bench_prepare(bench, 1, 0, 4, 0), 0);
	mapping_forget(&bench->keeping, keeping_mapping(&bench->keeping, 1));

	assert_int_equal(ftruncate(bench->memory, 20 * PAGE), 0);
	assert_int_equal(bench_prepare(bench, 1, 0, 4, 0), WIRE_UNSUITABLE);
	assert_non_null(strstr(bench->done.text, "shorter"));
	assert_null(keeping_mapping(&bench->keeping, 1));
}

/* For every k: what fails in the k-th of three containers is as if it had not been asked. */
static void test_made_in_all_or_none(void **state)
{
	struct bench *bench = *state;
	struct fake_io *fake = &bench->fake;

	for (uint32_t group = 1; group <= 3; group++)
		bench_attach_new(bench, group);
	bench_map(bench, 1, 0, 8, 0x100000);
	assert_int_equal(bench_prepare(bench, 2, 4, 20, 0x200000), 0);
	struct mapping *mapping = keeping_mapping(&bench->keeping, 2);
	const struct fake_state before = fake->state;

	for (unsigned k = 1; k <= 3; k++) {
		fake->n_calls = 0;
		fake->fail_at = k;
		assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), -ENOMEM);
		assert_int_equal(bench->done.container, k - 1);
		assert_memory_equal(&fake->state, &before, sizeof(before));
		assert_false(mapping->is_made);
	}
	fake->fail_at = 0;
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), 0);
	assert_true(mapping->is_made);
	for (int i = 0; i < 3; i++) {
		const struct fake_container *container =
			&fake->state.containers[bench->keeping.containers[i].handle];
		assert_int_equal(container->n_mappings, 2);
		assert_int_equal(container->mappings[1].iova, 0x200000);
		assert_int_equal(container->mappings[1].length, 20 * PAGE);
		assert_ptr_equal(container->mappings[1].address, bench_page(bench, 4));
		assert_int_equal(
			container->mappings[1].flags, WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED);
	}
	/* Twice is not right. */
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), -EINVAL);
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), -EBUSY);

	mapping_unmake(&bench->keeping, mapping);
	assert_memory_equal(&fake->state, &before, sizeof(before));
	mapping_forget(&bench->keeping, mapping);
	assert_null(keeping_mapping(&bench->keeping, 2));
}

static void move_all(struct fake_io *fake)
{
	fake->moved_by++;
}

static void test_frames_that_move_before_the_pin(void **state)
{
	struct bench *bench = *state;
	struct fake_io *fake = &bench->fake;

	bench_attach_new(bench, 1);
	bench_attach_new(bench, 2);
	assert_int_equal(bench_prepare(bench, 1, 0, 8, 0), 0);
	struct mapping *mapping = keeping_mapping(&bench->keeping, 1);
	const struct fake_state before = fake->state;

	fake->on_map = move_all;
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), WIRE_CHANGED);
	assert_memory_equal(&fake->state, &before, sizeof(before));
	/* One page only, and one that is not there any more. */
	fake->on_map = NULL;
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), 0);
	fake->moved = bench_page(bench, 7);
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), WIRE_CHANGED);
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), 0);
	fake->absent = bench_page(bench, 0);
	fake->absent_reads = 1000;
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), WIRE_CHANGED);
	assert_memory_equal(&fake->state, &before, sizeof(before));
	fake->absent_reads = 0;
	/* Pages that are gone when they are to be pinned: to be read again. */
	fake->n_calls = 0;
	fake->fail_at = 2;
	fake->error = -EFAULT;
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), WIRE_CHANGED);
	assert_memory_equal(&fake->state, &before, sizeof(before));
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), 0);
}

static void test_audit(void **state)
{
	struct bench *bench = *state;
	uint64_t n;

	bench_attach_new(bench, 1);
	bench_map(bench, 1, 0, MEMORY_PAGES, 0);
	struct mapping *mapping = keeping_mapping(&bench->keeping, 1);
	assert_int_equal(mapping_compare(&bench->keeping, mapping, &n), 0);
	assert_int_equal(n, 0);
	bench->fake.moved = bench_page(bench, 33);
	assert_int_equal(mapping_compare(&bench->keeping, mapping, &n), 0);
	assert_int_equal(n, 1);
	bench->fake.moved_by = 3;
	assert_int_equal(mapping_compare(&bench->keeping, mapping, &n), 0);
	assert_int_equal(n, MEMORY_PAGES);

	/* What the client has punched out does not come back by looking. */
	bench->fake.moved_by = 0;
	bench->fake.moved = NULL;
	bench->fake.n_populated = 0;
	assert_int_equal(fallocate(bench->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 12 * PAGE, PAGE),
		0);
	assert_int_equal(mapping_compare(&bench->keeping, mapping, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(bench->fake.n_populated, 0);
}

/* Its pins are unknown then: it has to end. */
static void test_an_unmap_that_fails(void **state)
{
	struct bench *bench = *state;
	int status;

	bench_attach_new(bench, 1);
	bench_map(bench, 1, 0, 8, 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, STDERR_FILENO);
		bench->fake.state.containers[bench->keeping.containers[0].handle].n_mappings = 0;
		mapping_unmake(&bench->keeping, keeping_mapping(&bench->keeping, 1));
		_exit(42);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

#define mapping_test(test) cmocka_unit_test_setup_teardown(test, bench_set_up, bench_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		mapping_test(test_what_cannot_be_prepared),
		mapping_test(test_permission_is_the_descriptors),
		mapping_test(test_frames_are_in_the_book),
		mapping_test(test_holes),
		mapping_test(test_frames_that_cannot_be_read),
		mapping_test(test_made_in_all_or_none),
		mapping_test(test_frames_that_move_before_the_pin),
		mapping_test(test_audit),
		mapping_test(test_an_unmap_that_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
